"""Where batches are sent: a process pool of our own, made anew when a worker dies, or an executor that was given."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import pickle
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from multiprocessing.process import BaseProcess
from pathlib import Path
from uuid import uuid4

from encord_agents.exceptions import PrintableError
from encord_agents.tasks.engine.stop import Stop
from encord_agents.tasks.runner.worker import Answer, Errand, Function, here, prepare, serve, shared

__all__ = ["Workers", "check_importable"]

AHEAD = 2
"""Batches that are out per worker: one that it works on, and the next, so that it need not wait for it."""


class Workers:
    """Sends batches to workers.

    Args:
        workers: How many there are. Default: as many as the given executor says, else one for each processor.
        executor: Where to send batches. Default: a process pool of our own, started with the first batch.

    Attributes:
        own: Whether the pool is our own.
        size: How many workers there are.
        proven: Whether the present pool has answered something.
    """

    def __init__(self, workers: int | None, executor: Executor | None) -> None:
        self.own = executor is None
        self.size: int = workers or getattr(executor, "_max_workers", None) or os.cpu_count() or 1
        self.proven = False
        self._executor = executor
        # A fork would copy the locks of libraries' threads, and whoever held them is not there to let go of them.
        self._context = multiprocessing.get_context("spawn")
        # Without a lock: a worker that is killed would hold it for ever.
        self._stopping = self._context.RawValue("b", 0)
        self._processes: set[BaseProcess] = set()
        self._stop = Stop()
        self._run = uuid4().hex
        self._numbers = itertools.count(1)
        self._shared = contextlib.ExitStack()
        self._shared.enter_context(shared(self._run, self._stop))

    @property
    def capacity(self) -> int:
        """How many batches may be out at once."""
        return AHEAD * self.size

    def submit(self, function: Function, specs: Sequence[str], *, final: bool) -> Future[Answer | None]:
        """Send a batch. Without any task: only be ready.

        Raises:
            BrokenExecutor: A worker has died.
        """
        if self._executor is None:
            self._executor = ProcessPoolExecutor(
                self.size, mp_context=self._context, initializer=prepare, initargs=(self._stopping,)
            )
        errand = Errand(here(), self._run, next(self._numbers))
        if not self.own:
            return self._executor.submit(serve, function, specs, final, errand)
        before = set(multiprocessing.active_children())
        try:
            with _deaf_to_interrupts():  # a process may be started
                return self._executor.submit(serve, function, specs, final, errand)
        finally:
            self._processes |= set(multiprocessing.active_children()) - before

    def renew(self) -> str:
        """After a worker of our own pool has died: the next batch goes to a new pool. Returns how it died, in words."""
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)
        # The pool ends the others with SIGTERM when one has died.
        codes = {process.exitcode for process in self._processes} - {None, 0}
        code = next(iter(codes - {-signal.SIGTERM} or codes), None)
        self._executor, self._processes, self.proven = None, set(), False
        return in_words(code)

    def stop(self) -> None:
        """Begin no task that has not begun: in processes of our own, and in threads of this process."""
        self._stopping.value = 1
        self._stop.request()

    def leave(self) -> None:
        """Wait for nothing any more, in threads of this process."""
        self._stop.leave()

    def close(self, *, at_once: bool = False) -> None:
        """End the pool, if it is our own. Its workers tear down what lives as long as they, if there is time for it."""
        self._shared.close()
        if not self.own or self._executor is None:
            return
        if at_once:
            for process in self._processes:
                process.kill()
        self._executor.shutdown(wait=not at_once, cancel_futures=True)


@contextlib.contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Processes that this thread starts meanwhile do not hear a Ctrl-C, from their very beginning: importing takes a
    second or two, and one that is interrupted in it takes the whole pool with it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def check_importable(functions: Iterable[Function]) -> None:
    """Refuse functions that other processes could not import.

    Raises:
        PrintableError: One of them; it says what to do instead.
    """
    for function in functions:
        name = f"{function.__module__}.{function.__qualname__}"
        try:
            pickle.dumps(function)
        except Exception as error:
            raise _not_importable(name, str(error)) from error
        if function.__module__ == "__main__" and not _main_is_importable():
            raise _not_importable(name, "it was defined in a notebook, or typed in")


def _main_is_importable() -> bool:
    main = sys.modules["__main__"]
    return getattr(main, "__spec__", None) is not None or Path(getattr(main, "__file__", None) or "").is_file()


def _not_importable(name: str, why: str) -> PrintableError:
    return PrintableError(
        f"{name} cannot be sent to other processes, which would import it by that name: {why}.\n"
        "Define the agents at the top level of a module and import it here, or run them in threads of this process:\n"
        "    runner.drain(executor=ThreadPoolExecutor(4))"
    )


def in_words(code: int | None) -> str:
    """How a process ended, by its exit code."""
    if code is None:
        return "it is not known how"
    if code >= 0:
        return f"it exited with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"killed by {name}" + (", as the system does when memory runs out" if name == "SIGKILL" else "")
