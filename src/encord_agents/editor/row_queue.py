"""One agent at a time on each label row of this machine, so that no agent's labels are lost to another's."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from hashlib import sha256
from typing import Final, TypeAlias
from uuid import UUID

from encord_agents.core.data_model import FrameData
from encord_agents.editor.row_locks import RowLocks
from encord_agents.exceptions import EditorRequestError

__all__ = ["LONGEST_WAIT", "ROW_QUEUE", "RowQueue"]

Key: TypeAlias = tuple[UUID, UUID]
"""A project and a data unit."""

LONGEST_WAIT: Final = 25.0
"""Seconds after which a request gives up waiting for the label row; most gateways give up at 30."""
RETRY_AFTER: Final = 5
"""Seconds after which it may try again."""
TICK: Final = 0.01
"""Seconds between two looks at whether another process is done."""


class RowQueue:
    """Locks on label rows, first come, first served. A lock may be released in another thread.

    Args:
        longest_wait: Seconds to wait for a lock.
        locks: Exclude other processes, too; between processes there is no order.
    """

    def __init__(self, longest_wait: float = LONGEST_WAIT, locks: RowLocks | None = None) -> None:
        self._longest_wait = longest_wait
        self._locks = locks
        self._lock = threading.Lock()
        self._waiters: dict[Key, deque[Future[None]]] = {}  # an entry for each locked row

    @contextmanager
    def locked(self, frame: FrameData) -> Iterator[None]:
        """Hold the lock of the label row that is on the screen.

        Raises:
            EditorRequestError: Another agent did not release it in time.
        """
        key = _key(frame)
        until = time.monotonic() + self._longest_wait
        waiter = self._ask(key)
        try:
            waiter.result(self._longest_wait)
        except TimeoutError:
            if waiter.cancel():
                raise _busy(self._longest_wait) from None
        except BaseException:
            self._give_up(key, waiter)
            raise
        try:
            while not self._has_lock(key, until):
                time.sleep(TICK)
            try:
                yield
            finally:
                self._unlock(key)
        finally:
            self._end(key)

    @asynccontextmanager
    async def locked_async(self, frame: FrameData) -> AsyncIterator[None]:
        """Do the same without keeping a thread waiting."""
        key = _key(frame)
        until = time.monotonic() + self._longest_wait
        waiter = self._ask(key)
        try:
            if not waiter.done():  # nearly always it is
                await asyncio.wait_for(asyncio.wrap_future(waiter), self._longest_wait)
        except TimeoutError:
            self._give_up(key, waiter)
            raise _busy(self._longest_wait) from None
        except BaseException:
            self._give_up(key, waiter)
            raise
        try:
            while not self._has_lock(key, until):
                await asyncio.sleep(TICK)
            try:
                yield
            finally:
                self._unlock(key)
        finally:
            self._end(key)

    def __len__(self) -> int:
        """Return the number of locked rows."""
        return len(self._waiters)

    def _has_lock(self, key: Key, until: float) -> bool:
        """Take the lock that keeps other processes out, if it is free.

        Raises:
            EditorRequestError: It is not, and the time is over.
        """
        if self._locks is None or self._locks.take(_number(key)):
            return True
        if time.monotonic() >= until:
            raise _busy(self._longest_wait)
        return False

    def _unlock(self, key: Key) -> None:
        if self._locks is not None:
            self._locks.release(_number(key))

    def _ask(self, key: Key) -> Future[None]:
        waiter: Future[None] = Future()
        with self._lock:
            if key in self._waiters:
                self._waiters[key].append(waiter)
                return waiter
            self._waiters[key] = deque()
        waiter.set_result(None)
        return waiter

    def _give_up(self, key: Key, waiter: Future[None]) -> None:
        if not waiter.cancel():  # the lock was granted at the last moment
            self._end(key)

    def _end(self, key: Key) -> None:
        with self._lock:
            waiters = self._waiters[key]
            while waiters:
                waiter = waiters.popleft()
                if waiter.set_running_or_notify_cancel():
                    break
            else:
                del self._waiters[key]
                return
        waiter.set_result(None)


def _key(frame: FrameData) -> Key:
    return frame.project_hash, frame.data_hash


def _number(key: Key) -> int:
    return int.from_bytes(sha256(key[0].bytes + key[1].bytes).digest())


def _busy(seconds: float) -> EditorRequestError:
    return EditorRequestError(
        f"Another agent has been at work on this label row for more than {seconds:g} s. Try again in a moment.",
        status=409,
        retry_after=RETRY_AFTER,
    )


ROW_QUEUE: Final = RowQueue(locks=RowLocks())
"""The queue of this process. Its locks exclude the other processes of this machine, too."""
