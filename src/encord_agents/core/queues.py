"""A queue for threads and signal handlers, with a timeout that works.

In CPython 3.11 and 3.12 (read in the source, and observed), `queue.SimpleQueue.get(timeout=...)` checks the time once
more before it waits. If the timeout has expired by then, which takes a few microseconds or a busy machine, it waits
indefinitely. Python 3.13 does not. `queue.Queue` takes a lock: a signal handler would deadlock on it if the thread that
it interrupted holds it.
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
    """An unbounded FIFO queue, like `queue.SimpleQueue`. Signal handlers may call `put`."""

    __slots__ = ("_entries", "_nothing_new")

    def __init__(self) -> None:
        self._entries: deque[T] = deque()
        # Used as an event: released if there may be an entry that no thread has been woken for. Unlike a condition, it
        # can be released by any thread, and in a signal handler.
        self._nothing_new = threading.Lock()
        self._nothing_new.acquire()

    def put(self, entry: T) -> None:
        """Add an entry, without blocking."""
        self._entries.append(entry)
        self._wake()

    def get(self, *, timeout: float | None = None) -> T:
        """Remove and return the first entry, waiting for up to ``timeout`` seconds, or indefinitely.

        Raises:
            Empty: No entry arrived in time.
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
            Empty: The queue is empty.
        """
        try:
            entry = self._entries.popleft()
        except IndexError:
            raise Empty from None
        if self._entries:
            self._wake()  # another thread: several puts may have woken only one
        return entry

    def _wake(self) -> None:
        """Wake a waiting thread, or keep the next one from waiting."""
        if self._nothing_new.locked():
            with suppress(RuntimeError):  # another thread has released it first
                self._nothing_new.release()
