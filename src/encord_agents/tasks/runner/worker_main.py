"""A worker process: tasks arrive through a pipe, events are sent back, and dependencies are torn down at the end.

After that it ends soon, whatever agents have left running in it.

Its main thread runs a `Runner`'s driver: the agents run there, one after the other, while other threads load the next
tasks and write finished ones.
"""

from __future__ import annotations

import atexit
import gc
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from encord_agents.core.logs import get_logger
from encord_agents.core.queues import SimpleQueue
from encord_agents.core.tracebacks import is_a
from encord_agents.tasks.engine.interpreter import SWITCH_INTERVAL
from encord_agents.tasks.engine.signals import hold_off_signals
from encord_agents.tasks.engine.stop import Stop
from encord_agents.tasks.engine.timing import Timing
from encord_agents.tasks.runner import messages
from encord_agents.tasks.runner.driven import Feed
from encord_agents.tasks.runner.queue_function import QueueFunction

if TYPE_CHECKING:
    from encord_agents.tasks.runner.queue_runner import QueueRunner

__all__ = ["work"]

logger = get_logger(__name__)

LEFT = (
    "This worker process is done, and agents have left something running in it, which is ended now: %s. Shut down "
    'executors, and join processes and threads, in the teardown of a dependency with scope="run".'
)


def work(pipe: Connection, timing: Timing, start_method: str) -> None:
    """Run as a worker until the parent ends it, or is gone.

    Args:
        start_method: The parent's default for starting processes.
    """
    # Otherwise that of a spawned process, so that agents could not start in it what they can in a `Runner`.
    multiprocessing.set_start_method(start_method, force=True)
    # Ctrl-C in a terminal reaches every process, and so do the SIGHUP of a terminal that is closed and the SIGTERM of a
    # service manager. The parent decides what they mean, and the worker ends with it.
    hold_off_signals()
    if hasattr(signal, "pthread_sigmask"):  # the parent had it blocked in this process until now
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    # Agents may compute without ever releasing the GIL. The threads that load and write need it dozens of times per
    # request, and would wait for 5 ms each time.
    sys.setswitchinterval(min(SWITCH_INTERVAL, sys.getswitchinterval()))
    from encord_agents.terminal.streams import forgiving_streams

    child = _Child(pipe, timing)
    with forgiving_streams():  # an agent's output must not make its task fail
        child.live()
    child.end()
    # Otherwise the interpreter visits every object as it shuts down: a quarter of a second, and the parent waits.
    gc.freeze()


class _Child:
    """A worker. Its main thread serves stages; another one receives the parent's messages."""

    def __init__(self, pipe: Connection, timing: Timing) -> None:
        self._pipe = pipe
        self._timing = timing
        self._sending = threading.Lock()
        self._stages: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._feed: Feed = SimpleQueue()
        self._stop = Stop()
        self._runners: list[QueueRunner] = []
        self._parent = os.getppid()
        self._orphaned = threading.Event()

    def live(self) -> None:
        """Serve stages until the parent ends this process, or is gone."""
        threading.Thread(target=self._listen, name="encord-agents-parent", daemon=True).start()
        while (serve := self._stages.get()) is not None:
            serve()
        for runner in reversed(self._runners):
            try:
                runner.close()
            except BaseException:
                logger.exception("What lives as long as the process could not be torn down.")

    def end(self) -> None:
        """Give processes and threads that agents have left running some seconds to end. The process exits then."""
        self._tell(messages.TornDown())
        with suppress(RuntimeError):  # the system has no more threads: the parent waits for as long, and kills
            threading.Thread(target=self._end_leftovers, name="encord-agents-end", daemon=True).start()
        if multiprocessing.active_children():
            # The end of a process of `multiprocessing` waits for its children, and those of an idle executor never end.
            for one in gc.get_objects():
                if is_a(one, ProcessPoolExecutor):
                    one.shutdown()

    def _end_leftovers(self) -> None:
        """End the processes and threads for which the main thread still waits after a while, in a thread."""
        exiting = threading.Event()
        atexit.register(exiting.set)  # the last one that is registered is called first
        time.sleep(self._timing.ends_within)
        children = multiprocessing.active_children()
        threads = [one for one in threading.enumerate() if not one.daemon and one is not threading.main_thread()]
        if children or threads:
            left = [*(f"process {child.pid}" for child in children), *(f"thread {thread.name!r}" for thread in threads)]
            logger.warning(LEFT, ", ".join(left))
        for child in children:
            child.kill()
        if exiting.wait(self._timing.dies_within if children else 0.0):  # it waited for no thread
            time.sleep(self._timing.ends_within)
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()
        os._exit(0)

    def _listen(self) -> None:
        """Receive the parent's messages, in a thread. If the parent is gone, end after the task in flight."""
        try:
            self._listen_until_end()
        except Exception as error:
            if not isinstance(error, EOFError | OSError):
                logger.exception("The parent process said something that cannot be read.")
            self._orphaned.set()
            self._stop.request()
        finally:
            # The main thread may be waiting for tasks, or for the next stage.
            self._feed.put(None)
            self._stages.put(None)

    def _listen_until_end(self) -> None:
        while True:
            # Polled, since no EOF comes while a program that the parent has started holds the pipe open.
            while not self._pipe.poll(self._timing.look_up):
                if os.getppid() != self._parent:
                    raise EOFError
            match self._pipe.recv():
                case messages.Begin() as begin:
                    self._feed = SimpleQueue()  # a stage that failed may have left tasks in the old one
                    self._stages.put(partial(self._serve, begin, self._feed))
                case messages.Tasks() | messages.HoldBack() as more:
                    self._feed.put(more)
                case messages.Order.CLOSE:
                    self._feed.put(None)
                case messages.Order.STOP:
                    self._stop.request()
                case _:
                    return

    def _serve(self, begin: messages.Begin, feed: Feed) -> None:
        """Serve a stage, in the main thread: modules may do at import things that only this thread can."""
        try:
            function: QueueFunction = begin.load()
            if function.runner not in self._runners:
                self._runners.append(function.runner)
            function.connect(self._stop)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the parent waits for an answer
            self._say_for_certain(messages.Ready(error=messages.Carried(error)))
            return
        self._say_for_certain(messages.Ready())
        try:
            ended = function.drive(feed, begin.options, stop=self._stop, say=self._say)
        except BaseException as error:  # noqa: BLE001 - likewise
            ended = messages.Ended(error=messages.Carried(error))
        self._say_for_certain(ended)

    def _say_for_certain(self, message: object) -> None:
        if not self._tell(message) and not self._orphaned.wait(self._timing.hears_within):
            # An agent has closed the pipe, so the parent can only notice an exit. It must not wait for agents' threads.
            os._exit(1)

    def _say(self, message: object) -> None:
        """Send a message, from any thread. One that cannot be sent is not missed: the parent is gone, or will see this
        process end."""
        if not self._tell(message):
            self._stop.request()

    def _tell(self, message: object) -> bool:
        with self._sending:  # messages of several threads must not be mixed in the pipe
            try:
                self._pipe.send(message)
            except OSError:  # the parent is gone, or an agent has closed the pipe
                return False
        return True
