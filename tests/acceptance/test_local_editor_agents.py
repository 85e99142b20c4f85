"""The local platform calls editor agents: who may have it call, what it sends, and who is named in the history."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
from tests.editors import served
from tests.served_agents import serving

from encord_agents.core.data_model import EditorAgentResponse
from encord_agents.local import history

if TYPE_CHECKING:
    from tests.conftest import World


@pytest.fixture
def press(world: World) -> Callable[..., requests.Response]:
    """Press an agent's button on the page of a data unit, as a browser without scripts does."""

    def pressed(data_hash: str, agent: str, *objects: str, headers: dict[str, str] | None = None, **fields: Any) -> Any:
        task = world.task_of(data_hash)
        address = f"{world.platform.domain}/projects/{world.project.project_hash}/tasks/{task}/agents"
        form = {"token": token(world), "agent": agent, "frame": "0"} | fields
        return requests.post(address, params={"object": objects}, data=form, headers=headers, timeout=60)

    return pressed


def token(world: World) -> str:
    page = requests.get(world.platform.domain, timeout=30).text
    return page.partition('data-token="')[2].partition('"')[0]


def events(world: World, data_hash: str) -> list[tuple[str, str]]:
    """The history of a data unit, oldest first: kinds and clients."""
    database = world.platform._service.database
    with database.read() as connection:
        (unit,) = connection.execute("SELECT id FROM units WHERE data_hash = ?", (data_hash,)).fetchone()
    return [(event.kind, event.client) for event in reversed(history.of_unit(database, unit, "main"))]


def shown(response: requests.Response) -> str:
    """What the page says of the call."""
    found = re.search(r'data-outcome="\w+">(.*?)</div>', response.text, re.DOTALL)
    return found[1] if found else ""


@pytest.mark.parametrize("door", ["fastapi", "gcp", "aws-2"])
def test_every_door_takes_what_it_sends(world: World, press: Any, door: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The labels are saved by the agent, the task goes where it decides, and the history says who did both."""
    for name, value in world.platform.environment().items():
        monkeypatch.setenv(name, value)
    data_hash = world.project.add_image("a")
    seen: list[Any] = []

    def agent(frame: Any, row: Any, client: Any) -> Any:
        seen.append(frame)
        world.mark(row)
        row.save()
        return EditorAgentResponse(message="Grün & <b>", decision="review")

    with served(door, agent) as address:
        world.platform.add_editor_agent("box", address)
        answer = press(data_hash, "box", "abcdefgh")
    assert answer.status_code == 200
    assert "Grün &amp; &lt;b&gt;" in shown(answer)
    assert "to Review" in shown(answer)
    ((frame,),) = (seen,)
    assert (str(frame.data_hash), frame.frame, frame.object_hashes) == (data_hash, 0, ["abcdefgh"])
    assert len(world.marks(data_hash) or ()) == 1
    assert world.titles("Review") == ["a"]
    assert events(world, data_hash) == [(kind, "Editor agent box") for kind in ("call", "save", "move")]


def test_a_task_that_left_meanwhile_stays_where_it_is(
    world: World, press: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A decision is about the stage in which the agent was called."""
    for name, value in world.platform.environment().items():
        monkeypatch.setenv(name, value)
    data_hash = world.project.add_image("a")

    def agent(frame: Any, row: Any, client: Any) -> Any:
        world.project.act("move", "Pre-label", destination="Triage")
        return EditorAgentResponse(decision="complete")

    with served("fastapi", agent) as address:
        world.platform.add_editor_agent("box", address)
        assert "has left the stage meanwhile" in shown(press(data_hash, "box"))
    assert world.titles("Triage") == ["a"]


def test_a_save_after_the_time_is_over_is_still_the_agents(
    world: World, press: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page says that the agent is late; what it saves later has its name."""
    for name, value in world.platform.environment().items():
        monkeypatch.setenv(name, value)
    world.platform.settings.agent_timeout = 0.5
    data_hash = world.project.add_image("a")
    go_on, done = threading.Event(), threading.Event()

    def agent(frame: Any, row: Any, client: Any) -> None:
        assert go_on.wait(60)
        world.mark(row)
        row.save()
        done.set()

    with served("fastapi", agent) as address:
        world.platform.add_editor_agent("box", address)
        assert "has not answered within 0.5 s" in shown(press(data_hash, "box"))
        assert world.marks(data_hash) is None
        go_on.set()
        assert done.wait(60)
    assert events(world, data_hash)[-1] == ("save", "Editor agent box")


def test_only_the_page_can_have_an_agent_called(world: World, press: Any) -> None:
    """Not without the page's token, not from pages of other origins; and nobody registers one in this way."""
    data_hash = world.project.add_image("a")
    called: list[Any] = []

    with served("fastapi", lambda *found: called.append(found)) as address:
        world.platform.add_editor_agent("box", address)
        assert press(data_hash, "box", token="0" * 64).status_code == 403
        for headers in (
            {"Origin": "https://app.encord.com"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Host": "evil.example"},
        ):
            assert press(data_hash, "box", headers=headers).status_code == 403
            for path, fields in (
                ("/agents", {"name": "evil", "address": "http://127.0.0.1/"}),
                ("/agents/change", {"agent": "box", "do": "remove"}),
            ):
                form = fields | {"token": token(world)}
                answer = requests.post(world.platform.domain + path, data=form, headers=headers, timeout=60)
                assert answer.status_code == 403
    assert called == []
    assert [*world.platform.editor_agents()] == ["box"]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"agent": "nobody"}, 404),
        ({"agent": ""}, 404),
        ({"frame": "1"}, 400),
        ({"frame": "-1"}, 400),
        ({"frame": "٣"}, 400),
        ({"frame": "9" * 500}, 400),
        ({}, 400),
    ],
)
def test_odd_requests_call_nobody(world: World, press: Any, change: dict[str, str], status: int) -> None:
    """An agent that is not registered, a frame that is not there, hashes that are none."""
    data_hash = world.project.add_image("a")
    called: list[Any] = []
    with served("fastapi", lambda *found: called.append(found)) as address:
        world.platform.add_editor_agent("box", address)
        objects = () if change else ("x" * 101,)
        answer = press(data_hash, change.get("agent", "box"), *objects, frame=change.get("frame", "0"))
    assert answer.status_code == status
    assert called == []


def test_too_many_calls_at_once_are_told_to_wait(world: World, press: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slow agents do not take all threads of the page."""
    from encord_agents.local.page import outcomes

    for name, value in world.platform.environment().items():
        monkeypatch.setenv(name, value)
    hashes = [world.project.add_image(str(number)) for number in range(outcomes.CALLS_AT_ONCE + 1)]
    go_on = threading.Event()
    inside = threading.Semaphore(0)

    def agent(frame: Any, row: Any, client: Any) -> None:
        inside.release()
        assert go_on.wait(60)

    with served("gcp", agent) as address:
        world.platform.add_editor_agent("box", address)
        threads = [threading.Thread(target=press, args=(data_hash, "box")) for data_hash in hashes[:-1]]
        try:
            for thread in threads:
                thread.start()
            for _ in threads:
                assert inside.acquire(timeout=60)
            answer = press(hashes[-1], "box")
            assert (answer.status_code, "at work already" in answer.text) == (503, True)
        finally:
            go_on.set()
            for thread in threads:
                thread.join()
        assert press(hashes[-1], "box").status_code == 200


def test_addresses_of_the_editor_lead_to_the_task(world: World) -> None:
    """``encord-agents test`` prints them, with or without a frame."""
    data_hash = world.project.add_image("a")
    start = f"{world.platform.domain}/label_editor/{world.project.project_hash}"
    for rest in ("", "/0"):
        answer = requests.get(f"{start}/{data_hash}{rest}", timeout=60)
        assert answer.status_code == 200
        assert world.task_of(data_hash) in answer.url
    assert requests.get(f"{start}/nothing", timeout=60).status_code == 404


def test_served_by_the_command(world: World, press: Any, tmp_path: Path) -> None:
    """Agents in a process of their own, as ``encord-agents serve`` serves them, save what is then there."""
    data_hash = world.project.add_image("a")
    with serving(world.platform, tmp_path) as address:
        world.platform.add_editor_agent("box", f"{address}/box")
        world.platform.add_editor_agent("wrong", f"{address}/nothing")
        assert "A box on frame 0" in shown(press(data_hash, "box"))
        assert "nothing at its address" in shown(press(data_hash, "wrong"))
    assert world.marks(data_hash) == [0.25]
    assert "encord-agents serve" in shown(press(data_hash, "box"))


def test_registered_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also while the platform is up; addresses are listed without their queries, and mistakes are messages."""
    from encord_agents.cli.main import app
    from encord_agents.exceptions import PrintableError
    from encord_agents.local import LocalPlatform

    def run(*arguments: str) -> str:
        app(["local", "agents", *arguments, "--data", str(tmp_path)], standalone_mode=False)
        return capsys.readouterr().out

    with LocalPlatform(tmp_path) as platform:
        assert "local agents add" in run("list")
        run("add", "box", "http://127.0.0.1:8080/box?code=secret")
        run("add", "far", "https://agents.example.com/far", "--elsewhere")
        assert run("list").splitlines() == ["box  http://127.0.0.1:8080/box", "far  https://agents.example.com/far"]
        page = requests.get(f"{platform.domain}/agents", timeout=60).text
        assert "http://127.0.0.1:8080/box" in page
        assert "secret" not in page
        run("remove", "far")
        assert [*platform.editor_agents()] == ["box"]
        with pytest.raises(PrintableError, match="not this machine"):
            run("add", "far", "https://agents.example.com/far")
        with pytest.raises(PrintableError, match="no editor agent"):
            run("remove", "far")
