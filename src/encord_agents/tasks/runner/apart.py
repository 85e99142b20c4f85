"""A call in a separate thread, for a caller that only waits and can be interrupted at any point."""

from __future__ import annotations

import contextvars
from _thread import start_new_thread
from collections.abc import Callable
from contextlib import suppress

from encord_agents.core.queues import Empty, SimpleQueue

__all__ = ["Apart"]

TICK = 0.1
"""Seconds between checks of whether the call has ended: an interrupt may have swallowed the notification."""


class Apart:
    """A call in a separate thread that never keeps the process from exiting.

    A `KeyboardInterrupt` is raised in the main thread, between any two of its steps, and never in this one. The caller
    starts the call and waits for it, again after each interrupt. There is no lock that an interrupt could leave held.

    Attributes:
        ended: True if the call is over, or will never begin.
        error: The exception that the call raised.
    """

    def __init__(self, work: Callable[[], object]) -> None:
        self.ended = False
        self.error: BaseException | None = None
        self._work = work
        self._context = contextvars.copy_context()
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._claims: list[bool] = []  # the first entry says whether the call is made; `append` is atomic

    def start(self) -> None:
        """Start the thread. Call it once; if it is interrupted, call `call_off` next.

        Raises:
            RuntimeError: The system has no more threads.
        """
        # Not `Thread.start()`: an interrupt in it may leave a lock held that the new thread waits for.
        start_new_thread(self._run, ())

    def call_off(self) -> None:
        """Cancel the call unless it has begun."""
        self._claims.append(False)
        if not self._claims[0]:
            self.ended = True

    def wait(self) -> bool:
        """Wait until the call is over, at most for a moment. Return True if it is over."""
        if not self.ended:
            with suppress(Empty):
                self._bell.get(timeout=TICK)
        return self.ended

    def _run(self) -> None:
        self._claims.append(True)
        if not self._claims[0]:
            return
        try:
            self._context.run(self._work)
        except BaseException as error:  # noqa: BLE001 - the caller raises it
            self.error = error
        finally:
            self.ended = True  # before the bell, since the caller that it wakes reads this at once
            self._bell.put(None)
