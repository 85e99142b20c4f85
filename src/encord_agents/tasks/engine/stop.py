"""Stopping: "no new task", then "leave now". One object that the caller's thread and the engine's threads look at."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Literal, TypeVar

from encord_agents.core.dependencies.solve import Interrupt

__all__ = ["EXIT_CODES", "Leaving", "Reason", "Stop", "next_of"]

Reason = Literal["interrupt", "terminate", "hangup"]

EXIT_CODES: dict[Reason, int] = {"interrupt": 130, "terminate": 143, "hangup": 129}


WAKES_EVERY = 0.25
"""Seconds in which a signal that another thread was given is handled."""

T = TypeVar("T")


class Leaving(Interrupt):
    """Waiting is over: what has not been written by now will not be. Not an `Exception`, so that no one retries it."""


class Stop:
    """Whether, and why, the run is to end. Safe to use from every thread and from signal handlers.

    Everything in the engine that waits does so on this object, so that a request to stop ends the wait. There is no
    lock in it: a signal handler, or an interrupt, may come between any two steps of whoever holds one.

    Args:
        parent: Another one that stops this one too. Requests made here do not reach it: each run has a `Stop` of its
            own, whose parent several runs may share.
    """

    def __init__(self, parent: Stop | None = None) -> None:
        self._parent = parent
        self._root: Stop = self if parent is None else parent._root
        self._reason: Reason | None = None
        self._requested = False
        self._leave = False
        # One queue for each thread that waits for the one, or for the other.
        self._until_requested: list[SimpleQueue[None]] = []
        self._until_leaving: list[SimpleQueue[None]] = []
        self._at_work = self._interruptible = 0  # blocks that the main thread is in

    @property
    def requested(self) -> bool:
        """Whether no new task is to be taken."""
        return self._requested or (self._parent is not None and self._parent.requested)

    @property
    def leaving(self) -> bool:
        """Whether to wait for nothing any more."""
        return self._leave or (self._parent is not None and self._parent.leaving)

    @property
    def reason(self) -> Reason | None:
        """The signal that stopped the run; ``None`` while there was none."""
        return self._reason or (None if self._parent is None else self._parent.reason)

    @property
    def exit_code(self) -> int | None:
        """The exit code that tells of the signal that came: 130, 143 or 129; ``None`` if there was none."""
        return None if (reason := self.reason) is None else EXIT_CODES[reason]

    def request(self, reason: Reason | None = None) -> None:
        """Take no new task; finish and write what there is. The first reason given is the one that counts."""
        if reason is not None and self._reason is None:
            self._reason = reason
        self._requested = True
        _ring(self._until_requested)

    def leave(self) -> None:
        """Stop waiting for answers too."""
        self._requested = self._leave = True
        _ring(self._until_requested)
        _ring(self._until_leaving)

    def wait(self, seconds: float) -> bool:
        """Wait, or until a stop is requested. Whether one was."""
        _wait(seconds, [stop._until_requested for stop in self._line], lambda: self.requested)
        return self.requested

    def pause(self, seconds: float) -> None:
        """Wait, whether or not a stop is requested, unless it is time to leave.

        Raises:
            Leaving: It is time to leave.
        """
        _wait(seconds, [stop._until_leaving for stop in self._line], lambda: self.leaving)
        if self.leaving:
            raise Leaving

    @property
    def _line(self) -> list[Stop]:
        """This one, its parent, and so on."""
        return [self] if self._parent is None else [self, *self._parent._line]

    def at_work(self) -> _AtWork:
        """Have a Ctrl-C only request the stop while the main thread is in a ``with`` block, so that no bookkeeping is
        cut in two. In other threads, which signals do not reach, this does nothing."""
        return _AtWork(self)

    def interruptible(self, *, although_interrupted: bool = False) -> _Interruptible:
        """Have a Ctrl-C raise `KeyboardInterrupt` all the same in a ``with`` block within `at_work`: around the user's
        code, and around reads, which do no harm when they are cut off.

        Args:
            although_interrupted: Enter the block even if a Ctrl-C has come before, as a teardown must.

        Raises:
            KeyboardInterrupt: On entering, if a Ctrl-C has come already.
        """
        return _Interruptible(self, although_interrupted)

    @property
    def is_interruptible(self) -> bool:
        """Whether a Ctrl-C is to interrupt what the main thread does now."""
        return self._root._interruptible > 0 or self._root._at_work == 0


def _in_main_thread() -> bool:
    return threading.get_ident() == threading.main_thread().ident


class _AtWork:
    __slots__ = ("_here", "_root")

    def __init__(self, stop: Stop) -> None:
        self._root = stop._root
        self._here = _in_main_thread()

    def __enter__(self) -> None:
        self._root._at_work += self._here

    def __exit__(self, *_: object) -> None:
        self._root._at_work -= self._here


class _Interruptible:
    """A context manager by hand: it is entered for each attempt."""

    __slots__ = ("_here", "_root", "_stop")

    def __init__(self, stop: Stop, although_interrupted: bool) -> None:
        self._root = stop._root
        self._stop = None if although_interrupted else stop
        self._here = _in_main_thread()

    def __enter__(self) -> None:
        if not self._here:
            return
        self._root._interruptible += 1
        # A signal that came before this line was only noted; one that comes after it raises by itself.
        if self._stop is not None and self._stop.reason == "interrupt":
            self._root._interruptible -= 1
            raise KeyboardInterrupt

    def __exit__(self, *_: object) -> None:
        if self._here:
            self._root._interruptible -= 1


def next_of(queue: SimpleQueue[T]) -> T:
    """Return the next entry of a queue, for the main thread to wait in.

    The system may give a signal to any thread; Python handles it in the main one, at the latest when that next wakes.
    """
    while True:
        with suppress(Empty):
            return queue.get(timeout=WAKES_EVERY)


def _wait(seconds: float, places: Sequence[list[SimpleQueue[None]]], is_so: Callable[[], bool]) -> None:
    bell: SimpleQueue[None] = SimpleQueue()
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
    for bell in tuple(bells):
        bell.put(None)
