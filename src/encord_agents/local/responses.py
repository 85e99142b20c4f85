"""Bodies of requests, read within bounds, and the responses that both protocols share."""

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
"""The most bytes of a body that are kept before its operation is known: as many as any operation takes."""
SECONDS_PER_BODY = 60.0
"""Generous for 256 MiB from a sender on this machine; a slower one only holds a connection."""

HangUpOn = Callable[[Scope], None]


class HangUp(Response):
    """Closes the connection: at once, or after the first part of an answer that promised more."""

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
    """Return a response of JSON."""
    return Response(orjson.dumps(content), status, headers, media_type="application/json")


def refused(refusal: Refusal, *, envelope: bool = False) -> Response:
    """Return the response of a refusal; with ``envelope`` as the older protocol has it, inside a 200."""
    if not envelope or refusal.status in (408, 413):  # of the older protocol's statuses, those that are in no envelope
        return written({"message": refusal.message}, refusal.status)
    return written({"status": refusal.status, "response": [refusal.name], "payload": refusal.message})


def too_large(size: int) -> Refusal:
    """Return the refusal of a body of so many bytes."""
    return Refusal(413, f"The body has {size} bytes, more than are taken.")


async def read(request: Request, *, keep: int) -> tuple[bytes, int]:
    """Return a body and its size. Of a body that is longer than ``keep`` nothing is kept.

    It is read to its end all the same: a client that is still sending does not look for an answer.

    Raises:
        Refusal: 408, it did not come in time.
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
