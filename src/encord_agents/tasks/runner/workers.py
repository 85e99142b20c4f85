"""Where batches are sent: a process pool of our own, made anew when a worker dies, or an executor that was given."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import multiprocessing.connection
import os
import pickle
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence, Set
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from uuid import uuid4

from encord_agents.exceptions import PrintableError
from encord_agents.tasks.engine.stop import Stop
from encord_agents.tasks.runner.worker import Answer, Errand, Function, here, prepare, serve, shared

__all__ = ["Death", "Workers", "check_workers"]

AHEAD = 2
"""Batches that are out per worker: one that it works on, and the next, so that it need not wait for it."""
DIES_WITHIN = 1.0
"""Seconds in which a worker that has broken its pool is seen to be dead."""


@dataclass(frozen=True, slots=True)
class Death:
    """What is known of a pool of our own that a worker's death has ended.

    Attributes:
        how: How the worker died, in words.
        begun: The batches that any worker had begun.
        suspects: Those of them that it had begun.
        certain: Whether it is known which worker it was.
    """

    how: str
    begun: Set[Future[Answer | None]]
    suspects: Set[Future[Answer | None]]
    certain: bool


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
        self._marks = self._context.RawArray("q", self.capacity + self.size)
        self._marked: dict[Future[Answer | None], int] = {}
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

    def submit(self, function: Function, specs: Sequence[str]) -> Future[Answer | None]:
        """Send a batch. Without any task: only be ready.

        Raises:
            BrokenExecutor: A worker has died.
        """
        if self._executor is None:
            self._executor = ProcessPoolExecutor(
                self.size, mp_context=self._context, initializer=prepare, initargs=(self._stopping, self._marks)
            )
        errand = Errand(here(), self._run, next(self._numbers))
        if not self.own:
            return self._executor.submit(serve, function, specs, errand)
        mark = min(set(range(len(self._marks))) - set(self._marked.values()))
        self._marks[mark] = 0
        before = set(multiprocessing.active_children())
        try:
            with _deaf_to_interrupts():  # a process may be started
                future = self._executor.submit(serve, function, specs, replace(errand, mark=mark))
        finally:
            self._processes |= set(multiprocessing.active_children()) - before
        self._marked[future] = mark
        return future

    def taken(self, future: Future[Answer | None]) -> None:
        """A batch's answer was taken."""
        self._marked.pop(future, None)

    def renew(self) -> Death:
        """After a worker of our own pool has died: the next batch goes to a new pool."""
        there = {process.sentinel: process for process in self._processes}
        dead = [there[one] for one in multiprocessing.connection.wait(list(there), DIES_WITHIN)]  # type: ignore[index]
        ids = {process.pid for process in dead}
        marks = {future: self._marks[mark] for future, mark in self._marked.items()}
        # The pool ends the others with a SIGTERM that they do not hear.
        self._kill()
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)
        codes = {process.exitcode for process in dead} - {None, 0}
        code = next(iter(codes - {-signal.SIGTERM} or codes), None)
        self._executor, self._processes, self._marked, self.proven = None, set(), {}, False
        begun = {future for future, mark in marks.items() if mark}
        suspects = {future for future in begun if abs(marks[future]) in ids}
        return Death(in_words(code), begun, suspects, certain=len(ids) < len(there) or len(there) == 1)

    def _kill(self) -> None:
        for process in self._processes:
            process.kill()

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
            self._kill()
            self._executor.shutdown(wait=False, cancel_futures=True)
            return
        with ThreadPoolExecutor(1, thread_name_prefix="encord-agents-end") as thread:
            ended = thread.submit(self._executor.shutdown, wait=True, cancel_futures=True)
            there = {process.sentinel: process for process in self._processes}
            while there:
                for one in multiprocessing.connection.wait(list(there)):
                    process = there.pop(one)  # type: ignore[arg-type]
                    process.join()
                    if process.exitcode:  # the others may wait for ever for what it held
                        self._kill()
            ended.result()


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
        if executor is None and not _main_is_importable():
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
