"""`max_consecutive_failures`, `retry_delay`, and whose attempt comes next."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from encord.objects import LabelRowV2
from encord.workflow.stages.agent import AgentTask
from tests.drivers import RUNNERS, ByThreads, Driver

from encord_agents.exceptions import PrintableError
from encord_agents.tasks import QueueRunner
from encord_agents.tasks.engine.events import AttemptFailed, PassFinished
from encord_agents.tasks.engine.stop import Stop
from encord_agents.tasks.models import TaskAgentReturnStruct

if TYPE_CHECKING:
    from tests.conftest import World

MOST = 3
DRIVERS: list[Driver] = [*RUNNERS, ByThreads("drain", batch_size=2)]
ONE_WORKER = [RUNNERS[0], RUNNERS[1]]
AT_WORK = 12
"""Tasks, at most, that are with any of the drivers' workers when the last one fails that is endured."""


def limited(driver: Driver, most: int | None = MOST) -> Driver:
    """The driver, with the option."""
    made = object.__new__(type(driver))
    made.__dict__ |= {**driver.__dict__, "options": {**driver.options, "max_consecutive_failures": most}}
    return made


@pytest.mark.parametrize("pathway", [None, "review"])
@pytest.mark.parametrize("driver", DRIVERS, ids=str)
def test_so_many_failures_in_a_row_end_the_run(world: World, driver: Driver, pathway: str | None) -> None:
    """With a failure pathway and without: the others stay as they are, and the report says why the run ended."""
    world.project.add_placeholders(40)

    def agent() -> None:
        raise ValueError("the model is gone")

    report = limited(driver).run(world, agent, failure_pathway=pathway).report
    assert report is not None
    assert MOST <= report.failed <= MOST + AT_WORK
    assert report.stopped == "3 tasks of stage 'Pre-label' failed in a row (max_consecutive_failures=3)"
    assert report.exit_code == 1
    assert world.count("Review") == 0


@pytest.mark.parametrize("driver", ONE_WORKER, ids=str)
def test_with_one_worker_it_is_exactly_so_many(world: World, driver: Driver) -> None:
    """None is attempted after them."""
    world.project.add_placeholders(40)

    def agent() -> None:
        raise ValueError

    report = limited(driver).run(world, agent).report
    assert report is not None
    assert (report.failed, report.attempts) == (MOST, MOST)


@pytest.mark.parametrize("driver", DRIVERS, ids=str)
def test_a_success_begins_the_count_anew(world: World, driver: Driver) -> None:
    """Failures that are not in a row are endured."""
    world.project.add_placeholders(30)
    lock, calls = threading.Lock(), 0

    def agent() -> str:
        nonlocal calls
        with lock:
            calls += 1
            if calls % 2:
                raise ValueError
        return "complete"

    told = limited(driver, most=8).run(world, agent)  # workers may end their attempts in another order
    assert told.counts == {"moved": 15, "failed": 15}
    assert told.report is not None
    assert told.report.stopped is None


@pytest.mark.parametrize("driver", DRIVERS, ids=str)
def test_refused_labels_count(world: World, driver: Driver) -> None:
    """An agent whose every label is refused ends the run, too."""
    for data_hash in world.project.add_placeholders(20):
        world.project.refuse_row(data_hash)

    def agent(label_row: LabelRowV2) -> TaskAgentReturnStruct:
        return TaskAgentReturnStruct("complete", label_row)

    report = limited(driver).run(world, agent).report
    assert report is not None
    assert report.stopped is not None
    assert "max_consecutive_failures=3" in report.stopped
    assert {record.phase for record in report.failures} == {"save"}


def passes(number: int) -> tuple[Stop, Callable[[Any], None]]:
    """Return a stop, and an observer that requests it after so many passes."""
    stop = Stop()

    def end(event: Any) -> None:
        if isinstance(event, PassFinished) and event.number == number:
            stop.request()

    return stop, end


@pytest.mark.parametrize("pathway", [None, "review"])
@pytest.mark.parametrize("driver", DRIVERS, ids=str)
def test_a_task_that_fails_in_each_pass_counts_once(
    world: World, driver: Driver, pathway: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A runner that polls is not ended by the few that always fail, with a failure pathway either."""
    monkeypatch.setattr("encord_agents.tasks.engine.dead_letter.FAILURES_IN_A_ROW", 2)
    world.project.add_placeholders(1)
    stop, end = passes(3)

    def agent() -> None:
        raise ValueError

    polling = driver.having(refresh_every=1, max_consecutive_failures=2, stop=stop)
    report = polling.run(world, agent, failure_pathway=pathway, observers=[end]).report
    assert report is not None
    assert (report.failed, report.attempts, report.stopped) == (1, 3, "asked to stop")


@pytest.mark.parametrize("driver", DRIVERS, ids=str)
def test_tasks_that_were_held_count_when_they_fail(world: World, driver: Driver) -> None:
    """As when the agent's key expires while it waits for something."""
    world.project.add_placeholders(40)
    stop, end = passes(3)
    lock, calls = threading.Lock(), 0

    def agent() -> None:
        nonlocal calls
        with lock:
            calls += 1
            if calls > 40:
                raise ValueError("the key has expired")

    polling = limited(driver).having(refresh_every=1, stop=stop)
    report = polling.run(world, agent, observers=[end]).report
    assert report is not None
    assert report.stopped == "3 tasks of stage 'Pre-label' failed in a row (max_consecutive_failures=3)"
    assert MOST <= report.failed <= MOST + AT_WORK


@pytest.mark.parametrize("number", [0, -1, 1.5, True])
def test_numbers_that_make_no_sense(world: World, number: Any) -> None:
    """They are refused before the first task, by both runners."""
    runner = world.agent(lambda: None)
    with pytest.raises(PrintableError, match="max_consecutive_failures"):
        runner(progress="none", max_consecutive_failures=number)
    queue = QueueRunner(world.project.project_hash, user_client=world.client)
    queue.stage("Pre-label")(lambda: None)
    with pytest.raises(PrintableError, match="max_consecutive_failures"):
        queue.drain(progress="none", max_consecutive_failures=number)
    with pytest.raises(PrintableError, match="retry_delay"):
        queue.drain(progress="none", retry_delay=-1.0)


@pytest.mark.parametrize("driver", DRIVERS, ids=str)
def test_a_run_that_failed_alike_is_told_of_the_options(world: World, driver: Driver) -> None:
    """In the report's text, once, and only where it is so."""
    world.project.add_placeholders(12, title="file {index}")

    def agent(task: AgentTask) -> None:
        raise ConnectionError(f"no answer for {task.data_title!r}")

    told = driver.run(world, agent)
    assert str(told.report).count("12 of 12 failures are alike (") == 1
    assert "retry_delay" in str(told.report)


# Whose attempt comes next


@pytest.mark.parametrize("wrong", [ValueError, "nowhere"], ids=["raises", "names no pathway"])
@pytest.mark.parametrize("driver", ONE_WORKER, ids=str)
def test_the_next_attempt_comes_directly_after_the_failed_one(world: World, driver: Driver, wrong: Any) -> None:
    """With one worker and no delay no other task comes between; also where many had been handed over ahead."""
    world.project.add_placeholders(60, title="{index}")
    order: list[int] = []

    def agent(task: AgentTask) -> str:
        order.append(int(task.data_title))
        if order[-1] % 5 == 4 and order.count(order[-1]) < 3:
            if wrong == "nowhere":
                return "nowhere"
            raise wrong
        return "complete"

    assert driver.run(world, agent, num_retries=3).counts == {"moved": 60}
    assert order == [number for number in range(60) for _ in range(3 if number % 5 == 4 else 1)]


WAITING = """
import os
from pathlib import Path

from encord.workflow.stages.agent import AgentTask
from encord_agents.tasks import QueueRunner

runner = QueueRunner(os.environ["TEST_PROJECT"])
notes = Path(os.environ["TEST_NOTES"])

@runner.stage("Pre-label")
def agent(task: AgentTask) -> str:
    with notes.open("a") as file:
        file.write(task.data_title + chr(10))
    if task.data_title == "file 0" and notes.read_text().count("file 0") < 3:
        raise TimeoutError
    return "complete"
"""


def test_a_drain_waits_before_another_attempt(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`retry_delay` doubles from attempt to attempt, jittered; others are not held up by it."""
    world.project.add_placeholders(4, title="file {index}")
    (tmp_path / "waiting_agents.py").write_text(WAITING)
    notes = tmp_path / "notes"
    environment = {"TEST_PROJECT": world.project.project_hash, "TEST_NOTES": str(notes)}
    for name, value in {**world.platform.environment(), **environment}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.syspath_prepend(str(tmp_path))
    runner: QueueRunner = importlib.import_module("waiting_agents").runner
    events: list[Any] = []
    runner.observers.append(events.append)
    report = runner.drain(workers=1, batch_size=1, retry_delay=1.0, progress="none")
    assert (report.moved, report.attempts) == (4, 6)
    attempted = notes.read_text().splitlines()
    assert attempted[:2] == ["file 0", "file 1"]
    assert sorted(attempted) == ["file 0", "file 0", "file 0", "file 1", "file 2", "file 3"]
    waits = [event.retry_in for event in events if isinstance(event, AttemptFailed)]
    assert len(waits) == 2
    assert 0.5 <= waits[0] <= 1.0 <= waits[1] <= 2.0


def test_an_executors_worker_waits_itself(world: World) -> None:
    """It makes the retries of its batch, after the same delays."""
    world.project.add_placeholders(2, title="file {index}")
    runner = QueueRunner(world.project.project_hash, user_client=world.client)
    order: list[str] = []
    events: list[Any] = []

    def agent(task: AgentTask) -> str:
        order.append(task.data_title)
        if task.data_title == "file 0" and order.count("file 0") < 3:
            raise TimeoutError
        return "complete"

    runner.stage("Pre-label")(agent)
    runner.observers.append(events.append)
    with ThreadPoolExecutor(1) as pool:
        report = runner.drain(executor=pool, batch_size=1, retry_delay=0.02, progress="none")
    assert (report.moved, report.attempts) == (2, 4)
    assert order == ["file 0", "file 0", "file 0", "file 1"]
    waits = [event.retry_in for event in events if isinstance(event, AttemptFailed)]
    assert len(waits) == 2
    assert 0.01 <= waits[0] <= 0.02 <= waits[1] <= 0.04
