"""The pool of worker processes, as the draining process sees it: one pipe to each, one inbox for all."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import multiprocessing.connection
import multiprocessing.resource_tracker
import pickle
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from encord_agents.core.legible import on_a_line
from encord_agents.core.logs import get_logger
from encord_agents.core.queues import Empty, SimpleQueue
from encord_agents.core.tracebacks import described
from encord_agents.tasks.engine.timing import Limits, Timing
from encord_agents.tasks.runner import messages
from encord_agents.tasks.runner.worker_main import work

__all__ = ["Processes", "Worker", "in_words"]

logger = get_logger(__name__)

GARBLED = "it was ended because what it said could not be read: some code in it writes to a pipe that is not its own"


@dataclass(eq=False)
class Worker:
    """A worker process, as its parent sees it.

    Attributes:
        ready: True once it has been ready.
        dead: True if it has ended, as far as is known.
    """

    process: BaseProcess
    pipe: Connection
    outbox: SimpleQueue[Any] = field(default_factory=SimpleQueue)
    ready: bool = False
    dead: bool = False
    garbled: bool = False
    ended: threading.Event = field(default_factory=threading.Event)

    def say(self, message: object) -> None:
        """Queue a message without blocking, since a worker whose agent holds the GIL does not read its pipe."""
        self.outbox.put(message)


class Processes:
    """A pool of worker processes, each started when there is work for it.

    Args:
        size: The maximum number of workers.

    Attributes:
        inbox: Messages, each with its worker. `Died` is each worker's last.
        most_batches: The maximum number of batches that a worker may have: only its pace limits it.
        may_repeat: True if tasks of a worker that died may be sent again unnoticed. Here, its death is always noticed.
    """

    most_batches = sys.maxsize
    may_repeat = False

    def __init__(self, size: int, timing: Timing, limits: Limits) -> None:
        self.size = size
        self._timing, self._limits = timing, limits
        self.inbox: SimpleQueue[tuple[Worker, object]] = SimpleQueue()
        # A fork would copy locks held by libraries' threads, and no thread in the child would ever release them.
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[Worker] = []
        self._names = itertools.count()

    @property
    def alive(self) -> list[Worker]:
        """The workers that have not ended, including those that are not ready yet."""
        return [worker for worker in self._workers if not worker.dead]

    @property
    def missing(self) -> int:
        """The number of workers that could be started."""
        return self.size - len(self.alive)

    def start(self) -> Worker:
        """Start a worker.

        Raises:
            Exception: The system has no process, thread or file descriptor for it.
        """
        ours, its = self._context.Pipe()
        name = f"encord-agents-worker-{next(self._names)}"
        arguments = (its, self._timing, multiprocessing.get_start_method())
        process = self._context.Process(target=work, args=arguments, name=name)
        try:
            with _deaf_to_interrupts():
                process.start()
        except BaseException:
            ours.close()
            raise
        finally:
            its.close()  # the child has a copy; with ours open, the pipe would not end with the child
        worker = Worker(process, ours)
        self._workers = [one for one in self._workers if not one.ended.is_set()] + [worker]
        try:
            threading.Thread(target=self._listen, args=(worker,), name=f"{name}-listener", daemon=True).start()
        except BaseException:  # the system has no more threads: nobody would see the process end
            ours.close()
            self._see_end(worker, self._timing.dies_within)
            raise
        try:
            threading.Thread(target=_post, args=(worker,), name=f"{name}-post", daemon=True).start()
        except BaseException:
            process.kill()  # the listener notices, and cleans up
            raise
        return worker

    def next(self, timeout: float) -> tuple[Worker, object] | None:
        """Return the next message, with its worker; ``None`` if none comes within ``timeout`` seconds."""
        try:
            return self.inbox.get(timeout=timeout) if timeout > 0 else self.inbox.get_nowait()
        except Empty:
            return None

    def stop(self) -> None:
        """Tell the workers to start no further task."""
        for worker in self.alive:
            if worker.ready:
                worker.say(messages.Order.STOP)
            else:  # it may import for a minute, and has no task to lose
                worker.process.kill()

    def close(self, *, at_once: bool = False) -> None:
        """End the workers. Unless ``at_once``, they first tear down their run-scoped dependencies, then wait a while
        for processes and threads that agents have left running."""
        if at_once:
            for worker in self.alive:
                worker.process.kill()
            return
        for worker in self.alive:
            worker.say(messages.Order.END)
        for worker in self._workers:
            worker.ended.wait()  # not `Thread.join`, which takes the thread for ended if it is interrupted
        self._workers = []
        self.inbox = SimpleQueue()  # messages left in the old one would keep the workers alive

    def _listen(self, worker: Worker) -> None:
        """Receive a worker's messages, in a thread, until it ends or sends one that cannot be read."""
        patience = self._timing.dies_within
        try:
            while True:
                # The sentinel too: a program that the worker has started may keep the pipe open.
                there = multiprocessing.connection.wait([worker.pipe, worker.process.sentinel], self._timing.look_up)
                if worker.pipe in there or worker.pipe.poll():  # first: a dead worker may have left messages
                    # With a limit: text that a library prints into the pipe by mistake reads as a huge length.
                    message = pickle.loads(worker.pipe.recv_bytes(self._limits.message))
                    if isinstance(message, messages.TornDown):
                        # It ends itself sooner, unless code of an agent holds the GIL.
                        patience = 3 * (self._timing.ends_within + self._timing.dies_within)
                        break
                    if isinstance(message, messages.Ready) and message.error is None:
                        worker.ready = True
                    self.inbox.put((worker, message))
                elif there or worker.process.exitcode is not None:
                    break
        except (EOFError, OSError):
            pass
        except Exception as error:  # noqa: BLE001 - something else has written to its pipe
            logger.warning("A worker process said something that cannot be read: %s", on_a_line(described(error)))
            worker.garbled = True
            worker.process.kill()
        finally:
            self._see_end(worker, patience)

    def _see_end(self, worker: Worker, patience: float) -> None:
        """Wait some seconds for a worker to exit, or kill it, and report that it has died."""
        try:
            self._join(worker, patience)
            if worker.process.exitcode is None:  # it cannot be reached, and must not work alongside its replacement
                worker.process.kill()
                self._join(worker, self._timing.dies_within)
        finally:
            how = GARBLED if worker.garbled else in_words(worker.process.exitcode)
            worker.dead = True
            worker.say(None)  # ends its sending thread, which closes the pipe
            self.inbox.put((worker, messages.Died(how, ready=worker.ready, garbled=worker.garbled)))
            worker.ended.set()  # last, since `close` then discards the inbox

    def _join(self, worker: Worker, seconds: float) -> None:
        """Wait until a worker has exited. A daemon that an agent has started may keep the sentinel open for longer."""
        until = time.monotonic() + seconds
        while worker.process.exitcode is None and (left := until - time.monotonic()) > 0:
            worker.process.join(min(left, self._timing.look_up))


def _post(worker: Worker) -> None:
    """Send a worker its messages, in a thread, which blocks while the pipe is full."""
    with worker.pipe:  # closed by its writer, or a message might go to the next file with this descriptor
        while (message := worker.outbox.get()) is not None:
            try:
                worker.pipe.send(message)
            except Exception as error:  # noqa: BLE001 - usually it has died, and its listener reports that
                if not isinstance(error, OSError):  # it cannot be pickled: the worker would wait in vain
                    worker.process.kill()
                while worker.outbox.get() is not None:  # keeps the pipe open: the listener may not have read all of it
                    pass
                return


@contextlib.contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Block SIGINT in the processes that this thread starts meanwhile, from their very beginning: imports take a second
    or two, and a worker that is interrupted in them would seem to have died."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    multiprocessing.resource_tracker.ensure_running()  # otherwise the first process starts it, which lifts the block
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def in_words(code: int | None) -> str:
    """Describe how a process ended, by its exit code."""
    if code is None:
        return "it is not known how"
    if code >= 0:
        return f"it exited with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"killed by {name}" + (", as the system does when memory runs out" if name == "SIGKILL" else "")
