"""An executor that was given, as a pool of workers; and functions that can be sent to other processes.

An executor only answers a call, so it cannot promise all that processes of our own do: events arrive when their batch
is answered; a worker has one batch at a time, loads nothing ahead of it, and waits through the delays of its retries;
nobody is blamed for a worker that dies, which ends the run; and a batch in another process cannot be stopped.
"""

from __future__ import annotations

import contextvars
import itertools
import math
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
from encord_agents.tasks.runner.typed_in import main_is_importable
from encord_agents.tasks.runner.worker import runs_here, serve

__all__ = ["ExecutorPool", "ExecutorWorker", "check_workers"]

AHEAD = 2
"""Batches that are out per worker: one that it works on, and the next, so that it need not wait for it."""


@dataclass(eq=False)
class ExecutorWorker:
    """A place for one batch of an executor. It hears and says what a worker process does.

    Attributes:
        ready: True if it is known that the executor's workers can work.
    """

    pool: ExecutorPool
    ready: bool
    dead: bool = False
    function: QueueFunction = field(init=False)

    def say(self, message: object) -> None:
        """Take a message of the process that drains."""
        match message:
            case messages.Begin(load=load):
                self.function = load()
                if not self.ready:
                    self.pool.submit(self, [])  # to see whether a worker can work
            case messages.Tasks(tasks=tasks):
                # An executor may keep them for long: whoever gets them asks for them.
                self.pool.submit(self, [replace(one, age=math.inf) for one in tasks])
            case messages.Order.CLOSE:
                self.pool.close_stage(self)


class ExecutorPool:
    """The workers of an executor that was given. How they start, and how they end, is its business.

    Args:
        options: Those of the run. Workers: as many as they say, else as the executor says, else one for each processor.
        stop: The run's. It reaches batches in threads of this process.

    Attributes:
        size: The number of batches that are out at most: few, for a batch that was sent can seldom be called back.
    """

    most_batches = 1

    def __init__(self, executor: Executor, options: DrainOptions, stop: Stop) -> None:
        # Executors have no public way to say it, but most of them have this attribute from the standard library's.
        self.size: int = AHEAD * (options.workers or getattr(executor, "_max_workers", None) or os.cpu_count() or 1)
        self.alive: list[ExecutorWorker] = []
        self._executor = executor
        self._options = options
        self._proven = False
        self._shows_running = False
        self._out: dict[Future[list[Any] | None], ExecutorWorker] = {}
        self._said: deque[tuple[ExecutorWorker, object]] = deque()
        self._stop = Stop(stop)
        self._numbers = itertools.count(1)
        self._run = uuid4().hex
        runs_here[self._run] = os.getpid(), self._stop, contextvars.copy_context()

    @property
    def missing(self) -> int:
        """The number of batches that could be sent. The first call only tries whether the workers can work."""
        return (self.size if self._proven else 1) - len(self.alive)

    def start(self) -> ExecutorWorker:
        """Return a place for another batch."""
        self.alive.append(ExecutorWorker(self, ready=self._proven))
        return self.alive[-1]

    def next(self, timeout: float) -> tuple[ExecutorWorker, object] | None:
        """Return the next message, with its worker; ``None`` if there is none for some seconds."""
        if self._stop.requested:
            self._call_back()
        if not self._said:
            done, running = wait(self._out, timeout, FIRST_COMPLETED)
            self._shows_running = self._shows_running or any(future.running() for future in running)
            for future in [future for future in self._out if future in done]:
                worker = self._out.pop(future)
                self._said += [(worker, message) for message in self._answer(worker, future)]
        return self._said.popleft() if self._said else None

    def submit(self, worker: ExecutorWorker, tasks: Sequence[messages.OnItsWay]) -> None:
        """Send a batch, to whomever."""
        # By the number no two batches are the same call, for there are engines that remember answers.
        arguments = (worker.function, tasks, self._options, self._run, next(self._numbers))
        try:
            self._out[self._executor.submit(serve, *arguments)] = worker
        except Exception as error:  # noqa: BLE001 - an executor that takes nothing ends the run
            self._said.append((worker, messages.Ended(error=messages.Carried(error))))

    def close_stage(self, worker: ExecutorWorker) -> None:
        """End the stage for a worker, when it has answered its batch."""
        if worker not in self._out.values():
            self._said.append((worker, messages.Ended()))

    def stop(self) -> None:
        """Begin no task that has not begun, in threads of this process."""
        self._stop.request()

    def close(self, *, at_once: bool = False) -> None:
        """Forget the run."""
        runs_here.pop(self._run, None)

    def _call_back(self) -> None:
        """Cancel the batches that wait."""
        # Some executors never show a batch as running: there, one that is called back may be at work.
        if self._shows_running or any(future.running() for future in self._out):
            for future in [future for future in self._out if future.cancel()]:
                self._said.append((self._out.pop(future), messages.Ended()))

    def _answer(self, worker: ExecutorWorker, future: Future[list[Any] | None]) -> list[object]:
        """Return the messages in the answer to a batch."""
        if future.cancelled():
            return [messages.Cancelled()]
        if (error := future.exception()) is not None:
            return [messages.Ended(error=messages.Carried(error))]
        said = future.result() or [messages.Ended()]
        if not worker.ready:
            self._proven = worker.ready = said[-1].error is None
            return [messages.Ready(said[-1].error), messages.Ended()]
        # A task that did well is known before another one is blamed for a failure that all would share.
        good = [message for message in said if isinstance(message, messages.Succeeded)]
        return [*(messages.WillSucceed(message.named_a_pathway) for message in good), *said]


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
