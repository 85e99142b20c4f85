"""A thread that makes calls one after the other, for what belongs to one thread from its set-up to its teardown."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

__all__ = ["Pending", "WorkerThread"]

TICK = 0.1
"""Seconds between two looks at whether a call is over: an interrupt may have swallowed the word that it is."""

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

    def begin(self, function: Callable[[], Any]) -> Pending:
        """Have a function called. It gives a pair, of what it returned and what it raised.

        Raises:
            RuntimeError: The system has no more threads.
        """
        self._start()
        pending = Pending()
        self._calls.put(lambda: pending.settle(_outcome(function)))
        return pending

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


class Pending:
    """A call that is asked for, and its outcome.

    Not a `concurrent.futures.Future`: an interrupt of whoever waits for one may leave its lock held, and then the
    thread that would settle it waits for ever.
    """

    def __init__(self) -> None:
        self._outcome: _Outcome | None = None
        self._bell: SimpleQueue[None] = SimpleQueue()

    def settle(self, outcome: _Outcome) -> None:
        self._outcome = outcome
        self._bell.put(None)

    def result(self) -> _Outcome:
        """Wait for the outcome, and return it. It may be interrupted, and called again."""
        while self._outcome is None:
            with contextlib.suppress(Empty):
                self._bell.get(timeout=TICK)
        return self._outcome


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
