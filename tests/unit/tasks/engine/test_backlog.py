"""What waits in a stage, in which order, and when the stage must be read again: as tables, without threads."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid5

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.thorough import examples

from encord_agents.tasks.engine.backlog import Backlog

NAMESPACE = UUID(int=1)


@dataclass(frozen=True)
class Task:
    """As much of a task as a backlog looks at. Tasks whose names begin alike are about one label row."""

    name: str

    @property
    def uuid(self) -> UUID:
        return uuid5(NAMESPACE, self.name)


def backlog_of(*names: str, known: Sequence[str] = (), budget: int | None = None, over: bool = True) -> Any:
    """A backlog with some tasks, whose reading is over."""
    tasks = [Task(name) for name in known]
    backlog: Any = Backlog(lambda task: task.name[0], known={t.uuid for t in tasks}, budget=budget)  # type: ignore[attr-defined]
    backlog.begin_reading()
    for name in names:
        assert backlog.add(Task(name), 0.0)
    if over:
        backlog.end_reading()
    return backlog


def take(backlog: Any, number: int = 100) -> str:
    return " ".join(waiting.task.name for waiting in backlog.take(number))


# Order


@pytest.mark.parametrize(
    ("names", "known", "number", "taken"),
    [
        ("a b c", "", 100, "a b c"),
        ("a b c", "", 2, "a b"),
        ("a b c", "a", 100, "b c a"),
        ("a b c", "a b c", 2, "a b"),
        ("a b c", "a", 2, "b c"),
        ("a1 b a2", "", 100, "a1 b"),
        ("a1 a2 a3 b", "", 2, "a1 b"),
        ("", "", 100, ""),
    ],
)
def test_the_order(names: str, known: str, number: int, taken: str) -> None:
    """As the stage shows them; what was held or failed before comes last; one task for each label row."""
    assert take(backlog_of(*names.split(), known=known.split()), number) == taken


def test_what_is_known_waits_for_the_last_page() -> None:
    """Something unseen may come with it; and so it may if the stage must be read again."""
    backlog = backlog_of("a", "b", known=["a"], over=False)
    assert (backlog.available, take(backlog)) == (1, "b")
    backlog.begin_move()
    backlog.end_move()
    backlog.end_reading()
    assert (backlog.available, backlog.must_be_read, backlog.exhausted) == (0, True, False)
    backlog.begin_reading()
    backlog.end_reading()
    assert (backlog.available, take(backlog), backlog.exhausted) == (1, "a", True)


def test_a_label_row_is_free_when_its_task_is_done() -> None:
    """The next task of the row comes before all others then."""
    backlog = backlog_of("a1", "a2", "a3", "b", "c")
    assert take(backlog, 2) == "a1 b"
    backlog.release(Task("a1").uuid)
    assert take(backlog) == "a2 c"
    assert not backlog.exhausted
    backlog.release(Task("a2").uuid)
    assert take(backlog) == "a3"
    assert backlog.exhausted


@pytest.mark.parametrize("unused", [False, True])
def test_the_budget(unused: bool) -> None:
    """Counts tasks that are given to the agent. One that had left before makes room for another."""
    backlog = backlog_of("a", "b", "c", budget=2)
    assert (backlog.available, backlog.wants_more, take(backlog), backlog.exhausted) == (2, False, "a b", True)
    backlog.release(Task("a").uuid, unused=unused)
    assert take(backlog) == ("c" if unused else "")


# Reading

BEGIN, END, MOVE, MOVED = "begin", "end", "move", "moved"


@pytest.mark.parametrize(
    ("steps", "again"),
    [
        ([], True),
        ([BEGIN], False),
        ([BEGIN, END], False),
        ([MOVE, MOVED, BEGIN, END], False),
        ([MOVE, BEGIN, MOVED, END], True),
        ([BEGIN, MOVE, END, MOVED], True),
        ([BEGIN, MOVE, MOVED, END], True),
        ([BEGIN, END, MOVE, MOVED], False),
        ([BEGIN, MOVE, MOVED, END, BEGIN, END], False),
        ([BEGIN, MOVE, MOVED, END, MOVE, BEGIN, MOVED, END], True),
        ([MOVE, MOVE, MOVED, BEGIN, MOVED, END], True),
    ],
)
def test_when_a_stage_must_be_read(steps: Sequence[str], again: bool) -> None:
    """Before it was, and after a reading during which a move was sent or not yet answered."""
    backlog: Any = Backlog(lambda task: task.uuid)
    calls: dict[str, Callable[[], None]] = {
        BEGIN: backlog.begin_reading,
        END: backlog.end_reading,
        MOVE: backlog.begin_move,
        MOVED: backlog.end_move,
    }
    for step in steps:
        calls[step]()
    assert backlog.must_be_read is again


@pytest.mark.parametrize(
    ("steps", "again"),
    [
        ("begin end", False),
        ("begin leave end", True),
        ("begin end leave", True),
        ("begin end leave begin end", False),
        ("begin end leave begin leave end", True),
        ("leave begin end", False),
    ],
)
def test_a_stage_that_somebody_else_moves_tasks_of(steps: str, again: bool) -> None:
    """Once more, if a task turned out to have left since the last reading began: that may have hidden others."""
    backlog = backlog_of("a", "b")
    take(backlog)
    left = iter("ab")
    for step in steps.split():
        match step:
            case "begin":
                backlog.begin_reading()
            case "end":
                backlog.end_reading()
            case "leave":
                backlog.release(Task(next(left)).uuid, left=True)
    assert not backlog.must_be_read  # only when a driver has nothing else to do
    assert (backlog.reopen(), backlog.must_be_read) == (again, again)


@pytest.mark.parametrize("budget", [None, 1])
def test_a_backlog_that_is_fed_is_not_reopened(budget: int | None) -> None:
    """It has no pages; and without a budget there is no use for more."""
    fed: Any = Backlog(lambda task: task.uuid) if budget is None else backlog_of(budget=budget)
    fed.add(Task("a"), 0.0)
    fed.close()
    take(fed)
    fed.release(Task("a").uuid, left=True)
    assert not fed.reopen()


def test_nothing_is_read_again_without_a_use_for_it() -> None:
    """When the budget is spent, it does not matter what else there is."""
    backlog = backlog_of("a", "b", budget=1, over=False)
    backlog.begin_move()
    backlog.end_reading()
    assert backlog.must_be_read
    take(backlog)
    assert (backlog.must_be_read, backlog.exhausted) == (False, True)


def test_what_was_shown_is_not_added_again() -> None:
    """By another page, or another reading."""
    backlog = backlog_of("a")
    assert (backlog.add(Task("a"), 1.0), backlog.shown, take(backlog)) == (False, 1, "a")


@settings(max_examples=examples(300), deadline=None)
@given(
    tasks=st.integers(0, 40),
    page=st.integers(1, 7),
    offsets=st.booleans(),
    holds=st.booleans(),
    rows=st.integers(1, 40),
    window=st.integers(1, 30),
    others=st.booleans(),
    seed=st.integers(0, 1_000_000),
)
def test_no_task_is_skipped(
    tasks: int, page: int, offsets: bool, holds: bool, rows: int, window: int, others: bool, seed: int
) -> None:
    """Whatever page tokens are, however slow the pages and busy the agents, whether or not moves can wait for pages,
    and whoever else moves tasks: each is taken once, or has left, and the stage is not read for ever."""
    chance = random.Random(seed)
    stage = [Task(f"{number % rows} {number}") for number in range(tasks)]
    backlog: Any = Backlog(lambda task: task.name.split()[0])  # type: ignore[attr-defined]
    position: Any = None
    out: list[Task] = []
    moving: list[Task] = []
    taken: list[Task] = []
    readings = 0

    def next_page() -> list[Task]:
        nonlocal position
        if offsets:
            found = stage[position : position + page]
            position += len(found)
        else:
            rest = [task for task in stage if position is None or order[task] > order[position]]
            found = rest[:page]
            position = found[-1] if found else position
        return found

    order = {task: number for number, task in enumerate(stage)}
    while not backlog.exhausted or out or moving or backlog.reopen():
        step = chance.choice(["read", "take", "send", "answer", *["leave"] * others])
        if step == "read":
            if backlog.must_be_read and not (backlog.available or backlog.moving):
                backlog.begin_reading()
                position = 0 if offsets else None
                readings += 1
            if backlog.reading:
                found = next_page()
                for task in found:
                    backlog.add(task, 0.0)
                if len(found) < page:
                    backlog.end_reading()
        elif step == "take" and len(out) + len(moving) < window:
            new = [waiting.task for waiting in backlog.take(chance.randint(1, 5))]
            taken += new
            out += new
            assert len({task.name.split()[0] for task in out + moving}) == len(out + moving)
        elif step == "send" and out and not moving and not (holds and backlog.reading):
            chance.shuffle(out)
            number = chance.randint(1, len(out))
            moving, out = out[:number], out[number:]
            backlog.begin_move()
        elif step == "answer" and moving:
            for task in moving:
                backlog.release(task.uuid, left=task not in stage)
                if task in stage:
                    stage.remove(task)
            moving.clear()
            backlog.end_move()
        elif step == "leave" and (there := [task for task in stage if task not in moving]):
            stage.remove(chance.choice(there))
        assert readings <= 2 * tasks + 2
    assert stage == []
    assert len(set(taken)) == len(taken)
    if not others:
        assert set(taken) == set(order)
