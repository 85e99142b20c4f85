"""The controls over HTTP: what tests in other processes may set, and that nothing else gets in."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from starlette.requests import Request

from encord_agents.local import Fault, LocalPlatform
from encord_agents.local.controls import LARGEST_BODY, PREFIX, Controls
from encord_agents.local.door import Door


@pytest.fixture
def door(platform: LocalPlatform) -> Door:
    return Door(platform._service, platform.faults, platform.journal, lambda scope: None)


def asked(door: Door, method: str, name: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    content = body if isinstance(body, bytes) else b"" if body is None else orjson.dumps(body)
    (route,) = [route for route in Controls(door).routes() if route.path == f"{PREFIX}/{name}"]
    listed = {"host": "127.0.0.1"} | headers
    scope = {
        "type": "http", "method": method, "query_string": b"",
        "headers": [(key.encode(), value.encode()) for key, value in listed.items()],
    }  # fmt: skip

    async def receive() -> Any:
        return {"type": "http.request", "body": content, "more_body": False}

    async def answer() -> Any:
        return await route.endpoint(Request(scope, receive))

    response = asyncio.run(answer())
    return response.status_code, orjson.loads(response.body)


def test_what_can_be_set(door: Door) -> None:
    """It is read back, and can be taken back."""
    assert asked(door, "POST", "faults", {"kind": "save", "status": 503}) == (200, None)
    assert door.faults.pending == [Fault("save", status=503)]
    assert asked(door, "DELETE", "faults")[0] == 200
    assert asked(door, "GET", "faults") == (200, [])
    assert asked(door, "PATCH", "settings", {"page_size": 7})[1]["page_size"] == 7
    assert asked(door, "PATCH", "clock", {"ahead": 60})[1]["ahead"] == 60
    assert asked(door, "PUT", "outage", {"how": "503"}) == (200, None)
    assert door.outage == "503"
    door.journal.add("save", "POST", "/x", 200, 1, 0.0, b"")
    assert asked(door, "GET", "journal")[1]["counts"] == {"save": 1}


@pytest.mark.parametrize(
    ("method", "name", "body", "status"),
    [
        ("POST", "faults", {"statos": 1}, 400),
        ("POST", "faults", [], 400),
        ("POST", "faults", b"{", 400),
        ("PATCH", "settings", {"page_size": 0}, 400),
        ("PATCH", "settings", {"page_size": 5, "nothing": 0}, 400),
        ("PATCH", "clock", {"ahead": 1e12}, 400),
        ("PUT", "outage", {"how": "loudly"}, 400),
        ("POST", "faults", b" " * (LARGEST_BODY + 1), 413),
    ],
)
def test_what_cannot_be_set(door: Door, method: str, name: str, body: Any, status: int) -> None:
    """It is refused with a message, and nothing is set, not even the part that makes sense."""
    found, answer = asked(door, method, name, body)
    assert (found, bool(answer["message"])) == (status, True)
    assert (door.faults.pending, door.service.settings.page_size, door.outage) == ([], 100, None)


def test_pages_of_other_origins(door: Door) -> None:
    """They set nothing."""
    assert asked(door, "PUT", "outage", {"how": "503"}, origin="https://evil.example")[0] == 403
    assert asked(door, "PUT", "outage", {"how": "503"}, host="evil.example")[0] == 403
    assert door.outage is None
