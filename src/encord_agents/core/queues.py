"""A queue for threads and signal handlers, from which one can wait to get something for some time.

Read from CPython 3.11 and 3.12, and seen there: `queue.SimpleQueue.get(timeout=...)` looks at the time once more before
it waits. If the time is up by then, which is a matter of a few microseconds or of a busy machine, it waits for ever.
Python 3.13 does not. `queue.Queue` takes a lock that a signal handler might find held by the thread it has interrupted.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from contextlib import suppress
from queue import Empty
from typing import Generic, TypeVar

__all__ = ["Empty", "SimpleQueue"]

T = TypeVar("T")


class SimpleQueue(Generic[T]):
    """An unbounded queue, first in, first out, as `queue.SimpleQueue`. A signal handler may put something in it."""

    __slots__ = ("_entries", "_nothing_new")

    def __init__(self) -> None:
        self._entries: deque[T] = deque()
        # Held unless something may have come that no thread has been woken for. Any thread may release it.
        self._nothing_new = threading.Lock()
        self._nothing_new.acquire()

    def put(self, entry: T) -> None:
        """Add an entry. It never waits."""
        self._entries.append(entry)
        self._wake()

    def get(self, *, timeout: float | None = None) -> T:
        """Remove and return the first entry, waiting for it for some seconds, or for as long as it takes.

        Raises:
            Empty: There was none in time.
        """
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        while True:
            with suppress(Empty):
                return self.get_nowait()
            left = min(max(0.0, deadline - time.monotonic()), threading.TIMEOUT_MAX)
            if not self._nothing_new.acquire(timeout=left):
                raise Empty

    def get_nowait(self) -> T:
        """Remove and return the first entry.

        Raises:
            Empty: There is none.
        """
        try:
            entry = self._entries.popleft()
        except IndexError:
            raise Empty from None
        if self._entries:
            self._wake()  # another thread: one may have been woken for several entries
        return entry

    def _wake(self) -> None:
        """Wake a thread that waits, or keep the next one from waiting."""
        if self._nothing_new.locked():
            with suppress(RuntimeError):  # another thread was quicker
                self._nothing_new.release()
