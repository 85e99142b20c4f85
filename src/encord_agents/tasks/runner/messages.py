"""Messages between the draining process and its workers. All are frozen, and can be pickled."""

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
    "TornDown",
    "WillSucceed",
    "WorkerDiedError",
    "WorkerError",
    "not_importable",
    "portable",
    "told",
]


class WorkerTraceback(Exception):  # noqa: N818 - it is shown as the cause of another
    """A traceback as text."""

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


class WorkerError(EncordAgentsError):
    """The exception of a task in a worker, as text: its type and message. The worker's traceback is its cause."""

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
        task: The task, as JSON.
        age: Seconds since it was seen in its stage.
    """

    task: str
    age: float


@dataclass(frozen=True, slots=True)
class Begin:
    """The beginning of a stage.

    Attributes:
        load: Returns the queue function. In another process it imports it, so only the worker's main thread calls it.
    """

    load: Callable[[], Any]
    options: DrainOptions

    def __reduce__(self) -> tuple[Any, ...]:
        # Pickled separately, since the worker receives messages in a thread, where agents must not be imported.
        function = self.load()
        name = f"{function.__module__}.{function.__qualname__}"
        return Begin, (partial(_imported, pickle.dumps(function), name), self.options)


NOT_IMPORTABLE = """\
{name} cannot be sent to other processes, which would import it by that name: {why}.
Define each agent with `def`, at the top level of a module, outside `if __name__ == "__main__":`, under a name of its \
own, and with @runner.stage(...) above all other decorators. Or run them in threads of this process:
    runner.drain(executor=ThreadPoolExecutor(4))"""


def not_importable(name: str, why: str) -> PrintableError:
    """Return the error about a function that other processes cannot import."""
    return PrintableError(NOT_IMPORTABLE.format(name=name, why=why))


def _imported(function: bytes, name: str) -> Any:
    try:
        return pickle.loads(function)
    except Exception as error:
        by_pickle = error.__traceback__ is not None and error.__traceback__.tb_next is None
        if by_pickle and isinstance(error, AttributeError):
            raise not_importable(name, "a worker has imported the module and found no such name there") from error
        trouble = PrintableError(f"{name} cannot be imported in a worker process: {described(error)}")
        add_note(trouble, f"In a worker:\n{formatted(error)}")
        raise trouble from error


@dataclass(frozen=True, slots=True)
class Tasks:
    """Tasks for the current stage."""

    tasks: Sequence[OnItsWay]


@dataclass(frozen=True, slots=True)
class HoldBack:
    """A rate limit that another worker has met: the service must be left alone for some seconds."""

    seconds: float


class Order(enum.Enum):
    """A message without contents."""

    CLOSE = "close"
    """There are no more tasks in the current stage."""
    STOP = "stop"
    """Start no further task."""
    END = "end"
    """Exit when the current stage has ended."""


# From a worker


@dataclass(frozen=True, slots=True)
class Carried:
    """An exception on its way to the parent: unchanged within a process, otherwise in a form that can be unpickled."""

    error: BaseException

    def __reduce__(self) -> tuple[Any, ...]:
        # Pickled separately, so that an exception that cannot be unpickled does not lose the whole message.
        return _carried, (pickle.dumps(portable(self.error)),)


def _carried(error: bytes) -> Carried:
    try:
        return Carried(pickle.loads(error))
    except Exception as trouble:  # noqa: BLE001 - such as of a type that only the worker can import
        return Carried(PrintableError(f"The error of a worker cannot be read here: {described(trouble)}"))


@dataclass(frozen=True, slots=True)
class Ready:
    """The worker has imported the agents and connected; or it could not, and the error is given."""

    error: Carried | None = None


@dataclass(frozen=True, slots=True)
class AttemptEnded:
    """An attempt of a task has ended, whether it succeeded or not."""

    uuid: UUID


@dataclass(frozen=True, slots=True)
class Succeeded:
    """An attempt of a task succeeded. Its result may yet fail to be written."""

    uuid: UUID
    named_a_pathway: bool


@dataclass(frozen=True, slots=True)
class WillSucceed:
    """An attempt in a batch succeeded. The batch's messages follow."""

    named_a_pathway: bool


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The batch was cancelled, but not by the run."""


@dataclass(frozen=True, slots=True)
class Told:
    """An event of the stage.

    Attributes:
        named_a_pathway: True if the agent has named a valid pathway in this worker so far.
        suspect: The original exception of a failure that every task may share.
        blameless: True for a failure that neither the task nor the agent caused.
        hold_back: After a rate limit, the seconds for which the service must be left alone.
    """

    event: Event
    named_a_pathway: bool = False
    suspect: Carried | None = None
    blameless: bool = False
    hold_back: float = 0.0


@dataclass(frozen=True, slots=True)
class Ended:
    """The stage has ended in this worker, or the batch in this slot of an executor.

    Attributes:
        unwritten: Tasks that were finished but could not be written.
        unconfirmed: Those of them whose move was sent, but not answered.
        error: The error that ended it before all its tasks had an outcome.
        hold_back: Seconds for which a service that the agent calls must still be left alone.
    """

    unwritten: Sequence[TaskRef] = ()
    unconfirmed: Set[UUID] = field(default_factory=frozenset)
    error: Carried | None = None
    hold_back: float = 0.0


@dataclass(frozen=True, slots=True)
class TornDown:
    """The worker has done and torn down everything. Only its process has to exit."""


@dataclass(frozen=True, slots=True)
class Died:
    """Sent by a worker's listener thread: the process has ended.

    Attributes:
        how: How it died, in words.
        ready: True if it had been ready.
        garbled: True if it was killed because one of its messages could not be read.
    """

    how: str
    ready: bool
    garbled: bool = False


def told(event: Event, history: History, now: float) -> Told:
    """Return an event as a message. Exceptions of tasks become text, since only the worker may be able to import them.

    Args:
        history: The agent's history in this worker.
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
    # Decided here, since the exception's type does not leave the worker.
    platform = fault.platform or is_platform_trouble(fault.exception)
    return replace(fault, exception=WorkerError(text, formatted(fault.exception)), platform=platform)


def portable(error: BaseException) -> Exception:
    """Return an exception that can be sent to another process: itself, or its text if it cannot be unpickled there."""
    where = "" if is_a(error, (PrintableError, EncordException)) else f"In a worker:\n{formatted(error)}"
    if where:
        add_note(error, where)
    sent = tracebacks.portable(error) if is_a(error, Exception) else None
    if sent is not None and (not where or where in notes(sent)):
        return sent
    return PrintableError("\n".join(dict.fromkeys([described(error), *notes(error), where])).rstrip())
