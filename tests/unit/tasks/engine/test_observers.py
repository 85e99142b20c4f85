"""The log of a run, and the counts of a pass."""

from __future__ import annotations

import io
import logging
from uuid import UUID, uuid4

import pytest

from encord_agents.tasks.engine.events import (
    AttemptFailed,
    Event,
    PassFinished,
    RunStopped,
    StageWarning,
    TaskFinished,
    TaskRef,
    TaskWouldWrite,
)
from encord_agents.tasks.engine.observers import LogObserver, PassCounter
from encord_agents.tasks.engine.outcome import Failed, Fault, Held, Moved, Outcome, Pathway, Phase, Skipped

STAGE = uuid4()
GO = Pathway(uuid4(), "go", uuid4())


def ref(number: int = 1) -> TaskRef:
    return TaskRef(UUID(int=number), uuid4(), f"image-{number}.png", STAGE, "Pre-label")


def finished(number: int, outcome: Outcome) -> TaskFinished:
    return TaskFinished(ref(number), outcome, 2, 0.5)


def fault(message: str = "no", first: str | None = None) -> Fault:
    try:
        raise LookupError(message)
    except LookupError as error:
        return Fault(Phase.AGENT, error, 1, first=first)


def elsewhere() -> Fault:
    try:
        raise LookupError("no")
    except LookupError as error:
        return Fault(Phase.AGENT, error, 1)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, "encord_agents.tasks")
    return caplog


TASK = f"image-1.png ({UUID(int=1)}) in 'Pre-label'"


@pytest.mark.parametrize(
    ("event", "level", "message"),
    [
        (AttemptFailed(ref(), fault(), 1.0), "INFO", f"{TASK}: attempt 1 failed in agent: LookupError: no"),
        (finished(1, Failed(fault())), "ERROR", f"{TASK} failed in agent after 2 attempts: LookupError: no"),
        (
            finished(1, Failed(fault(first="ValueError: odd\nmore"), GO)),
            "ERROR",
            f"{TASK} failed in agent after 2 attempts and went down 'go': LookupError: no (first: ValueError: odd)",
        ),
        (finished(1, Skipped("it left")), "WARNING", f"{TASK}: it left"),
        (finished(1, Moved(GO, confirmed=False)), "WARNING", f"{TASK}: moved, though the platform's answer was lost"),
        (finished(1, Held()), "DEBUG", f"{TASK}: Held()"),
        (StageWarning(ref(), "odd", "It is odd."), "WARNING", f"{TASK}: It is odd. (Logged once per run.)"),
        (TaskWouldWrite(ref(), "would move"), "INFO", f"{TASK}: would move"),
    ],
)
def test_a_line_for_each_event_about_a_task(
    log: pytest.LogCaptureFixture, event: Event, level: str, message: str
) -> None:
    """It names the task, and has its uuid, title and stage as fields."""
    LogObserver()(event)
    (record,) = log.records
    assert (record.levelname, record.getMessage()) == (level, message)
    assert vars(record).items() >= {"task_uuid": str(UUID(int=1)), "data_title": "image-1.png"}.items()


def test_a_failure_that_is_not_the_last_word_is_told_once(log: pytest.LogCaptureFixture) -> None:
    """The attempt after which there is no other is told with the task's outcome."""
    LogObserver()(AttemptFailed(ref(), fault(), None))
    assert log.records == []


def test_the_end_of_a_run_that_was_stopped(log: pytest.LogCaptureFixture) -> None:
    """What was finished and is not written is counted, and what may have moved all the same."""
    observer = LogObserver()
    observer(RunStopped("interrupted"))
    observer(RunStopped("interrupted", (ref(1), ref(2)), frozenset({UUID(int=1)})))
    first, second = (record.getMessage() for record in log.records)
    assert first == "The run ends early: interrupted. Finished but not written: 0."
    assert second.endswith("not written: 2. Unconfirmed, since their move was not answered: 1.")


def test_a_traceback_shows_a_place_once(log: pytest.LogCaptureFixture) -> None:
    """The hundredth one from the same line adds nothing; one from another line does."""
    observer = LogObserver()
    for number, one in enumerate([fault(), fault("other"), elsewhere()]):
        observer(finished(number, Failed(one)))
    assert [record.exc_info is not None for record in log.records] == [True, False, True]


def test_the_same_failure_of_a_task_in_a_later_pass(log: pytest.LogCaptureFixture) -> None:
    """Is told as such; not one of another kind, nor after the task was done."""
    observer = LogObserver()
    for outcome in (Failed(fault()), Failed(fault()), Failed(fault("other")), Held(), Failed(fault("other"))):
        observer(finished(1, outcome))
    told = [record.getMessage() for record in log.records if record.levelname == "ERROR"]
    assert [" failed again in " in line for line in told] == [False, True, False, False]


def test_a_traceback_cannot_forge_a_line() -> None:
    """Each of its lines begins with a mark, in the output of any formatter."""
    shown = io.StringIO()
    handler = logging.StreamHandler(shown)
    logger = logging.getLogger("encord_agents.tasks")
    logger.addHandler(handler)
    try:
        LogObserver()(finished(1, Failed(fault("no\nimage-2.png: moved"))))
    finally:
        logger.removeHandler(handler)
    first, *rest = shown.getvalue().splitlines()
    assert first.endswith("LookupError: no image-2.png: moved")
    assert "  | image-2.png: moved" in rest
    assert all(line.startswith("  | ") for line in rest)


def test_the_counts_of_a_pass() -> None:
    """Begin anew with each pass; attempts that failed are not among them."""
    counter = PassCounter()
    counter.begin(1)
    for number, outcome in enumerate([Moved(GO), Moved(GO), Held(), Failed(fault()), Skipped()]):
        counter(AttemptFailed(ref(number), fault(), 0.0))
        counter(finished(number, outcome))
    assert counter.end(2.0, 5.0) == PassFinished(1, 2, 1, 1, 1, 2.0, 5.0)
    counter.begin(2)
    assert counter.end(1.0, None) == PassFinished(2, 0, 0, 0, 0, 1.0, None)
