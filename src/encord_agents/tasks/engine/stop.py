"""Stopping, in two steps: "no new task", then "leave now". The caller's and the engine's threads share one object."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Literal, TypeVar

from encord_agents.core.interrupts import Interrupt
from encord_agents.core.queues import Empty, SimpleQueue

__all__ = ["EXIT_CODES", "Leaving", "Reason", "Stop", "next_of"]

Reason = Literal["interrupt", "terminate", "hangup"]

EXIT_CODES: dict[Reason, int] = {"interrupt": 130, "terminate": 143, "hangup": 129}


T = TypeVar("T")


class Leaving(Interrupt):
    """Waiting is over: results not written by now stay unwritten. Not an `Exception`, so that nothing retries it."""


class Stop:
    """A request to end the run, and its reason. Safe to use from every thread and from signal handlers.

    All waits in the engine are made on this object, so that a request to stop ends them. It contains no lock: a signal
    handler may run between any two steps of a thread that holds the lock, and would deadlock on it.

    Args:
        parent: Another stop that stops this one too. Requests made here do not reach the parent: each run has a `Stop`
            of its own, and several runs may share a parent.
    """

    def __init__(self, parent: Stop | None = None) -> None:
        self._parent = parent
        self._root: Stop = self if parent is None else parent._root
        self._reason: Reason | None = None
        self._requested = False
        self._leave = False
        # One queue per waiting thread: of threads that wait for a stop, and of threads that wait for the time to leave.
        self._until_requested: list[SimpleQueue[None]] = []
        self._until_leaving: list[SimpleQueue[None]] = []
        self._at_work = self._interruptible = 0  # nested blocks that the main thread is in

    @property
    def requested(self) -> bool:
        """True if no new task may be taken."""
        return self._requested or (self._parent is not None and self._parent.requested)

    @property
    def leaving(self) -> bool:
        """True if nothing may be waited for any more."""
        return self._leave or (self._parent is not None and self._parent.leaving)

    @property
    def reason(self) -> Reason | None:
        """The signal that stopped the run; ``None`` while there was none."""
        return self._reason or (None if self._parent is None else self._parent.reason)

    @property
    def exit_code(self) -> int | None:
        """The exit code for the signal that stopped the run: 130, 143 or 129; ``None`` if there was none."""
        return None if (reason := self.reason) is None else EXIT_CODES[reason]

    def request(self, reason: Reason | None = None) -> None:
        """Ask the run to take no new task, and to finish and write those in flight. Only the first reason counts."""
        if reason is not None and self._reason is None:
            self._reason = reason  # before the request: a thread that sees the request may read the reason at once
        self._requested = True
        _ring(self._until_requested)

    def interrupt(self, error: BaseException) -> None:
        """Request the stop because of an exception that came from outside, such as a Ctrl-C."""
        self.request("interrupt" if isinstance(error, KeyboardInterrupt) else None)

    def leave(self) -> None:
        """Ask the run to stop waiting for answers too."""
        self._requested = self._leave = True
        _ring(self._until_requested)
        _ring(self._until_leaving)

    def wait(self, seconds: float) -> bool:
        """Wait, at most until a stop is requested. Return True if one is."""
        _wait(seconds, [stop._until_requested for stop in self._line], lambda: self.requested)
        return self.requested

    def pause(self, seconds: float) -> None:
        """Wait even if a stop is requested, but not if it is time to leave.

        Raises:
            Leaving: It is time to leave.
        """
        _wait(seconds, [stop._until_leaving for stop in self._line], lambda: self.leaving)
        if self.leaving:
            raise Leaving

    @property
    def _line(self) -> list[Stop]:
        """This stop, its parent, and so on."""
        return [self] if self._parent is None else [self, *self._parent._line]

    def at_work(self) -> _AtWork:
        """Return a context manager in which a Ctrl-C only requests the stop, so that it does not cut bookkeeping in
        two. In threads other than the main one, which signals do not reach, it does nothing."""
        return _AtWork(self)

    def interruptible(self, *, although_interrupted: bool = False) -> _Interruptible:
        """Return a context manager for use within `at_work`, in which a Ctrl-C raises `KeyboardInterrupt` again: for
        the user's code, and for reads, which do no harm when they are cut off.

        Args:
            although_interrupted: Enter the block even if a Ctrl-C has come before, as a teardown must.

        Raises:
            KeyboardInterrupt: On entering, if a Ctrl-C has come already.
        """
        return _Interruptible(self, although_interrupted)

    @property
    def is_interruptible(self) -> bool:
        """True if a Ctrl-C may interrupt the main thread at this point."""
        return self._root._interruptible > 0 or self._root._at_work == 0


def _in_main_thread() -> bool:
    return threading.get_ident() == threading.main_thread().ident


class _AtWork:
    __slots__ = ("_here", "_root")

    def __init__(self, stop: Stop) -> None:
        self._root = stop._root
        self._here = _in_main_thread()

    # Only the main thread changes the counter, so it needs no lock, which a signal handler could find held.
    def __enter__(self) -> None:
        self._root._at_work += self._here

    def __exit__(self, *_: object) -> None:
        self._root._at_work -= self._here


class _Interruptible:
    """A context manager written by hand for speed, since it is entered for each attempt."""

    __slots__ = ("_here", "_root", "_stop")

    def __init__(self, stop: Stop, although_interrupted: bool) -> None:
        self._root = stop._root
        self._stop = None if although_interrupted else stop
        self._here = _in_main_thread()

    def __enter__(self) -> None:
        if not self._here:
            return
        self._root._interruptible += 1
        # A signal that came before this line was only recorded; a later one raises in its handler.
        if self._stop is not None and self._stop.reason == "interrupt":
            self._root._interruptible -= 1
            raise KeyboardInterrupt

    def __exit__(self, *_: object) -> None:
        if self._here:
            self._root._interruptible -= 1


def next_of(queue: SimpleQueue[T], tick: float) -> T:
    """Wait for the next entry of a queue in the main thread, and return it.

    The system may deliver a signal to any thread. Python handles it in the main thread, at the latest when that next
    wakes: so it wakes every ``tick`` seconds.
    """
    while True:
        with suppress(Empty):
            return queue.get(timeout=tick)


def _wait(seconds: float, places: Sequence[list[SimpleQueue[None]]], is_so: Callable[[], bool]) -> None:
    bell: SimpleQueue[None] = SimpleQueue()
    # Registered before the check: otherwise a request between the check and the wait would be missed.
    for bells in places:
        bells.append(bell)
    try:
        if not is_so():
            with suppress(Empty):
                bell.get(timeout=max(0.0, seconds))
    finally:
        for bells in places:
            if bell in bells:
                bells.remove(bell)


def _ring(bells: list[SimpleQueue[None]]) -> None:
    for bell in tuple(bells):  # a copy, since waiting threads come and go meanwhile
        bell.put(None)
