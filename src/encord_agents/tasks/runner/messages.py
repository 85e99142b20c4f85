"""Messages between the process that drains and its workers. All of them are frozen, and pickle."""

from __future__ import annotations

import enum
import pickle
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from uuid import UUID

from encord.exceptions import EncordException

from encord_agents.core import tracebacks
from encord_agents.core.tracebacks import add_note, described, formatted, is_a, notes
from encord_agents.exceptions import EncordAgentsError, PrintableError, UnknownPathwayError
from encord_agents.tasks.engine.dead_letter import is_blameless
from encord_agents.tasks.engine.events import AttemptFailed, Event, TaskFinished, TaskRef
from encord_agents.tasks.engine.history import History
from encord_agents.tasks.engine.outcome import Failed, Fault, Phase
from encord_agents.tasks.engine.verdict import is_platform_trouble
from encord_agents.tasks.runner.run_options import DrainOptions

__all__ = [
    "AttemptEnded",
    "Begin",
    "Cancelled",
    "Carried",
    "Died",
    "Ended",
    "HoldBack",
    "OnItsWay",
    "Order",
    "Ready",
    "Succeeded",
    "Tasks",
    "Told",
    "WillSucceed",
    "WorkerDiedError",
    "WorkerError",
    "portable",
    "told",
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
    """A stage begins.

    Attributes:
        load: Returns the queue function. In another process, it imports it, which is for the worker's main thread.
    """

    load: Callable[[], Any]
    options: DrainOptions

    def __reduce__(self) -> tuple[Any, ...]:
        return Begin, (partial(pickle.loads, pickle.dumps(self.load())), self.options)


@dataclass(frozen=True, slots=True)
class Tasks:
    """Tasks for the stage that goes on."""

    tasks: Sequence[OnItsWay]


@dataclass(frozen=True, slots=True)
class HoldBack:
    """Another worker was refused by a service that the agent calls, which wants to be left alone for some seconds."""

    seconds: float


class Order(enum.Enum):
    """A message without contents."""

    CLOSE = "close"
    """There are no more tasks in the stage that goes on."""
    STOP = "stop"
    """Begin no task that has not begun."""
    END = "end"
    """End, when the stage that goes on has ended."""


# From a worker


@dataclass(frozen=True, slots=True)
class Carried:
    """An exception on its way to the parent: itself where that is this process, else as it can be made anew there."""

    error: BaseException

    def __reduce__(self) -> tuple[Any, ...]:
        # Pickled apart: a whole message would be lost whose exception cannot be read.
        return _carried, (pickle.dumps(portable(self.error)),)


def _carried(error: bytes) -> Carried:
    try:
        return Carried(pickle.loads(error))
    except Exception as trouble:  # noqa: BLE001 - of what only the worker could import
        return Carried(PrintableError(f"The error of a worker cannot be read here: {described(trouble)}"))


@dataclass(frozen=True, slots=True)
class Ready:
    """The worker has imported the agents and connected, or it cannot: then the error is there."""

    error: Carried | None = None


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
class WillSucceed:
    """The agent did well in a batch, whose messages follow."""

    named_a_pathway: bool


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The batch was cancelled, by somebody else than the run."""


@dataclass(frozen=True, slots=True)
class Told:
    """An event of the stage.

    Attributes:
        named_a_pathway: True if the agent has named a good pathway in this worker so far.
        suspect: Of a failure that may be every task's: its own exception.
        blameless: Of a failure: True if neither the task nor the agent caused it.
        hold_back: Of a refusal by a service: seconds that it wants to be left alone.
    """

    event: Event
    named_a_pathway: bool = False
    suspect: Carried | None = None
    blameless: bool = False
    hold_back: float = 0.0


@dataclass(frozen=True, slots=True)
class Ended:
    """The stage has ended in this worker, or the batch that an executor was given.

    Attributes:
        unwritten: Tasks that were finished and could not be written.
        unconfirmed: Those of them that were sent to move, without an answer.
        error: The error that ended it before all its tasks had an outcome.
        hold_back: Seconds for which a service that the agent calls still wants to be left alone.
    """

    unwritten: Sequence[TaskRef] = ()
    unconfirmed: Set[UUID] = field(default_factory=frozenset)
    error: Carried | None = None
    hold_back: float = 0.0


@dataclass(frozen=True, slots=True)
class Died:
    """From a worker's listener: the process has ended, though it was not told to.

    Attributes:
        how: How it died, in words.
        ready: True if it ever was ready.
        garbled: True if it was ended because a message of it could not be read.
    """

    how: str
    ready: bool
    garbled: bool = False


def told(event: Event, history: History, now: float) -> Told:
    """Return an event as a message: exceptions of tasks as text, since only the worker may be able to import them.

    Args:
        history: That of the agent in this worker.
        now: The time on the gate's clock.
    """
    suspect, blameless, hold_back = None, False, 0.0
    if isinstance(event, AttemptFailed):
        hold_back = history.quiet.left(now) if event.fault.rate_limited else 0.0
        event = replace(event, fault=_as_text(event.fault))
    elif isinstance(event, TaskFinished) and isinstance(event.outcome, Failed):
        fault = event.outcome.fault
        unknown = fault.phase is Phase.PATHWAY and is_a(fault.exception, UnknownPathwayError)
        suspect = Carried(fault.exception) if fault.run_scoped or unknown else None
        blameless = is_blameless(fault)
        event = replace(event, outcome=replace(event.outcome, fault=_as_text(fault)))
    return Told(event, history.has_named_a_pathway, suspect, blameless, hold_back)


def _as_text(fault: Fault) -> Fault:
    text = "\n".join([described(fault.exception), *notes(fault.exception)])
    # Its type, which says as much, stays in the worker.
    platform = fault.platform or is_platform_trouble(fault.exception)
    return replace(fault, exception=WorkerError(text, formatted(fault.exception)), platform=platform)


def portable(error: BaseException) -> Exception:
    """Return an exception that can be sent to another process: itself, or its text if it cannot be made anew there."""
    where = "" if is_a(error, (PrintableError, EncordException)) else f"In a worker:\n{formatted(error)}"
    if where:
        add_note(error, where)
    sent = tracebacks.portable(error) if is_a(error, Exception) else None
    if sent is not None and (not where or where in notes(sent)):
        return sent
    return PrintableError("\n".join(dict.fromkeys([described(error), *notes(error), where])).rstrip())
