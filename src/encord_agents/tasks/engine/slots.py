"""A limit on the number of threads that do something at the same time."""

from __future__ import annotations

from encord_agents.core.queues import Empty, SimpleQueue

__all__ = ["Slots"]


class Slots:
    """A semaphore: a number of slots, each for one thread at a time.

    Not a `threading.Semaphore`, since an interrupt inside one leaves its lock held.
    """

    def __init__(self, number: int) -> None:
        self._free: SimpleQueue[None] = SimpleQueue()
        for _ in range(number):
            self._free.put(None)

    def take(self, seconds: float | None = None) -> bool:
        """Take a slot, waiting for one for up to ``seconds``. Return True if there was one."""
        try:
            self._free.get(timeout=seconds)
        except Empty:
            return False
        return True

    def give_back(self) -> None:
        self._free.put(None)
