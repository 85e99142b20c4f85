"""Requests as they are sent, and answers to them."""

from __future__ import annotations

import base64
import errno
import json
import os
from typing import Any

import pytest
from encord.exceptions import AuthorisationError

from encord_agents.core.data_model import EditorAgentResponse
from encord_agents.editor.origins import Origins
from encord_agents.editor.wire import (
    MAX_BODY,
    Reply,
    Request,
    message_in,
    read_frame,
    reply_to_error,
    reply_with,
    trace_id_of,
)
from encord_agents.exceptions import EditorRequestError, EncordEditorAgentException, NoRoomError
from encord_agents.local.keys import new_key

FRAME = {"projectHash": f"{1:032x}", "dataHash": f"{2:032x}", "frame": 3}
BODY = {**FRAME, "objectHashes": ["abc"]}


@pytest.mark.parametrize("body", [BODY, json.dumps(BODY), json.dumps(BODY).encode(), {**BODY, "objectHash": 1}])
def test_bodies_that_are_read(body: object) -> None:
    """As JSON or read already; fields that the platform may add are ignored."""
    assert (read_frame(body).frame, read_frame(body).object_hashes) == (3, ["abc"])


def test_base64() -> None:
    """Gateways send some bodies in base64; what only claims to be it is refused."""
    coded = base64.b64encode(json.dumps(BODY).encode()).decode()
    assert read_frame(coded, is_base64=True).frame == 3
    with pytest.raises(EditorRequestError, match="base64"):
        read_frame("{}", is_base64=True)


@pytest.mark.parametrize(
    ("body", "told", "status"),
    [
        (None, "No request body", 400),
        (" ", "No request body", 400),
        (b"\xff\xfe\xfd", "not JSON", 400),
        ("[" * 200_000, "not JSON", 400),
        ("1", "not a JSON object", 400),
        ({**BODY, "frame": "x"}, "frame: .*integer", 400),
        ({**FRAME, "object_hash": ["a"]}, "Did you mean 'object_hashes'", 400),
        ("1" * (MAX_BODY + 1), "bytes", 413),
    ],
    ids=lambda value: str(value)[:20],
)
def test_bodies_that_are_refused(body: object, told: str, status: int) -> None:
    """Each with a sentence, and a status between 400 and 499."""
    with pytest.raises(EditorRequestError, match=told) as caught:
        read_frame(body)
    assert caught.value.status == status


@pytest.mark.parametrize(
    ("header", "trace_id"),
    [
        ("105445aa7843bc8bf206b12000100000/1;o=1", "105445aa7843bc8bf206b12000100000"),
        ("105445aa;o=1", "105445aa"),
        ("", None),
        (None, None),
        ("a\r\nX-Other: b/1", None),
    ],
)
def test_trace_ids(header: str | None, trace_id: str | None) -> None:
    """The id is what is before the slash; what could not be a header is none."""
    assert trace_id_of(header) == trace_id


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (None, ""),
        ({"message": "caf\u00e9"}, '{"message": "caf\\u00e9"}'),
        ({"a": float("nan"), "b": [float("-inf"), 1.5]}, '{"a": null, "b": [null, 1.5]}'),
    ],
)
def test_bodies_are_json(body: dict[str, Any] | None, text: str) -> None:
    """Numbers that JSON does not have are null: browsers refuse a body with NaN."""
    assert Reply(200, body).text == text


class OddError(EncordEditorAgentException):
    """Asks for a body with a number that JSON does not have."""

    @property
    def json_response_body(self) -> Any:
        return {"message": "no", "score": float("nan")}


def test_an_error_with_a_body_of_its_own() -> None:
    """It is sent as JSON, whatever is in it."""
    assert reply_to_error(OddError("no")).text == '{"message": "no", "score": null}'


def test_a_key_in_a_failure_is_not_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """An agent's exception that quotes the private key, or a password, shows neither: in its answer and traceback."""
    key = new_key()
    try:
        raise RuntimeError(f"cannot connect to https://me:hunter2@models.example/v1 with {key}")
    except RuntimeError as error:
        reply = reply_to_error(error)
    shown = caplog.text + reply.text
    assert "models.example/v1" in caplog.text
    assert not [secret for secret in ("hunter2", *key.splitlines()[1:-1]) if secret in shown]


@pytest.mark.parametrize(
    ("detail", "message"),
    [
        ("No lamp.", "No lamp."),
        ({"message": "No lamp.", "code": 3}, "No lamp."),
        ({"message": 3}, '{"message": 3}'),
        ([{"score": float("nan")}], '[{"score": null}]'),
        ("", "Status 409."),
        (None, "Status 409."),
    ],
)
def test_details_of_http_exceptions(detail: Any, message: str) -> None:
    """The message is the detail's own; of any other detail it is its JSON, and never Python's notation."""
    assert message_in(detail, 409) == message


def test_names_of_headers_have_no_case() -> None:
    """Some gateways write them in lower case."""
    request = Request(None, {"x-encord-editor-agent": "1", "X-CLOUD-TRACE-CONTEXT": "abc/1"})
    assert (request.is_test, request.trace_id) == (True, "abc")


def test_a_failure_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Its traceback is there, marked, and without the signatures of addresses that the agent asked."""
    try:
        raise ValueError(
            "403 for url: https://b/a.jpg?X-Amz-Signature=TOPSECRET\nERROR forged" + "<p>page</p>" * 10_000
        )
    except ValueError as error:
        reply = reply_to_error(error)
    assert "TOPSECRET" not in caplog.text + reply.text
    assert "in test_a_failure_in_the_log" in caplog.text
    assert "\nERROR forged" not in caplog.text
    assert len(caplog.records[0].getMessage()) < 3000


FULL = NoRoomError(
    "The file of 'a.png' cannot be kept", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), directory="/tmp/1"
)


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (EncordEditorAgentException("Select one."), 400, "Select one."),
        (EditorRequestError("Not here.", 404), 404, "Not here."),
        (AuthorisationError("no access"), 403, "no access"),
        (KeyError("lamp"), 500, "Internal server error: KeyError: 'lamp'"),
        (FULL, 503, "The file of 'a.png' cannot be kept: No space left on device, in /tmp/1."),
    ],
)
def test_errors_are_answers(error: Exception, status: int, message: str) -> None:
    """Each exception has a status and a message."""
    reply = reply_to_error(error)
    assert (reply.status, reply.body) == (status, {"message": message})


@pytest.mark.parametrize(
    ("value", "body"),
    [
        (None, None),
        (17, None),
        (EditorAgentResponse(), {}),
        (EditorAgentResponse(message=" a ", decision="  "), {"message": "a"}),
        (EditorAgentResponse(decision="go"), {"decision": "go"}),
    ],
)
def test_values_are_answers(value: Any, body: dict[str, Any] | None) -> None:
    """A response is sent without what it leaves open; other values are for nobody."""
    assert reply_with(value).body == body


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://app.encord.com", True),
        ("https://dev.us.encord.com", True),
        ("https://cord-ai-development--x1-y2.web.app", True),
        ("http://app.encord.com", False),
        ("https://app.encord.com\n", False),
        ("https://appXencord.com", False),
        ("https://app.encord.com:8000", False),
        (None, False),
    ],
)
def test_origins(origin: str | None, allowed: bool) -> None:
    """The editor's, as a whole."""
    assert Origins().allow(origin) is allowed
    assert Origins("https://mine").allow("https://mine")
