"""On the other side: where batches of tasks come in, answers go out, and a process is left tidily."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import socket
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from multiprocessing.util import Finalize
from typing import Any, Protocol
from uuid import UUID

from encord.exceptions import EncordException

from encord_agents.core.legible import described
from encord_agents.exceptions import PrintableError
from encord_agents.tasks.engine.outcome import Fault
from encord_agents.tasks.engine.report import ChunkLoaded, ChunkWritten
from encord_agents.tasks.engine.stop import Stop
from encord_agents.tasks.models import TaskResult

__all__ = ["Answer", "Errand", "Function", "Place", "here", "prepare", "serve", "shared"]

Place = tuple[str, int]
"""A process: its host and its id."""

TICK = 0.1
"""Seconds between two looks at whether the run is to stop."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a batch.

    Attributes:
        results: One for each task that has an outcome.
        unwritten: The tasks that were finished and could not be written.
        error: What no task of the run can survive: the set-up is wrong, or the platform does not answer.
        named_a_pathway: Whether the agent has named a good pathway, here and so far.
        blameless: Tasks that failed because of the platform, wherever it was noticed: their agent is not to blame.
        suspects: Faults of tasks that may be every task's: a run-scoped dependency that could not be made, or an agent
            that named an unknown pathway.
        chunks: What was loaded and written, and how long it took.
    """

    results: Sequence[TaskResult] = ()
    unwritten: Sequence[UUID] = ()
    error: Exception | None = None
    named_a_pathway: bool = False
    suspects: Mapping[UUID, Fault] = field(default_factory=dict)
    blameless: Set[UUID] = frozenset()
    chunks: Sequence[ChunkLoaded | ChunkWritten] = ()


@dataclass(frozen=True, slots=True)
class Errand:
    """What goes along with a batch.

    Attributes:
        home: Where the run is. Anywhere else, what lives as long as the process is torn down when it ends.
        run: The run's name.
        number: The batch's. No two batches are the same call, for there are engines that remember answers.
        mark: In a pool of our own: where to mark that the batch is begun, and by whom.
    """

    home: Place
    run: str
    number: int
    mark: int = 0


class Closes(Protocol):
    """Has something to tear down when its process ends."""

    def close(self) -> None: ...


class Function(Protocol):
    """What serves a stage. It pickles by its name."""

    __module__: str
    __qualname__: str

    @property
    def runner(self) -> Closes: ...

    def answer(self, specs: Sequence[str], *, stop: Stop) -> Answer:
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
    """While inside, batches of a run that are served in this process stop with it."""
    _stops[run] = stop
    try:
        yield
    finally:
        del _stops[run]


def serve(function: Function, specs: Sequence[str], errand: Errand) -> Answer | None:
    """Have a batch answered, in whatever thread or process an executor runs this; ``None``: the run is ending."""
    with _process.at_work(errand) as stop:
        if stop.requested:
            return None
        away = here() != errand.home
        try:
            if away:
                _process.close_at_exit(function.runner)
            answer = function.answer(specs, stop=stop)
        except Exception as error:  # noqa: BLE001 - an answer like any other: the run ends with it
            answer = Answer(error=error)
        return _portable_answer(answer) if away else answer


def prepare(stopping: Any, marks: Any) -> None:
    """Make the process a worker of a pool of ours.

    Args:
        stopping: Its ``value`` is true as soon as no new batch is to be begun.
        marks: For each batch that is out: 0, then the id of the process that has begun it, then that id negated.
    """
    # Ctrl-C in a terminal reaches every process: it is for the parent to decide what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # So does the SIGTERM of a service manager. Not ignored but handled, for programs that an agent starts would inherit
    # that; and the worker ends with its parent.
    signal.signal(signal.SIGTERM, lambda *_: None)
    if hasattr(signal, "pthread_sigmask"):  # the parent had it blocked until this was done
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    _process.stopping, _process.marks = stopping, marks
    threading.Thread(target=_process.watch, name="encord-agents-parent", daemon=True).start()


@dataclass(eq=False)
class _Process:
    """This process, as a worker."""

    stopping: Any = None
    marks: Any = None
    stop: Stop = field(default_factory=Stop)
    runners: list[Closes] = field(default_factory=list)
    busy: threading.Lock = field(default_factory=threading.Lock)

    @contextlib.contextmanager
    def at_work(self, errand: Errand) -> Iterator[Stop]:
        """While a batch is worked on. Yields what says whether it is still wanted."""
        if self.stopping is None:  # not a pool of ours, and maybe several threads
            yield _stops.get(errand.run) or Stop()
            return
        with self.busy:
            self._look()
            self.marks[errand.mark] = os.getpid()
            yield self.stop
            self.marks[errand.mark] = -os.getpid()

    def close_at_exit(self, runner: Closes) -> None:
        # Not atexit: processes of multiprocessing do not run that.
        if not self.runners:
            Finalize(None, self._close, exitpriority=100)
        if runner not in self.runners:
            self.runners.append(runner)

    def _close(self) -> None:
        while self.runners:
            self.runners.pop().close()

    def watch(self) -> None:
        """Stop when the parent says so, and end with it, however it ended, but not in the middle of a task: else the
        process would wait for the next batch for ever, since it holds the other end of that pipe too."""
        parent = multiprocessing.parent_process()
        if parent is None:
            return
        while parent.is_alive():
            parent.join(TICK)
            self._look()
        self.stop.request()
        with self.busy:
            self._close()
            os._exit(1)

    def _look(self) -> None:
        if self.stopping.value:
            self.stop.request()


_process = _Process()
_stops: dict[str, Stop] = {}
"""What the runs of this process stop with, by their names."""


def _portable_answer(answer: Answer) -> Answer:
    error = None if answer.error is None else portable(answer.error)
    suspects = {
        uuid: replace(fault, exception=portable(fault.exception))
        for uuid, fault in answer.suspects.items()
        if isinstance(fault.exception, Exception)
    }
    return replace(answer, error=error, suspects=suspects)


def portable(error: Exception) -> Exception:
    """An exception that can be sent to another process: itself, or its text where it cannot be made anew there."""
    if not isinstance(error, PrintableError | EncordException):
        error.add_note(f"In a worker:\n{''.join(traceback.format_exception(error))}")
    try:
        copy = pickle.loads(pickle.dumps(error))
        if type(copy) is type(error) and str(copy) == str(error):
            return error
    except Exception:  # noqa: BLE001, S110 - whatever it is, it cannot be sent
        pass
    return PrintableError("\n".join([described(error), *getattr(error, "__notes__", ())]))
