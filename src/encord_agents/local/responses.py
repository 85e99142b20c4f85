"""Reads request bodies within limits, and makes the responses that both protocols share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from encord_agents.local.trouble import Refusal

MOST_KEPT = 256 * 2**20
"""The most bytes of a body that are kept before its operation is known: as many as any operation accepts."""
SECONDS_PER_BODY = 60.0
"""The timeout of a body. Generous for 256 MiB from a client on this machine; a slower one only blocks a connection."""

HangUpOn = Callable[[Scope], None]


class HangUp(Response):
    """Closes the connection: at once, or after the first part of an answer whose ``Content-Length`` is greater."""

    def __init__(
        self,
        hang_up: HangUpOn,
        content: bytes = b"",
        length: int = 0,
        *,
        status: int = 200,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(content, status, headers)
        self._hang_up = hang_up
        self._length = length

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._length:
            headers = [(name, value) for name, value in self.raw_headers if name != b"content-length"]
            headers.append((b"content-length", str(self._length).encode()))
            await send({"type": "http.response.start", "status": self.status_code, "headers": headers})
            await send({"type": "http.response.body", "body": self.body, "more_body": True})
        self._hang_up(scope)
        while (await receive())["type"] != "http.disconnect":
            pass


def written(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return a JSON response."""
    return Response(orjson.dumps(content), status, headers, media_type="application/json")


def refused(refusal: Refusal, *, envelope: bool = False) -> Response:
    """Return the response of a refusal; with ``envelope``, inside a 200, as in v1."""
    if not envelope or refusal.status in (408, 413):  # v1 also sends these without an envelope
        return written({"message": refusal.message}, refusal.status)
    return written({"status": refusal.status, "response": [refusal.name], "payload": refusal.message})


def too_large(size: int) -> Refusal:
    """Return the refusal of a body of this size."""
    return Refusal(413, f"The body has {size} bytes, more than are taken.")


async def read(request: Request, *, keep: int) -> tuple[bytes, int]:
    """Read a body, and return it with its size. A body that is longer than ``keep`` is discarded.

    It is still read to its end, because a client does not read the answer while it is still sending.

    Raises:
        Refusal: 408, the body did not arrive in time.
    """
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and len(declared) < 20 and int(declared) > keep:
        keep = 0
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(SECONDS_PER_BODY):
            async for part in request.stream():
                size += len(part)
                if size <= keep:
                    parts.append(part)
                else:
                    parts.clear()
    except TimeoutError:
        raise Refusal(408, f"The body did not come within {SECONDS_PER_BODY:g} s.") from None
    return b"".join(parts) if size <= keep else b"", size
