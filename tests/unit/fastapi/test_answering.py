"""Answers of this library as responses of an app."""

from __future__ import annotations

import json

import pytest
from fastapi import Request

from encord_agents.editor.wire import Reply
from encord_agents.exceptions import EditorRequestError
from encord_agents.fastapi.answering import answer_error, response


@pytest.mark.parametrize("seconds", [None, 3])
def test_an_error(seconds: int | None) -> None:
    """It is answered with its status, a sentence, and the time after which another request is of use."""
    error = EditorRequestError("Half a character: \ud800.", status=409, retry_after=seconds)
    answer = answer_error(Request({"type": "http"}), error)
    assert (answer.status_code, json.loads(bytes(answer.body))) == (409, {"message": "Half a character: \ud800."})
    assert answer.headers.get("retry-after") == (None if seconds is None else str(seconds))


def test_an_answer_without_a_body() -> None:
    """It is JSON all the same: the editor reads each answer as that."""
    answer = response(Reply(200))
    assert (answer.body, answer.headers["content-type"]) == (b"null", "application/json")
