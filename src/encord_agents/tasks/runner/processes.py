"""Processes of our own that run agents: who has which batch is known, and a worker that dies takes no other along.

A worker has several batches at a time. Agents run in its main thread, one after the other; while one runs, the next
batch is loaded and the last one written.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import logging
import multiprocessing
import multiprocessing.connection
import multiprocessing.resource_tracker
import multiprocessing.util
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Future
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from queue import SimpleQueue
from typing import Any, NamedTuple

from encord_agents.core.tracebacks import described
from encord_agents.exceptions import PrintableError
from encord_agents.tasks.engine.crew import Crew
from encord_agents.tasks.engine.interpreter import SWITCH_INTERVAL
from encord_agents.tasks.engine.pipeline import Turn, at_once
from encord_agents.tasks.engine.signals import hold_off_signals
from encord_agents.tasks.engine.stop import Stop
from encord_agents.tasks.runner.worker import Answer, Closes, Function, answer_of, portable, portable_answer

__all__ = ["Processes", "WorkerDied", "in_words"]

logger = logging.getLogger(__name__)

AT_ONCE = 4
"""Batches that a worker has at a time, at most: one whose agents run, and others that are loaded and written."""
AT_ONCE_IF_SLOW = 2
"""The same where agents take their time: what one worker has ahead, another one that is idle cannot have."""
SLOW = 1.0
"""Seconds for which the agents of a batch run, from which on they take their time."""
HEARS_WITHIN = 5.0
"""Seconds in which a worker that cannot answer has heard that its parent is gone; else it is the pipe that is."""
LOOK_UP = 1.0
"""Seconds between two looks at whether the other side is alive: a program that it has started may hold its pipe."""
LONGEST_MESSAGE = 0x1FFFFFFF
"""Bytes. Text that a library prints into the pipe by mistake says more than this, taken for a message's length."""
DIES_WITHIN = 5.0
"""Seconds in which a process whose pipe has broken has ended."""


GARBLED = "it was ended because what it said could not be read: some code in it writes to a pipe that is not its own"


class WorkerDied(BrokenExecutor):
    """The answer to a batch whose worker died.

    Attributes:
        how: How it died, in words.
        ready: Whether it had ever answered anything.
        begun: Whether it had begun the batch.
        suspected: Whether it may have died of the batch: its agents ran, or none did.
        garbled: Whether it was ended because a message of it could not be read.
    """

    def __init__(self, how: str, *, ready: bool, begun: bool, suspected: bool, garbled: bool = False) -> None:
        super().__init__(f"The worker process died: {how}.")
        self.how = how
        self.ready = ready
        self.begun = begun
        self.suspected = suspected
        self.garbled = garbled


class _Order(NamedTuple):
    """A batch on its way to a worker."""

    number: int
    function: bytes  # pickled: what it imports is imported in the worker's main thread
    specs: Sequence[str]


class _Stop(NamedTuple):
    """To a worker: begin no task that has not begun."""


class _End(NamedTuple):
    """To a worker: end when what is there is done."""


class _Begun(NamedTuple):
    """From a worker: it may have done something of a batch."""

    number: int


class _Running(NamedTuple):
    """From a worker: the agents of a batch run, or no agents."""

    number: int | None


class _Answered(NamedTuple):
    """From a worker: a batch is done. The answer is pickled; ``None``: it was not begun, because the run is ending."""

    number: int
    answer: bytes | None


@dataclass(eq=False)
class _Worker:
    """A worker as the process that drains sees it."""

    process: BaseProcess
    pipe: Connection
    outbox: SimpleQueue[_Order | _Stop | _End | None] = field(default_factory=SimpleQueue)
    lock: threading.Lock = field(default_factory=threading.Lock)
    out: dict[int, Future[Answer | None]] = field(default_factory=dict)
    begun: set[int] = field(default_factory=set)
    running: int | None = None
    ready: bool = False
    alone: bool = False
    dead: bool = False
    garbled: bool = False
    ended: threading.Event = field(default_factory=threading.Event)


class Processes:
    """A pool of worker processes, each started when there is work for it.

    Args:
        size: How many there are at most.
    """

    own = True

    def __init__(self, size: int) -> None:
        self.size = size
        # A fork would copy the locks of libraries' threads, and whoever held them is not there to let go of them.
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[_Worker] = []
        self._numbers = itertools.count(1)
        self._names = itertools.count()
        self._at_once = AT_ONCE_IF_SLOW

    @property
    def _alive(self) -> list[_Worker]:
        return [worker for worker in self._workers if not worker.dead]

    @property
    def starting(self) -> int:
        """How many workers are not ready yet."""
        return sum(not worker.ready for worker in self._alive)

    @property
    def missing(self) -> int:
        """How many workers could be started."""
        return self.size - len(self._alive)

    @property
    def room(self) -> int:
        """How many more batches the workers that are ready can take."""
        return sum(self._room_of(worker) for worker in self._alive)

    @property
    def has_idle(self) -> bool:
        """Whether a worker is ready and has nothing to do."""
        return any(worker.ready and not worker.out for worker in self._alive)

    def _room_of(self, worker: _Worker) -> int:
        if not worker.ready or worker.alone:
            return 0
        return max(0, self._at_once - len(worker.out))

    def start(self, function: Function) -> Future[Answer | None]:
        """Start a worker. The answer comes when it has imported the function and connected, so that what goes wrong in
        that is no task's fault."""
        ours, its = self._context.Pipe()
        name = f"encord-agents-worker-{next(self._names)}"
        process = self._context.Process(target=_work, args=(its,), name=name)
        try:
            with _deaf_to_interrupts():
                process.start()
        except BaseException:
            ours.close()
            raise
        finally:
            its.close()
        worker = _Worker(process, ours)
        self._workers = [one for one in self._workers if not one.ended.is_set()] + [worker]
        ready = self._send(worker, function, [])
        try:
            threading.Thread(target=self._listen, args=(worker,), name=f"{name}-listener", daemon=True).start()
        except BaseException:  # the system has no more threads: nobody would see the process end
            ours.close()
            self._see_end(worker)
            raise
        try:
            threading.Thread(target=_post, args=(worker,), name=f"{name}-post", daemon=True).start()
        except BaseException:
            process.kill()  # the listener sees to the rest
            raise
        return ready

    def submit(self, function: Function, specs: Sequence[str], *, alone: bool = False) -> Future[Answer | None]:
        """Send a batch to the worker that has the least to do.

        Args:
            alone: To one that has nothing, and nothing else goes there until it is done.

        Raises:
            BrokenExecutor: There is no room: a worker has just died.
        """
        there = [worker for worker in self._alive if self._room_of(worker) and not (alone and worker.out)]
        if not there:
            raise BrokenExecutor("No worker has room for a batch.")
        return self._send(min(there, key=lambda worker: len(worker.out)), function, specs, alone=alone)

    def _send(
        self, worker: _Worker, function: Function, specs: Sequence[str], *, alone: bool = False
    ) -> Future[Answer | None]:
        order = _Order(next(self._numbers), pickle.dumps(function), specs)
        future: Future[Answer | None] = Future()
        future.set_running_or_notify_cancel()  # what has been sent cannot be called back
        with worker.lock:
            if worker.dead:
                raise BrokenExecutor("The worker has just died.")
            worker.out[order.number] = future
            worker.alone = alone
        worker.outbox.put(order)
        return future

    def _listen(self, worker: _Worker) -> None:
        """In a thread: take what a worker says, until it ends, or cannot be understood."""
        try:
            while True:
                there = multiprocessing.connection.wait([worker.pipe, worker.process.sentinel], LOOK_UP)
                if worker.pipe in there or worker.pipe.poll():
                    self._take(worker, pickle.loads(worker.pipe.recv_bytes(LONGEST_MESSAGE)))
                elif there or worker.process.exitcode is not None:
                    break
        except (EOFError, OSError):
            pass
        except Exception as error:  # noqa: BLE001 - somebody else has written to its pipe
            logger.warning("A worker process said something that cannot be read: %s", described(error))
            worker.garbled = True
            worker.process.kill()
        finally:
            self._see_end(worker)

    def _see_end(self, worker: _Worker) -> None:
        """A worker has ended, or has to: nobody waits for its answers any more."""
        try:
            worker.process.join(DIES_WITHIN)
            if worker.process.exitcode is None:  # it cannot be heard, and must not go on beside another one
                worker.process.kill()
                worker.process.join(DIES_WITHIN)
        finally:
            self._bury(worker)

    def _bury(self, worker: _Worker) -> None:
        how = GARBLED if worker.garbled else in_words(worker.process.exitcode)
        with worker.lock:
            worker.dead = True
            out, worker.out = worker.out, {}
        worker.outbox.put(None)
        # Where it does not seem to have had anything, all is suspected: else it could go on like this for ever.
        suspects = {worker.running} & out.keys() or worker.begun & out.keys() or out.keys()
        for number, future in out.items():
            future.set_exception(
                WorkerDied(
                    how,
                    ready=worker.ready,
                    begun=number in worker.begun,
                    suspected=number in suspects,
                    garbled=worker.garbled,
                )
            )
        worker.ended.set()

    def _take(self, worker: _Worker, message: object) -> None:
        if isinstance(message, _Begun):
            worker.begun.add(message.number)
        elif isinstance(message, _Running):
            worker.running = message.number
        elif isinstance(message, _Answered):
            answer = _unpickled(message.answer)
            if answer is not None and answer.results:
                seconds = sum(result.seconds for result in answer.results)
                self._at_once = AT_ONCE_IF_SLOW if seconds > SLOW else AT_ONCE
            with worker.lock:
                future = worker.out.pop(message.number)
                worker.begun.discard(message.number)
                worker.alone = False
                worker.ready = worker.ready or (answer is not None and answer.error is None)
            future.set_result(answer)

    def stop(self) -> None:
        """Begin no task that has not begun."""
        for worker in self._alive:
            if worker.ready:
                worker.outbox.put(_Stop())
            else:  # it may import for a minute, and has no task to lose
                worker.process.kill()

    def leave(self) -> None:
        """Nothing here waits for anything."""

    def close(self, *, at_once: bool = False) -> None:
        """End the workers. They tear down what lives as long as they, if there is time for it."""
        if at_once:
            for worker in self._alive:
                worker.process.kill()
            return
        for worker in self._alive:
            worker.outbox.put(_End())
        for worker in self._workers:
            worker.ended.wait()  # not for its thread: one that is interrupted in `Thread.join` takes it as ended
        self._workers = []


def _post(worker: _Worker) -> None:
    """In a thread: send what is for a worker.

    It reads nothing while an agent keeps the interpreter to itself: what the pipe does not hold waits here.
    """
    with worker.pipe:  # closed by who writes: else what is being written might go to whoever gets its number next
        while (message := worker.outbox.get()) is not None:
            try:
                worker.pipe.send(message)
            except Exception as error:  # noqa: BLE001 - mostly it has died, and the futures will say so
                if not isinstance(error, OSError):  # else it would wait for ever for what cannot be sent
                    worker.process.kill()
                while worker.outbox.get() is not None:  # the pipe may have more to say
                    pass
                return


def _unpickled(answer: bytes | None) -> Answer | None:
    try:
        return None if answer is None else pickle.loads(answer)
    except Exception as error:  # noqa: BLE001 - of what only the worker could import
        return Answer(error=PrintableError(f"The answer of a worker cannot be read here: {described(error)}"))


@contextlib.contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Processes that this thread starts meanwhile do not hear a Ctrl-C, from their very beginning: importing takes a
    second or two, and one that is interrupted in it seems to have died."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    multiprocessing.resource_tracker.ensure_running()  # which would be started with the first, and lift the block
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


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


# In the worker


def _work(pipe: Connection) -> None:
    """The life of a worker."""
    # Ctrl-C in a terminal reaches every process, and so do the SIGHUP of a terminal that is closed and the SIGTERM of a
    # service manager: it is for the parent to decide what they mean. The worker ends with it.
    hold_off_signals()
    if hasattr(signal, "pthread_sigmask"):  # the parent had it blocked until this was done
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    # Agents may compute, and never wait by themselves. The threads beside them, of which each request wants the
    # interpreter dozens of times, would wait for 5 ms each time.
    sys.setswitchinterval(min(SWITCH_INTERVAL, sys.getswitchinterval()))
    from encord_agents.terminal.streams import forgiving_streams

    with forgiving_streams():  # what agents print is no reason for a task to fail
        _Inside(pipe).live()
    _exit()


def _exit() -> None:
    """End the process, as multiprocessing ends one that was forked: threads are waited for and what was to be done at
    exit is done, but the interpreter is not taken apart. That takes a quarter of a second, for which whoever drains
    would wait."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    multiprocessing.util._exit_function()  # type: ignore[attr-defined]
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(0)


class _Inside:
    """A worker as it sees itself. What is not said to be done by other threads is done by the main one."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._sending = threading.Lock()
        self._lock = threading.Lock()
        self._jobs: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._batches = Crew(AT_ONCE, "encord-agents-batch")
        self._stop = Stop()
        self._functions: dict[bytes, Function] = {}
        self._runners: list[Closes] = []
        self._at_work = 0
        self._ending = False
        self._parent = os.getppid()
        self._orphaned = threading.Event()

    def live(self) -> None:
        """Do what is to be done here, until the parent says that it is enough, or is not there any more."""
        threading.Thread(target=self._listen, name="encord-agents-parent", daemon=True).start()
        while self._at_work or not self._ending:  # nothing comes after what has it end
            self._jobs.get()()
        for runner in reversed(self._runners):
            try:
                runner.close()
            except BaseException:
                logger.exception("What lives as long as the process could not be torn down.")

    def _listen(self) -> None:
        """In a thread: take what the parent says. However it ended, this ends with it: after the task at work."""
        try:
            self._listen_until_end()
        except Exception as error:
            if not isinstance(error, EOFError | OSError):
                logger.exception("The parent process said something that cannot be read.")
            self._orphaned.set()
            self._stop.request()
        finally:
            self._jobs.put(self._end)

    def _listen_until_end(self) -> None:
        while True:
            while not self._pipe.poll(LOOK_UP):  # a program that the parent has started may hold the pipe
                if os.getppid() != self._parent:
                    raise EOFError
            message = self._pipe.recv()
            if isinstance(message, _Order):
                with self._lock:
                    self._at_work += 1
                if message.specs and (function := self._functions.get(message.function)) is not None:
                    self._serve_beside(message, function)
                else:
                    self._jobs.put(partial(self._begin, message))
            elif isinstance(message, _Stop):
                self._stop.request()
            else:
                return

    def _end(self) -> None:
        self._ending = True

    def _begin(self, order: _Order) -> None:
        """Import a function: here, because modules may do at import what only the main thread can."""
        try:
            function: Function = pickle.loads(order.function)
        except Exception as error:  # noqa: BLE001 - the module cannot be imported, for whatever reason
            self._answer(order, Answer(error=portable(error)))
            return
        self._functions[order.function] = function
        if function.runner not in self._runners:
            self._runners.append(function.runner)
        if order.specs:
            self._serve_beside(order, function)
        else:
            self._answer(order, portable_answer(answer_of(function, [], self._stop)))

    def _serve_beside(self, order: _Order, function: Function) -> None:
        try:
            self._batches.submit(partial(self._serve, order, function, partial(self._in_turn, order.number)))
        except RuntimeError:  # the system has no thread for it
            self._jobs.put(partial(self._serve, order, function, at_once))

    def _serve(self, order: _Order, function: Function, turn: Turn) -> None:
        """In a thread of the batch's own; without one, in the main thread."""
        answer = None
        try:
            if not self._stop.requested:
                self._say(_Begun(order.number))
                answer = portable_answer(answer_of(function, order.specs, self._stop, turn=turn))
        except BaseException as error:  # noqa: BLE001 - whatever it is, the parent waits for an answer
            answer = Answer(error=portable(RuntimeError(f"The worker failed: {described(error)}")))
        finally:
            self._answer(order, answer)

    def _answer(self, order: _Order, answer: Answer | None) -> None:
        """In any thread."""
        try:
            told = None if answer is None else pickle.dumps(answer)
        except Exception as error:  # noqa: BLE001 - whatever it is, the parent waits for an answer
            told = pickle.dumps(Answer(error=portable(error)))
        if not self._say(_Answered(order.number, told)) and not self._orphaned.wait(HEARS_WITHIN):
            os._exit(1)  # an agent has closed the pipe: this is all that the parent will hear
        self._jobs.put(self._done)

    def _done(self) -> None:
        with self._lock:
            self._at_work -= 1

    def _in_turn(self, number: int, work: Callable[[], None]) -> None:
        """In a batch's thread: have its agents run in the main thread, when it is their turn."""
        done: Future[None] = Future()
        self._jobs.put(partial(self._run, number, work, done))
        done.result()

    def _run(self, number: int, work: Callable[[], None], done: Future[None]) -> None:
        self._say(_Running(number))
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - the batch's thread gets it
            done.set_exception(error)
        else:
            done.set_result(None)
        self._say(_Running(None))

    def _say(self, message: Any) -> bool:
        """From any thread. Whether it can be heard."""
        with self._sending:
            try:
                self._pipe.send(message)
            except OSError:  # the parent is not there any more
                return False
        return True
