"""The app for editor agents, called as a server calls it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from encord.exceptions import AuthorisationError
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel
from starlette.types import Message, Receive, Scope, Send

from encord_agents.core.constants import AGENT_TEST_REQUEST_HEADER, EDITOR_TEST_REQUEST_HEADER
from encord_agents.editor.wire import MAX_BODY
from encord_agents.exceptions import EncordEditorAgentException
from encord_agents.fastapi.cors import EncordCORSMiddleware, EncordTestHeaderMiddleware, get_encord_app

EDITOR = "https://app.encord.com"
JSON = {"content-type": "application/json"}

Called = tuple[int, dict[str, str], bytes]


def call(
    app: Callable[[Scope, Receive, Send], Any],
    path: str = "/agent",
    *parts: bytes,
    method: str = "POST",
    headers: dict[str, str] | None = None,
) -> Called:
    """The status, the headers and the body of an answer to a request whose body comes in parts."""
    scope: dict[str, Any] = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()],
    }
    left = list(parts or (b"",))
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    start, *bodies = sent
    told = {name.decode(): value.decode() for name, value in start["headers"]}
    return start["status"], told, b"".join(one.get("body", b"") for one in bodies)


class Question(BaseModel):
    number: int


def asked(error: BaseException | None = None, **options: Any) -> FastAPI:
    """An app with an agent that answers, or raises."""
    app = get_encord_app(**options)

    @app.post("/agent")
    async def agent() -> str:
        if error is not None:
            raise error
        return "done"

    @app.post("/question")
    async def question(body: Question) -> int:
        return body.number

    return app


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"origin": EDITOR}, 200),
        ({"origin": "https://app.us.encord.com"}, 200),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "https://app.encord.com.evil.example"}, 403),
        ({"origin": "null"}, 403),
    ],
)
def test_pages_that_may_call(headers: dict[str, str], status: int) -> None:
    """The editor's pages and programs call an agent; pages of other origins are refused before it runs."""
    answer, told, body = call(asked(), headers=headers)
    assert answer == status
    if status == 403:
        assert json.loads(body) == {"message": "Pages of this origin may not call editor agents."}
    elif headers:
        assert told["access-control-allow-origin"] == headers["origin"]


@pytest.mark.parametrize(("origin", "status"), [("https://mine.example", 200), (EDITOR, 403)])
def test_origins_of_ones_own(origin: str, status: int) -> None:
    """A regular expression replaces the platform's."""
    app = asked(custom_cors_regex=r"https://mine\.example")
    assert call(app, headers={"origin": origin})[0] == status


def test_other_methods_are_answered_as_ever() -> None:
    """Only a POST runs an agent, so only a POST is refused."""
    app = asked()
    preflight = {"origin": EDITOR, "access-control-request-method": "POST"}
    status, told, _ = call(app, method="OPTIONS", headers=preflight)
    assert (status, told["access-control-allow-origin"]) == (200, EDITOR)
    assert call(app, method="OPTIONS", headers={**preflight, "origin": "https://evil.example"})[0] == 400
    assert call(app, method="GET", headers={"origin": "https://evil.example"})[0] == 405


async def nobody(scope: Scope, receive: Receive, send: Send) -> None:
    raise AssertionError("it was called")


@pytest.mark.parametrize("header", [EDITOR_TEST_REQUEST_HEADER, AGENT_TEST_REQUEST_HEADER])
def test_a_trial_of_the_platform_runs_nothing(header: str) -> None:
    """A request that only tries whether the agent can be reached is answered without it."""
    assert call(EncordTestHeaderMiddleware(nobody), headers={header: "test"})[::2] == (200, b"null")
    for other in ({"method": "GET", "headers": {header: "test"}}, {"headers": {header: ""}}, {}):
        with pytest.raises(AssertionError, match="it was called"):
            call(EncordTestHeaderMiddleware(nobody), **other)


def test_the_middleware_alone() -> None:
    """The defaults of `EncordCORSMiddleware` refuse a foreign page, and options of starlette's are taken."""
    app = EncordCORSMiddleware(nobody, allow_origins=["https://mine.example"])
    assert call(app, headers={"origin": "https://evil.example"})[0] == 403
    with pytest.raises(AssertionError, match="it was called"):
        call(app, headers={"origin": "https://mine.example"})


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (EncordEditorAgentException("Draw a box first."), 400, "Draw a box first."),
        (AuthorisationError("no"), 403, None),
        (ValueError("no box"), 500, "Internal server error: ValueError: no box"),
        (SystemExit(3), 500, None),
        (HTTPException(418, "I am a teapot"), 418, "I am a teapot."),
        (HTTPException(418, "Why?"), 418, "Why?"),
        (HTTPException(409, {"message": "Draw a box."}), 409, "Draw a box."),
        (HTTPException(409, {"score": float("nan")}), 409, '{"score": null}'),
    ],
)
def test_errors_are_answered_with_a_sentence(error: BaseException, status: int, message: str | None) -> None:
    """An answer to an error has a message, and the headers without which the editor could not read it."""
    answer, told, body = call(asked(error), headers={"origin": EDITOR})
    assert answer == status
    assert told["access-control-allow-origin"] == EDITOR
    said = json.loads(body)["message"]
    assert said
    assert message in (None, said)


def test_a_detail_stays_as_it_is() -> None:
    """Callers that know FastAPI find the detail next to the message."""
    body = json.loads(call(asked(HTTPException(409, {"message": "Draw a box.", "code": 3})))[2])
    assert body == {"message": "Draw a box.", "detail": {"message": "Draw a box.", "code": 3}}


def test_an_interrupt_is_not_answered() -> None:
    """Ctrl-C ends the server, as without the app."""
    with pytest.raises(KeyboardInterrupt):
        call(asked(KeyboardInterrupt()))


def test_a_body_that_does_not_fit() -> None:
    """A wrong field is named in a sentence, besides FastAPI's details, which do not repeat what was sent."""
    status, _, body = call(asked(), "/question", b'{"number": "secret"}', headers=JSON)
    told = json.loads(body)
    assert status == 422
    assert "number" in told["message"]
    assert [set(one) for one in told["detail"]] == [{"type", "loc", "msg"}]
    assert b"secret" not in body


@pytest.mark.parametrize(
    ("kind", "announced", "parts", "status"),
    [
        ("application/json", True, [b" " * (MAX_BODY + 1)], 413),
        ("application/json", False, [b" " * (MAX_BODY + 1)], 413),
        ("application/problem+json; charset=utf-8", False, [b" " * MAX_BODY, b" "], 413),
        ("application/json", True, [b'{"number": 1' + b" " * (MAX_BODY - 13) + b"}"], 200),
        ("text/plain", True, [b" " * (MAX_BODY + 1)], 413),
        ("text/plain", False, [b" " * MAX_BODY, b" "], 413),
        ("multipart/form-data; boundary=x", False, [b" " * MAX_BODY, b" "], 413),
        (None, False, [b" " * MAX_BODY, b" "], 413),
        ("text/plain", True, [b" " * MAX_BODY], 422),
    ],
)
def test_huge_bodies(kind: str | None, announced: bool, parts: list[bytes], status: int) -> None:
    """A body above the limit is refused, of whatever type, by its announced length or as it comes."""
    headers = {"origin": EDITOR} | ({} if kind is None else {"content-type": kind})
    if announced:
        headers["content-length"] = str(sum(map(len, parts)))
    answer, told, _ = call(asked(), "/question", *parts, headers=headers)
    assert answer == status
    assert told["access-control-allow-origin"] == EDITOR


@pytest.mark.parametrize("announced", [True, False])
def test_a_huge_body_that_the_app_reads_itself(announced: bool) -> None:
    """A route that takes a body piece by piece may take more."""
    app = asked()

    @app.post("/stream")
    async def stream(request: Request) -> int:
        return sum([len(part) async for part in request.stream()])

    headers = {"content-type": "text/plain", **({"content-length": str(MAX_BODY + 1)} if announced else {})}
    assert call(app, "/stream", b" " * MAX_BODY, b" ", headers=headers)[::2] == (200, b"%d" % (MAX_BODY + 1))


def test_a_handler_of_the_apps_own() -> None:
    """An exception that the app handles itself reaches its handler."""
    app = asked(LookupError("mine"))

    @app.exception_handler(LookupError)
    async def handle(_: Any, error: Exception) -> Any:
        return PlainTextResponse(f"handled {error}", 409)

    assert call(app)[::2] == (409, b"handled mine")
