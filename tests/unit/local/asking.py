"""Requests to a platform that serves nobody: operations one by one, and its application without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from encord_agents.local import LocalPlatform, routes_v1, routes_v2
from encord_agents.local.admission import admit
from encord_agents.local.door import Door
from encord_agents.local.service import Call
from encord_agents.local.trouble import Refusal
from encord_agents.local.users import OWNER

NOBODY = "11111111-1111-4111-8111-111111111111"
"""An id that nothing has."""


def rest(
    platform: LocalPlatform,
    request: str,
    body: Any = None,
    *,
    query: Mapping[str, Sequence[str]] | None = None,
    user: str = OWNER,
    **ids: str,
) -> Any:
    """Return the content that an operation of the REST protocol answers with; ``ids`` are those of its path."""
    operation = routes_v2.ROUTES[request]
    call = Call(ids, query or {}, body, user)
    admit(platform._service, operation, call)
    return operation.handle(platform._service, call).content


def legacy(
    platform: LocalPlatform,
    request: str,
    of: tuple[str, str],
    *,
    uid: Any = None,
    user: str = OWNER,
    **payload: Any,
) -> Any:
    """Return the content that an operation of the legacy protocol answers with.

    Args:
        request: Method and type of the query: ``GET labelrow``.
        of: The type and the id of the resource that is asked.
    """
    method, kind = request.split(" ")
    operation = routes_v1.OPERATIONS[kind, method]
    call = Call({"type": of[0], "id": of[1]}, {}, {"uid": uid, "payload": payload}, user)
    admit(platform._service, operation, call)
    return operation.handle(platform._service, call).content


@contextmanager
def refused(status: int) -> Iterator[None]:
    """Expect a refusal with this status."""
    with pytest.raises(Refusal) as caught:
        yield
    assert caught.value.status == status, caught.value.message


@dataclass(frozen=True)
class Answered:
    status: int
    content: Any


class Asker:
    """Sends requests to the application of a platform."""

    def __init__(self, platform: LocalPlatform) -> None:
        self.door = Door(platform._service, platform.faults, platform.journal, lambda scope: None)

    def ask(self, method: str, target: str, body: bytes = b"", **headers: str) -> Answered:
        """Return the answer to one request; underscores in the names of headers are hyphens."""
        return asyncio.run(self._ask(method, target, body, {"host": "127.0.0.1", **headers}))

    async def _ask(self, method: str, target: str, body: bytes, headers: Mapping[str, str]) -> Answered:
        path, _, query = target.partition("?")
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "method": method,
            "path": path, "raw_path": path.encode(), "query_string": query.encode(), "root_path": "",
            "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 50_000),
            "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
        }  # fmt: skip
        incoming: list[dict[str, Any]] = [{"type": "http.request", "body": body, "more_body": False}]
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return incoming.pop(0) if incoming else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        await self.door.application(scope, receive, send)
        content = b"".join(message.get("body", b"") for message in sent)
        return Answered(sent[0]["status"], orjson.loads(content))
