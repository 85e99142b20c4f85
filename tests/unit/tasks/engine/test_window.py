"""The state that the threads of an overlapping run share: when tasks may be taken, and what ends it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from encord_agents.exceptions import OutageError
from encord_agents.tasks.engine.backlog import Backlog
from encord_agents.tasks.engine.stop import Leaving, Stop
from encord_agents.tasks.engine.timing import Limits, Timing
from encord_agents.tasks.engine.window import Window


class Around:
    """A window with so many tasks in its backlog, on a clock that the test sets."""

    def __init__(self, tasks: int, size: int = 100, *, workers: int = 1, reading: bool = False) -> None:
        self.now = 0.0
        self.idle = False
        gate = SimpleNamespace(timing=Timing(), limits=Limits(), clock=lambda: self.now)
        backlog: Any = Backlog(lambda one: one.uuid)
        run: Any = SimpleNamespace(gate=gate, stop=Stop(), backlog=backlog)
        self.window = Window(run, size, workers, lambda: self.idle)
        backlog.begin_reading()
        for number in range(tasks):
            backlog.add(SimpleNamespace(uuid=UUID(int=number)), 0.0)
        if not reading:
            backlog.end_reading()

    def take(self, number: int) -> None:
        """Take tasks from the backlog, as a loader does."""
        self.window.next += len(self.window.backlog.take(number))
        self.window.loads += 1


def test_tasks_are_taken_while_there_are_slots() -> None:
    """Not more than the window has, and nothing where there is nothing."""
    around = Around(100, size=40)
    assert around.window.may_take()
    around.take(25)
    assert not around.window.may_take()  # the next request would ask for 50, and a third of that would fit
    assert not Around(0).window.may_take()


def test_few_slots_do_where_a_worker_is_free_and_nothing_moves() -> None:
    """One task that takes long must not leave the rest of the window unused."""
    around = Around(100, size=40)
    around.take(25)
    around.idle = True
    assert not around.window.may_take()
    around.now += around.window.run.gate.timing.stands_still
    assert around.window.may_take()


def test_no_more_loads_than_loaders() -> None:
    """The threads that load are the bound of what is loaded at the same time."""
    around = Around(100)
    around.window.loading = Limits().loaders
    assert not around.window.may_take()


def test_a_small_load_waits_for_the_next_page() -> None:
    """While pages come, a whole chunk is awaited; after the last page, what there is will do."""
    assert not Around(3, reading=True).window.may_take()
    assert Around(3).window.may_take()


def test_before_an_attempt_has_ended_only_the_first_loads() -> None:
    """Nobody knows yet how soon more are needed."""
    around = Around(200, size=300)
    for number in Limits().first_loads:
        assert around.window.may_take()
        around.take(number)
    assert not around.window.may_take()
    around.window.ends, around.window.seconds = 1, 0.01
    assert around.window.may_take()


def test_a_slot_comes_back_with_the_outcome() -> None:
    """The task's label row too, for another task of it."""
    around = Around(2, size=2)
    around.take(2)
    around.now = 5.0
    around.window.leave(UUID(int=0))
    assert around.window.open == {UUID(int=1)}
    assert around.window.stirred_at == 5.0


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [
        (LookupError("a"), LookupError("b"), "a"),
        (Leaving("a"), LookupError("b"), "b"),
        (LookupError("a"), Leaving("b"), "a"),
    ],
)
def test_the_first_error_counts(first: BaseException, second: BaseException, kept: str) -> None:
    """That it is time to leave is no reason by itself: what comes after it is."""
    window = Around(0).window
    window.fail(first)
    window.fail(second)
    assert str(window.error) == kept
    assert window.closing


@pytest.mark.parametrize(
    ("error", "given_up"), [(LookupError(), False), (OutageError(1.0, LookupError()), True), (Leaving(), True)]
)
def test_what_is_finished_is_written_unless_it_cannot_be(error: BaseException, given_up: bool) -> None:
    """An outage, or the time to leave, ends writing too."""
    window = Around(0).window
    window.guarded(_raise, error)
    assert window.error is error
    assert window.give_up is given_up


def _raise(error: BaseException) -> None:
    raise error


def test_the_pace_before_an_attempt_has_ended() -> None:
    """The time since the first began is the least that one takes."""
    around = Around(0)
    assert around.window.pace.seconds is None
    around.window.first_begun_at = 10.0
    around.now = 70.0
    assert (around.window.pace.seconds, around.window.pace.any_ended) == (60.0, False)
    around.window.ends, around.window.seconds = 1, 0.5
    assert (around.window.pace.seconds, around.window.pace.any_ended) == (0.5, True)
