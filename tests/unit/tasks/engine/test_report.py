"""The report of a run."""

from __future__ import annotations

import json
import pickle
import time
import weakref
from collections.abc import Callable
from dataclasses import replace
from uuid import UUID, uuid4

import pytest
from tests.misbehaving import EXCEPTIONS

from encord_agents.core.tracebacks import described
from encord_agents.exceptions import TasksFailedError
from encord_agents.tasks.engine.events import (
    PassFinished,
    RunStopped,
    StageFinished,
    StageStarted,
    TaskFinished,
    TaskRef,
)
from encord_agents.tasks.engine.outcome import Failed, Fault, Held, Moved, Outcome, Pathway, Phase, Skipped
from encord_agents.tasks.engine.report import RunReport

STAGE = uuid4()
GO = Pathway(uuid4(), "go", uuid4())


def ref(number: int = 0, stage: UUID = STAGE, title: str = "Pre-label") -> TaskRef:
    return TaskRef(UUID(int=number), UUID(int=number + 10**9), f"image-{number}.png", stage, title)


def finished(number: int, outcome: Outcome, attempts: int = 1) -> TaskFinished:
    return TaskFinished(ref(number), outcome, attempts, 0.5)


def failed(message: str = "why") -> Failed:
    try:
        raise LookupError(message)
    except LookupError as error:
        return Failed(Fault(Phase.AGENT, error, 1))


def test_each_task_counts_once_by_its_latest_outcome() -> None:
    """A task that failed and then moved has moved; attempts add up."""
    report = RunReport()
    report(finished(1, failed(), attempts=4))
    report(finished(1, Held()))
    report(finished(1, Moved(GO)))
    report(finished(2, failed(), attempts=4))
    assert (report.tasks, report.moved, report.failed, report.held, report.attempts) == (2, 1, 1, 0, 10)
    assert [record.outcome for record in report.records] == ["moved", "failed"]
    assert report.stages[0].moved_to == {"go": 1}


def test_at_most_so_many_records_are_kept() -> None:
    """Beyond 10,000 the counts go on, and the moved are forgotten first: failures are what people look for."""
    report = RunReport()
    report(finished(0, failed()))
    for number in range(1, 12_001):
        report(finished(number, Moved(GO)))
    report(finished(12_001, failed()))
    assert len(report.records) == 10_000
    assert (report.moved, report.failed) == (12_000, 2)
    assert len(report.failures) == 2


def test_the_bound_holds_where_nothing_moved() -> None:
    """Where all failed, the oldest failures are forgotten."""
    report = RunReport(max_records=10)
    for number in range(25):
        report(finished(number, failed()))
    assert report.failed == 25
    assert [record.task_uuid.int for record in report.records] == list(range(15, 25))


def test_a_run_without_outcomes() -> None:
    """Nothing was waiting, unless it was stopped before it could tell, or has tasks that are not written."""
    report = RunReport()
    assert "No task was waiting." in str(report)
    report(RunStopped("interrupted"))
    assert "No task was waiting." not in str(report)
    assert "No task has an outcome." in str(report)


@pytest.mark.parametrize("outcome", [Held(), Skipped()], ids=["held", "skipped"])
def test_a_task_without_a_record_is_counted_once(outcome: Outcome) -> None:
    """Pass after pass, though there is no room for its record."""
    report = RunReport(max_records=100)
    for _ in range(3):
        for number in range(250):
            report(finished(number, outcome))
    for number in range(50):
        report(finished(number, Moved(GO)))
    assert report.tasks == 250
    assert (report.held + report.skipped, report.moved) == (200, 50)
    assert len(report.records) == 100


def test_forgetting_costs_little() -> None:
    """A report that is full takes a record in about the processor time that one does which is not."""

    def seconds(numbers: range) -> float:
        started = time.process_time()
        for number in numbers:
            report(finished(number, Held()))
        return time.process_time() - started

    report = RunReport()
    filling = seconds(range(10_000))
    assert seconds(range(10_000, 20_000)) < 10 * filling + 1


def test_a_failure_keeps_its_traceback_as_text_only(collect_garbage: Callable[[], int]) -> None:
    """The frames of a traceback would keep the task's label row and image in memory."""

    class Image:
        pass

    def agent() -> tuple[Failed, weakref.ref[Image]]:
        image = Image()
        try:
            try:
                raise KeyError("inner")
            except KeyError as error:
                raise LookupError("outer") from error
        except LookupError as error:
            return Failed(Fault(Phase.AGENT, error, 1)), weakref.ref(image)

    report = RunReport()
    outcome, image = agent()
    report(finished(1, outcome))
    collect_garbage()
    assert image() is None
    (record,) = report.failures
    assert record.traceback is not None
    assert "inner" in record.traceback
    assert "outer" in record.traceback


def test_two_stages_of_one_task() -> None:
    """A task that went through two stages has a record in each."""
    report = RunReport()
    other = uuid4()
    report(StageStarted(STAGE, "Pre-label", "pre_label"))
    report(finished(1, Moved(GO)))
    report(StageStarted(other, "Triage", "triage"))
    report(TaskFinished(ref(1, other, "Triage"), Held(), 1, 0.1))
    assert [(stage.title, stage.function, stage.tasks) for stage in report.stages] == [
        ("Pre-label", "pre_label", 1),
        ("Triage", "triage", 1),
    ]


def test_the_exit_code() -> None:
    """1 where tasks failed; held and skipped are no failures."""
    report = RunReport()
    report(finished(1, Held()))
    report(finished(2, Skipped()))
    assert report.exit_code == 0
    report(finished(3, failed()))
    assert report.exit_code == 1


def test_json_has_what_there_is() -> None:
    """Whatever an exception says, it is JSON."""
    report = RunReport()
    report(finished(1, failed("\udcff \u2028 [red]")))
    report(StageFinished(STAGE, "Pre-label", 2.0))
    report(PassFinished(1, 0, 0, 1, 0, 2.0, None))
    report(RunStopped("interrupted", (ref(7),)))
    found = json.loads(report.to_json(indent=2))
    assert (found["passes"], found["stopped"], found["unwritten"]) == (1, "interrupted", [str(UUID(int=7))])
    assert found["failures"][0]["error"].startswith("LookupError")


def test_the_table_is_aligned() -> None:
    """Every line of the table has its columns under each other; what was not written is named."""
    report = RunReport()
    report(finished(1, Moved(GO)))
    report(StageFinished(STAGE, "Pre-label", 2.0))
    report(RunStopped("interrupted", (ref(7),)))
    head, row, *rest = str(report).splitlines()
    assert len(head) == len(row)
    assert row.startswith("Pre-label")
    assert any("Stopped early: interrupted." in line for line in rest)
    assert any("image-7.png" in line for line in rest)


@pytest.mark.parametrize("one_by_one", [False, True])
def test_the_hint_at_bundling(one_by_one: bool) -> None:
    """It is left out where each task is written alone, since it would save no request."""
    report = RunReport(one_by_one=one_by_one)
    report(replace(finished(1, Moved(GO)), seconds=2.0, own_saves=1.0))
    assert ("bundle_saves" in str(report)) is not one_by_one


@pytest.mark.parametrize("kind", EXCEPTIONS)
def test_exceptions_of_every_kind(kind: str) -> None:
    """Are told as text, and the report can be sent to another process, with the exception if that can be."""
    report = RunReport()
    try:
        raise EXCEPTIONS[kind]()
    except BaseException as error:
        exception = error
    report(finished(1, Failed(Fault(Phase.AGENT, exception, 1))))
    assert report.failures[0].exception is exception
    with pytest.raises(TasksFailedError, match=kind) as raised:
        report.raise_for_failures()
    (sent,) = pickle.loads(pickle.dumps(raised.value)).report.failures
    assert kind in described(sent.exception)
    assert sent.to_dict() | {"error": ""} == report.failures[0].to_dict() | {"error": ""}
    assert kind in report.to_json()
    assert kind in repr(report.records)
    assert "in test_exceptions_of_every_kind" in str(sent.traceback)
