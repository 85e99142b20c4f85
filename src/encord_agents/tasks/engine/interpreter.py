"""Settings of the interpreter that runs change while they go on, and that the last of them puts back.

They belong to the whole process, in which several runs may go on at once. So users are counted, under a lock: only
threads of the engine may be users, because no interrupt reaches those.
"""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["SWITCH_INTERVAL", "old_objects_left_alone", "quick_switches"]

SWITCH_INTERVAL = 0.0005
"""Seconds a thread may go on while others wait for the interpreter."""


class _Shared:
    """A setting that is changed by the first user and put back by the last.

    Args:
        change: Changes it, and returns what puts it back.
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
                self._put_back = self._change()
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    self._put_back()


def _nothing() -> None:
    pass


def _switch_quickly() -> Callable[[], None]:
    before = sys.getswitchinterval()
    if before <= SWITCH_INTERVAL:  # a program that has set less is left alone
        return _nothing
    sys.setswitchinterval(SWITCH_INTERVAL)
    return lambda: sys.setswitchinterval(before)


def _freeze() -> Callable[[], None]:
    if gc.get_freeze_count():  # a program that has frozen its objects itself is left alone
        return _nothing
    gc.freeze()
    return gc.unfreeze


quick_switches = _Shared(_switch_quickly)
"""Let an agent that waited go on within half a millisecond, not five, though a thread is busy with labels.

With agents that wait 5 ms each this is 5 % of the run; where none waits, it would only cost.
"""

old_objects_left_alone = _Shared(_freeze)
"""Make the garbage collector pass over the objects that were there before.

Labels are many small objects, so loading them sets off full collections, and each of these would look at the hundreds
of thousands of objects that importing the SDK left behind: about a sixth of all CPU time, measured with 1,000 tasks and
requests that take no time.
"""
