"""On the other side: where batches of tasks come in, answers go out, and a process is left tidily."""

from __future__ import annotations

import contextlib
import contextvars
import os
import socket
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from multiprocessing.util import Finalize
from typing import Protocol
from uuid import UUID

from encord.exceptions import EncordException

from encord_agents.core import tracebacks
from encord_agents.core.tracebacks import add_note, described, formatted, is_a, notes
from encord_agents.exceptions import PrintableError
from encord_agents.tasks.engine.events import ChunkLoaded, ChunkWritten, StageWarning, TaskWouldWrite
from encord_agents.tasks.engine.outcome import Fault
from encord_agents.tasks.engine.stop import Stop
from encord_agents.tasks.models import TaskResult

__all__ = [
    "Answer",
    "CallOptions",
    "Closes",
    "Errand",
    "Function",
    "Place",
    "answer_of",
    "here",
    "portable",
    "portable_answer",
    "serve",
    "shared",
]

Place = tuple[str, int]
"""A process: its host and its id."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The outcome of a batch.

    Attributes:
        results: One for each task that has an outcome.
        unwritten: The tasks that were finished and could not be written.
        unconfirmed: Those of them that were sent to move, without an answer.
        error: What no task of the run can survive: the set-up is wrong, or the platform does not answer.
        named_a_pathway: Whether the agent has named a good pathway, here and so far.
        blameless: Tasks that failed because of the platform, wherever it was noticed: their agent is not to blame.
        suspects: Faults of tasks that may be every task's: a run-scoped dependency that could not be made, or an agent
            that named an unknown pathway.
        events: What was loaded and written, and how long it took; in a dry run, what would have been written.
        warnings: What a person should know about the agent.
    """

    results: Sequence[TaskResult] = ()
    unwritten: Sequence[UUID] = ()
    unconfirmed: Set[UUID] = frozenset()
    error: Exception | None = None
    named_a_pathway: bool = False
    suspects: Mapping[UUID, Fault] = field(default_factory=dict)
    blameless: Set[UUID] = frozenset()
    events: Sequence[ChunkLoaded | ChunkWritten | TaskWouldWrite] = ()
    warnings: Sequence[StageWarning] = ()


@dataclass(frozen=True, slots=True)
class CallOptions:
    """Options of a batch.

    Attributes:
        bundle_saves: Hold what agents save by their own hand, and send it with the others'.
        dry_run: Write nothing.
        max_outage: Seconds to wait for a platform that does not answer; ``None``: as the runner says.
    """

    bundle_saves: bool = False
    dry_run: bool = False
    max_outage: float | None = None


@dataclass(frozen=True, slots=True)
class Errand:
    """The note that goes with a batch.

    Attributes:
        home: Where the run is. Anywhere else, what lives as long as the process is torn down when it ends.
        run: The run's name.
        options: How the batch is worked on.
        number: The batch's. No two batches are the same call, for there are engines that remember answers.
    """

    home: Place
    run: str
    options: CallOptions
    number: int


class Closes(Protocol):
    """Has something to tear down when its process ends."""

    def close(self) -> None: ...


class Function(Protocol):
    """A function that serves a stage. It pickles by its name."""

    __module__: str
    __qualname__: str

    @property
    def runner(self) -> Closes: ...

    def answer(self, specs: Sequence[str], *, stop: Stop, options: CallOptions) -> Answer:
        """Give tasks to the agent. Without any: be ready to. What fails stays in its stage.

        Args:
            stop: Ends it after the task at work; what was finished by then is written.

        Raises:
            Exception: The process cannot connect, or the set-up is wrong.
        """


def here() -> Place:
    """The process that this runs in."""
    return socket.gethostname(), os.getpid()


@contextlib.contextmanager
def shared(run: str, stop: Stop) -> Iterator[None]:
    """While inside, batches of a run that are served in this process stop with it, and see the caller's context
    variables."""
    _shared[run] = stop, contextvars.copy_context()
    try:
        yield
    finally:
        del _shared[run]


def serve(function: Function, specs: Sequence[str], errand: Errand) -> Answer | None:
    """Have a batch answered, in whatever thread or process an executor runs this; ``None``: the run is ending."""
    stop, context = _shared.get(errand.run) or (Stop(), contextvars.Context())
    if stop.requested:
        return None
    if here() == errand.home:
        return context.copy().run(answer_of, function, specs, stop, errand.options)
    _close_at_exit(function.runner)
    return portable_answer(answer_of(function, specs, stop, errand.options))


def answer_of(function: Function, specs: Sequence[str], stop: Stop, options: CallOptions) -> Answer:
    """Return the answer of a function; an exception is an answer too."""
    try:
        return function.answer(specs, stop=stop, options=options)
    except Exception as error:  # noqa: BLE001 - an answer like any other: the run ends with it
        return Answer(error=error)


def _close_at_exit(runner: Closes) -> None:
    # Not atexit: processes of multiprocessing do not run that.
    if not _runners:
        Finalize(None, _close, exitpriority=100)
    if runner not in _runners:
        _runners.append(runner)


def _close() -> None:
    while _runners:
        _runners.pop().close()


_runners: list[Closes] = []
"""Runners to close when this process ends."""
_shared: dict[str, tuple[Stop, contextvars.Context]] = {}
"""Of the runs of this process, by name: their stop, and their caller's context variables."""


def portable_answer(answer: Answer) -> Answer:
    """An answer that can be sent to another process."""
    error = None if answer.error is None else portable(answer.error)
    suspects = {uuid: replace(fault, exception=portable(fault.exception)) for uuid, fault in answer.suspects.items()}
    return replace(answer, error=error, suspects=suspects)


def portable(error: BaseException) -> Exception:
    """An exception that can be sent to another process: itself, or its text where it cannot be made anew there."""
    where = "" if is_a(error, (PrintableError, EncordException)) else f"In a worker:\n{formatted(error)}"
    if where:
        add_note(error, where)
    sent = tracebacks.portable(error) if is_a(error, Exception) else None
    if sent is not None and (not where or where in notes(sent)):
        return sent
    return PrintableError("\n".join(dict.fromkeys([described(error), *notes(error), where])).rstrip())
