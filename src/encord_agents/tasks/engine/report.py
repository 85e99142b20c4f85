"""The report of a run: counts, records, totals, text.

The engine emits events; observers do the rest. Progress and logs are observers like any other. The report is not: an
event that it cannot process is an error of the run.
"""

from __future__ import annotations

import json
from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from encord_agents.core.legible import literally, on_a_line
from encord_agents.core.tracebacks import described
from encord_agents.exceptions import TasksFailedError
from encord_agents.tasks.engine.events import (
    ChunkLoaded,
    ChunkWritten,
    Event,
    PassFinished,
    RunStopped,
    StageFinished,
    StageStarted,
    TaskFinished,
    TaskRef,
)
from encord_agents.tasks.engine.hints import hint, hint_at_bundling
from encord_agents.tasks.engine.outcome import OUTCOMES
from encord_agents.tasks.engine.record import TaskRecord, first_too
from encord_agents.tasks.engine.report_html import report_html

__all__ = ["RunReport", "StageReport", "TaskRecord"]

MAX_RECORDS = 10_000
"""Tasks of which a report keeps records. Beyond that, the counts go on, and moved tasks are dropped first."""


@dataclass(slots=True)
class StageReport:
    """One stage's counts: each task once, by its latest outcome.

    ``attempts`` counts every attempt of every pass, ``seconds`` the time spent in the stage.
    """

    uuid: UUID
    title: str
    function: str = ""
    moved: int = 0
    held: int = 0
    failed: int = 0
    skipped: int = 0
    attempts: int = 0
    seconds: float = 0.0
    moved_to: Counter[str] = field(default_factory=Counter)

    @property
    def tasks(self) -> int:
        return self.moved + self.held + self.failed + self.skipped

    def to_dict(self) -> dict[str, Any]:
        counts = {name: getattr(self, name) for name in (*OUTCOMES, "attempts")}
        return {
            "stage": self.title,
            "stage_uuid": str(self.uuid),
            "function": self.function,
            **counts,
            "seconds": round(self.seconds, 3),
            "pathways": {name: n for name, n in self.moved_to.items() if n},
        }


@dataclass(frozen=True, slots=True)
class _Counted:
    """The rest of a record that was dropped, so that its task is not counted twice."""

    outcome: str
    pathway: str | None


class RunReport:
    """The report of a run. It is called with the run's events; ``str()`` is a short table.

    Args:
        max_records: The maximum number of records that it keeps.
        one_by_one: True if each task is finished before the next one begins, so that none is written with another.

    Attributes:
        stages: A `StageReport` per stage, in order.
        passes: The number of finished passes.
        stopped: Why the run ended early, or ``None``.
        unwritten: Tasks that were finished but could not be written; they are still in their stages.
        unconfirmed: The tasks among them that were saved and whose moves were not answered: they may have moved.
        teardown_errors: Errors of run-scoped dependencies in their teardown, after the last write.
        loading, running, writing: Seconds spent in each, over all threads.
        own_saves: Seconds of running in which agents waited for saves of their own, see `TaskFinished`.
        report_file_error: The trouble with the report file of the run, as a sentence; ``None`` if there was none, or no
            file. It changes no exit code, since it changes no task's outcome.
    """

    hears_starts = False

    def __init__(self, max_records: int = MAX_RECORDS, *, one_by_one: bool = False) -> None:
        self.passes = 0
        self.stopped: str | None = None
        self.unwritten: tuple[TaskRef, ...] = ()
        self.unconfirmed: tuple[TaskRef, ...] = ()
        self.teardown_errors: list[str] = []
        self.report_file_error: str | None = None
        self.seconds = 0.0
        self.loading = 0.0
        self.running = 0.0
        self.writing = 0.0
        self.own_saves = 0.0
        self._max_records = max_records
        self._one_by_one = one_by_one
        self._stages: dict[UUID, StageReport] = {}
        # Ordered dictionaries find their oldest entry at once, however many were removed before.
        self._records: OrderedDict[tuple[UUID, UUID], TaskRecord] = OrderedDict()
        self._moved: OrderedDict[tuple[UUID, UUID], None] = OrderedDict()
        self._forgotten: dict[tuple[UUID, UUID], _Counted] = {}

    def __bool__(self) -> bool:
        return True

    def __call__(self, event: Event) -> None:
        match event:
            case StageStarted():
                self._stage(event.stage_uuid, event.stage).function = event.function
            case TaskFinished():
                self._finished(event)
            case ChunkLoaded(seconds=seconds):
                self.loading += seconds
            case ChunkWritten(seconds=seconds):
                self.writing += seconds
            case StageFinished(seconds=seconds):
                self._stage(event.stage_uuid, event.stage).seconds += seconds
                self.seconds += seconds
            case PassFinished():
                self.passes += 1
            case RunStopped(reason=reason, unwritten=unwritten, unconfirmed=unconfirmed):
                self.stopped = reason
                self.unwritten = unwritten
                self.unconfirmed = tuple(task for task in unwritten if task.uuid in unconfirmed)
            case _:
                pass

    def _stage(self, uuid: UUID, title: str) -> StageReport:
        if uuid not in self._stages:
            self._stages[uuid] = StageReport(uuid, title)
        return self._stages[uuid]

    def _finished(self, event: TaskFinished) -> None:
        record = TaskRecord.of(event)
        stage = self._stage(record.stage_uuid, record.stage)
        key = record.stage_uuid, record.task_uuid
        before = self._records.get(key) or self._forgotten.get(key)
        counts = {name: getattr(stage, name) for name in OUTCOMES}
        counts[record.outcome] += 1
        moved_to = stage.moved_to.copy()
        if record.pathway is not None:
            moved_to[record.pathway] += 1
        if before is not None:
            counts[before.outcome] -= 1
            if before.pathway is not None:
                moved_to[before.pathway] -= 1
        # A caller that is interrupted in here emits the event again. Python checks for interrupts after calls, and
        # there is no call from here to the record: so a task is both counted and recorded, or neither.
        stage.attempts += record.attempts
        self.running += record.seconds
        self.own_saves += event.own_saves
        stage.moved, stage.held = counts["moved"], counts["held"]
        stage.failed, stage.skipped = counts["failed"], counts["skipped"]
        stage.moved_to = moved_to
        self._records[key] = record
        self._records.move_to_end(key)
        self._forgotten.pop(key, None)
        self._moved.pop(key, None)
        if record.outcome == "moved":
            self._moved[key] = None
        if len(self._records) > self._max_records:
            self._forget_one()

    def _forget_one(self) -> None:
        """Drop a record, preferably of a moved task, which does not return to be counted twice and says the least."""
        if self._moved:
            key, _ = self._moved.popitem(last=False)
            del self._records[key]
            return
        key, record = self._records.popitem(last=False)
        self._forgotten[key] = _Counted(record.outcome, record.pathway)

    @property
    def stages(self) -> list[StageReport]:
        return list(self._stages.values())

    @property
    def records(self) -> list[TaskRecord]:
        """One record per task, its latest; at most 10,000 of them."""
        return list(self._records.values())

    @property
    def failures(self) -> list[TaskRecord]:
        """The tasks whose latest outcome is a failure."""
        return [record for record in self._records.values() if record.outcome == "failed"]

    def _total(self, name: str) -> int:
        return sum(getattr(stage, name) for stage in self._stages.values())

    @property
    def moved(self) -> int:
        return self._total("moved")

    @property
    def held(self) -> int:
        return self._total("held")

    @property
    def failed(self) -> int:
        return self._total("failed")

    @property
    def skipped(self) -> int:
        return self._total("skipped")

    @property
    def tasks(self) -> int:
        return self._total("tasks")

    @property
    def attempts(self) -> int:
        return self._total("attempts")

    @property
    def exit_code(self) -> int:
        """The exit code for a program: 1 if tasks failed or could not be written, otherwise 0."""
        return 1 if self.failed or self.unwritten else 0

    def raise_for_failures(self) -> RunReport:
        """Return the report itself, if nothing failed.

        Raises:
            TasksFailedError: At least one task failed. Its ``report`` is this report.
        """
        if self.failed:
            details = [
                f"{record.data_title} ({record.phase}): {described(record.exception)}{first_too(record.first_error)}"
                for record in self.failures
                if record.exception is not None
            ]
            raise TasksFailedError(self.failed, self.tasks, [on_a_line(detail) for detail in details], self)
        return self

    def to_dict(self) -> dict[str, Any]:
        totals = {name: getattr(self, name) for name in ("tasks", *OUTCOMES, "attempts")}
        return {
            **totals,
            "passes": self.passes,
            "seconds": round(self.seconds, 3),
            "own_saves": round(self.own_saves, 3),
            "stopped": self.stopped,
            "report_file_error": self.report_file_error,
            "stages": [stage.to_dict() for stage in self.stages],
            "failures": [record.to_dict() for record in self.failures],
            "unwritten": [str(task.uuid) for task in self.unwritten],
            "unconfirmed": [str(task.uuid) for task in self.unconfirmed],
            "teardown_errors": list(self.teardown_errors),
        }

    def to_json(self, *, indent: int | None = None) -> str:
        """Return the counts per stage and the failures, as JSON text."""
        return json.dumps(self.to_dict(), indent=indent)

    def summary(self) -> Iterator[str]:
        """Yield the meaning of the numbers, in a few lines."""
        if self.seconds > 0 and self.tasks:
            phases = {"loading": self.loading, "the agents": self.running, "writing": self.writing}
            slowest = max(phases, key=lambda name: phases[name])
            went = f"; most time went into {slowest} ({phases[slowest]:.1f} s)" if phases[slowest] >= 0.1 else ""
            yield (
                f"{self.tasks} {'task' if self.tasks == 1 else 'tasks'} in {self.seconds:.1f} s "
                f"({self.tasks / self.seconds:.1f} per second){went}."
            )
        elif not self.tasks:
            yield "No task has an outcome." if self.stopped or self.unwritten else "No task was waiting."
        if self.stopped:
            yield f"Stopped early: {on_a_line(self.stopped.partition(chr(10))[0]).rstrip('.')}."
        if (found := hint([(record.phase, record.exception) for record in self.failures])) is not None:
            yield found
        if left := [task for task in self.unwritten if task not in self.unconfirmed]:
            yield f"Finished but not written, still in their stages: {len(left)}."
            yield from (f"  {on_a_line(task.data_title)} ({task.uuid})" for task in left[:20])
        if self.unconfirmed:
            yield f"Saved and sent to move, without an answer, so that they may have moved: {len(self.unconfirmed)}."
            yield from (f"  {on_a_line(task.data_title)} ({task.uuid})" for task in self.unconfirmed[:20])
        for error in self.teardown_errors:
            yield f"Raised when it was torn down, after the run: {on_a_line(error.partition(chr(10))[0])}"
        if self.report_file_error:
            yield on_a_line(self.report_file_error)
        bundling = hint_at_bundling(self.own_saves, max(self.seconds, self.running))
        if bundling is not None and not self._one_by_one:
            yield bundling

    def __str__(self) -> str:
        head = ("stage", *OUTCOMES, "attempts", "seconds")
        rows = [
            (on_a_line(s.title), *(str(getattr(s, name)) for name in (*OUTCOMES, "attempts")), f"{s.seconds:.1f}")
            for s in self.stages
        ]
        widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
        lines = [
            "  ".join(
                cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
            )
            for row in [head, *rows]
        ]
        return literally("\n".join([*lines, *self.summary()]))

    def __repr__(self) -> str:
        counts = ", ".join(f"{name}={getattr(self, name)}" for name in OUTCOMES)
        return f"<RunReport {counts}>"

    _repr_html_ = report_html
