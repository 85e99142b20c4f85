"""The pace of a stage: how much is loaded, handed over and written at once, as a pure function."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["Pace"]

MOST_AT_ONCE = 100
"""Tasks in one request."""
LEAST_AT_ONCE = 25
"""Tasks in one request where agents are fast: a kind client asks for no less, unless its window holds no more."""
FAST = 0.02
"""Seconds that an attempt of a fast agent takes, at most."""
FIRST_LOADS = (25, 50)
"""Tasks in the first requests: few, so that the first agent starts soon."""
HANDED_OVER = 0.1
"""Seconds of attempts that are handed to workers ahead, so that no worker waits for the next one."""
SLOW = 1.0
"""Seconds that an attempt takes where nothing is gained by handing over ahead."""


@dataclass(frozen=True, slots=True)
class Pace:
    """The pace of one stage.

    Attributes:
        window: How many tasks may be loaded, run or written at the same time.
        workers: Attempts at once.
        load_ahead: Seconds of work that may be loaded and wait.
        seconds: What an attempt takes: the average of the last ones or, as long as none has ended, what the first one
            has taken so far; ``None`` before it.
        any_ended: Whether any attempt has ended.
    """

    window: int
    workers: int = 1
    load_ahead: float = 30.0
    seconds: float | None = None
    any_ended: bool = False

    @property
    def at_once(self) -> int:
        """The number of tasks that are loaded, or written, in one request at most.

        A quarter of the window, so that its four quarters can be in different places: loading, waiting, running, being
        written.
        """
        quarter = max(1, min(MOST_AT_ONCE, self.window // 4))
        if self.any_ended and (self.seconds or 0.0) >= FAST:
            return quarter
        return max(quarter, LEAST_AT_ONCE if self.window >= LEAST_AT_ONCE else self.window // 2)

    @property
    def ahead(self) -> float:
        """The number of tasks that may be loaded, or loading, and wait for their first attempt; at least two."""
        if not self.seconds:
            return math.inf
        return max(2.0, self.load_ahead * self.workers / self.seconds // 1)

    def to_load(self, loads: int) -> int:
        """Return how many tasks to load together: at most half of those that may wait, so that others come in time.

        Args:
            loads: How many times some were loaded before.
        """
        size = self.at_once
        if loads < len(FIRST_LOADS):
            size = min(size, FIRST_LOADS[loads])
        return max(1, int(min(size, self.ahead / 2)))

    def may_load(self, number: int, waiting: int, loads: int) -> bool:
        """Return whether to load some more tasks while others wait. Where none does, however many they are.

        Before an attempt has ended it is not known how soon more are needed, so only the first few are loaded.
        """
        if not self.any_ended and loads >= len(FIRST_LOADS):
            return False
        return waiting == 0 or waiting + number <= self.ahead

    def to_write(self, finished: int) -> int:
        """Return how many of the finished results to write together.

        Whole chunks: the rest of one would only wait for a part of the next, and every later request be as late.
        """
        number = min(finished, MOST_AT_ONCE)
        return number - number % self.at_once if number > self.at_once else number

    def handed_over(self, *, proven: bool, patient: bool) -> int:
        """Return how many tasks may be with the workers: the ones they run, and the ones they run next.

        Args:
            proven: Whether the agent has done well lately. Before that no task is handed over ahead, since all might
                fail alike.
            patient: Whether each end is looked at before many more begin: where failures are counted.
        """
        if not proven or not self.seconds or self.seconds >= SLOW:
            return self.workers
        return self.workers + (1 if patient else max(1, min(MOST_AT_ONCE, int(HANDED_OVER / self.seconds))))

    @property
    def soon(self) -> int:
        """The number of attempts that begin before a task that is fresh now is stale."""
        if not self.seconds:
            return 1
        return max(1, int(min(self.load_ahead * self.workers / self.seconds, 1e6)))
