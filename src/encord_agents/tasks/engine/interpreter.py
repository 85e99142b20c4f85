"""Interpreter settings that are changed while runs last, and restored by the last of them.

They belong to the whole process, in which several runs may be active at once, so users are counted under a lock. Only
threads of the engine may be users, because no interrupt reaches them while they hold the lock.
"""

from __future__ import annotations

import gc
import math
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["SWITCH_INTERVAL", "old_objects_left_alone", "quick_switches"]

SWITCH_INTERVAL = 0.0005
"""Seconds that a thread may keep the interpreter while others wait for it."""

USES = 100
"""Uses after which the objects are counted: with a million of them, that takes some milliseconds."""

GROWTH = 1.25
"""The growth of their number after which all of them are searched for garbage, as in CPython itself."""


class _Shared:
    """A setting that is changed by the first user and restored by the last.

    Args:
        change: Changes it, and returns a function that restores it.
    """

    def __init__(self, change: Callable[[], Callable[[], None]]) -> None:
        self._change = change
        self._lock = threading.Lock()
        self._users = 0
        self._put_back: Callable[[], None] = _nothing

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if not self._users:
                self._put_back = self._change()  # under the lock: no other user may begin before it is done
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:  # under the lock: a user that begins now must not have its change undone
                    self._put_back()


def _nothing() -> None:
    pass


def _switch_quickly() -> Callable[[], None]:
    before = sys.getswitchinterval()
    if before <= SWITCH_INTERVAL:  # a program that has set it lower is left alone
        return _nothing
    sys.setswitchinterval(SWITCH_INTERVAL)
    return lambda: sys.setswitchinterval(before)


class _Freezing:
    """Freezes the objects that exist; from time to time, it first collects the garbage among them.

    Freezing resets the counters by which CPython decides to collect old objects, and frozen ones are never collected.
    Without collections here, a program that polls for days would keep the garbage of every pass.
    """

    def __init__(self) -> None:
        self._uses = 0
        self._fewest = math.inf  # objects, since the last collection

    def __call__(self) -> Callable[[], None]:
        if gc.get_freeze_count():  # a program that has frozen its objects itself is left alone
            return _nothing
        gc.freeze()
        if self._uses % USES == 0:
            self._collect_if_grown()
        self._uses += 1
        return gc.unfreeze

    def _collect_if_grown(self) -> None:
        number = gc.get_freeze_count()
        if number <= GROWTH * self._fewest or not gc.isenabled():
            self._fewest = min(self._fewest, number)
            return
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        self._fewest = gc.get_freeze_count()


quick_switches = _Shared(_switch_quickly)
"""Let an agent that waited continue within half a millisecond instead of five, even if a thread is busy with labels.

With agents that wait 5 ms each, this saves 5 % of the run; if no agent waits, it would only cost.
"""

old_objects_left_alone = _Shared(_Freezing())
"""Exempt objects that exist already from garbage collection.

Labels are many small objects, so loading them triggers full collections, each of which would visit the hundreds of
thousands of objects that importing the SDK has left behind: about a sixth of all CPU time, measured with 1,000 tasks
and requests that take no time.
"""
