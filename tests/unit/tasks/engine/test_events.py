"""Who is told of events, in which order, and whatever they raise."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import io
import logging
from unittest.mock import Mock
from uuid import uuid4

import pytest

from encord_agents.tasks.engine.events import Event, Events, StageStarted, TaskFinished, TaskRef, TaskStarted
from encord_agents.tasks.engine.observers import LogObserver
from encord_agents.tasks.engine.outcome import Held
from encord_agents.tasks.engine.report import RunReport
from encord_agents.terminal.progress import PlainProgress

STAGE = uuid4()
TASK = TaskRef(uuid4(), uuid4(), "image-1.png", STAGE, "Pre-label")
FINISHED = TaskFinished(TASK, Held(), 1, 0.5)


def test_observers_are_told_in_their_order_and_the_record_last() -> None:
    """The record takes tracebacks off exceptions, which observers are still to see."""
    told: list[tuple[str, Event]] = []

    def named(name: str) -> functools.partial[None]:
        return functools.partial(lambda name, event: told.append((name, event)), name)

    Events([named("first"), named("second")], record=named("record")).emit(FINISHED)
    assert told == [("first", FINISHED), ("second", FINISHED), ("record", FINISHED)]


def test_events_are_frozen() -> None:
    """Observers share them."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        FINISHED.attempts = 2  # type: ignore[misc]


def test_starts_are_told_to_whoever_looks_at_them() -> None:
    """Observers of the library's own that do not are no reason to announce each attempt; any of a user's is."""
    assert not Events([LogObserver()], record=RunReport()).wants_starts
    assert Events([LogObserver(), lambda event: None], record=RunReport()).wants_starts
    assert Events([], record=lambda event: None).wants_starts


def test_an_observer_may_cause_events() -> None:
    """From within its call, in the same thread."""
    told: list[Event] = []

    def chained(event: Event) -> None:
        if isinstance(event, TaskStarted):
            events.emit(FINISHED)

    events = Events([chained], record=told.append)
    events.emit(TaskStarted(TASK, 1))
    assert told == [FINISHED, TaskStarted(TASK, 1)]


class Counter:
    """A user's observer, as an object."""

    def __call__(self, event: Event) -> None:
        raise LookupError("odd")


def test_what_the_record_raises_passes() -> None:
    """The report, or a queue function's results: what they cannot take in is not ignored."""

    def record(event: Event) -> None:
        raise LookupError("full")

    with pytest.raises(LookupError, match="full"):
        Events([], record=record).emit(FINISHED)


@pytest.mark.parametrize("error", [LookupError, SystemExit, asyncio.CancelledError, KeyboardInterrupt])
def test_the_record_is_told_whatever_observers_raise(error: type[BaseException]) -> None:
    """An interrupt passes, after that."""
    report = RunReport()

    def observer(event: Event) -> None:
        raise error

    passes = pytest.raises(error) if error is KeyboardInterrupt else contextlib.nullcontext()
    with passes:
        Events([observer], record=report).emit(FINISHED)
    assert report.held == 1


def test_an_observer_that_raises_is_named(caplog: pytest.LogCaptureFixture) -> None:
    """By a name that its author knows; those of our own say what they are."""

    def watch(event: Event) -> None:
        raise LookupError("odd")

    closed = io.StringIO()
    closed.close()
    observers = [watch, functools.partial(watch), Counter(), Mock(side_effect=LookupError("odd"))]
    events = Events([*observers, PlainProgress(closed)], record=None)
    for _ in range(2):
        events.emit(StageStarted(STAGE, "Pre-label", "agent"))
        events.emit(FINISHED)
    told = [record.getMessage().partition(" raised")[0] for record in caplog.records]
    assert told[:4] == ["The observer watch", "The observer watch", "The observer Counter", "The observer Mock"]
    assert told[4:] == ["The progress display"]
    assert not any(" at 0x" in record.getMessage() for record in caplog.records)


def test_a_log_that_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where not even the complaint about an observer can be logged, the run goes on."""
    report = RunReport()

    def refuse(record: object) -> bool:
        raise LookupError

    logger = logging.getLogger("encord_agents.tasks.engine.events")
    logger.addFilter(refuse)
    try:
        Events([Counter()], record=report).emit(FINISHED)
    finally:
        logger.removeFilter(refuse)
    assert report.held == 1
