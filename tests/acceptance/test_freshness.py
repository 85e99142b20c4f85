"""An agent is given the labels of now, not of an hour ago, and never for a task that has left meanwhile."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from encord import EncordUserClient
from encord.objects import LabelRowV2
from encord.workflow.stages.agent import AgentTask
from tests.drivers import DRIVERS, RUNNERS, ByThreads, Driver

from encord_agents.local import Fault
from encord_agents.tasks import QueueRunner
from encord_agents.tasks.engine.gate import Gate
from encord_agents.tasks.models import TaskAgentReturnStruct, TaskCompletionResult

if TYPE_CHECKING:
    from tests.conftest import World

ONE_AFTER_THE_OTHER = [
    driver for driver in DRIVERS if str(driver) in ("one-by-one", "window", "queue-function", "celery")
]
"""Where the second task's attempt begins when the first one's is over."""


@pytest.fixture
def always_stale(world: World) -> None:
    """As if a minute had passed whenever that is asked."""
    world.numbers |= {"stale_after": 0.0, "same_edit": 1e-06}


def save_as_a_person(world: World, data_hash: str, x: float) -> None:
    """Save labels by another client."""
    project = world.platform.client(retries=False).get_project(world.project.project_hash)
    (row,) = project.list_label_rows_v2(data_hashes=[data_hash])
    row.initialise_labels()
    world.mark(row, x)
    row.save()


@pytest.mark.usefixtures("always_stale")
@pytest.mark.parametrize("driver", ONE_AFTER_THE_OTHER, ids=str)
def test_no_agent_runs_for_a_task_that_has_left(world: World, driver: Driver) -> None:
    """It waited behind another task's attempt, and is skipped."""
    world.project.add_placeholders(12, title="file {index}")
    calls = []

    def agent(task: AgentTask) -> str:
        calls.append(task.data_title)
        if len(calls) == 1:
            for other in world.project.tasks("Pre-label")[6:]:
                world.project.move(other.uuid, "Review")
        return "complete"

    assert driver.run(world, agent).counts == {"moved": 6, "skipped": 6}
    assert sorted(calls) == [f"file {number}" for number in range(6)]


@pytest.mark.parametrize("driver", ONE_AFTER_THE_OTHER, ids=str)
def test_nothing_is_fresh_after_the_machine_has_slept(
    world: World, driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock stands still meanwhile, and tasks that were loaded before may have left."""
    world.project.add_placeholders(12, title="file {index}")
    asleep = [0.0]
    monkeypatch.setattr("encord_agents.tasks.runner.connection.Gate", partial(Gate, asleep=lambda: asleep[0]))
    calls = []

    def agent(task: AgentTask) -> str:
        calls.append(task.data_title)
        if len(calls) == 1:
            asleep[0] = 3600.0
            for other in world.project.tasks("Pre-label")[6:]:
                world.project.move(other.uuid, "Review")
        return "complete"

    assert driver.run(world, agent).counts == {"moved": 6, "skipped": 6}
    assert len(calls) == 6


@contextmanager
def somebody_moves(world: World, number: int, *, after: int) -> Iterator[None]:
    """Have a task of the first stage moved after so many answers about tasks; then the page that is stalled comes."""
    over = threading.Event()

    def move() -> None:
        while len(world.requests("tasks")) < after:
            if over.wait(0.001):
                return
        world.project.move(world.project.tasks("Pre-label")[number].uuid, "Review")
        world.platform.faults.clear()

    somebody = threading.Thread(target=move)
    somebody.start()
    try:
        yield
    finally:
        over.set()
        somebody.join()


@pytest.mark.usefixtures("always_stale")
@pytest.mark.parametrize("driver", [*RUNNERS, ByThreads("drain")], ids=str)
def test_a_task_that_has_left_hides_no_other(world: World, driver: Driver) -> None:
    """Somebody moves one while pages are read whose tokens are offsets, so that the next page begins too far on."""
    world.platform.settings.page_size, world.platform.settings.page_tokens = 3, "offset"
    world.platform.faults.add(Fault("tasks", action="stall", seconds=60, contains="pageToken"))
    world.project.add_placeholders(12, title="file {index}")
    calls = []

    def agent(task: AgentTask) -> None:
        calls.append(task.data_title)

    with somebody_moves(world, 1, after=1):
        told = driver.run(world, agent)
    assert told.counts == {"held": 11, "skipped": 1}
    assert sorted(calls) == sorted(f"file {number}" for number in range(12) if number != 1)


@pytest.mark.usefixtures("always_stale")
@pytest.mark.parametrize("driver", [d for d in DRIVERS if str(d) in ("window", "async", "queue-function")], ids=str)
def test_a_task_that_leaves_while_others_are_asked_for_hides_none(world: World, driver: Driver) -> None:
    """Which tasks are still there is asked for in pages, too: one that is hidden by them has not left."""
    world.platform.settings.page_size, world.platform.settings.page_tokens = 3, "offset"
    world.project.add_placeholders(12)
    pages_of_the_stage = 12 // 3
    world.platform.faults.add(
        Fault("tasks", action="stall", seconds=60, contains="pageToken", skip=pages_of_the_stage - 1)
    )

    with somebody_moves(world, 0, after=pages_of_the_stage + 1):
        told = driver.run(world, lambda: None)
    assert told.counts == {"held": 11, "skipped": 1}


@pytest.mark.usefixtures("always_stale")
@pytest.mark.parametrize("driver", ONE_AFTER_THE_OTHER, ids=str)
def test_labels_are_loaded_anew(world: World, driver: Driver) -> None:
    """The agent sees labels that a person saved while another task's attempt ran, and none of them is lost."""
    hashes = world.project.add_placeholders(4)
    seen = []

    def agent(label_row: LabelRowV2) -> TaskAgentReturnStruct:
        seen.append(len(label_row.get_object_instances()))
        if len(seen) == 1:
            for data_hash in hashes[1:]:
                save_as_a_person(world, data_hash, 0.5)
        world.mark(label_row)
        return TaskAgentReturnStruct("complete", label_row)

    assert driver.run(world, agent).counts == {"moved": 4}
    assert seen == [0, 1, 1, 1]
    assert [world.marks(data_hash) for data_hash in hashes] == [[0.25], *[[0.5, 0.25]] * 3]


@pytest.mark.usefixtures("always_stale")
@pytest.mark.parametrize("driver", RUNNERS, ids=str)
def test_another_attempt_begins_with_fresh_labels(world: World, driver: Driver) -> None:
    """The first one may have taken an hour: its labels, and what it did to them, are gone."""
    (data_hash,) = world.project.add_placeholders(1)
    seen = []

    def agent(label_row: LabelRowV2) -> TaskAgentReturnStruct:
        seen.append(len(label_row.get_object_instances()))
        world.mark(label_row)
        if len(seen) == 1:
            save_as_a_person(world, data_hash, 0.5)
            raise TimeoutError
        return TaskAgentReturnStruct("complete", label_row)

    assert driver.run(world, agent, num_retries=1).counts == {"moved": 1}
    assert seen == [0, 1]
    assert world.marks(data_hash) == [0.5, 0.25]


@pytest.mark.usefixtures("always_stale")
@pytest.mark.parametrize("driver", RUNNERS, ids=str)
def test_a_retry_of_a_task_that_left_is_skipped(world: World, driver: Driver) -> None:
    """It is not attempted once more."""
    world.project.add_placeholders(1)
    (task,) = world.project.tasks()

    def agent() -> str:
        world.project.move(task.uuid, "Review")
        raise TimeoutError

    told = driver.run(world, agent, num_retries=3)
    assert told.counts == {"skipped": 1}
    assert told.report is not None
    assert told.report.attempts == 1


@pytest.mark.usefixtures("always_stale")
@pytest.mark.parametrize("driver", RUNNERS, ids=str)
def test_a_task_that_left_is_not_counted_as_given(world: World, driver: Driver) -> None:
    """`max_tasks_per_stage` are tasks that an agent got."""
    world.project.add_placeholders(6)
    lock = threading.Lock()
    calls: list[str] = []

    def agent(task: AgentTask) -> str:
        with lock:
            calls.append(task.data_title)
            if len(calls) == 1:
                for other in world.project.tasks("Pre-label")[4:5]:
                    world.project.move(other.uuid, "Review")
        return "complete"

    options = {**driver.options, "max_tasks_per_stage": 5}
    told = type(driver)("again", **options).run(world, agent)
    assert told.counts["moved"] == 5
    assert len(calls) == 5


@pytest.mark.usefixtures("always_stale")
@pytest.mark.parametrize("driver", DRIVERS, ids=str)
def test_a_persons_labels_are_not_overwritten(world: World, driver: Driver) -> None:
    """Saved while the agent ran: they stand, and the task fails and stays, for its result was made from older ones."""
    hashes = world.project.add_placeholders(3, title="file {index}")

    def agent(task: AgentTask, label_row: LabelRowV2) -> TaskAgentReturnStruct:
        world.mark(label_row)
        if task.data_title == "file 1":
            save_as_a_person(world, hashes[1], 0.5)
        return TaskAgentReturnStruct("complete", label_row)

    told = driver.run(world, agent, num_retries=3)
    assert told.counts == {"moved": 2, "failed": 1}
    (error,) = told.errors
    assert "LabelsChangedError: Somebody saved the labels of 'file 1' at " in error
    assert [world.marks(data_hash) for data_hash in hashes] == [[0.25], [0.5], [0.25]]
    assert world.titles("Pre-label") == ["file 1"]


@pytest.mark.usefixtures("always_stale")
@pytest.mark.parametrize("driver", DRIVERS, ids=str)
def test_an_agent_that_saves_by_itself(world: World, driver: Driver, caplog: pytest.LogCaptureFixture) -> None:
    """It is not taken for somebody else: that it cannot be told apart is a warning."""
    hashes = world.project.add_placeholders(2, title="file {index}")

    def agent(label_row: LabelRowV2) -> TaskAgentReturnStruct:
        world.mark(label_row)
        label_row.save()
        return TaskAgentReturnStruct("complete", label_row)

    with caplog.at_level(logging.WARNING, logger="encord_agents"):
        assert driver.run(world, agent).counts == {"moved": 2}
    assert [world.marks(data_hash) for data_hash in hashes] == [[0.25], [0.25]]
    assert sum("its labels were saved at" in record.getMessage() for record in caplog.records) == 2


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("driver", DRIVERS, ids=str)
def test_a_row_that_the_agent_has_listed_itself(
    world: World, driver: Driver, kept: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It counts from when the agent has loaded it, whether the engine has given the agent one too: labels that are
    older are in it, and those that a person saved afterwards stand."""
    world.numbers["stale_after"] = 0.0
    hashes = world.project.add_placeholders(3, title="file {index}")

    minutes = itertools.count(1)

    def save_later(data_hash: str, x: float) -> None:
        """Save as a person, a minute after all that was saved before, by the platform's clock."""
        now = time.time() + 60.0 * next(minutes)
        monkeypatch.setattr("encord_agents.local.labels.time", SimpleNamespace(time=lambda: now))
        save_as_a_person(world, data_hash, x)

    for data_hash in hashes:
        save_later(data_hash, 0.1)

    def listing(task: AgentTask, client: EncordUserClient) -> TaskAgentReturnStruct:
        project = client.get_project(world.project.project_hash)
        if task.data_title == "file 2":
            save_later(hashes[2], 0.2)  # after the task was loaded
        (row,) = project.list_label_rows_v2(data_hashes=[str(task.data_hash)])
        row.initialise_labels()
        world.mark(row, 0.4)
        if task.data_title == "file 1":
            save_later(hashes[1], 0.3)
        return TaskAgentReturnStruct("complete", row)

    def given(task: AgentTask, client: EncordUserClient, label_row: LabelRowV2) -> TaskAgentReturnStruct:
        return listing(task, client)

    with caplog.at_level(logging.WARNING, logger="encord_agents"):
        told = driver.run(world, given if kept else listing)
    assert told.counts == {"moved": 2, "failed": 1}
    assert "LabelsChangedError" in told.failures["file 1"]
    assert [world.marks(data_hash) for data_hash in hashes] == [[0.1, 0.4], [0.1, 0.3], [0.1, 0.2, 0.4]]
    assert not [record for record in caplog.records if "its labels were saved at" in record.getMessage()]


def test_what_is_fresh_is_not_asked_for(world: World) -> None:
    """If no minute has passed, none of this costs a request."""
    world.project.add_placeholders(5)

    def agent(label_row: LabelRowV2) -> TaskAgentReturnStruct:
        world.mark(label_row)
        return TaskAgentReturnStruct("complete", label_row)

    assert world.run(agent).moved == 5
    assert (len(world.requests("tasks")), len(world.requests("rows"))) == (1, 1)


def test_what_waits_behind_a_long_attempt_is_asked_for_together(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a batch whose first attempt takes ten minutes the others, which are quick, are not asked for one by one."""
    clock = Clock()
    monkeypatch.setattr("encord_agents.tasks.runner.connection.Gate", clock.gate)
    world.project.add_placeholders(20)
    runner = QueueRunner(world.project.project_hash, user_client=world.client)
    calls = []

    def agent(task: AgentTask) -> str:
        calls.append(task)
        clock.now += 600.0 if len(calls) == 1 else 0.01
        return "complete"

    function = runner.stage("Pre-label")(agent)
    specs = [*function.waiting()]
    before = len(world.requests("tasks"))
    answer = TaskCompletionResult.model_validate_json(function(specs))
    runner.close()
    assert len(answer.results) == len(calls) == 20
    # For the call, the second task, all that follow, and the first one's move.
    assert len(world.requests("tasks")) - before == 4


# How much is loaded ahead


def loaded(world: World) -> int:
    return sum(entry.items for entry in world.platform.journal.of("label_create"))


@pytest.mark.parametrize("workers", [1, 4])
def test_slow_agents_have_little_loaded_ahead(world: World, monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    """Agents that would take a minute each, by a clock that says so: two tasks wait, whatever the window is."""
    world.project.add_placeholders(300)
    clock = Clock()
    monkeypatch.setattr("encord_agents.tasks.runner.connection.Gate", clock.gate)
    ahead = []
    lock = threading.Lock()
    calls = 0

    def agent(label_row: LabelRowV2) -> str:
        nonlocal calls
        with lock:
            calls += 1
            clock.now += 60.0
            if calls > 80:  # the first chunks were loaded before it was known
                ahead.append(loaded(world) - calls)
        return "complete"

    report = world.agent(agent)(progress="none", max_tasks_per_stage=100, max_workers=workers)
    assert report.moved == 100
    assert max(ahead) <= workers + 2


class Clock:
    """A clock that agents put forward."""

    def __init__(self) -> None:
        self.now = 0.0

    def gate(self, *args: Any, **kwargs: Any) -> Any:
        return Gate(*args, clock=lambda: self.now, **kwargs)


def test_before_an_agent_has_ended_only_the_first_chunks_are_loaded(world: World) -> None:
    """It is not known then how long the others will have to wait."""
    world.project.add_placeholders(300)
    seen = []
    quiet = threading.Event()

    def agent(label_row: LabelRowV2) -> str:
        if not seen:
            quiet.wait(0.5)  # time enough to load all of them
            seen.append(loaded(world))
        return "complete"

    assert world.run(agent, max_tasks_per_stage=120).moved == 120
    assert seen[0] <= 75
