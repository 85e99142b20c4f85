"""Events of AWS Lambda in, proxy responses out, without a gateway around them."""

from __future__ import annotations

import base64
import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
from encord.objects import LabelRowV2

from encord_agents import FrameData
from encord_agents.aws import wrappers
from encord_agents.aws.wrappers import editor_agent
from encord_agents.core.data_model import (
    EditorAgentResponse,
    LabelRowInitialiseLabelsArgs,
    LabelRowMetadataIncludeArgs,
)
from encord_agents.editor import EditorAgent
from encord_agents.editor.wire import Reply
from encord_agents.exceptions import DependencyError
from encord_agents.local.keys import new_key

if TYPE_CHECKING:
    from tests.conftest import World

EDITOR, FOREIGN = "https://app.encord.com", "https://evil.example"
FRAME = {"projectHash": f"{1:032x}", "dataHash": f"{2:032x}", "frame": 3}
V2 = {"version": "2.0", "requestContext": {"http": {"method": "POST"}}}
KEY = new_key()


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key, which every agent's client wants; nothing is sent with it."""
    monkeypatch.setenv("ENCORD_SSH_KEY", KEY)
    monkeypatch.delenv("ENCORD_SSH_KEY_FILE", raising=False)


@editor_agent()
def number(frame: FrameData) -> EditorAgentResponse:
    return EditorAgentResponse(message=f"frame {frame.frame}")


class Context:
    """The part of Lambda's context that tells the time."""

    def __init__(self, milliseconds: int) -> None:
        self.milliseconds = milliseconds

    def get_remaining_time_in_millis(self) -> int:
        return self.milliseconds


def boxed(world: World) -> dict[str, Any]:
    """Return a bare event for an image with a box."""
    data_hash = world.project.add_image("image")
    (row,) = world.client.get_project(world.project.project_hash).list_label_rows_v2()
    row.initialise_labels()
    world.mark(row)
    row.save()
    return {"projectHash": world.project.project_hash, "dataHash": data_hash}


def told(answer: dict[str, Any]) -> tuple[int, Any]:
    return answer["statusCode"], json.loads(answer["body"] or "null")


@pytest.mark.parametrize(
    "event",
    [
        FRAME,
        {"body": json.dumps(FRAME)},
        {"body": FRAME},
        {**V2, "body": json.dumps(FRAME), "isBase64Encoded": False},
        {**V2, "body": base64.b64encode(json.dumps(FRAME).encode()).decode(), "isBase64Encoded": True},
        {"httpMethod": "post", "body": json.dumps(FRAME), "headers": None, "multiValueHeaders": None},
        {"requestContext": None, "body": json.dumps(FRAME)},
        {"requestContext": {"http": None}, "body": json.dumps(FRAME)},
    ],
    ids=["bare", "body only", "body as an object", "v2", "base64", "v1", "no context", "no http"],
)
def test_events_that_are_served(event: dict[str, Any]) -> None:
    """Frames are read out of every kind of event: bare, with nulls in place of headers, in base64."""
    assert told(number(event, None)) == (200, {"message": "frame 3"})


@pytest.mark.parametrize("event", [{}, V2, {**V2, "body": None}, {**V2, "body": ""}, {"httpMethod": "POST"}])
def test_events_without_a_body(event: dict[str, Any]) -> None:
    """An event that has no frame is answered with a sentence, also one that is empty or has fields of a request."""
    status, body = told(number(event, None))
    assert status == 400
    assert body["message"].startswith("No request body")


@pytest.mark.parametrize(
    ("event", "status"),
    [
        ({"httpMethod": "GET"}, 405),
        ({"requestContext": {"http": {"method": "put"}}}, 405),
        ({"httpMethod": "DELETE", "requestContext": {"http": {"method": "POST"}}}, 405),
        ({"httpMethod": "options"}, 204),
    ],
)
def test_methods(event: dict[str, Any], status: int) -> None:
    """Methods are read in either payload version and either case; only a POST calls the agent."""
    answer = number({**event, "body": json.dumps(FRAME)}, None)
    assert answer["statusCode"] == status
    assert ("POST" in answer["body"]) == (status == 405)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"headers": {"oRiGiN": FOREIGN}}, 403),
        ({"multiValueHeaders": {"origin": [FOREIGN]}}, 403),
        ({"multiValueHeaders": {"origin": [EDITOR, FOREIGN]}}, 403),
        ({"multiValueHeaders": {"origin": [FOREIGN, EDITOR]}}, 200),
        ({"multiValueHeaders": {"origin": [FOREIGN]}, "headers": {"origin": EDITOR}}, 200),
        ({"multiValueHeaders": {"origin": []}}, 200),
    ],
)
def test_headers_of_either_kind(headers: dict[str, Any], status: int) -> None:
    """Of a header with several values the last counts, and a single value counts before several."""
    assert number({**V2, **headers, "body": json.dumps(FRAME)}, None)["statusCode"] == status


@pytest.mark.parametrize(
    ("event", "origin"),
    [
        ({"httpMethod": "POST", "headers": {"Origin": EDITOR}}, EDITOR),
        ({"httpMethod": "POST", "headers": {}}, None),
        ({**V2, "headers": {"origin": EDITOR}}, None),
    ],
    ids=["REST", "no page", "v2"],
)
def test_origins_are_allowed_once(event: dict[str, Any], origin: str | None) -> None:
    """CORS headers are the function's where nothing else adds them; browsers refuse an answer that has them twice."""
    answer = number({**event, "body": json.dumps(FRAME)}, None)
    assert answer["headers"].get("Access-Control-Allow-Origin") == origin
    assert answer["headers"]["Content-Type"] == "application/json"


def test_preflights() -> None:
    """A page is told the methods and headers that it may send; without a page there is nothing to allow."""
    asked = number({"httpMethod": "OPTIONS", "headers": {"Origin": EDITOR}}, None)
    assert (asked["statusCode"], asked["body"]) == (204, "")
    assert asked["headers"]["Access-Control-Allow-Methods"] == "POST"
    assert "Content-Type" in asked["headers"]["Access-Control-Allow-Headers"]
    assert "Content-Type" not in asked["headers"]
    assert number({"httpMethod": "OPTIONS"}, None)["headers"] == {}


@pytest.mark.parametrize(("host", "status"), [("agent.example", 200), ("other.example", 403), (None, 403)])
def test_the_functions_own_origin(host: str | None, status: int) -> None:
    """A page of the function's own host may call it, as on the other servers."""
    headers = {"origin": "https://agent.example", **({} if host is None else {"host": host})}
    assert number({**V2, "headers": headers, "body": json.dumps(FRAME)}, None)["statusCode"] == status


def test_origins_of_ones_own() -> None:
    """A regular expression replaces the editor's origins, and is matched as a whole."""
    function = editor_agent(custom_cors_regex=r"https://mine\.example")(lambda: None)
    found = {
        origin: function({"headers": {"Origin": origin}, "body": json.dumps(FRAME)}, None)["statusCode"]
        for origin in ("https://mine.example", "https://mine.example.evil", EDITOR)
    }
    assert list(found.values()) == [200, 403, 403]


@pytest.mark.parametrize(
    ("headers", "several"),
    [
        ({"multiValueHeaders": {}}, True),
        ({"multiValueHeaders": {}, "headers": {}}, False),
        ({"headers": {}}, False),
        ({}, False),
    ],
)
def test_answers_to_load_balancers(headers: dict[str, Any], several: bool) -> None:
    """Lists of values are sent to a load balancer that reads no others, and to nothing else."""
    answer = number({"httpMethod": "POST", "body": json.dumps(FRAME), **headers}, None)
    assert answer["headers"] == {"Content-Type": "application/json"}
    assert answer.get("multiValueHeaders") == ({"Content-Type": ["application/json"]} if several else None)
    assert answer["isBase64Encoded"] is False


@pytest.mark.parametrize(("left", "seconds"), [(30_000, 29.0), (2_500, 1.5), (1_500, 0.75), (1_000, 0.5), (0, 0.0)])
def test_the_time_there_is(monkeypatch: pytest.MonkeyPatch, left: int, seconds: float) -> None:
    """An agent has the function's remaining time but a second, or half of it, so that there is time to answer."""
    given: list[tuple[float, bool]] = []

    def noted(self: EditorAgent, seconds: float, request: Any, *, is_base64: bool = False) -> Reply:
        given.append((seconds, is_base64))
        return Reply(200)

    monkeypatch.setattr(EditorAgent, "answer_within", noted)
    number({"body": "e30=", "isBase64Encoded": True}, Context(left))
    assert given == [(seconds, True)]


def test_an_agent_that_would_be_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is answered for before the function ends, with 504; without a limit it has all the time."""
    monkeypatch.setattr(wrappers, "MARGIN", 0.001)
    go_on, ended = threading.Event(), threading.Event()

    @editor_agent()
    def slow() -> None:
        go_on.wait(60)
        ended.set()

    try:
        status, body = told(slow(FRAME, Context(0)))
    finally:
        go_on.set()
    assert (status, "has not ended" in body["message"]) == (504, True)
    assert ended.wait(60)
    assert told(slow(FRAME, Context(60_000))) == told(slow(FRAME, object())) == (200, None)


@pytest.mark.parametrize("given", [False, True])
def test_options_reach_the_row(world: World, monkeypatch: pytest.MonkeyPatch, given: bool) -> None:
    """The row is listed and its labels are loaded as the decorator says."""
    for name, value in world.platform.environment().items():
        monkeypatch.setenv(name, value)
    event = boxed(world)
    seen: list[tuple[object, int]] = []

    def agent(row: LabelRowV2) -> None:
        seen.append((row.client_metadata, len(row.get_object_instances())))

    options: dict[str, Any] = {
        "label_row_metadata_include_args": LabelRowMetadataIncludeArgs(include_client_metadata=True),
        "label_row_initialise_labels_args": LabelRowInitialiseLabelsArgs(include_object_feature_hashes={"none"}),
    }
    assert told(editor_agent(**options if given else {})(agent)(event, None))[0] == 200
    assert seen == [({}, 0) if given else (None, 1)]


def test_parameters_that_nothing_supplies() -> None:
    """They are refused when the function is decorated, before any event comes."""
    with pytest.raises(DependencyError, match="lamp"):
        editor_agent()(lambda lamp: None)
