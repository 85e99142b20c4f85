"""The app for editor agents: the origins that may call it, and its answers to errors."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from encord.exceptions import AuthorisationError
from fastapi import FastAPI, Request
from fastapi.exception_handlers import http_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.params import Form
from fastapi.responses import JSONResponse, Response
from pydantic_core import to_jsonable_python
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from encord_agents.core.constants import EDITOR_TEST_REQUEST_HEADER as EDITOR_TEST_REQUEST_HEADER  # for importers
from encord_agents.core.constants import ENCORD_DOMAIN_REGEX
from encord_agents.core.constants import HEADER_CLOUD_TRACE_CONTEXT as HEADER_CLOUD_TRACE_CONTEXT
from encord_agents.core.tracebacks import is_a, shown
from encord_agents.editor.origins import is_own
from encord_agents.editor.wire import (
    ALLOWED_HEADERS,
    MAX_BODY,
    TEST_HEADERS,
    Reply,
    message_in,
    reply_to_error,
    sendable,
    sentence_about,
    too_large,
)
from encord_agents.exceptions import EncordEditorAgentException
from encord_agents.fastapi.answering import answer_error, response
from encord_agents.fastapi.notifications import add_notification_handlers

__all__ = ["EncordCORSMiddleware", "EncordTestHeaderMiddleware", "get_encord_app"]


class EncordCORSMiddleware(CORSMiddleware):
    """Starlette's `CORSMiddleware`, which by default allows the label editor's origins.

    A POST from a page of any other origin is answered 403: CORS alone would only make a browser hide the answer from
    that page, after the agent has run.
    """

    def __init__(
        self,
        app: ASGIApp,
        allow_origins: Sequence[str] = (),
        allow_methods: Sequence[str] = ("POST",),
        allow_headers: Sequence[str] = ALLOWED_HEADERS,
        allow_credentials: bool = False,
        allow_origin_regex: str = ENCORD_DOMAIN_REGEX,
        expose_headers: Sequence[str] = (),
        max_age: int = 3600,
        **options: Any,
    ) -> None:
        super().__init__(
            app,
            allow_origins=allow_origins,
            allow_methods=allow_methods,
            allow_headers=allow_headers,
            allow_credentials=allow_credentials,
            allow_origin_regex=allow_origin_regex,
            expose_headers=expose_headers,
            max_age=max_age,
            **options,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            headers = Headers(scope=scope)
            origin = headers.get("origin")
            if not (origin is None or self.is_allowed_origin(origin) or is_own(origin, headers.get("host"))):
                refusal = Reply(403, {"message": "Pages of this origin may not call editor agents."})
                await response(refusal)(scope, receive, send)
                return
        await super().__call__(scope, receive, send)


class EncordTestHeaderMiddleware:
    """Answers 200 if the platform only tests whether the agent can be reached."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_post = scope["type"] == "http" and scope["method"] == "POST"
        if is_post and any(Headers(scope=scope).get(name) for name in TEST_HEADERS):
            await JSONResponse(None)(scope, receive, send)
            return
        await self.app(scope, receive, send)


class _Answers:
    """Rejects huge bodies, and answers unhandled exceptions inside the CORS middleware, which then adds its headers."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        is_json = headers.get("content-type", "").partition(";")[0].strip().lower().endswith("json")
        length = headers.get("content-length", "0")
        announced = int(length) if length.isdecimal() else 0
        begun = False
        received = 0

        def is_too_large() -> bool:
            return max(announced, received) > MAX_BODY and (is_json or _reads_whole_body(scope))

        async def receive_some() -> Message:
            nonlocal received
            if not is_too_large():
                message = await receive()
                received += len(message.get("body", b""))
            if is_too_large():
                raise too_large()
            return message

        async def send_some(message: Message) -> None:
            nonlocal begun
            if is_too_large() and not begun:
                return  # drop FastAPI's own answer, which calls the body unreadable
            begun = True
            await send(message)

        reply: Reply | None = None
        try:
            await self.app(scope, receive_some, send_some)
        except BaseException as error:
            # SystemExit is answered, too: an agent that calls sys.exit() does not end the server.
            passes = is_a(error, (KeyboardInterrupt, GeneratorExit)) or _is_cancelled(error)
            if begun or passes or (is_a(error, Exception) and _handles_all(scope)):
                raise
            reply = reply_to_error(error, name=scope.get("path", "the agent"))
        if is_too_large() and not begun:
            reply = reply_to_error(too_large())
        if reply is not None:
            await response(reply)(scope, receive, send)


def _reads_whole_body(scope: Scope) -> bool:
    """Return True if FastAPI keeps the body in memory for the route, whatever its type. Files of forms go to disk."""
    field = getattr(scope.get("route"), "body_field", None)
    return field is not None and not isinstance(field.field_info, Form)


def _is_cancelled(error: BaseException) -> bool:
    """Return True if the request itself was cancelled, rather than something that its agent awaited."""
    task = asyncio.current_task()
    return is_a(error, asyncio.CancelledError) and (task is None or task.cancelling() > 0)


def _handles_all(scope: Scope) -> bool:
    """Return True if the app has its own catch-all exception handler, which Starlette calls outside this middleware."""
    handlers = getattr(scope.get("app"), "exception_handlers", {})
    return Exception in handlers or 500 in handlers


def get_encord_app(*, custom_cors_regex: str | None = None) -> FastAPI:
    """Return an app for editor agents: an agent is ``@app.post("/name")``.

    Args:
        custom_cors_regex: The origins from which the editor calls. Default: the platform's own.
    """
    app = FastAPI()
    app.add_middleware(_Answers)
    app.add_middleware(EncordTestHeaderMiddleware)
    # The middleware added last is the outermost: every answer gets its headers.
    regex = custom_cors_regex or ENCORD_DOMAIN_REGEX
    app.add_middleware(EncordCORSMiddleware, allow_origin_regex=regex)  # type: ignore[arg-type]
    add_notification_handlers(app)
    for kind in (AuthorisationError, EncordEditorAgentException):
        app.add_exception_handler(kind, answer_error)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(HTTPException, _answer_http)
    return app


def _answer_invalid(request: Request, error: Exception) -> Response:
    """Answer as FastAPI does, and add a sentence as the message."""
    assert isinstance(error, RequestValidationError)
    detail = [{name: value for name, value in one.items() if name in ("type", "loc", "msg")} for one in error.errors()]
    return response(Reply(422, {"message": sentence_about(error.errors()), "detail": to_jsonable_python(detail)}))


async def _answer_http(request: Request, error: Exception) -> Response:
    """Answer as FastAPI does, and add the detail as the message."""
    assert isinstance(error, HTTPException)
    if error.status_code < 400:
        return await http_exception_handler(request, error)
    told = message_in(error.detail, error.status_code)
    body = {
        "detail": to_jsonable_python(error.detail, fallback=shown),
        "message": f"{told}." if told[-1:].isalnum() else told,
    }
    return response(Reply(error.status_code, body, sendable(error.headers)))
