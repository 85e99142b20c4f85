"""Errors that the SDK tells apart in words only."""

from __future__ import annotations

import http.client
import json

import pytest
import requests
from encord.exceptions import EncordException, GenericServerError
from encord.http.error_utils import check_error_response
from encord.http.v2.error_utils import handle_error_response
from pydantic import BaseModel, ValidationError

from encord_agents.core.sdk.messages import foreign_answer, names_a_refusal, status_of


@pytest.mark.parametrize(
    ("name", "refuses"),
    [
        ("DUPLICATE_TITLE_ERROR", True),
        ("LABEL_ROW_LOCKED", True),
        ("INTERNAL_FAILURE", False),
        ("SERVER_BUSY", False),
        ("SERVICE_UNAVAILABLE", False),
        ("BAD_GATEWAY", False),
        ("QUERY_TIMEOUT", False),
        ("OVERLOADED", False),
    ],
)
def test_a_refusal_has_a_name_that_is_not_the_servers(name: str, refuses: bool) -> None:
    """An error of the SDK's own making counts as a no, unless its name speaks of the server."""
    with pytest.raises(GenericServerError) as caught:
        check_error_response([name])
    assert names_a_refusal(caught.value) is refuses


@pytest.mark.parametrize("message", ["", "LABEL_ROW_LOCKED", "error of type LABEL_ROW_LOCKED"])
def test_an_error_without_a_name_is_no_refusal(message: str) -> None:
    """Words that are not the SDK's way of naming an error name none."""
    assert not names_a_refusal(GenericServerError(message))


@pytest.mark.parametrize("status", [404, 418, 503])
def test_the_status_of_an_answer(status: int) -> None:
    """The status is known for every exception that the SDK makes of one, and for no other."""
    with pytest.raises(EncordException) as caught:
        handle_error_response(status, {})
    assert status_of(caught.value) == status
    assert status_of(EncordException("no answer")) is None


class Strict(BaseModel):
    number: int


def decoding(body: str) -> ValueError:
    return json.JSONDecodeError("no JSON", body, 0)


def validation() -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        Strict.model_validate({})
    return caught.value


def without_body() -> ValueError:
    error = decoding("")
    del error.doc  # type: ignore[attr-defined]
    return error


@pytest.mark.parametrize(
    ("met", "words"),
    [
        (decoding(""), "nothing"),
        (decoding(" \n\t"), "nothing"),
        (decoding("<!DOCTYPE html><p>"), "an HTML page"),
        (decoding("\n <HTML>"), "an HTML page"),
        (decoding("<?xml version='1.0'?>\n<html>"), "an HTML page"),
        (decoding("Sorry\nfor that"), "text that is not JSON (Sorry)"),
        (decoding("x" * 60), f"text that is not JSON ({'x' * 60})"),
        (decoding("x" * 61), f"text that is not JSON ({'x' * 60}...)"),
        (decoding("\x1b[2Jgone"), "text that is not JSON (\\x1b[2Jgone)"),
        (decoding(" " * 5000 + "<html>"), "an HTML page"),
        (decoding("x" * 5000 + "<html>"), f"text that is not JSON ({'x' * 60}...)"),
        (without_body(), None),
        (validation(), "JSON that is not the API's"),
        (AttributeError("'list' object has no attribute 'get'"), "JSON that is not the API's"),
        (RecursionError(), "JSON that is not the API's"),
        (requests.exceptions.TooManyRedirects(), "redirects without end"),
        (requests.exceptions.ContentDecodingError(), "what is not encoded as it says"),
        (http.client.BadStatusLine("SSH-2.0"), "something that is not HTTP"),
        (http.client.RemoteDisconnected("closed"), None),
        (requests.exceptions.ConnectionError(http.client.BadStatusLine("SSH-2.0")), "something that is not HTTP"),
        (requests.exceptions.ConnectTimeout(), None),
        (KeyError("x"), None),
    ],
)
@pytest.mark.parametrize("link", ["__cause__", "__context__"])
def test_foreign_answers_are_described(link: str, met: BaseException, words: str | None) -> None:
    """The exception that the SDK met tells what came in place of the API's answer, raised from it or during it."""
    error = EncordException("something")
    setattr(error, link, met.with_traceback(None))  # none of it is in the caller's code
    assert foreign_answer(error) == words


def test_an_exception_that_the_caller_handles() -> None:
    """A request that is made in an ``except`` says nothing about what that one met."""
    error = EncordException("something")
    try:
        json.loads("<html>")
    except ValueError as handled:
        error.__context__ = handled
    assert foreign_answer(error) is None


def test_an_answer_of_the_api() -> None:
    """An exception that met no other says nothing about the answer."""
    assert foreign_answer(EncordException("something")) is None
