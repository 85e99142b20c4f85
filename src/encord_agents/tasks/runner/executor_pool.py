"""The user's executor as a worker pool, and the check that functions can be sent to other processes.

An executor only returns the result of a call, so it offers less than worker processes of our own: events arrive with
the result of their batch; a worker has one batch at a time, prefetches nothing, and waits through the delays of its
retries; a worker that dies ends the run, with no task to blame; and a batch in another process cannot be stopped.
"""

from __future__ import annotations

import contextvars
import itertools
import math
import multiprocessing
import os
import pickle
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

from encord_agents.exceptions import PrintableError
from encord_agents.tasks.engine.stop import Stop
from encord_agents.tasks.runner import messages
from encord_agents.tasks.runner.queue_function import QueueFunction
from encord_agents.tasks.runner.run_options import DrainOptions
from encord_agents.tasks.runner.typed_in import PROCESS, is_typed_in
from encord_agents.tasks.runner.worker import runs_here, serve

__all__ = ["ExecutorPool", "ExecutorWorker", "check_workers"]

NO_CHILDREN = """\
drain() starts processes, which this process may not: it was started as a daemon, as those of multiprocessing.Pool and \
of Celery's prefork pool are. Start it with daemon=False, or run the agents in threads of this process:
    runner.drain(executor=ThreadPoolExecutor(4))"""

TYPED_IN = "it was defined in a notebook, or typed in"

AHEAD = 2
"""Batches in flight per worker: one that it works on, and a prefetched one, so that it need not wait."""


@dataclass(eq=False)
class ExecutorWorker:
    """A slot for one batch in an executor, with the same messages as a worker process.

    Attributes:
        ready: True once it is known that the executor's workers can work.
        begin: The beginning of its stage, which is sent with each batch.
        typed_in: This process, if the stage's function was typed in, so that only forks have it.
    """

    pool: ExecutorPool
    ready: bool
    dead: bool = False
    begin: messages.Begin = field(init=False)
    typed_in: str | None = None

    def say(self, message: object) -> None:
        """Handle a message of the draining process."""
        match message:
            case messages.Begin():
                self.begin, self.typed_in = message, PROCESS if is_typed_in(message.load()) else None
                if not self.ready:
                    self.pool.submit(self, [])  # an empty batch shows whether a worker can connect
            case messages.Tasks(tasks=tasks):
                # They may be queued for long: this age makes the worker ask whether they are still in the stage.
                self.pool.submit(self, [replace(one, age=math.inf) for one in tasks])
            case messages.Order.CLOSE:
                self.pool.close_stage(self)


class ExecutorPool:
    """A worker pool on the user's executor, which starts and ends the workers itself.

    Args:
        options: The run's. Number of workers: theirs, otherwise the executor's, otherwise one per processor.
        stop: The run's. It reaches only batches in threads of this process.

    Attributes:
        size: The maximum number of batches in flight: few, since a submitted batch can seldom be cancelled.
    """

    most_batches = 1

    def __init__(self, executor: Executor, options: DrainOptions, stop: Stop) -> None:
        # Executors have no public attribute for it, but most have this one, as those of the standard library do.
        self.size: int = AHEAD * (options.workers or getattr(executor, "_max_workers", None) or os.cpu_count() or 1)
        self.alive: list[ExecutorWorker] = []
        self._executor = executor
        self._proven = False
        self._shows_running = False
        self._out: dict[Future[list[Any] | None], ExecutorWorker] = {}
        self._said: deque[tuple[ExecutorWorker, object]] = deque()
        self._stop = Stop(stop)
        self._numbers = itertools.count(1)
        # Batches carry only the run's name: a stop and a context cannot follow them into another process.
        self._run = uuid4().hex
        runs_here[self._run] = os.getpid(), self._stop, contextvars.copy_context()

    @property
    def missing(self) -> int:
        """The number of batches that could be submitted. The first call only tries whether the workers can work."""
        return (self.size if self._proven else 1) - len(self.alive)

    def start(self) -> ExecutorWorker:
        """Return a slot for another batch."""
        self.alive.append(ExecutorWorker(self, ready=self._proven))
        return self.alive[-1]

    def next(self, timeout: float) -> tuple[ExecutorWorker, object] | None:
        """Return the next message, with its worker; ``None`` if none comes within ``timeout`` seconds."""
        if self._stop.requested:
            self._call_back()
        if not self._said:
            done, running = wait(self._out, timeout, FIRST_COMPLETED)
            # An executor that is shut down cancels what is queued without telling `wait`.
            done |= {future for future in running if future.cancelled()}
            self._shows_running = self._shows_running or any(future.running() for future in running)
            for future in [future for future in self._out if future in done]:
                worker = self._out.pop(future)
                self._said += [(worker, message) for message in self._answer(worker, future)]
        return self._said.popleft() if self._said else None

    def submit(self, worker: ExecutorWorker, tasks: Sequence[messages.OnItsWay]) -> None:
        """Submit a batch to the executor."""
        # The number makes every batch a different call, since some engines cache results by their arguments.
        arguments = (worker.begin, worker.typed_in, tasks, self._run, next(self._numbers))
        try:
            self._out[self._executor.submit(_serve, *arguments)] = worker
        except Exception as error:  # noqa: BLE001 - an executor that accepts nothing ends the run
            self._said.append((worker, messages.Ended(error=messages.Carried(error))))

    def close_stage(self, worker: ExecutorWorker) -> None:
        """End the stage for a worker, unless it has a batch in flight, whose result will end it."""
        if worker not in self._out.values():
            self._said.append((worker, messages.Ended()))

    def stop(self) -> None:
        """Start no further task in threads of this process."""
        self._stop.request()

    def close(self, *, at_once: bool = False) -> None:
        """Forget the run."""
        runs_here.pop(self._run, None)

    def _call_back(self) -> None:
        """Cancel the batches that are still queued."""
        # Some executors never show a batch as running: one that is cancelled there may be running all the same.
        if self._shows_running or any(future.running() for future in self._out):
            for future in [future for future in self._out if future.cancel()]:
                self._said.append((self._out.pop(future), messages.Ended()))

    def _answer(self, worker: ExecutorWorker, future: Future[list[Any] | None]) -> list[object]:
        """Return the messages in the result of a batch."""
        if future.cancelled():
            return [messages.Cancelled()]
        if (error := future.exception()) is not None:
            return [messages.Ended(error=messages.Carried(error))]
        said = future.result()
        if not isinstance(said, list):  # the run was ending, or the executor has lost the answer
            return [messages.Ended() if self._stop.requested else messages.Cancelled()]
        if not worker.ready:
            self._proven = worker.ready = said[-1].error is None
            return [messages.Ready(said[-1].error), messages.Ended()]
        # Successes are announced first, so that a failure is not taken for one that every task would share.
        good = [message for message in said if isinstance(message, messages.Succeeded)]
        return [*(messages.WillSucceed(message.named_a_pathway) for message in good), *said]


def _serve(
    begin: messages.Begin, typed_in: str | None, tasks: Sequence[messages.OnItsWay], run: str, number: int
) -> list[Any] | None:
    """Serve a batch in a worker, or return the reason why the worker does not have the function.

    The function is imported here: a process that fails to read its call ends, and breaks the executor.
    """
    try:
        function = begin.load()
        if typed_in not in (None, PROCESS):  # it comes from a file whose cells an editor has sent, as it was saved
            raise messages.not_importable(f"{function.__module__}.{function.__qualname__}", TYPED_IN)
    except Exception as error:  # noqa: BLE001 - a result like any other: it ends the run
        return [messages.Ended(error=messages.Carried(error))]
    return serve(function, tasks, begin.options, run, number)


def check_workers(executor: Executor | None, functions: Iterable[QueueFunction], *, overrides: bool) -> None:
    """Refuse an object that is no executor, a process that may start none, and functions that none could import.

    Args:
        overrides: True if dependencies are overridden in this process.

    Raises:
        PrintableError: The message says what to do instead.
    """
    if executor is not None and not callable(getattr(executor, "submit", None)):
        raise PrintableError(
            f"executor={executor!r} is not an executor: it has no submit(). Give a concurrent.futures.Executor, such "
            "as ThreadPoolExecutor(4), or leave it out and say workers=4 for processes."
        )
    loky = type(executor).__module__.partition(".")[0] == "loky"
    if not (executor is None or loky or isinstance(executor, ProcessPoolExecutor)):
        return
    if executor is None and multiprocessing.current_process().daemon:
        raise PrintableError(NO_CHILDREN)
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
            raise messages.not_importable(name, str(error)) from error
        if function.__module__ != "__main__":
            continue
        if loky:
            raise messages.not_importable(name, "loky's workers do not import the script that is run")
        if executor is None and is_typed_in(function):
            raise messages.not_importable(name, TYPED_IN)
