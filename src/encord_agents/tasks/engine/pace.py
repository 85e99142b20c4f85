"""The pace of a stage: how much is loaded, handed over and written at once, as a pure function."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from encord_agents.tasks.engine.timing import Limits, Timing

__all__ = ["Pace"]


@dataclass(frozen=True, slots=True)
class Pace:
    """The pace of one stage.

    Attributes:
        window: The number of tasks that may be loaded, run or written at the same time.
        workers: The number of attempts at once.
        seconds: The duration of an attempt: the average of the last ones or, as long as none has ended, the time
            that the first one has taken so far; ``None`` before it begins.
        any_ended: True if an attempt has ended.
    """

    window: int
    workers: int = 1
    seconds: float | None = None
    any_ended: bool = False
    timing: Timing = field(default_factory=Timing)
    limits: Limits = field(default_factory=Limits)

    @property
    def at_once(self) -> int:
        """The number of tasks that are loaded, or written, in one request at most.

        A quarter of the window, so that its four quarters can be in different places: loading, waiting, running, being
        written.
        """
        quarter = max(1, min(self.limits.at_once, self.window // 4))
        if self.any_ended and (self.seconds or 0.0) >= self.timing.fast_attempt:
            return quarter
        at_least = self.limits.at_least
        return max(quarter, at_least if self.window >= at_least else self.window // 2)

    @property
    def ahead(self) -> float:
        """The number of tasks that may be loaded, or loading, and wait for their first attempt; at least two."""
        if not self.seconds:
            return math.inf
        return max(2.0, self.timing.load_ahead * self.workers / self.seconds // 1)

    def to_load(self, loads: int) -> int:
        """Return the number of tasks to load together: at most half of those that may wait, so that more come in time.

        Args:
            loads: The number of loads so far.
        """
        size = min([self.at_once, *self.limits.first_loads[loads : loads + 1]])
        return max(1, int(min(size, self.ahead / 2)))

    def may_load(self, number: int, waiting: int, loads: int) -> bool:
        """Return True if ``number`` more tasks may be loaded while ``waiting`` wait; any number may if none waits.

        Until an attempt has ended, it is unknown how soon more are needed, so only the first few are loaded.
        """
        if not self.any_ended and loads >= len(self.limits.first_loads):
            return False
        return waiting == 0 or waiting + number <= self.ahead

    def to_write(self, finished: int) -> int:
        """Return the number of finished results to write together.

        Whole chunks only: a partial one would just wait for a part of the next, and delay every later request too.
        """
        number = min(finished, self.limits.at_once)
        return number - number % self.at_once if number > self.at_once else number

    def handed_over(self, *, proven: bool, patient: bool) -> int:
        """Return the number of tasks that the workers may have: the ones they run, and the ones they run next.

        Args:
            proven: True if the agent has done well lately. Before that, no task is handed over ahead, since all might
                fail alike.
            patient: True if the end of each attempt is judged before many more begin: where failures are counted.
        """
        if not proven or not self.seconds or self.seconds >= self.timing.slow_attempt:
            return self.workers
        ahead = int(self.timing.handed_over / self.seconds)
        return self.workers + (1 if patient else max(1, min(self.limits.at_once, ahead)))

    @property
    def soon(self) -> int:
        """The number of attempts that begin before a task that is fresh now is stale."""
        if not self.seconds:
            return 1
        return max(1, int(min(self.timing.load_ahead * self.workers / self.seconds, 1e6)))
