"""Whatever is sent to an editor agent, through any door: an answer with a sentence, and never a failure of ours."""

from __future__ import annotations

import asyncio
import http.client
import importlib
import inspect
import json
import logging
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
import requests
import werkzeug
from starlette.exceptions import HTTPException
from tests.editors import DOORS, served
from tests.thorough import THOROUGH

from encord_agents.core.data_model import EditorAgentResponse, FrameData
from encord_agents.editor.wire import MAX_BODY
from encord_agents.exceptions import EncordEditorAgentException

if TYPE_CHECKING:
    from tests.conftest import World

JSON = {"Content-Type": "application/json"}


class Counted:
    """An agent that keeps what it was called with."""

    def __init__(self) -> None:
        self.frames: list[Any] = []

    def __call__(self, frame: Any, row: Any, client: Any) -> EditorAgentResponse:
        self.frames.append(frame)
        return EditorAgentResponse(message="Grün 🙂")


FRAMEWORKS = DOORS if THOROUGH else ("fastapi", "gcp", "aws-2")
"""One door of each framework, for what is the same however AWS writes the request down."""

of_each_framework = pytest.mark.parametrize("door", FRAMEWORKS, indirect=True, scope="module")


@pytest.fixture(scope="module", params=DOORS)
def door(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def credentials(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in world.platform.environment().items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def good(world: World) -> dict[str, Any]:
    """A request that is served."""
    return {"projectHash": world.project.project_hash, "dataHash": world.project.add_image("a"), "frame": 0}


@pytest.fixture
def agent(door: str) -> Iterator[tuple[str, Counted]]:
    counted = Counted()
    with served(door, counted) as address:
        yield address, counted


ACCEPTED: dict[str, Any] = {
    "as it is": {},
    "a field that is new": {"annotatorEmail": "a@b.c", "nested": {"a": [1]}},
    "objects": {"objectHashes": ["abc", "ünï", "🙂"]},
    "no objects": {"objectHashes": []},
    "half a character": {"objectHashes": ["\ud800"]},
    "null for objects": {"objectHashes": None},
    "a frame as text": {"frame": "7"},
    "snake case": {"objectHashes": None, "object_hashes": ["abc"]},
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_what_is_served(agent: tuple[str, Counted], good: dict[str, Any], case: str) -> None:
    """New fields are ignored, and unicode comes back as it was."""
    address, counted = agent
    answer = requests.post(address, data=json.dumps({**good, **ACCEPTED[case]}), headers=JSON, timeout=60)
    assert (answer.status_code, answer.json()) == (200, {"message": "Grün 🙂"})
    (frame,) = counted.frames
    assert str(frame.data_hash) == good["dataHash"]
    if case == "objects":
        assert frame.object_hashes == ["abc", "ünï", "🙂"]


def test_a_frame_that_is_left_out_is_the_first(agent: tuple[str, Counted], good: dict[str, Any]) -> None:
    """The platform's specification has it optional."""
    address, counted = agent
    del good["frame"]
    assert requests.post(address, json=good, timeout=60).status_code == 200
    assert counted.frames[0].frame == 0


REFUSED: dict[str, Any] = {
    "a field misspelt": {"objectHashs": ["abc"]},
    "frame: words": {"frame": "x"},
    "frame: negative": {"frame": -1},
    "frame: broken": {"frame": 1.5},
    "frame: null": {"frame": None},
    "frame: list": {"frame": [1]},
    "project: number": {"projectHash": 5},
    "project: words": {"projectHash": "mine"},
    "data: null": {"dataHash": None},
    "objects: text": {"objectHashes": "abc"},
    "objects: numbers": {"objectHashes": [1, 2]},
    "objects: object": {"objectHashes": {"a": 1}},
    "frame: surrogate": {"frame": "\ud800"},
}


@of_each_framework
@pytest.mark.parametrize("case", REFUSED)
def test_fields_that_are_wrong(agent: tuple[str, Counted], good: dict[str, Any], case: str) -> None:
    """4xx with a sentence that names the field, and the agent is not called."""
    address, counted = agent
    answer = requests.post(address, data=json.dumps({**good, **REFUSED[case]}), headers=JSON, timeout=60)
    assert answer.status_code in (400, 422)
    message = answer.json()["message"]
    assert ("Did you mean" in message) if "misspelt" in case else (next(iter(REFUSED[case])) in message), message
    assert counted.frames == []


BODIES: dict[str, bytes] = {
    "nothing": b"",
    "blanks": b" \r\n",
    "half": b'{"projectHash": "',
    "text": b'"x"',
    "number": b"1",
    "null": b"null",
    "list": b"[{}]",
    "empty object": b"{}",
    "not UTF-8": b'{"a": "\xff\xfe"}',
    "nested deeply": b"[" * 200_000,
    "nested deeply and whole": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "digits": b'{"frame": ' + b"9" * 5_000 + b"}",
    "a number beyond all": b'{"frame": 1e999}',
    "not a number": b'{"frame": NaN}',
    "a form": b"projectHash=a&dataHash=b",
}


@pytest.mark.parametrize("case", BODIES)
def test_bodies_that_are_wrong(agent: tuple[str, Counted], case: str) -> None:
    """4xx with a sentence, and the agent is not called."""
    address, counted = agent
    answer = requests.post(address, data=BODIES[case], headers=JSON, timeout=60)
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.json()["message"].endswith((".", "?"))
    assert counted.frames == []


@pytest.mark.parametrize("chunked", [False, True])
def test_huge_bodies(agent: tuple[str, Counted], good: dict[str, Any], door: str, chunked: bool) -> None:
    """413, whether their size is announced or not."""
    if chunked and door.startswith("aws"):
        return  # a gateway announces it
    address, counted = agent
    body = json.dumps({**good, "more": "x" * MAX_BODY}).encode()
    answer = requests.post(address, data=iter([body[:9], body[9:]]) if chunked else body, headers=JSON, timeout=60)
    assert (answer.status_code, "bytes" in answer.json()["message"]) == (413, True)
    assert counted.frames == []


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_wrong_methods(agent: tuple[str, Counted], good: dict[str, Any], method: str) -> None:
    """405 with a sentence."""
    address, counted = agent
    answer = requests.request(method, address, json=good, timeout=60)
    assert answer.status_code == 405
    assert answer.json()["message"]
    assert counted.frames == []


RAISED: dict[str, tuple[Any, int, str]] = {
    "its message": (lambda: EncordEditorAgentException("Select one.\n🙂"), 400, "Select one.\n🙂"),
    "an HTTPException": (lambda: HTTPException(418, "A teapot.", {"X-Tea": "yes"}), 418, "A teapot."),
    "a bug": (lambda: KeyError("x"), 500, "KeyError: 'x'"),
    "an exit": (lambda: SystemExit(3), 500, "SystemExit"),
    "a secret": (lambda: ValueError("https://a/b?X-Amz-Signature=topsecret0123456789"), 500, "ValueError"),
    "half a character": (lambda: ValueError("\ud800"), 500, "ValueError"),
    "a header in a header": (lambda: HTTPException(418, "x", {"X-Tea": "yes", "X-A": "b\r\nX-Evil: 1"}), 418, "x"),
    "its message, in a task of several": (lambda: ExceptionGroup("g", [EncordEditorAgentException("No.")]), 400, "No."),
    "a cancelled call": (lambda: asyncio.CancelledError("x"), 500, "CancelledError"),
    "without a detail": (lambda: HTTPException(418, "", {"X-Tea": "yes"}), 418, "418."),
    "Flask's abort": (lambda: werkzeug.exceptions.HTTPException(response=werkzeug.Response("Pay.", 402)), 402, "Pay."),
}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@of_each_framework
@pytest.mark.parametrize("case", RAISED)
def test_what_an_agent_raises(door: str, good: dict[str, Any], case: str, caplog: pytest.LogCaptureFixture) -> None:
    """Its own message and status where it has them, 500 otherwise; and the next request is served."""
    caplog.set_level(logging.CRITICAL, "encord_agents.editor")  # half a character in it is too much for pytest-xdist
    make, status, told = RAISED[case]
    raises = [True]

    def agent(*_: Any) -> None:
        if raises.pop():
            raise make()

    with served(door, agent) as address:
        answer = requests.post(address, json=good, timeout=60)
        raises.append(False)
        assert requests.post(address, json=good, timeout=60).status_code == 200
    assert answer.status_code == status
    assert told in answer.json()["message"]
    assert "topsecret" not in answer.text
    assert "X-Evil" not in answer.headers
    if status == 418:
        assert answer.headers["X-Tea"] == "yes"


class OddException(EncordEditorAgentException):
    """One whose body is made by its own code."""

    def __init__(self, body: Any) -> None:
        super().__init__("Odd.")
        self.body = body

    @property
    def json_response_body(self) -> Any:
        return self.body() if callable(self.body) else self.body


CYCLE: dict[str, Any] = {"message": "Round."}
CYCLE["self"] = CYCLE
ODD: dict[str, tuple[Any, Any]] = {
    "more fields": ({"message": "No.", "code": 3}, {"message": "No.", "code": 3}),
    "no message": ({"code": 3}, {"message": "Odd.", "code": 3}),
    "no object": (["x"], {"message": "Odd."}),
    "no JSON": ({"message": "No.", "at": Path("/x"), "what": {1}}, {"message": "No.", "at": "/x", "what": [1]}),
    "a cycle": (CYCLE, {"message": "Odd."}),
    "raises": (lambda: 1 / 0, {"message": "Odd."}),
}


@of_each_framework
@pytest.mark.parametrize("case", ODD)
def test_what_an_agents_own_exception_says(door: str, good: dict[str, Any], case: str) -> None:
    """Subclasses have bodies of their own; there is a message in each, and never a failure of the answer."""

    def agent(*_: Any) -> None:
        raise OddException(ODD[case][0])

    with served(door, agent) as address:
        answer = requests.post(address, json=good, timeout=60)
    assert (answer.status_code, answer.json()) == (400, ODD[case][1])


class Scored(EditorAgentResponse):
    score: float = 0.0
    inner: EditorAgentResponse | None = None


def test_an_answer_with_fields_of_its_own(door: str, good: dict[str, Any]) -> None:
    """A subclass of the answer is sent whole."""
    with served(door, lambda *_: Scored(message=" ok ", score=0.5, inner=EditorAgentResponse(message="a"))) as address:
        answer = requests.post(address, json=good, timeout=60)
    assert (answer.status_code, answer.json()) == (200, {"message": "ok", "score": 0.5, "inner": {"message": "a"}})


def test_the_agent_within_the_function(door: str) -> None:
    """`__wrapped__` is the agent itself, for unit tests, and the function's own parameters are the door's."""
    if door == "fastapi":
        return

    def agent(frame_data: FrameData) -> int:
        return frame_data.frame + 1

    function: Any = importlib.import_module(f"encord_agents.{door[:3]}").editor_agent()(agent)
    assert function.__wrapped__(FrameData(project_hash=UUID(int=1), data_hash=UUID(int=2), frame=3)) == 4
    assert list(inspect.signature(function).parameters) == (["request"] if door == "gcp" else ["event", "context"])


def test_a_message_that_cannot_be_sent_as_it_is(door: str, good: dict[str, Any]) -> None:
    """Half a character in an agent's message does not make a failure of the answer."""
    with served(door, lambda *_: EditorAgentResponse(message="a\ud800b")) as address:
        answer = requests.post(address, json=good, timeout=60)
    assert answer.status_code == 200
    assert answer.json()["message"].startswith("a")


@of_each_framework
@pytest.mark.parametrize("returned", [1, "text", {"message": "as JSON"}, [1], object(), EditorAgentResponse])
def test_other_return_values_are_not_sent(door: str, good: dict[str, Any], returned: Any) -> None:
    """Only an `EditorAgentResponse` is for the editor; FastAPI sends what an endpoint returns, as it always does."""
    with served(door, lambda *_: returned) as address:
        answer = requests.post(address, json=good, timeout=60)
    if door != "fastapi":
        assert (answer.status_code, answer.text) == (200, "")


def test_a_client_that_goes_away(door: str, good: dict[str, Any]) -> None:
    """The agent ends what it has begun, and the row is free for the next request."""
    begun, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def agent(*_: Any) -> None:
        if not ended.is_set():
            begun.set()
            assert go_on.wait(60)
            ended.set()

    with served(door, agent) as address:
        host, port = address.split("/")[2].split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=60)
        connection.request("POST", "/agent", json.dumps(good), JSON)
        assert begun.wait(60)
        assert connection.sock is not None
        connection.sock.shutdown(socket.SHUT_RDWR)
        connection.close()
        go_on.set()
        assert ended.wait(60)
        assert requests.post(address, json=good, timeout=60).status_code == 200


def test_half_a_request(agent: tuple[str, Counted], good: dict[str, Any]) -> None:
    """A body that ends before its announced length calls nobody, and the server serves on."""
    address, counted = agent
    host, port = address.split("/")[2].split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            b"POST /agent HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
        )
        connection.shutdown(socket.SHUT_WR)
        connection.recv(65536)
    assert requests.post(address, json=good, timeout=60).status_code == 200
    assert len(counted.frames) == 1
