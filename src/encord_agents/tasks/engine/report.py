"""What happened: one frozen record per event, and the report that is made of them.

The engine announces events; observers do the rest. Progress and logs are observers like any other. The report is none:
what it cannot take in is an error of the run.
"""

from __future__ import annotations

import contextlib
import json
import logging
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from typing import Any, Protocol
from uuid import UUID

from encord_agents.core.dependencies.signature import readable_name
from encord_agents.core.dependencies.solve import Interrupt
from encord_agents.core.legible import cut, literally, on_one_line
from encord_agents.core.tracebacks import described, detach, exc_info, formatted, portable, type_name
from encord_agents.exceptions import EncordAgentsError, TasksFailedError
from encord_agents.tasks.engine.hints import hint, hint_at_bundling
from encord_agents.tasks.engine.outcome import Failed, Fault, Held, Moved, Outcome, Pathway, Skipped

__all__ = [
    "AttemptFailed",
    "ChunkLoaded",
    "ChunkWritten",
    "Event",
    "Events",
    "Observer",
    "PassFinished",
    "RunReport",
    "RunStopped",
    "StageFinished",
    "StagePolled",
    "StageReport",
    "StageStarted",
    "StageWarning",
    "TaskFinished",
    "TaskRecord",
    "TaskRef",
    "TaskStarted",
    "TaskWouldWrite",
    "first_too",
]

logger = logging.getLogger(__name__)

LONGEST_LINE = 2_000
"""Characters of other people's text in a line that is shown."""
MAX_RECORDS = 10_000
"""Tasks a report remembers one by one. Beyond that the counts go on, and the moved are forgotten first."""


@dataclass(frozen=True, slots=True)
class TaskRef:
    """Which task an event is about."""

    uuid: UUID
    data_hash: UUID
    data_title: str
    stage_uuid: UUID
    stage: str


@dataclass(frozen=True, slots=True)
class StageStarted:
    """A stage's tasks are being asked for."""

    stage_uuid: UUID
    stage: str
    function: str


@dataclass(frozen=True, slots=True)
class StagePolled:
    """So many tasks have been seen waiting in the stage, this pass; ``complete`` when there are no more pages."""

    stage_uuid: UUID
    stage: str
    tasks: int
    complete: bool


@dataclass(frozen=True, slots=True)
class ChunkLoaded:
    """What so many tasks need was fetched, in so many seconds."""

    stage_uuid: UUID
    stage: str
    tasks: int
    seconds: float


@dataclass(frozen=True, slots=True)
class TaskStarted:
    """An attempt of a task begins; ``attempt`` counts from 1."""

    task: TaskRef
    attempt: int


@dataclass(frozen=True, slots=True)
class AttemptFailed:
    """An attempt went wrong. ``retry_in``: seconds until the next one, ``None`` where there will be none."""

    task: TaskRef
    fault: Fault
    retry_in: float | None


@dataclass(frozen=True, slots=True)
class StageWarning:
    """Something about an agent that a person should know, seen at a task first; said once a run for each kind."""

    task: TaskRef
    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class TaskWouldWrite:
    """In a dry run: what would have been written for a task, in words."""

    task: TaskRef
    summary: str


@dataclass(frozen=True, slots=True)
class TaskFinished:
    """A task has its outcome for this pass, and everything of it is written.

    Attributes:
        attempts: How often it was tried; 0 where it was not.
        seconds: How long its attempts took together.
        own_saves: Seconds of those in which the agent waited for `label_row.save()` and `label_row.set_priority()` of
            its task's row, which ``bundle_saves`` would have sent with others'.
    """

    task: TaskRef
    outcome: Outcome
    attempts: int
    seconds: float
    own_saves: float = 0.0


@dataclass(frozen=True, slots=True)
class ChunkWritten:
    """The results of so many tasks were written, in so many seconds."""

    stage_uuid: UUID
    stage: str
    tasks: int
    seconds: float


@dataclass(frozen=True, slots=True)
class StageFinished:
    """Every task of the stage's queue has its outcome, or the run is stopping. ``seconds`` since it started."""

    stage_uuid: UUID
    stage: str
    seconds: float


@dataclass(frozen=True, slots=True)
class PassFinished:
    """All stages had their turn. ``next_in``: seconds until the next pass, ``None`` after the last."""

    number: int
    moved: int
    held: int
    failed: int
    skipped: int
    seconds: float
    next_in: float | None


@dataclass(frozen=True, slots=True)
class RunStopped:
    """The run ended before its work did.

    Attributes:
        reason: Why.
        unwritten: Tasks that were finished but not written.
        unconfirmed: The uuids of those among them that were sent to move, without an answer.
    """

    reason: str
    unwritten: tuple[TaskRef, ...] = ()
    unconfirmed: frozenset[UUID] = frozenset()


Event = (
    StageStarted
    | StagePolled
    | ChunkLoaded
    | TaskStarted
    | AttemptFailed
    | StageWarning
    | TaskWouldWrite
    | TaskFinished
    | ChunkWritten
    | StageFinished
    | PassFinished
    | RunStopped
)


class Observer(Protocol):
    """Anything that can be called with an event. It is called by one thread at a time, and should be quick."""

    def __call__(self, event: Event, /) -> object: ...


class Events:
    """Tells every observer of every event, one event at a time, and then the record.

    An observer that raises is logged and ignored. The record is the report of a run, or the results of a queue
    function: what it raises passes to whoever emitted the event, for a task that is missing there is lost.

    Args:
        record: Called last: a report removes the tracebacks of exceptions, which observers are still to see.
    """

    def __init__(self, observers: Iterable[Observer], record: Observer | None = None) -> None:
        self._observers = tuple(observers)
        self._record = record
        self._by_kind: dict[type, tuple[Observer, ...]] = {}
        self._lock = threading.RLock()
        self._broken: set[int] = set()

    def wanted(self, kind: type) -> bool:
        """Return whether anybody looks at a kind of event."""
        return bool(self._looking_at(kind)) or (self._record is not None and _looks_at(self._record, kind))

    def _looking_at(self, kind: type) -> tuple[Observer, ...]:
        if kind not in self._by_kind:
            self._by_kind[kind] = tuple(observer for observer in self._observers if _looks_at(observer, kind))
        return self._by_kind[kind]

    def emit(self, event: Event) -> None:
        """Tell the observers and the record of an event."""
        if not self.wanted(type(event)):
            return
        with self._lock:
            try:
                for observer in self._looking_at(type(event)):
                    self._tell(observer, event)
            finally:  # an interrupt may have come while an observer was told
                if self._record is not None:
                    self._record(event)

    def _tell(self, observer: Observer, event: Event) -> None:
        try:
            observer(event)
        except (KeyboardInterrupt, Interrupt):
            raise
        except BaseException as error:  # noqa: BLE001 - an observer has no say in what becomes of the run
            if id(observer) not in self._broken:
                self._broken.add(id(observer))
                _complain(observer, error)


def _looks_at(observer: Observer, kind: type) -> bool:
    """Return whether an observer looks at a kind of event: all do, but those of our own that say at which."""
    kinds = getattr(type(observer), "looks_at", None)
    return not isinstance(kinds, frozenset) or kind in kinds


def _complain(observer: Observer, error: BaseException) -> None:
    message = "%s raised %s. The run goes on, and this is not reported again."
    with contextlib.suppress(Exception, SystemExit):  # a log that cannot be written to is no reason to end either
        logger.error(message, _name_of(observer), _on_a_line(described(error)), exc_info=exc_info(error))


def _name_of(observer: Observer) -> str:
    if isinstance(name := getattr(type(observer), "shown_as", None), str):  # one of our own
        return name
    try:
        return f"The observer {readable_name(observer)}"
    except Exception:  # noqa: BLE001 - it is the user's object
        return f"An observer of type {type_name(observer)}"


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """How a task ended, its latest outcome.

    Attributes:
        task_uuid: The task.
        data_hash: Its data unit.
        data_title: The data unit's title.
        stage: The title of the stage it was in.
        stage_uuid: That stage's uuid.
        outcome: ``moved``, ``held``, ``failed`` or ``skipped``.
        pathway: The name of the pathway it went down, a failure pathway included.
        pathway_uuid: That pathway's uuid.
        confirmed: False where the platform's answer to the move was lost and the task was afterwards gone.
        attempts: How often it was tried.
        seconds: How long its attempts took together.
        phase: Where a failed task failed: load, inject, agent, teardown, pathway, save or move.
        exception: What a failed task failed with, its traceback taken off (it would keep the task's data in memory).
        first_error: What the first attempt of a failed task failed with, where that was something else.
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
        """The record of an event. The exception's own traceback is taken off, unless others are still to see it."""
        task, outcome = event.task, event.outcome
        pathway: Pathway | None = None
        details: dict[str, Any] = {}
        match outcome:
            case Moved(pathway=pathway, confirmed=confirmed):
                details = {"confirmed": confirmed}
            case Failed(fault=fault, moved_to=pathway):
                details = {
                    "phase": str(fault.phase),
                    "exception": fault.exception,
                    "first_error": fault.first,
                    "traceback": formatted(fault.exception),
                }
                if not keep_traceback:
                    detach(fault.exception)
            case Skipped(reason=reason):
                details = {"reason": reason}
            case Held():
                pass
        return cls(
            task_uuid=task.uuid,
            data_hash=task.data_hash,
            data_title=task.data_title,
            stage=task.stage,
            stage_uuid=task.stage_uuid,
            outcome=kind_of(outcome),
            pathway=pathway.name if pathway else None,
            pathway_uuid=pathway.uuid if pathway else None,
            attempts=event.attempts,
            seconds=event.seconds,
            **details,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle an exception that another process could not make anew as an `EncordAgentsError` with its text."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        if self.exception is not None and portable(self.exception) is None:
            values["exception"] = EncordAgentsError(described(self.exception))
        return TaskRecord, tuple(values.values())

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON has it: uuids and the exception as text, what does not apply left out."""
        error = None if self.exception is None else described(self.exception)
        entries = {
            "task_uuid": str(self.task_uuid),
            "data_hash": str(self.data_hash),
            "data_title": self.data_title,
            "stage": self.stage,
            "stage_uuid": str(self.stage_uuid),
            "outcome": self.outcome,
            "pathway": self.pathway,
            "pathway_uuid": None if self.pathway_uuid is None else str(self.pathway_uuid),
            "confirmed": None if self.confirmed else False,
            "attempts": self.attempts,
            "seconds": round(self.seconds, 6),
            "phase": self.phase,
            "error": error,
            "first_error": self.first_error,
            "traceback": self.traceback,
            "reason": self.reason,
        }
        return {key: value for key, value in entries.items() if value is not None}


def first_too(first_error: str | None) -> str:
    """What to add to an error, where a task's first attempt failed otherwise than its last."""
    return f" (first: {first_error.partition(chr(10))[0]})" if first_error else ""


def _on_a_line(text: str) -> str:
    """Return other people's text as a part of a line that is shown."""
    return cut(on_one_line(text), LONGEST_LINE)


def kind_of(outcome: Outcome) -> str:
    """``moved``, ``held``, ``failed`` or ``skipped``."""
    return type(outcome).__name__.lower()


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
        counts = {name: getattr(self, name) for name in ("moved", "held", "failed", "skipped", "attempts")}
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
    """What is kept of a record that there is no room for: how it was counted, lest its task is counted twice."""

    outcome: str
    pathway: str | None


class RunReport:
    """What a run did. It is called with the run's events; ``str()`` is a short table.

    Attributes:
        stages: A `StageReport` per stage, in order.
        passes: How many passes were finished.
        stopped: Why the run ended early, or ``None``.
        unwritten: Tasks that were finished but could not be written; they are still in their stages.
        unconfirmed: Those of them that were saved and sent to move, without an answer: these may have moved.
        teardown_errors: What run-scoped dependencies raised when they were torn down, after the last write.
        loading, running, writing: Seconds spent in each, over all threads.
        own_saves: Seconds of running in which agents waited for saves of their own, see `TaskFinished`.
        report_file_error: What is wrong with the report file of the run, as a sentence; ``None`` if all is well, or
            there was none. It changes no exit code: the tasks' outcomes are what they are.
    """

    looks_at = frozenset(
        {StageStarted, TaskFinished, ChunkLoaded, ChunkWritten, StageFinished, PassFinished, RunStopped}
    )

    def __init__(self, max_records: int = MAX_RECORDS) -> None:
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
        self._stages: dict[UUID, StageReport] = {}
        # Ordered dictionaries: their oldest is found at once, however many were taken out before.
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
        counts = {name: getattr(stage, name) for name in ("moved", "held", "failed", "skipped")}
        counts[record.outcome] += 1
        moved_to = stage.moved_to.copy()
        if record.pathway is not None:
            moved_to[record.pathway] += 1
        if before is not None:
            counts[before.outcome] -= 1
            if before.pathway is not None:
                moved_to[before.pathway] -= 1
        # Who is interrupted in here tells of the task again. Python looks for interrupts after calls, and there is none
        # from here to the record: so a task is counted and recorded, or neither.
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
        """A task that has moved does not come back to be counted twice, and its record says the least."""
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
        """What a program should exit with: 1 if tasks failed or could not be written, else 0."""
        return 1 if self.failed or self.unwritten else 0

    def raise_for_failures(self) -> RunReport:
        """The report itself, if nothing failed.

        Raises:
            TasksFailedError: At least one task failed. Its ``report`` is this report.
        """
        if self.failed:
            details = [
                f"{record.data_title} ({record.phase}): {described(record.exception)}{first_too(record.first_error)}"
                for record in self.failures
                if record.exception is not None
            ]
            raise TasksFailedError(self.failed, self.tasks, [_on_a_line(detail) for detail in details], self)
        return self

    def to_dict(self) -> dict[str, Any]:
        totals = {name: getattr(self, name) for name in ("tasks", "moved", "held", "failed", "skipped", "attempts")}
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
        """The counts per stage and the failures, as JSON text."""
        return json.dumps(self.to_dict(), indent=indent)

    def summary(self) -> Iterator[str]:
        """What the numbers mean, in a line or two."""
        if self.seconds > 0 and self.tasks:
            phases = {"loading": self.loading, "the agents": self.running, "writing": self.writing}
            slowest = max(phases, key=lambda name: phases[name])
            went = f"; most time went into {slowest} ({phases[slowest]:.1f} s)" if phases[slowest] >= 0.1 else ""
            yield (
                f"{self.tasks} {'task' if self.tasks == 1 else 'tasks'} in {self.seconds:.1f} s "
                f"({self.tasks / self.seconds:.1f} per second){went}."
            )
        elif not self.tasks:
            yield "No task was waiting."
        if self.stopped:
            yield f"Stopped early: {_on_a_line(self.stopped.partition(chr(10))[0]).rstrip('.')}."
        if (found := hint([(record.phase, record.exception) for record in self.failures])) is not None:
            yield found
        if left := [task for task in self.unwritten if task not in self.unconfirmed]:
            yield f"Finished but not written, still in their stages: {len(left)}."
            yield from (f"  {_on_a_line(task.data_title)} ({task.uuid})" for task in left[:20])
        if self.unconfirmed:
            yield f"Saved and sent to move, without an answer, so that they may have moved: {len(self.unconfirmed)}."
            yield from (f"  {_on_a_line(task.data_title)} ({task.uuid})" for task in self.unconfirmed[:20])
        for error in self.teardown_errors:
            yield f"Raised when it was torn down, after the run: {_on_a_line(error.partition(chr(10))[0])}"
        if self.report_file_error:
            yield _on_a_line(self.report_file_error)
        if (bundling := hint_at_bundling(self.own_saves, max(self.seconds, self.running))) is not None:
            yield bundling

    def __str__(self) -> str:
        head = ("stage", "moved", "held", "failed", "skipped", "attempts", "seconds")
        rows = [
            (
                _on_a_line(s.title),
                *(str(n) for n in (s.moved, s.held, s.failed, s.skipped, s.attempts)),
                f"{s.seconds:.1f}",
            )
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
        counts = ", ".join(f"{name}={getattr(self, name)}" for name in ("moved", "held", "failed", "skipped"))
        return f"<RunReport {counts}>"
