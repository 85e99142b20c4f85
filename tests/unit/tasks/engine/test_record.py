"""How one task ended, as a report keeps it and as JSON has it."""

from __future__ import annotations

import json
import pickle
from uuid import uuid4

import pytest

from encord_agents.core.tracebacks import traceback_of
from encord_agents.exceptions import EncordAgentsError
from encord_agents.tasks.engine.events import TaskFinished, TaskRef
from encord_agents.tasks.engine.outcome import Failed, Fault, Held, Moved, Outcome, Pathway, Phase, Skipped
from encord_agents.tasks.engine.record import TaskRecord, first_too, kind_of

TASK = TaskRef(uuid4(), uuid4(), "image.png", uuid4(), "Pre-label")
GO = Pathway(uuid4(), "go", uuid4())


def finished(outcome: Outcome) -> TaskFinished:
    return TaskFinished(TASK, outcome, 2, 0.12345678)


def failed(error: Exception, *, first: str | None = None, moved_to: Pathway | None = None) -> Failed:
    try:
        raise error
    except type(error):
        return Failed(Fault(Phase.SAVE, error, 2, first=first), moved_to)


@pytest.mark.parametrize(
    ("outcome", "told"),
    [
        (Moved(GO), {"outcome": "moved", "pathway": "go", "pathway_uuid": str(GO.uuid)}),
        (
            Moved(GO, confirmed=False),
            {"outcome": "moved", "pathway": "go", "pathway_uuid": str(GO.uuid), "confirmed": False},
        ),
        (Held(), {"outcome": "held"}),
        (Skipped("it left"), {"outcome": "skipped", "reason": "it left"}),
    ],
)
def test_what_does_not_apply_is_left_out(outcome: Outcome, told: dict[str, object]) -> None:
    """The rest is plain JSON."""
    of_each = {
        "task_uuid": str(TASK.uuid),
        "data_hash": str(TASK.data_hash),
        "data_title": "image.png",
        "stage": "Pre-label",
        "stage_uuid": str(TASK.stage_uuid),
        "attempts": 2,
        "seconds": 0.123457,
    }
    assert json.loads(json.dumps(TaskRecord.of(finished(outcome)).to_dict())) == of_each | told


def test_a_failed_task() -> None:
    """Its phase, its error as text, where it was raised, the first attempt's error, and where it went."""
    record = TaskRecord.of(finished(failed(LookupError("no"), first="ValueError: odd", moved_to=GO)))
    told = record.to_dict()
    assert (told["outcome"], told["phase"], told["error"]) == ("failed", "save", "LookupError: no")
    assert (told["first_error"], told["pathway"]) == ("ValueError: odd", "go")
    assert "in failed" in told["traceback"]


def test_a_traceback_is_taken_off_unless_others_are_to_see_it() -> None:
    """Its frames would keep the task's data in memory; the report file writes its line before others have seen it."""
    error = LookupError("no")
    event = finished(failed(error))
    assert "in failed" in str(TaskRecord.of(event, keep_traceback=True).traceback)
    assert traceback_of(error) is not None
    TaskRecord.of(event)
    assert traceback_of(error) is None


def test_an_exception_that_cannot_be_pickled_goes_as_its_text() -> None:
    """So that a report of any run can be sent to another process."""

    class OwnError(Exception):
        """A class that no other process finds."""

    record = TaskRecord.of(finished(failed(OwnError("odd"))))
    sent: TaskRecord = pickle.loads(pickle.dumps(record))
    assert type(sent.exception) is EncordAgentsError
    assert str(sent.exception) == "OwnError: odd"
    assert (sent.task_uuid, sent.traceback) == (record.task_uuid, record.traceback)


def test_the_first_error_in_a_few_words() -> None:
    """Its first line, where there was another one than the last."""
    assert first_too("ValueError: odd\nand more") == " (first: ValueError: odd)"
    assert first_too(None) == ""


def test_the_kinds_of_outcomes() -> None:
    """The four words of reports."""
    kinds = [kind_of(one) for one in (Moved(GO), Held(), failed(LookupError()), Skipped())]
    assert kinds == ["moved", "held", "failed", "skipped"]
