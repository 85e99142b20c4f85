"""Stage runs in one process: which driver is used, and what is kept from one to the next."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from encord_agents.tasks.engine.events import Event, Events, TaskFinished, TaskRef
from encord_agents.tasks.engine.stop import Stop
from encord_agents.tasks.runner import in_process
from encord_agents.tasks.runner.connection import Connection
from encord_agents.tasks.runner.in_process import InProcessRuns
from encord_agents.tasks.runner.run_options import RunnerOptions

if TYPE_CHECKING:
    from tests.conftest import World

Take = Callable[..., InProcessRuns]


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def take(world: World, events: list[Event]) -> Iterator[Take]:
    """Runs an agent over its stage, with options of a run."""
    connections: list[Connection] = []

    def take(function: Callable[..., Any], **options: Any) -> InProcessRuns:
        runner = world.agent(function)
        project = runner._project_for(None)
        (agent,) = runner._bind_all(project)
        connections.append(Connection(runner, project, max_outage=1.0))
        gate = connections[-1].gate(Stop())
        found = InProcessRuns(connections[-1], RunnerOptions(**options), gate, Events([], record=events.append), None)
        found.run(agent)
        return found

    yield take
    for connection in connections:
        connection.loop.close()


def finished(events: list[Event]) -> list[str]:
    return [event.task.data_title for event in events if isinstance(event, TaskFinished)]


async def is_async() -> str:
    return "complete"


@pytest.mark.parametrize(
    ("function", "window", "driver"),
    [
        (lambda: "complete", 1, "run_one_by_one"),
        (lambda: "complete", 2, "Pipeline"),
        (is_async, 1, "Pipeline"),
    ],
)
def test_by_which_driver(
    world: World, take: Take, monkeypatch: pytest.MonkeyPatch, function: Any, window: int, driver: str
) -> None:
    """One task after the other where the window is one, unless coroutines have to run; else the one that overlaps."""
    used = []
    for name in ("run_one_by_one", "Pipeline"):
        real = getattr(in_process, name)
        monkeypatch.setattr(in_process, name, lambda *args, name=name, real=real: used.append(name) or real(*args))
    world.project.add_placeholders(2)
    take(function, task_batch_size=window)
    assert used == [driver]
    assert world.count("Done") == 2


def test_so_many_tasks(world: World, take: Take, events: list[Event]) -> None:
    """The options of the run hold in each stage run."""
    for title in ("a", "b", "c"):
        world.project.add_placeholders(1, title=title)
    take(lambda: "complete", max_tasks_per_stage=2)
    assert finished(events) == ["a", "b"]
    assert world.titles("Pre-label") == ["c"]


def test_a_dry_run(world: World, take: Take, events: list[Event]) -> None:
    """It attempts the tasks and moves none."""
    world.project.add_placeholders(2)
    take(lambda: "complete", dry_run=True)
    assert len(finished(events)) == world.count("Pre-label") == 2


@pytest.mark.parametrize("window", [1, 2])
def test_an_agent_that_ends_the_run(world: World, take: Take, window: int) -> None:
    """The reason is kept, for the report."""

    def fails() -> str:
        raise ValueError

    world.project.add_placeholders(5)
    found = take(fails, max_consecutive_failures=2, num_retries=0, task_batch_size=window)
    assert "2 tasks of stage 'Pre-label' failed in a row" in (found.halted or "")
    assert found.gate.stop.requested


def test_unwritten_tasks_are_kept_from_run_to_run(world: World, take: Take) -> None:
    """Those of an earlier stage are still listed after the next one."""
    found = take(lambda: "complete")
    earlier = TaskRef(UUID(int=1), UUID(int=2), "earlier", UUID(int=3), "Elsewhere")
    found.unwritten.append(earlier)
    found.unconfirmed.add(earlier.uuid)
    world.project.add_placeholders(1)
    (agent,) = found.connection.runner._bind_all(found.connection.project)
    found.run(agent)
    assert world.count("Done") == 1
    assert (found.unwritten, found.unconfirmed) == ([earlier], {earlier.uuid})


def test_a_window_of_one_has_no_threads(world: World, take: Take) -> None:
    """Everything is done in the caller's thread."""
    seen: list[int] = []
    world.project.add_placeholders(2)
    before = threading.active_count()
    take(lambda: seen.append(threading.active_count()) or "complete", task_batch_size=1)
    assert max(seen) <= before
