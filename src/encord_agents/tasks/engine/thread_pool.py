"""A small thread pool for short jobs, which never keeps the process from ending."""

from __future__ import annotations

import contextlib
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from encord_agents.core.queues import SimpleQueue

__all__ = ["PoolClosedError", "ThreadPool"]

T = TypeVar("T")


class PoolClosedError(RuntimeError):
    """The pool was closed: it takes no more jobs."""


class ThreadPool:
    """A pool of daemon threads, started as needed.

    Not a `ThreadPoolExecutor`, whose threads are joined at exit, however long a host does not answer. Each job has a
    copy of the context variables of the pool's creator.

    Args:
        size: The maximum number of threads.
        name: The prefix of the threads' names.
    """

    def __init__(self, size: int, name: str) -> None:
        self._size = size
        self._caller = contextvars.copy_context()
        self._name = name
        self._jobs: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._undone = 0
        self._closed = False

    def submit(self, job: Callable[[], T]) -> Future[T]:
        """Queue a job, and return its future.

        Raises:
            PoolClosedError: The pool is closed.
            RuntimeError: The pool has no thread, and the system has none left.
        """
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise PoolClosedError("The pool is closed.")
            if self._undone >= len(self._threads) and len(self._threads) < self._size:
                try:
                    self._start_one()
                except RuntimeError:  # the system has no more threads
                    if not self._threads:
                        raise
            # Under the lock, so that `close` cannot put its end markers before the job, which would never be done.
            self._jobs.put((future, job))
            self._undone += 1
        return future

    def start_all(self) -> None:
        """Start all threads before there is work for them, where starting them later would delay something.

        If the system has no more threads, fewer are enough.
        """
        with self._lock, contextlib.suppress(RuntimeError):
            while not self._closed and len(self._threads) < self._size:
                self._start_one()

    def _start_one(self) -> None:
        thread = threading.Thread(target=self._work, name=f"{self._name}-{len(self._threads)}", daemon=True)
        thread.start()
        self._threads.append(thread)

    def close(self) -> list[threading.Thread]:
        """Take no more jobs. Return the threads, which end when the queued jobs are done."""
        with self._lock:
            self._closed = True
            for _ in self._threads:
                self._jobs.put(None)
            return list(self._threads)

    def _work(self) -> None:
        while (given := self._jobs.get()) is not None:
            future, job = given
            wanted = future.set_running_or_notify_cancel()
            error: BaseException | None = None
            result = None
            try:
                if wanted:
                    result = self._caller.copy().run(job)
            except BaseException as raised:  # noqa: BLE001 - the future raises it
                error = raised
            with self._lock:  # before the future is done, so that a follow-up job finds this thread free
                self._undone -= 1
            if not wanted:
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)
