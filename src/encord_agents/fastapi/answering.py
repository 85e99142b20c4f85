"""Conversion of this library's replies to an app's responses."""

from __future__ import annotations

from fastapi import Request
from fastapi.responses import Response

from encord_agents.editor.wire import Reply, reply_to_error

__all__ = ["answer_error", "response"]


def answer_error(request: Request, error: Exception) -> Response:
    """Answer an exception, as an app's exception handler."""
    return response(reply_to_error(error))


def response(reply: Reply) -> Response:
    """Return a reply as a response."""
    # In ASCII, as on Cloud Functions and Lambda: agents' text may have lone surrogates, which UTF-8 cannot encode.
    headers = {**reply.headers, "Content-Type": "application/json"}
    return Response("null" if reply.body is None else reply.text, reply.status, headers)
