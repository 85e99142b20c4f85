"""Events of a run: one frozen record for each, and the bus that sends them to observers."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from encord_agents.core.dependencies.awaiting import refuse_coroutine
from encord_agents.core.dependencies.signature import readable_name
from encord_agents.core.interrupts import interrupt_in
from encord_agents.core.legible import on_a_line
from encord_agents.core.logs import get_logger
from encord_agents.core.tracebacks import contained, described, exc_info, type_name
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
    """The run of a stage begins: its tasks are about to be read."""

    stage_uuid: UUID
    stage: str
    function: str


@dataclass(frozen=True, slots=True)
class StagePolled:
    """So far, ``tasks`` tasks have been seen in the stage in this pass; ``complete`` if there are no more pages."""

    stage_uuid: UUID
    stage: str
    tasks: int
    complete: bool


@dataclass(frozen=True, slots=True)
class ChunkLoaded:
    """Some tasks were loaded together, in ``seconds``."""

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
    """An attempt failed. ``retry_in``: seconds until the next one, ``None`` if there will be none."""

    task: TaskRef
    fault: Fault
    retry_in: float | None


@dataclass(frozen=True, slots=True)
class StageWarning:
    """A warning about an agent, and the task at which it was first seen; sent once per run for each kind."""

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
    """A task has its outcome for this pass, and its writes are done.

    Attributes:
        attempts: The number of attempts; 0 if there was none.
        seconds: Their total duration.
        own_saves: The part of ``seconds`` in which the agent waited for `label_row.save()` and
            `label_row.set_priority()` of its task's row, which ``bundle_saves`` would have sent with others'.
    """

    task: TaskRef
    outcome: Outcome
    attempts: int
    seconds: float
    own_saves: float = 0.0


@dataclass(frozen=True, slots=True)
class ChunkWritten:
    """The results of some tasks were written together, in ``seconds``."""

    stage_uuid: UUID
    stage: str
    tasks: int
    seconds: float


@dataclass(frozen=True, slots=True)
class StageFinished:
    """Every task of the stage has its outcome, or the run is stopping. ``seconds``: since the stage started."""

    stage_uuid: UUID
    stage: str
    seconds: float


@dataclass(frozen=True, slots=True)
class PassFinished:
    """All stages have run. ``next_in``: seconds until the next pass, ``None`` after the last."""

    number: int
    moved: int
    held: int
    failed: int
    skipped: int
    seconds: float
    next_in: float | None


@dataclass(frozen=True, slots=True)
class RunStopped:
    """The run ended before its work was done.

    Attributes:
        reason: Why it ended.
        unwritten: Tasks that were finished but not written.
        unconfirmed: The uuids of the tasks among them whose moves were sent but not answered.
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
    """Sends every event to every observer, one event at a time, and then to the record.

    An observer that raises is logged and ignored. The record is the report of a run, or the results of a queue
    function: its exceptions propagate to the emitter, since a task that is missing there is lost.

    Attributes:
        wants_starts: True if any observer uses `TaskStarted`, which otherwise costs a short attempt 3 % of its time for
            nothing. Our own observers that do not use it have ``hears_starts = False``.

    Args:
        record: Called last: a report removes the tracebacks of exceptions, which observers must see first.
    """

    def __init__(self, observers: Iterable[Observer], record: Observer | None = None) -> None:
        self._observers = tuple(observers)
        self._record = record
        everybody = (*self._observers, record)
        self.wants_starts = any(getattr(type(one), "hears_starts", one is not None) for one in everybody)
        # Observers need no lock of their own: they get one event at a time. Reentrant, since they may cause events.
        self._lock = threading.RLock()
        self._broken: set[int] = set()

    def emit(self, event: Event) -> None:
        """Send an event to the observers and the record."""
        with self._lock:
            try:
                for observer in self._observers:  # before the record, which removes tracebacks
                    self._tell(observer, event)
            finally:  # also if an interrupt came during an observer's call
                if self._record is not None:
                    self._record(event)

    def _tell(self, observer: Observer, event: Event) -> None:
        try:
            refuse_coroutine(observer(event))
        except BaseException as error:  # an observer must not affect the run
            if interrupt_in(error) is not None:
                raise
            if id(observer) in self._broken:
                return
            self._broken.add(id(observer))
            message = "%s raised %s. The run goes on, and this is not reported again."
            with contained:  # nor must a log that fails
                logger.error(message, _name_of(observer), on_a_line(described(error)), exc_info=exc_info(error))


def _name_of(observer: Observer) -> str:
    if isinstance(name := getattr(type(observer), "shown_as", None), str):  # one of our own
        return name
    try:
        return f"The observer {readable_name(observer)}"
    except Exception:  # noqa: BLE001 - it is the user's object
        return f"An observer of type {type_name(observer)}"
