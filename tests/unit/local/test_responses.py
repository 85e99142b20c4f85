"""Bodies are read within bounds, and refusals written as each protocol has them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from starlette.requests import Request

from encord_agents.local import responses
from encord_agents.local.trouble import Refusal


def request(parts: Sequence[bytes], declared: str | None = None, *, ends: bool = True) -> Request:
    messages = [{"type": "http.request", "body": part, "more_body": True} for part in parts]

    async def receive() -> Any:
        if messages:
            return messages.pop(0)
        if not ends:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": b"", "more_body": False}

    headers = [] if declared is None else [(b"content-length", declared.encode())]
    return Request({"type": "http", "headers": headers}, receive)


@pytest.mark.parametrize(
    ("parts", "declared", "kept"),
    [
        ([b"ab", b"cd"], "4", b"abcd"),
        ([b"ab", b"cd"], None, b"abcd"),
        ([b"ab", b"cde"], None, b""),
        ([b"ab", b"cde"], "5", b""),
        ([b"ab"], "9" * 30, b"ab"),
        ([b"ab"], "x", b"ab"),
        ([], None, b""),
    ],
)
def test_a_body_within_bounds(parts: list[bytes], declared: str | None, kept: bytes) -> None:
    """A longer one is read to its end, and nothing of it kept, whatever length it says."""
    body, size = asyncio.run(responses.read(request(parts, declared), keep=4))
    assert (body, size) == (kept, sum(map(len, parts)))


def test_a_body_that_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused in the end."""
    monkeypatch.setattr(responses, "SECONDS_PER_BODY", 0.01)
    with pytest.raises(Refusal) as caught:
        asyncio.run(responses.read(request([b"a"], ends=False), keep=4))
    assert caught.value.status == 408


@pytest.mark.parametrize(("status", "envelope", "written"), [(403, False, 403), (403, True, 200), (413, True, 413)])
def test_refusals(status: int, envelope: bool, written: int) -> None:
    """Inside a 200 in the older protocol, but for those that are about the transport."""
    response = responses.refused(Refusal(status, "No."), envelope=envelope)
    assert response.status_code == written
    content = orjson.loads(response.body)
    assert content == ({"message": "No."} if written != 200 else {
        "status": 403, "response": ["AUTHORISATION_ERROR"], "payload": "No.",
    })  # fmt: skip
