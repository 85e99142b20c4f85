"""Requests of Flask in, responses of Flask out, without a server around them."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import flask
import pytest
from encord.objects import LabelRowV2
from werkzeug.test import EnvironBuilder

from encord_agents import FrameData
from encord_agents.core.data_model import (
    EditorAgentResponse,
    LabelRowInitialiseLabelsArgs,
    LabelRowMetadataIncludeArgs,
)
from encord_agents.editor.wire import MAX_BODY
from encord_agents.exceptions import DependencyError
from encord_agents.gcp.wrappers import editor_agent
from encord_agents.local.keys import new_key

if TYPE_CHECKING:
    from tests.conftest import World

EDITOR, FOREIGN = "https://app.encord.com", "https://evil.example"
FRAME = json.dumps({"projectHash": f"{1:032x}", "dataHash": f"{2:032x}", "frame": 3}).encode()
KEY = new_key()


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key, which every agent's client wants; nothing is sent with it."""
    monkeypatch.setenv("ENCORD_SSH_KEY", KEY)
    monkeypatch.delenv("ENCORD_SSH_KEY_FILE", raising=False)


@editor_agent()
def number(frame: FrameData) -> EditorAgentResponse:
    return EditorAgentResponse(message=f"frame {frame.frame}")


def request(
    body: bytes = FRAME,
    *,
    method: str = "POST",
    host: str = "http://agents.example",
    origin: str | None = None,
    environ: dict[str, Any] | None = None,
) -> flask.Request:
    """A request with an announced length, and further entries of its environment."""
    headers = [] if origin is None else [("Origin", origin)]
    builder = EnvironBuilder("/", host, data=body, method=method, headers=headers)
    return flask.Request({**builder.get_environ(), **(environ or {})})


class Untouched(io.BytesIO):
    """A body that nobody may read."""

    def read(self, size: int | None = -1) -> bytes:
        raise AssertionError("it was read")

    readline = readinto = read  # type: ignore[assignment]


def test_a_call() -> None:
    """The agent's message is the answer, as JSON."""
    answer = number(request())
    assert (answer.status_code, answer.get_json()) == (200, {"message": "frame 3"})
    assert answer.headers["Content-Type"] == "application/json"
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_an_answer_without_a_body() -> None:
    """It does not claim to be JSON, which its readers would fail at."""
    answer = editor_agent()(lambda: None)(request())
    assert (answer.status_code, answer.get_data()) == (200, b"")
    assert "json" not in answer.headers["Content-Type"]


@pytest.mark.parametrize(("origin", "status"), [(EDITOR, 204), (FOREIGN, 403), (None, 403)])
def test_preflights(origin: str | None, status: int) -> None:
    """Only the editor's pages are told that they may call; caches keep the answers of origins apart."""
    answer = number(request(b"", method="OPTIONS", origin=origin))
    assert (answer.status_code, answer.get_data()) == (status, b"")
    assert answer.headers["Vary"] == "Origin"
    assert answer.headers.get("Access-Control-Allow-Origin") == (origin if status == 204 else None)
    assert answer.headers.get("Access-Control-Allow-Methods") == ("POST" if status == 204 else None)


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("https://agents.example", "https://agents.example", 200),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080", 200),
        ("http://agents.example", "http://agents.example", 403),
        ("https://agents.example", "https://other.example", 403),
        ("https://agents.example", EDITOR, 200),
    ],
)
def test_pages_that_may_call(host: str, origin: str, status: int) -> None:
    """A page of the function's own server may, if its host cannot be feigned; a page of another may not."""
    answer = number(request(host=host, origin=origin))
    assert answer.status_code == status
    assert answer.headers.get("Access-Control-Allow-Origin") == (origin if status == 200 else None)
    assert answer.get_json()["message"]


def test_origins_of_ones_own() -> None:
    """A regular expression replaces the editor's origins, and is matched as a whole."""
    function = editor_agent(custom_cors_regex=r"https://mine\.example")(lambda: None)
    origins = ("https://mine.example", "https://mine.example.evil", EDITOR)
    assert [function(request(origin=one)).status_code for one in origins] == [200, 403, 403]


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
def test_other_methods(method: str) -> None:
    """They are refused with a sentence that the editor's page may read, and nothing of their body is."""
    answer = number(request(method=method, origin=EDITOR, environ={"wsgi.input": Untouched()}))
    assert (answer.status_code, "POST" in answer.get_json()["message"]) == (405, True)
    assert answer.headers["Access-Control-Allow-Origin"] == EDITOR


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize(("more", "status"), [(0, 200), (1, 413)])
def test_the_largest_body(announced: bool, more: int, status: int) -> None:
    """A body of the limit is served, and one of a byte more is refused, whether its length is announced or not."""
    body = FRAME.ljust(MAX_BODY + more)
    asked = request(body)
    if not announced:  # in chunks, as servers hand it on
        del asked.environ["CONTENT_LENGTH"]
        asked = flask.Request({**asked.environ, "HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True})
    assert number(asked).status_code == status


def test_a_body_that_is_announced_as_huge() -> None:
    """It is refused before any of it is read."""
    asked = request(environ={"CONTENT_LENGTH": str(MAX_BODY + 1), "wsgi.input": Untouched()})
    assert number(asked).status_code == 413


@pytest.mark.parametrize("given", [False, True])
def test_options_reach_the_row(world: World, monkeypatch: pytest.MonkeyPatch, given: bool) -> None:
    """The row is listed and its labels are loaded as the decorator says."""
    for name, value in world.platform.environment().items():
        monkeypatch.setenv(name, value)
    frame = {"projectHash": world.project.project_hash, "dataHash": world.project.add_image("image")}
    (row,) = world.client.get_project(world.project.project_hash).list_label_rows_v2()
    row.initialise_labels()
    world.mark(row)
    row.save()
    seen: list[tuple[object, int]] = []

    def agent(row: LabelRowV2) -> None:
        seen.append((row.client_metadata, len(row.get_object_instances())))

    options: dict[str, Any] = {
        "label_row_metadata_include_args": LabelRowMetadataIncludeArgs(include_client_metadata=True),
        "label_row_initialise_labels_args": LabelRowInitialiseLabelsArgs(include_object_feature_hashes={"none"}),
    }
    answer = editor_agent(**options if given else {})(agent)(request(json.dumps(frame).encode()))
    assert answer.status_code == 200
    assert seen == [({}, 0) if given else (None, 1)]


def test_parameters_that_nothing_supplies() -> None:
    """They are refused when the function is decorated, before any request comes."""
    with pytest.raises(DependencyError, match="lamp"):
        editor_agent()(lambda lamp: None)
