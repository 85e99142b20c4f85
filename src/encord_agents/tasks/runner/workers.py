"""The choice of workers: processes of our own, or an executor that was given."""

from __future__ import annotations

import contextlib
import itertools
import os
import pickle
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from uuid import uuid4

from encord_agents.exceptions import PrintableError
from encord_agents.tasks.engine.stop import Stop
from encord_agents.tasks.runner.processes import Processes
from encord_agents.tasks.runner.typed_in import main_is_importable
from encord_agents.tasks.runner.worker import Answer, CallOptions, Errand, Function, here, serve, shared

__all__ = ["ExecutorWorkers", "check_workers", "workers_for"]

AHEAD = 2
"""Batches that are out per worker: one that it works on, and the next, so that it need not wait for it."""


class ExecutorWorkers:
    """The workers of an executor that was given. How they start, and how they end, is its business.

    Args:
        size: How many there are. Default: as many as the executor says, else one for each processor.
        options: How an executor works on batches.
    """

    def __init__(self, executor: Executor, size: int | None, options: CallOptions) -> None:
        self.size: int = size or getattr(executor, "_max_workers", None) or os.cpu_count() or 1
        self._executor = executor
        self._options = options
        self._first: Future[Answer | None] | None = None
        self._out: set[Future[Answer | None]] = set()
        self._stop = Stop()
        self._run = uuid4().hex
        self._numbers = itertools.count(1)
        self._shared = contextlib.ExitStack()
        self._shared.enter_context(shared(self._run, self._stop))

    @property
    def _ready(self) -> bool:
        first = self._first
        if first is None or not first.done() or first.cancelled() or first.exception() is not None:
            return False
        answer = first.result()
        return answer is not None and answer.error is None

    @property
    def is_untried(self) -> bool:
        """True until it is being tried whether the workers can work."""
        return self._first is None

    @property
    def room(self) -> int:
        """The number of batches to send now: few, for a batch that was sent can seldom be called back."""
        return AHEAD * self.size - sum(not future.done() for future in self._out) if self._ready else 0

    def submit(self, function: Function, specs: Sequence[str]) -> Future[Answer | None]:
        """Send a batch, to whomever; the first one only tries whether the workers can work.

        Raises:
            BrokenExecutor: And whatever else the executor raises.
        """
        errand = Errand(here(), self._run, self._options, next(self._numbers))
        future = self._executor.submit(serve, function, specs, errand)
        self._first = self._first or future
        self._out = {one for one in self._out if not one.done()} | {future}
        return future

    def stop(self) -> None:
        """Begin no task that has not begun, in threads of this process."""
        self._stop.request()

    def leave(self) -> None:
        """Wait for nothing any more, in threads of this process."""
        self._stop.leave()

    def close(self, *, at_once: bool = False) -> None:
        """Forget the run."""
        self._shared.close()


def workers_for(executor: Executor | None, size: int | None, options: CallOptions) -> Processes | ExecutorWorkers:
    """Whoever is to work on batches: processes of our own where no executor was given.

    Args:
        size: How many there are. Default: as many as the executor says, else one for each processor.
        options: How an executor works on batches.
    """
    return Processes(size or os.cpu_count() or 1) if executor is None else ExecutorWorkers(executor, size, options)


def check_workers(executor: Executor | None, functions: Iterable[Function], *, overrides: bool) -> None:
    """Refuse what cannot work: no executor, functions that other processes could not import.

    Args:
        overrides: Whether dependencies are overridden in this process.

    Raises:
        PrintableError: It says what to do instead.
    """
    if executor is not None and not callable(getattr(executor, "submit", None)):
        raise PrintableError(
            f"executor={executor!r} is no executor: it has no submit(). Give a concurrent.futures.Executor, such as "
            "ThreadPoolExecutor(4), or leave it out and say workers=4 for processes."
        )
    loky = type(executor).__module__.partition(".")[0] == "loky"
    if not (executor is None or loky or isinstance(executor, ProcessPoolExecutor)):
        return
    if overrides:
        raise PrintableError(
            "runner.dependency_overrides are this process's, and would not reach the workers, which are others. In a "
            "test, run in threads of this process:\n    runner.drain(executor=ThreadPoolExecutor(1))"
        )
    for function in functions:
        name = f"{function.__module__}.{function.__qualname__}"
        try:
            pickle.dumps(function)
        except Exception as error:
            raise _not_importable(name, str(error)) from error
        if function.__module__ != "__main__":
            continue
        if loky:
            raise _not_importable(name, "loky's workers do not import the script that is run")
        if executor is None and not main_is_importable():
            raise _not_importable(name, "it was defined in a notebook, or typed in")


def _not_importable(name: str, why: str) -> PrintableError:
    return PrintableError(
        f"{name} cannot be sent to other processes, which would import it by that name: {why}.\n"
        "Define the agents at the top level of a module and import it here, or run them in threads of this process:\n"
        "    runner.drain(executor=ThreadPoolExecutor(4))"
    )
