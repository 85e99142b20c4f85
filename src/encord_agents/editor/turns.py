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

__all__ = ["LONGEST_WAIT", "TURNS", "Turns"]

Key: TypeAlias = tuple[UUID, UUID]
"""A project and a data unit."""

LONGEST_WAIT: Final = 25.0
"""Seconds after which a request gives up waiting for the label row; most gateways give up at 30."""
RETRY_AFTER: Final = 5
"""Seconds after which it may try again."""
TICK: Final = 0.01
"""Seconds between two looks at whether another process is done."""


class Turns:
    """Turns on label rows, in the order in which they were asked for. A turn may end in another thread.

    Args:
        longest_wait: The seconds to wait for a turn.
        locks: Keep other processes out, too; between processes there is no order.
    """

    def __init__(self, longest_wait: float = LONGEST_WAIT, locks: RowLocks | None = None) -> None:
        self._longest_wait = longest_wait
        self._locks = locks
        self._lock = threading.Lock()
        self._waiting: dict[Key, deque[Future[None]]] = {}  # an entry for each row on which there is a turn

    @contextmanager
    def on(self, frame: FrameData) -> Iterator[None]:
        """Take a turn on the label row that is on the screen.

        Raises:
            EditorRequestError: Another agent did not end its own in time.
        """
        key = _key(frame)
        until = time.monotonic() + self._longest_wait
        turn = self._ask(key)
        try:
            turn.result(self._longest_wait)
        except TimeoutError:
            if turn.cancel():
                raise _busy(self._longest_wait) from None
        except BaseException:
            self._give_up(key, turn)
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
    async def on_async(self, frame: FrameData) -> AsyncIterator[None]:
        """Do the same without keeping a thread waiting."""
        key = _key(frame)
        until = time.monotonic() + self._longest_wait
        turn = self._ask(key)
        try:
            if not turn.done():  # nearly always it is
                await asyncio.wait_for(asyncio.wrap_future(turn), self._longest_wait)
        except TimeoutError:
            self._give_up(key, turn)
            raise _busy(self._longest_wait) from None
        except BaseException:
            self._give_up(key, turn)
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
        """Return the number of rows on which there is a turn."""
        return len(self._waiting)

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
        turn: Future[None] = Future()
        with self._lock:
            if key in self._waiting:
                self._waiting[key].append(turn)
                return turn
            self._waiting[key] = deque()
        turn.set_result(None)
        return turn

    def _give_up(self, key: Key, turn: Future[None]) -> None:
        if not turn.cancel():  # it came at the last moment
            self._end(key)

    def _end(self, key: Key) -> None:
        with self._lock:
            waiting = self._waiting[key]
            while waiting:
                turn = waiting.popleft()
                if turn.set_running_or_notify_cancel():
                    break
            else:
                del self._waiting[key]
                return
        turn.set_result(None)


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


TURNS: Final = Turns(locks=RowLocks())
"""The turns of this process, which it shares with others of this machine."""
