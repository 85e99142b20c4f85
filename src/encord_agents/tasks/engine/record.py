"""The record of one task in a report."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any
from uuid import UUID

from encord_agents.core.tracebacks import described, detach, formatted, portable
from encord_agents.exceptions import EncordAgentsError
from encord_agents.tasks.engine.events import TaskFinished
from encord_agents.tasks.engine.outcome import Failed, Moved, Outcome, Skipped

__all__ = ["TaskRecord", "first_too", "kind_of"]


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """The latest outcome of a task.

    Attributes:
        task_uuid: The task.
        data_hash: Its data unit.
        data_title: The data unit's title.
        stage: The title of the stage it was in.
        stage_uuid: That stage's uuid.
        outcome: ``moved``, ``held``, ``failed`` or ``skipped``.
        pathway: The name of the pathway it went down, a failure pathway included.
        pathway_uuid: That pathway's uuid.
        confirmed: False if the platform's answer to the move was lost and the task was gone afterwards.
        attempts: The number of its attempts.
        seconds: Their total duration.
        phase: The phase in which a failed task failed: load, inject, agent, teardown, pathway, save or move.
        exception: The exception of a failed task, without its traceback, which would keep the task's data in memory.
        first_error: The error of the first attempt of a failed task, if it was a different one.
        traceback: The traceback as text.
        reason: Why a skipped task was skipped.
    """

    task_uuid: UUID
    data_hash: UUID
    data_title: str
    stage: str
    stage_uuid: UUID
    outcome: str
    pathway: str | None = None
    pathway_uuid: UUID | None = None
    confirmed: bool = True
    attempts: int = 0
    seconds: float = 0.0
    phase: str | None = None
    exception: BaseException | None = field(default=None, repr=False)
    traceback: str | None = None
    reason: str | None = None
    first_error: str | None = None

    @classmethod
    def of(cls, event: TaskFinished, *, keep_traceback: bool = False) -> TaskRecord:
        """Return the record of an event. The exception's traceback is removed, unless others must still see it."""
        task, outcome = event.task, event.outcome
        fault = outcome.fault if isinstance(outcome, Failed) else None
        pathway = outcome.moved_to if isinstance(outcome, Failed) else getattr(outcome, "pathway", None)
        record = cls(
            task_uuid=task.uuid,
            data_hash=task.data_hash,
            data_title=task.data_title,
            stage=task.stage,
            stage_uuid=task.stage_uuid,
            outcome=kind_of(outcome),
            pathway=pathway.name if pathway else None,
            pathway_uuid=pathway.uuid if pathway else None,
            confirmed=outcome.confirmed if isinstance(outcome, Moved) else True,
            attempts=event.attempts,
            seconds=event.seconds,
            phase=None if fault is None else str(fault.phase),
            exception=None if fault is None else fault.exception,
            traceback=None if fault is None else formatted(fault.exception),
            reason=outcome.reason if isinstance(outcome, Skipped) else None,
            first_error=None if fault is None else fault.first,
        )
        if not keep_traceback:
            detach(record.exception)
        return record

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the record, with an `EncordAgentsError` in place of an exception that another process cannot load."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        if self.exception is not None and portable(self.exception) is None:
            values["exception"] = EncordAgentsError(described(self.exception))
        return TaskRecord, tuple(values.values())

    def to_dict(self) -> dict[str, Any]:
        """Return the record for JSON: uuids and the exception as text, without fields that do not apply."""
        entries: dict[str, Any] = {}
        for field_ in fields(self):
            name, value = field_.name, getattr(self, field_.name)
            if name == "exception":
                name, value = "error", None if value is None else described(value)
            elif isinstance(value, UUID):
                value = str(value)
            entries[name] = value
        entries["seconds"] = round(self.seconds, 6)
        entries["confirmed"] = None if self.confirmed else False
        return {name: value for name, value in entries.items() if value is not None}


def first_too(first_error: str | None) -> str:
    """Return the words to add to an error if a task's first attempt failed differently from its last."""
    return f" (first: {first_error.partition(chr(10))[0]})" if first_error else ""


def kind_of(outcome: Outcome) -> str:
    """Return ``moved``, ``held``, ``failed`` or ``skipped``."""
    return type(outcome).__name__.lower()
