"""Events of a run: one frozen record for each, and the bus that tells observers."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from encord_agents.core.dependencies.awaiting import refuse_coroutine
from encord_agents.core.dependencies.signature import readable_name
from encord_agents.core.dependencies.solve import Interrupt
from encord_agents.core.legible import cut, on_one_line
from encord_agents.core.logs import get_logger
from encord_agents.core.tracebacks import described, exc_info, type_name
from encord_agents.tasks.engine.outcome import Fault, Outcome

__all__ = [
    "AttemptFailed",
    "ChunkLoaded",
    "ChunkWritten",
    "Event",
    "Events",
    "Observer",
    "PassFinished",
    "RunStopped",
    "StageFinished",
    "StagePolled",
    "StageStarted",
    "StageWarning",
    "TaskFinished",
    "TaskRef",
    "TaskStarted",
    "TaskWouldWrite",
    "on_a_line",
]

logger = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class TaskRef:
    """The task that an event is about."""

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
    """So many tasks were loaded, in so many seconds."""

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
    """In a dry run: the writes that a task would have caused, in words."""

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

    Attributes:
        wants_starts: True if anybody looks at `TaskStarted`, which costs a short attempt 3 % of its time for nothing
            otherwise. Observers of our own that do not look at it say so by ``hears_starts = False``.

    Args:
        record: Called last: a report removes the tracebacks of exceptions, which observers are still to see.
    """

    def __init__(self, observers: Iterable[Observer], record: Observer | None = None) -> None:
        self._observers = tuple(observers)
        self._record = record
        everybody = (*self._observers, record)
        self.wants_starts = any(getattr(type(one), "hears_starts", one is not None) for one in everybody)
        # Observers need no lock of their own: they are told one event at a time. They may cause events themselves.
        self._lock = threading.RLock()
        self._broken: set[int] = set()

    def emit(self, event: Event) -> None:
        """Tell the observers and the record of an event."""
        with self._lock:
            try:
                for observer in self._observers:  # before the record, which takes tracebacks off
                    self._tell(observer, event)
            finally:  # an interrupt may have come while an observer was told
                if self._record is not None:
                    self._record(event)

    def _tell(self, observer: Observer, event: Event) -> None:
        try:
            refuse_coroutine(observer(event))
        except (KeyboardInterrupt, Interrupt):
            raise
        except BaseException as error:  # an observer has no say in what becomes of the run
            if id(observer) in self._broken:
                return
            self._broken.add(id(observer))
            message = "%s raised %s. The run goes on, and this is not reported again."
            with contextlib.suppress(Exception, SystemExit):  # a log that fails is no reason to end either
                logger.error(message, _name_of(observer), on_a_line(described(error)), exc_info=exc_info(error))


def _name_of(observer: Observer) -> str:
    if isinstance(name := getattr(type(observer), "shown_as", None), str):  # one of our own
        return name
    try:
        return f"The observer {readable_name(observer)}"
    except Exception:  # noqa: BLE001 - it is the user's object
        return f"An observer of type {type_name(observer)}"


def on_a_line(text: object) -> str:
    """Return other people's text as a part of a line that is shown."""
    return cut(on_one_line(text))
