"""Asking a stage for its tasks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from encord.exceptions import AuthorisationError, RequestException

from encord_agents.tasks.engine.backlog import Backlog
from encord_agents.tasks.engine.events import Event, Events, StagePolled
from encord_agents.tasks.engine.gate import Gate
from encord_agents.tasks.engine.poll import StageReader, still_in
from encord_agents.tasks.engine.stop import Stop
from encord_agents.tasks.engine.timing import Limits

if TYPE_CHECKING:
    from encord.workflow.stages.agent import AgentTask

UUIDS = [UUID(int=number) for number in range(1, 100)]


def task(uuid: UUID) -> Any:
    return SimpleNamespace(uuid=uuid, data_hash=uuid)


class Stage:
    """A stage with some tasks, whose next requests may fail."""

    uuid, title = UUID(int=0), "Pre-label"

    def __init__(self, tasks: int) -> None:
        self.tasks = [task(uuid) for uuid in UUIDS[:tasks]]
        self.errors: list[Exception | None] = []
        self.asked: list[Any] = []

    def get_tasks(self, data_hash: list[UUID] | None = None) -> Iterator[Any]:
        self.asked.append(data_hash)
        if self.errors and (error := self.errors.pop(0)) is not None:
            raise error
        yield from (one for one in self.tasks if data_hash is None or one.data_hash in data_hash)


def gate(**limits: int) -> Gate:
    return Gate(Stop(), jitter=lambda: 0.0, limits=Limits(**limits))  # type: ignore[arg-type]


def reader(stage: Any, backlog: Backlog, told: list[Event], **limits: int) -> StageReader:
    return StageReader(stage, gate(**limits), backlog, Events([], record=told.append))


def test_as_far_as_it_is_asked_to() -> None:
    """So many tasks that were not shown before; the next call goes on from there."""
    backlog, told = Backlog(lambda one: one.uuid), list[Event]()
    reading = reader(Stage(10), backlog, told, read_together=4)
    reading.read(3)
    assert (backlog.shown, backlog.reading) == (4, True)
    reading.read(sys.maxsize)
    assert (backlog.shown, backlog.reading) == (10, False)
    assert [event.tasks for event in told if isinstance(event, StagePolled)] == [10]


def test_the_next_reading_begins_with_the_first_page() -> None:
    """Tasks that were shown before are not added again."""
    stage, backlog = Stage(2), Backlog(lambda one: one.uuid)
    reading = reader(stage, backlog, [])
    reading.read(sys.maxsize)
    stage.tasks.append(task(UUIDS[2]))
    reading.read(sys.maxsize)
    assert len(stage.asked) == 2
    assert [one.task.uuid for one in backlog.take(9)] == UUIDS[:3]


def test_after_an_outage_the_pages_are_read_from_the_first() -> None:
    """The SDK's iterator is finished once a page could not be had."""
    stage, backlog = Stage(5), Backlog(lambda one: one.uuid)
    stage.errors = [RequestException("no answer")]
    reader(stage, backlog, []).read(sys.maxsize)
    assert len(stage.asked) == 2
    assert backlog.shown == 5


def test_long_stages_tell_how_far_they_are() -> None:
    """Every so many tasks, and at the end."""
    backlog, told = Backlog(lambda one: one.uuid), list[Event]()
    reading = reader(Stage(9), backlog, told, read_together=2, told_every=4)
    for _ in range(5):
        reading.read(2)
    polled = [(event.tasks, event.complete) for event in told if isinstance(event, StagePolled)]
    assert polled == [(4, False), (8, False), (9, True)]


def test_which_of_some_tasks_are_still_there() -> None:
    """By uuid: a task of the same data unit that is another one does not count."""
    stage = Stage(3)
    other: AgentTask = SimpleNamespace(uuid=UUIDS[50], data_hash=UUIDS[0])  # type: ignore[assignment]
    there, refused = still_in(stage, [*stage.tasks[:2], other], gate())
    assert ({*there}, refused) == ({*UUIDS[:2]}, {})


@pytest.mark.parametrize(
    ("there", "asked", "requests"),
    [(3, [0, 1, 2], [[0, 1, 2]]), (3, [5, 6], [[5, 6]]), (3, [0, 5, 1, 6], [[0, 5, 1, 6], [5, 6]])],
)
def test_only_those_that_are_missing_are_asked_for_again(
    there: int, asked: list[int], requests: list[list[int]]
) -> None:
    """Where all are there, or none, the first answer is enough."""
    stage = Stage(there)
    still_in(stage, [task(UUIDS[number]) for number in asked], gate())
    assert stage.asked == [[UUIDS[number] for number in numbers] for numbers in requests]


def test_a_task_that_is_moved_between_two_pages_hides_no_other() -> None:
    """Where page tokens are offsets, the second page begins too far on then."""

    class Paged(Stage):
        def get_tasks(self, data_hash: list[UUID] | None = None) -> Iterator[Any]:
            asked, position = data_hash or [], 0
            while found := [one for one in self.tasks if one.data_hash in asked][position : position + 2]:
                yield from found
                position += 2
                if self.tasks[0].uuid == UUIDS[0]:
                    del self.tasks[0]

    stage = Paged(5)
    wanted = [*stage.tasks]
    there, _ = still_in(stage, wanted, gate())
    assert {*there} == {*UUIDS[:5]}  # the first was there when it was asked for, and the third is


def test_nothing_is_asked_for_no_tasks() -> None:
    """There is nothing to know."""
    stage = Stage(3)
    assert still_in(stage, [], gate()) == ({}, {})
    assert stage.asked == []


def test_what_is_refused_is_split_off() -> None:
    """The others are answered; of this one the platform says nothing."""
    stage = Stage(2)
    refusal = AuthorisationError("no")
    stage.errors = [refusal, None, refusal]
    there, refused = still_in(stage, stage.tasks, gate())
    assert {*there} == {UUIDS[0]}
    assert refused == {UUIDS[1]: refusal}


@pytest.mark.parametrize("tasks", [0, 20])
def test_a_full_last_page_is_followed_by_an_empty_one(tasks: int) -> None:
    """Only that shows that it was the last."""
    backlog = Backlog(lambda one: one.uuid)
    reader(Stage(tasks), backlog, [], read_together=20).read(sys.maxsize)
    assert (backlog.shown, backlog.reading) == (tasks, False)
