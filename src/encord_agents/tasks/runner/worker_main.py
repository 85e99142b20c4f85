"""A worker process: stages begin, tasks come in through a pipe, events go out; and it is left tidily.

Its main thread runs the driver that a `Runner` has: agents there, one after the other, while the next tasks are loaded
and finished ones are written.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from encord_agents.core.logs import get_logger
from encord_agents.core.queues import SimpleQueue
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


def work(pipe: Connection, timing: Timing) -> None:
    """Live as a worker."""
    # Ctrl-C in a terminal reaches every process, and so do the SIGHUP of a terminal that is closed and the SIGTERM of a
    # service manager: it is for the parent to decide what they mean. The worker ends with it.
    hold_off_signals()
    if hasattr(signal, "pthread_sigmask"):  # the parent had it blocked until this was done
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    # Agents may compute, and never wait by themselves. The threads that load and write, of which each request wants the
    # interpreter dozens of times, would wait for 5 ms each time.
    sys.setswitchinterval(min(SWITCH_INTERVAL, sys.getswitchinterval()))
    from encord_agents.terminal.streams import forgiving_streams

    with forgiving_streams():  # what agents print is no reason for a task to fail
        _Child(pipe, timing).live()
    # Else the interpreter looks at every object while it is taken apart: a quarter of a second, and the parent waits.
    gc.freeze()


class _Child:
    """A worker. Its main thread serves stages; another one listens to the parent."""

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
        """Serve stages until the parent says that it is enough, or is not there any more."""
        threading.Thread(target=self._listen, name="encord-agents-parent", daemon=True).start()
        while (serve := self._stages.get()) is not None:
            serve()
        for runner in reversed(self._runners):
            try:
                runner.close()
            except BaseException:
                logger.exception("What lives as long as the process could not be torn down.")

    def _listen(self) -> None:
        """Take the parent's messages, in a thread. However it ended, this ends with it: after the task at work."""
        try:
            self._listen_until_end()
        except Exception as error:
            if not isinstance(error, EOFError | OSError):
                logger.exception("The parent process said something that cannot be read.")
            self._orphaned.set()
            self._stop.request()
        finally:
            self._feed.put(None)
            self._stages.put(None)

    def _listen_until_end(self) -> None:
        while True:
            while not self._pipe.poll(self._timing.look_up):  # a program that the parent has started may hold the pipe
                if os.getppid() != self._parent:
                    raise EOFError
            match self._pipe.recv():
                case messages.Begin() as begin:
                    self._feed = SimpleQueue()
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
        """Serve a stage, in the main thread: modules may do at import what only that can."""
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
            # An agent has closed the pipe, so the parent can only see the process end: whatever threads the agent has.
            os._exit(1)

    def _say(self, message: object) -> None:
        """Say something, in any thread. A message that cannot be sent is not missed: the parent is gone, or will see
        this process end."""
        if not self._tell(message):
            self._stop.request()

    def _tell(self, message: object) -> bool:
        with self._sending:
            try:
                self._pipe.send(message)
            except OSError:  # the parent is not there any more
                return False
        return True
