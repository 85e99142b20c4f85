"""Messages between the process that drains and its workers. All of them are frozen, and pickle."""

from __future__ import annotations

import pickle
from collections.abc import Sequence, Set
from dataclasses import dataclass, field, replace
from uuid import UUID

from encord_agents.core.tracebacks import described, formatted, notes
from encord_agents.exceptions import EncordAgentsError, PrintableError
from encord_agents.tasks.engine.events import AttemptFailed, Event, TaskFinished, TaskRef
from encord_agents.tasks.engine.outcome import Failed, Fault
from encord_agents.tasks.runner.worker import portable

__all__ = [
    "AttemptEnded",
    "Begin",
    "Close",
    "Died",
    "End",
    "Ended",
    "HoldBack",
    "OnItsWay",
    "Options",
    "Ready",
    "Stop",
    "Succeeded",
    "Tasks",
    "Told",
    "WorkerDiedError",
    "WorkerError",
    "told",
    "unpickled",
]


class WorkerTraceback(Exception):  # noqa: N818 - it is shown as the cause of another
    """A traceback as text."""

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


class WorkerError(EncordAgentsError):
    """An exception of a task in a worker: its type and message. The worker's traceback is its cause."""

    def __init__(self, message: str, traceback: str | None = None) -> None:
        super().__init__(message)
        self.traceback = traceback
        if traceback is not None:
            self.__cause__ = WorkerTraceback(traceback)

    def __reduce__(self) -> tuple[type[WorkerError], tuple[str, str | None]]:
        return type(self), (str(self), self.traceback)


class WorkerDiedError(WorkerError):
    """The worker process died while it ran this task and no other."""


# To a worker


@dataclass(frozen=True, slots=True)
class Options:
    """Options of a stage.

    Attributes:
        window: How many of its tasks may be loaded, run or written at the same time in one worker.
        workers: Attempts at once in one worker, of async agents.
    """

    window: int
    workers: int = 1
    num_retries: int = 3
    retry_delay: float = 0.0
    max_outage: float | None = None
    dry_run: bool = False
    bundle_saves: bool = False


@dataclass(frozen=True, slots=True)
class OnItsWay:
    """A task on its way to a worker.

    Attributes:
        task: As JSON.
        age: Seconds since its stage showed it.
    """

    task: str
    age: float


@dataclass(frozen=True, slots=True)
class Begin:
    """A stage begins. The function is pickled: what it imports is imported in the worker's main thread."""

    function: bytes
    options: Options


@dataclass(frozen=True, slots=True)
class Tasks:
    """Tasks for the stage that goes on."""

    tasks: Sequence[OnItsWay]


@dataclass(frozen=True, slots=True)
class Close:
    """There are no more tasks in the stage that goes on."""


@dataclass(frozen=True, slots=True)
class HoldBack:
    """Another worker was refused by a service that the agent calls, which wants to be left alone for some seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Stop:
    """Begin no task that has not begun."""


@dataclass(frozen=True, slots=True)
class End:
    """End, when the stage that goes on has ended."""


# From a worker


@dataclass(frozen=True, slots=True)
class Ready:
    """The worker has imported the agents and connected, or it cannot: then the error is there, pickled."""

    error: bytes | None = None


@dataclass(frozen=True, slots=True)
class AttemptEnded:
    """An attempt of a task is over, whatever it brought."""

    uuid: UUID


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The agent did well in an attempt of a task, whatever becomes of its result."""

    uuid: UUID
    named_a_pathway: bool


@dataclass(frozen=True, slots=True)
class Told:
    """An event of the stage.

    Attributes:
        named_a_pathway: Whether the agent has named a good pathway in this worker so far.
        suspect: Of a failure that may be every task's: its own exception, pickled.
        hold_back: Of a refusal by a service: seconds that it wants to be left alone.
    """

    event: Event
    named_a_pathway: bool = False
    suspect: bytes | None = None
    hold_back: float = 0.0


@dataclass(frozen=True, slots=True)
class Ended:
    """The stage has ended in this worker.

    Attributes:
        unwritten: Tasks that were finished and could not be written.
        unconfirmed: Those of them that were sent to move, without an answer.
        error: What ended it before all its tasks had an outcome, pickled.
    """

    unwritten: Sequence[TaskRef] = ()
    unconfirmed: Set[UUID] = field(default_factory=frozenset)
    error: bytes | None = None


@dataclass(frozen=True, slots=True)
class Died:
    """From a worker's listener: the process has ended, though it was not told to.

    Attributes:
        how: How it died, in words.
        ready: Whether it ever was ready.
        garbled: Whether it was ended because a message of it could not be read.
    """

    how: str
    ready: bool
    garbled: bool = False


def told(event: Event, *, named_a_pathway: bool, is_suspect: bool, hold_back: float) -> Told:
    """Return an event as a message: exceptions of tasks as text, since only the worker may be able to import them."""
    suspect = None
    if isinstance(event, AttemptFailed):
        event = replace(event, fault=_as_text(event.fault))
    elif isinstance(event, TaskFinished) and isinstance(event.outcome, Failed):
        fault = event.outcome.fault
        if is_suspect and isinstance(fault.exception, Exception):
            suspect = pickle.dumps(portable(fault.exception))
        event = replace(event, outcome=replace(event.outcome, fault=_as_text(fault)))
    return Told(event, named_a_pathway, suspect, hold_back)


def _as_text(fault: Fault) -> Fault:
    text = "\n".join([described(fault.exception), *notes(fault.exception)])
    return replace(fault, exception=WorkerError(text, formatted(fault.exception)))


def unpickled(error: bytes) -> Exception:
    """Return an exception of a worker."""
    try:
        found: Exception = pickle.loads(error)
    except Exception as trouble:  # noqa: BLE001 - of what only the worker could import
        return PrintableError(f"The error of a worker cannot be read here: {described(trouble)}")
    return found
