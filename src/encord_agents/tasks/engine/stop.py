"""Stopping: "no new task", then "leave now". One object that the caller's thread and the engine's threads look at."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Literal

from encord_agents.core.dependencies.solve import Interrupt

__all__ = ["EXIT_CODES", "Leaving", "Reason", "Stop", "signals"]

Reason = Literal["interrupt", "terminate"]

EXIT_CODES: dict[Reason, int] = {"interrupt": 130, "terminate": 143}


class Leaving(Interrupt):
    """Waiting is over: what has not been written by now will not be. Not an `Exception`, so that no one retries it."""


class Stop:
    """Whether, and why, the run is to end. Safe to use from every thread and from signal handlers.

    Everything in the engine that waits does so on this object, so that a request to stop ends the wait. There is no
    lock in it: a signal handler, or an interrupt, may come between any two steps of whoever holds one.
    """

    def __init__(self) -> None:
        self.reason: Reason | None = None
        self._requested = False
        self._leave = False
        # Of those who wait for the one, and for the other.
        self._until_requested: list[SimpleQueue[None]] = []
        self._until_leaving: list[SimpleQueue[None]] = []
        self._interruptible = 0

    @property
    def requested(self) -> bool:
        """No new task is to be taken."""
        return self._requested

    @property
    def leaving(self) -> bool:
        """Nothing is to be waited for any more."""
        return self._leave

    def request(self, reason: Reason | None = None) -> None:
        """Take no new task; finish and write what there is. The first reason given is the one that counts."""
        if reason is not None and self.reason is None:
            self.reason = reason
        self._requested = True
        _ring(self._until_requested)

    def leave(self) -> None:
        """Stop waiting for answers too."""
        self._requested = self._leave = True
        _ring(self._until_requested)
        _ring(self._until_leaving)

    def wait(self, seconds: float) -> bool:
        """Wait, or until a stop is requested. Whether one was."""
        _wait(seconds, self._until_requested, lambda: self._requested)
        return self._requested

    def pause(self, seconds: float) -> None:
        """Wait, whether or not a stop is requested, unless it is time to leave.

        Raises:
            Leaving: It is time to leave.
        """
        _wait(seconds, self._until_leaving, lambda: self._leave)
        if self._leave:
            raise Leaving

    def interruptible(self) -> _Interruptible:
        """While the user's own code runs in the main thread: Ctrl-C interrupts it there, and never the engine."""
        return _Interruptible(self)

    @property
    def runs_user_code(self) -> bool:
        return self._interruptible > 0


class _Interruptible:
    """A context manager by hand: it is entered for each attempt."""

    __slots__ = ("_here", "_stop")

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._here = threading.get_ident() == threading.main_thread().ident

    def __enter__(self) -> None:
        if self._here:
            self._stop._interruptible += 1

    def __exit__(self, *_: object) -> None:
        if self._here:
            self._stop._interruptible -= 1


def _wait(seconds: float, bells: list[SimpleQueue[None]], is_so: Callable[[], bool]) -> None:
    bell: SimpleQueue[None] = SimpleQueue()
    bells.append(bell)
    try:
        if not is_so():
            with suppress(Empty):
                bell.get(timeout=max(0.0, seconds))
    finally:
        bells.remove(bell)


def _ring(bells: list[SimpleQueue[None]]) -> None:
    for bell in tuple(bells):
        bell.put(None)


@contextmanager
def signals(stop: Stop, *, leave_at_once: Callable[[int], None]) -> Iterator[None]:
    """While inside, Ctrl-C and SIGTERM stop the run cleanly, and the second of them leaves at once.

    Only for a program that is ours: the command line. In another thread than the main one, which signals do not reach,
    it does nothing. A SIGTERM lets the current task finish; a
    Ctrl-C raises `KeyboardInterrupt` in the agent or dependency that runs, and is only noted while the engine runs.

    Args:
        stop: What to tell.
        leave_at_once: Called with the exit code at the second signal.
    """

    def handle(number: int, frame: FrameType | None) -> None:
        reason: Reason = "terminate" if number == signal.SIGTERM else "interrupt"
        if stop.requested and stop.reason is not None:
            leave_at_once(EXIT_CODES[reason])
            return
        stop.request(reason)
        if reason == "interrupt" and stop.runs_user_code:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
