"""Answers of this library as responses of an app."""

from __future__ import annotations

from fastapi import Request
from fastapi.responses import Response

from encord_agents.editor.wire import Reply, reply_to_error

__all__ = ["answer_error", "response"]


def answer_error(request: Request, error: Exception) -> Response:
    """Answer an exception, as an app's handler of exceptions."""
    return response(reply_to_error(error))


def response(reply: Reply) -> Response:
    """Return an answer as a response."""
    # In ASCII, as through the other doors: what people and agents send may be half a character, which UTF-8 has not.
    headers = {**reply.headers, "Content-Type": "application/json"}
    return Response("null" if reply.body is None else reply.text, reply.status, headers)
