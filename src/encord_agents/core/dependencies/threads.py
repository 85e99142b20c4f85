"""A worker thread that makes calls one at a time, for objects bound to one thread from set-up to teardown."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable
from typing import Any

from encord_agents.core.queues import Empty, SimpleQueue

__all__ = ["TICK", "Pending", "WorkerThread"]

TICK = 0.1
"""Seconds between two checks whether a wait is over: an interrupt, or the end of an event loop, may lose a wake-up."""

_Outcome = tuple[Any, BaseException | None]


class WorkerThread:
    """A daemon thread, started by the first call. The process does not wait for it on exit.

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
        """True if the current thread is this one."""
        return self._thread is threading.current_thread()

    def begin(self, function: Callable[[], Any]) -> Pending:
        """Queue a call of a function. Its outcome is a pair: the return value and the exception.

        Raises:
            RuntimeError: The system cannot start another thread.
        """
        self._start()
        pending = Pending()
        self._calls.put(lambda: pending.settle(_outcome(function)))
        return pending

    def wait(self, function: Callable[[], Any]) -> Any:
        """Call a function in the thread: return its value or raise its exception. Deadlocks in the thread itself."""
        return _value(self.begin(function).result())

    async def run(self, function: Callable[[], Any], context: contextvars.Context) -> Any:
        """Call a function in the thread, in a context that may be the calling task's own.

        A context can be entered only once at a time. The call therefore begins after the task has left the context to
        wait, and nothing can wake the task before the call is over: a cancellation takes effect only then.
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
        """End the thread after the queued calls."""
        self._calls.put(None)

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._serve, name=self._name, daemon=True)
                thread.start()
                self._thread = thread  # only now: if the start fails, the next call tries again

    def _serve(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
            del call  # otherwise its arguments would stay alive until the next call


class Pending:
    """A queued call and its outcome.

    Not a `concurrent.futures.Future`: an interrupt of a thread that waits for one may leave its lock held, and the
    thread that settles it would then wait forever.
    """

    def __init__(self) -> None:
        self._outcome: _Outcome | None = None
        self._bell: SimpleQueue[None] = SimpleQueue()

    def settle(self, outcome: _Outcome) -> None:
        self._outcome = outcome  # first, since the waiting thread reads it as soon as the bell rings
        self._bell.put(None)

    def result(self) -> _Outcome:
        """Wait for the outcome and return it. If interrupted, it may be called again."""
        while self._outcome is None:
            with contextlib.suppress(Empty):
                self._bell.get(timeout=TICK)
        return self._outcome


class _Unyielding(asyncio.Future[_Outcome]):
    """A future that cannot be cancelled: a cancellation of the task awaiting it takes effect when it is done."""

    def cancel(self, msg: Any = None) -> bool:
        return False


def _outcome(function: Callable[[], Any]) -> _Outcome:
    try:
        return function(), None
    except BaseException as exception:  # noqa: BLE001 - raised again in the waiting thread
        return None, exception


def _value(outcome: _Outcome) -> Any:
    value, raised = outcome
    if raised is not None:
        raise raised
    return value
