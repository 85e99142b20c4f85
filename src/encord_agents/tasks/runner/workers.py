"""An executor that was given, as a drain uses it; and functions that can be sent to other processes."""

from __future__ import annotations

import contextlib
import itertools
import os
import pickle
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from typing import Any
from uuid import uuid4

from encord_agents.exceptions import PrintableError
from encord_agents.tasks.engine.stop import Stop
from encord_agents.tasks.runner import messages
from encord_agents.tasks.runner.queue_function import QueueFunction
from encord_agents.tasks.runner.run_options import DrainOptions
from encord_agents.tasks.runner.typed_in import main_is_importable
from encord_agents.tasks.runner.worker import Slip, here, serve, shared

__all__ = ["ExecutorWorkers", "check_workers"]

AHEAD = 2
"""Batches that are out per worker: one that it works on, and the next, so that it need not wait for it."""


class ExecutorWorkers:
    """The workers of an executor that was given. How they start, and how they end, is its business.

    Args:
        options: Those of the run. Workers: as many as they say, else as the executor says, else one for each processor.
    """

    def __init__(self, executor: Executor, options: DrainOptions) -> None:
        # Executors have no public way to say it, but most of them have this attribute from the standard library's.
        size = options.workers or getattr(executor, "_max_workers", None) or os.cpu_count() or 1
        self.most_out: int = AHEAD * size
        self._executor = executor
        self._options = options
        self._first: Future[list[Any] | None] | None = None
        self._out: set[Future[list[Any] | None]] = set()
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
        (ended,) = first.result() or [None]
        return ended is not None and ended.error is None

    @property
    def is_untried(self) -> bool:
        """True until it is being tried whether the workers can work."""
        return self._first is None

    @property
    def room(self) -> int:
        """The number of batches to send now: few, for a batch that was sent can seldom be called back."""
        return self.most_out - sum(not future.done() for future in self._out) if self._ready else 0

    def submit(self, function: QueueFunction, tasks: Sequence[messages.OnItsWay]) -> Future[list[Any] | None]:
        """Send a batch, to whomever; the first one only tries whether the workers can work.

        Raises:
            BrokenExecutor: And whatever else the executor raises.
        """
        slip = Slip(here(), self._run, self._options, next(self._numbers))
        future = self._executor.submit(serve, function, tasks, slip)
        self._first = self._first or future
        # Their ends are counted here, and not by callbacks, which come in whatever thread an executor has.
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


def check_workers(executor: Executor | None, functions: Iterable[QueueFunction], *, overrides: bool) -> None:
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
