"""The user's executor as a worker pool, and the check that functions can be sent to other processes.

An executor only returns the result of a call, so it offers less than worker processes of our own: events arrive with
the result of their batch; a worker has one batch at a time, prefetches nothing, and waits through the delays of its
retries; a worker that dies ends the run, with no task to blame, unless the executor runs its batch again, without
saying so; and a batch in another process cannot be stopped.
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
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

from encord_agents.exceptions import PrintableError
from encord_agents.tasks.engine.stop import Stop
from encord_agents.tasks.runner import messages
from encord_agents.tasks.runner.queue_function import QueueFunction
from encord_agents.tasks.runner.run_options import DrainOptions
from encord_agents.tasks.runner.typed_in import PROCESS, only_here
from encord_agents.tasks.runner.worker import runs_here, serve

__all__ = ["ExecutorPool", "ExecutorWorker", "check_workers"]

NO_CHILDREN = """\
drain() starts processes, which this process may not: it was started as a daemon, as those of multiprocessing.Pool and \
of Celery's prefork pool are. Start it with daemon=False, or run the agents in threads of this process:
    runner.drain(executor=ThreadPoolExecutor(4))"""

NO_EXECUTOR = (
    "executor={executor!r} is not an executor: {why}. Give a concurrent.futures.Executor, such as "
    "ThreadPoolExecutor(4) or a Dask client's get_executor(), or leave it out and say workers=4 for processes."
)

AHEAD = 2
"""Batches in flight per worker: one that it works on, and a prefetched one, so that it need not wait."""


@dataclass(eq=False)
class ExecutorWorker:
    """A slot for one batch in an executor, with the same messages as a worker process.

    Attributes:
        ready: True once it is known that the executor's workers can work.
        begin: The beginning of its stage, which is sent with each batch.
        refusal: If only this process and its forks have the stage's function: this process, and the error for others.
    """

    pool: ExecutorPool
    ready: bool
    dead: bool = False
    begin: messages.Begin = field(init=False)
    refusal: tuple[str, PrintableError] | None = None

    def say(self, message: object) -> None:
        """Handle a message of the draining process."""
        match message:
            case messages.Begin():
                self.begin, function = message, message.load()
                why = only_here(function)
                self.refusal = None if why is None else (PROCESS, _not_importable(function, why))
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
        may_repeat: True if the executor may run a batch again whose worker died, unlike those of the standard library.
    """

    most_batches = 1

    def __init__(self, executor: Executor, options: DrainOptions, stop: Stop) -> None:
        # Executors have no public attribute for it, but most have this one, as those of the standard library do.
        self.size: int = AHEAD * (options.workers or getattr(executor, "_max_workers", None) or os.cpu_count() or 1)
        self.may_repeat = not isinstance(executor, ProcessPoolExecutor | ThreadPoolExecutor)
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
        arguments = (worker.begin, worker.refusal, tasks, self._run, next(self._numbers))
        try:
            future = self._executor.submit(_serve, *arguments)
            if not isinstance(future, Future):
                why = "its submit() does not return a concurrent.futures.Future"
                raise PrintableError(NO_EXECUTOR.format(executor=self._executor, why=why))
            self._out[future] = worker
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
    begin: messages.Begin,
    refusal: tuple[str, PrintableError] | None,
    tasks: Sequence[messages.OnItsWay],
    run: str,
    number: int,
) -> list[Any] | None:
    """Serve a batch in a worker, or return the reason why the worker does not have the function.

    The function is imported here: a process that fails to read its call ends, and breaks the executor.
    """
    try:
        # Before it is imported: a file whose cells an editor has sent may have it, as it was saved.
        if refusal is not None and refusal[0] != PROCESS:
            raise refusal[1]
        function = begin.load()
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
        raise PrintableError(NO_EXECUTOR.format(executor=executor, why="it has no submit()"))
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
        try:
            pickle.dumps(function)
        except Exception as error:
            raise _not_importable(function, str(error)) from error
        if loky and function.__module__ == "__main__":
            raise _not_importable(function, "loky's workers do not import the script that is run")
        if executor is None and (why := only_here(function)) is not None:
            raise _not_importable(function, why)


def _not_importable(function: QueueFunction, why: str) -> PrintableError:
    return messages.not_importable(f"{function.__module__}.{function.__qualname__}", why)
