"""Work in a thread of its own, for a caller that only waits and can be interrupted at any point."""

from __future__ import annotations

import contextvars
from _thread import start_new_thread
from collections.abc import Callable
from contextlib import suppress

from encord_agents.core.queues import Empty, SimpleQueue

__all__ = ["Apart"]

TICK = 0.1
"""Seconds between two looks at whether the work has ended: an interrupt may have swallowed the word that it has."""


class Apart:
    """A call in a thread of its own, which never keeps the process from ending.

    An interrupt comes in the main thread, between any two of its steps; none reaches this thread. The caller starts it
    and waits, as often as it is interrupted in that. There is no lock that an interrupt could leave held.

    Attributes:
        ended: True if the call is over, or will never begin.
        error: The exception of the call.
    """

    def __init__(self, work: Callable[[], object]) -> None:
        self.ended = False
        self.error: BaseException | None = None
        self._work = work
        self._context = contextvars.copy_context()
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._claims: list[bool] = []  # the first says whether the call is to be made, for good

    def start(self) -> None:
        """Begin. To be called once; `call_off` comes next if it is interrupted.

        Raises:
            RuntimeError: The system has no more threads.
        """
        start_new_thread(self._run, ())

    def call_off(self) -> None:
        """Have the call not be made, unless it has begun."""
        self._claims.append(False)
        if not self._claims[0]:
            self.ended = True

    def wait(self) -> bool:
        """Wait for a moment, or until the call is over. Return True if it is."""
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
            self.ended = True
            self._bell.put(None)
