"""A thread that makes calls one after the other, for what belongs to one thread from its set-up to its teardown."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any

__all__ = ["WorkerThread"]

_Outcome = tuple[Any, BaseException | None]


class WorkerThread:
    """A daemon thread, started with its first call: a process never waits for it at its end.

    Args:
        name: Its name, as users see it in their logs.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @property
    def is_current(self) -> bool:
        """Whether this is called in the thread."""
        return self._thread is threading.current_thread()

    def begin(self, function: Callable[[], Any]) -> Future[Any]:
        """Have a function called. Its future gives a pair, of what it returned and what it raised.

        A future would not take every exception (`StopIteration`), so it is carried as a value.

        Raises:
            RuntimeError: The system has no more threads.
        """
        self._start()
        future: Future[Any] = Future()
        self._calls.put(lambda: future.set_result(_outcome(function)))
        return future

    def wait(self, function: Callable[[], Any]) -> Any:
        """Have a function called, and return what it returns or raise what it raises. Not from the thread itself."""
        return _value(self.begin(function).result())

    async def run(self, function: Callable[[], Any], context: contextvars.Context) -> Any:
        """Have a function called in a context that may be the calling task's own.

        A context can be entered once at a time. So the call begins when the task has left it, to wait; and nothing can
        wake the task before the call is over: it takes a cancellation only then.
        """
        self._start()
        loop = asyncio.get_running_loop()
        done = _Unyielding(loop=loop)

        def call() -> None:
            outcome = context.run(_outcome, function)
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(done.set_result, outcome)

        loop.call_soon(self._calls.put, call)
        cancelled: asyncio.CancelledError | None = None
        try:
            await done
        except asyncio.CancelledError as exception:
            cancelled = exception
        outcome = done.result()
        if cancelled is not None:
            raise cancelled
        return _value(outcome)

    def stop(self) -> None:
        """End the thread after the calls that were asked for."""
        self._calls.put(None)

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._serve, name=self._name, daemon=True)
                thread.start()
                self._thread = thread

    def _serve(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
            del call  # it holds what it was about until there is another


class _Unyielding(asyncio.Future[_Outcome]):
    """A future that a cancellation of the task that awaits it waits for."""

    def cancel(self, msg: Any = None) -> bool:
        return False


def _outcome(function: Callable[[], Any]) -> _Outcome:
    try:
        return function(), None
    except BaseException as exception:  # noqa: BLE001 - raised again by whoever waits
        return None, exception


def _value(outcome: _Outcome) -> Any:
    value, raised = outcome
    if raised is not None:
        raise raised
    return value
