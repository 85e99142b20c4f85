"""What an editor agent promises, through each door, over real HTTP, against the local platform."""

from __future__ import annotations

import json
import logging
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import requests
from tests.disks import Disk
from tests.editors import DOORS, served

from encord_agents.core.data_model import EditorAgentResponse
from encord_agents.core.utils import download_asset
from encord_agents.editor.wire import MAX_BODY
from encord_agents.exceptions import EncordEditorAgentException

if TYPE_CHECKING:
    from tests.conftest import World

ORIGIN = "https://app.encord.com"

pytestmark = pytest.mark.parametrize("door", DOORS)


@pytest.fixture(autouse=True)
def credentials(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The agents' key, where they look for it."""
    for name, value in world.platform.environment().items():
        monkeypatch.setenv(name, value)


def body_for(world: World, data_hash: str, **others: Any) -> dict[str, Any]:
    return {"projectHash": world.project.project_hash, "dataHash": data_hash, "frame": 0, **others}


def nothing(*_: Any) -> None:
    """Return nothing."""


def test_labels_are_changed_and_a_message_is_answered(world: World, door: str) -> None:
    """The agent gets the row on the screen with its labels, saves them, and its message is the answer."""
    other, shown = (world.project.add_image(name) for name in ("other", "shown"))

    def agent(frame: Any, row: Any, client: Any) -> EditorAgentResponse:
        assert (str(frame.data_hash), frame.object_hashes) == (shown, ["abcdefgh"])
        world.mark(row, 0.5)
        row.save()
        return EditorAgentResponse(message=" one box ")

    with served(door, agent) as address:
        answer = requests.post(address, json=body_for(world, shown, objectHashes=["abcdefgh"]), timeout=60)
    assert (answer.status_code, answer.json()) == (200, {"message": "one box"})
    assert (world.marks(shown), world.marks(other)) == ([0.5], None)


def test_the_agents_own_exception_is_a_message(world: World, door: str) -> None:
    """`EncordEditorAgentException` is answered 400 with its message."""

    def agent(*_: Any) -> None:
        raise EncordEditorAgentException("Select an object first.")

    with served(door, agent) as address:
        answer = requests.post(address, json=body_for(world, world.project.add_image("a")), timeout=60)
    assert (answer.status_code, answer.json()) == (400, {"message": "Select an object first."})


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_failure_is_an_answer_that_the_editor_may_read(
    world: World, door: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A bug of the agent is logged with its traceback, and answered 500 with a sentence; the next request is served."""
    data_hash = world.project.add_image("a")
    broken = [True]

    def agent(*_: Any) -> None:
        if broken.pop():
            raise ZeroDivisionError("no boxes")

    with caplog.at_level(logging.ERROR, "encord_agents.editor"), served(door, agent) as address:
        answer = requests.post(address, json=body_for(world, data_hash), headers={"Origin": ORIGIN}, timeout=60)
        broken.append(False)
        again = requests.post(address, json=body_for(world, data_hash), timeout=60)
    assert answer.status_code == 500
    assert "no boxes" in answer.json()["message"]
    if not door.startswith("aws-2"):  # where the gateway adds them
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert again.status_code == 200
    assert any(record.exc_info for record in caplog.records)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_full_disk(world: World, door: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is answered 503 with a sentence about the file, and none about runs."""
    data_hash = world.project.add_image("a")
    Disk(monkeypatch, fails_at="write")

    def agent(frame: Any, row: Any, client: Any) -> None:
        with download_asset(client.get_storage_item(row.backing_item_uuid, sign_url=True)):
            raise AssertionError("there is a file")

    with served(door, agent) as address:
        answer = requests.post(address, json=body_for(world, data_hash), timeout=60)
    assert answer.status_code == 503
    message = answer.json()["message"]
    assert message.startswith("The file of 'a' cannot be kept on this machine: No space left on device")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("content", "status", "told"),
    [
        ("", 400, "body|required"),
        ("{", 400, "JSON"),
        ("[]", 400, "object|dictionary|FrameData"),
        ('{"projectHash": 1, "dataHash": 2, "frame": 0}', 400, "projectHash"),
        ('{"frame": -1}', 400, "dataHash"),
        ("{project}", 400, "Did you mean 'objectHashes'"),
        (" " * (MAX_BODY + 1), 413, "bytes"),
    ],
    ids=["empty", "no JSON", "a list", "wrong types", "missing", "misspelt", "huge"],
)
def test_a_bad_request_is_a_4xx_with_a_sentence(world: World, door: str, content: str, status: int, told: str) -> None:
    """Whatever else is sent, the agent is not called, and the answer says what is wrong."""
    called: list[Any] = []
    if content == "{project}":
        content = json.dumps(body_for(world, world.project.add_image("a"), objectHash=["a"]))
    with served(door, lambda *found: called.append(found)) as address:
        answer = requests.post(address, data=content, headers={"Content-Type": "application/json"}, timeout=60)
    assert answer.status_code in ({400, 422} if status == 400 else {status}), answer.text
    assert re.search(told, answer.json()["message"]), answer.text
    assert not called


def test_no_such_row_is_404_and_no_permission_403(world: World, door: str) -> None:
    """A data unit that the project does not have, and a project that the key does not reach, are told apart."""
    unknown = "00000000-0000-0000-0000-000000000000"
    with served(door, nothing) as address:
        no_row = requests.post(address, json=body_for(world, unknown), timeout=60)
        no_project = requests.post(address, json=body_for(world, unknown) | {"projectHash": unknown}, timeout=60)
    assert (no_row.status_code, no_project.status_code) == (404, 403)
    assert unknown in no_row.json()["message"]
    assert no_project.json()["message"]


def test_the_platform_tries_whether_it_can_be_reached(world: World, door: str) -> None:
    """A request with the test header is answered 200, and the agent is not called."""
    with served(door, lambda *_: 1 / 0) as address:
        answer = requests.post(
            address, json={}, headers={"X-Encord-Editor-Agent": "test", "Origin": ORIGIN}, timeout=60
        )
    assert answer.status_code == 200
    if not door.startswith("aws-2"):
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN


def test_only_the_editors_pages_may_call(world: World, door: str) -> None:
    """Preflights and calls of other origins are refused, also of those that contain the editor's name."""
    data_hash = world.project.add_image("a")
    called: list[Any] = []
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    with served(door, lambda *found: called.append(found)) as address:
        for origin in (ORIGIN, "https://app.us.encord.com", "https://app.encord.com.evil.org", "https://evil.org"):
            before = requests.options(address, headers={"Origin": origin, **asks}, timeout=60)
            answer = requests.post(address, json=body_for(world, data_hash), headers={"Origin": origin}, timeout=60)
            is_editor = "evil" not in origin
            assert (before.status_code < 300, answer.status_code < 300) == (is_editor, is_editor), origin
            assert before.headers.get("Access-Control-Allow-Origin") == (origin if is_editor else None)
    assert len(called) == 2


@pytest.mark.parametrize(
    "origin",
    [
        "https://app.encord.com.evil.com",
        "https://app.encord.com@evil.com",
        "https://[evil",
        "null",
        "https://app.encord.com/",
    ],
)
def test_origins_that_look_alike(world: World, door: str, origin: str) -> None:
    """They are refused, however odd they are, in calls, in preflights, and when they claim to be a trial."""
    body = body_for(world, world.project.add_image("a"))
    preflight = {"Access-Control-Request-Method": "POST"}
    with served(door, nothing) as address:
        call = requests.post(address, json=body, headers={"Origin": origin}, timeout=60)
        trial = requests.post(address, headers={"Origin": origin, "X-Encord-Editor-Agent": "1"}, timeout=60)
        asked = requests.options(address, headers={"Origin": origin, **preflight}, timeout=60)
    assert (call.status_code, trial.status_code) == (403, 403)
    assert asked.status_code in (400, 403)
    assert not {"access-control-allow-origin"} & {name.lower() for one in (call, trial, asked) for name in one.headers}


def test_agents_on_one_row_keep_each_others_labels(world: World, door: str) -> None:
    """Requests for one row are served one after the other; each agent sees the labels that those before it saved."""
    data_hash = world.project.add_image("a")
    inside, most = [0], [0]
    lock = threading.Lock()

    def agent(frame: Any, row: Any, client: Any) -> None:
        with lock:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
        world.mark(row, frame.frame / 100)
        row.save()
        with lock:
            inside[0] -= 1

    with served(door, agent) as address, ThreadPoolExecutor(12) as pool:
        bodies = [{**body_for(world, data_hash), "frame": number} for number in range(12)]
        answers = [*pool.map(lambda body: requests.post(address, json=body, timeout=120).status_code, bodies)]
    assert answers == [200] * 12
    assert most == [1]
    assert sorted(world.marks(data_hash) or ()) == [number / 100 for number in range(12)]


def test_each_request_has_its_own_trace_id(world: World, door: str) -> None:
    """The agent's client sends the trace id of its own request, also where requests are served at the same time."""
    hashes = [world.project.add_image(str(number)) for number in range(4)]
    together = threading.Barrier(4, timeout=60)
    seen: dict[str, str] = {}

    def agent(frame: Any, row: Any, client: Any) -> None:
        together.wait()
        provider = client._config.requests_settings.trace_id_provider
        seen[str(frame.data_hash)] = provider() if provider else ""

    def call(number: int) -> int:
        headers = {"X-Cloud-Trace-Context": f"{number:032x}/7;o=1"} if number else {}
        return requests.post(address, json=body_for(world, hashes[number]), headers=headers, timeout=120).status_code

    with served(door, agent) as address, ThreadPoolExecutor(4) as pool:
        assert [*pool.map(call, range(4))] == [200] * 4
    assert f"{0:032x}" not in seen[hashes[0]]
    for number in (1, 2, 3):
        assert seen[hashes[number]].startswith(f"{number:032x}/")
