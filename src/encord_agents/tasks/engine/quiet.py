"""Pausing a stage while a service that its agent calls is over its limits."""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Callable

from encord_agents.tasks.engine.timing import Limits, Timing

__all__ = ["Quiet"]


class Quiet:
    """Holds back the attempts of a stage while a service refuses calls, and lets them begin again gradually.

    After a refusal nothing begins until the time that the service named or, without one, for an exponential backoff.
    Then one attempt probes the service, as in a circuit breaker. Each attempt that succeeds allows one more at a time,
    so that the many waiting attempts do not run into the next refusal together.

    Every attempt has a *ticket*, the number of refusals it knows of. An attempt that was in flight when the service
    first refused neither lengthens the backoff nor allows another.

    Args:
        jitter: Returns a number in [0, 1).
    """

    def __init__(
        self,
        timing: Timing | None = None,
        limits: Limits | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._timing = timing or Timing()
        self._limits = limits or Limits()
        self._jitter = jitter
        self._lock = threading.Lock()  # workers begin and end attempts, and one of them may be refused meanwhile
        self._round = 0
        self._out = 0
        self._room = math.inf
        self._since = self._not_before = -math.inf
        self._refusals = 0

    @property
    def is_kept(self) -> bool:
        """True if a service has refused, and too few attempts have succeeded since."""
        return self._room != math.inf

    def wait(self, now: float) -> float:
        """Return the seconds until an attempt may begin: 0 if now, infinity if another has to end first."""
        if not self.is_kept:  # without the lock, for which all workers would contend at each attempt
            return 0.0
        with self._lock:
            return self._wait(now)

    def _wait(self, now: float) -> float:
        if self.is_kept and now < self._not_before:
            return self._not_before - now
        return 0.0 if self._out < self._room else math.inf

    def left(self, now: float) -> float:
        """Return the seconds for which the service still wants no calls."""
        return max(0.0, self._not_before - now) if self.is_kept else 0.0

    @property
    def lasts(self) -> float:
        """The seconds from the first refusal in a row until an attempt may begin."""
        return self._not_before - self._since

    def begin(self, now: float) -> int | None:
        """Count an attempt as in flight and return its ticket; ``None`` if none may begin now."""
        with self._lock:
            if self._wait(now) > 0:
                return None
            self._out += 1
            return self._round

    def is_void(self, ticket: int | None) -> bool:
        """Return True if an attempt that has a ticket, but has not begun, must wait after all."""
        return ticket != self._round

    def end(self, ticket: int | None, *, well: bool = False) -> None:
        """Count an attempt as ended.

        Args:
            well: True if it shows that the service answers.
        """
        with self._lock:
            if ticket != self._round:  # it began before the last refusal: it says nothing about the time after it
                return
            self._out -= 1
            if well and self.is_kept:
                self._refusals = 0
                self._room += 1
                if self._room > self._limits.open_after:
                    self._room = math.inf

    def hold_back(self, seconds: float, now: float) -> None:
        """Hold attempts back, since a service has refused one in another process."""
        self.refuse(self._round, seconds, now)

    def refuse(self, ticket: int | None, seconds: float, now: float) -> float:
        """Count an attempt as ended by a refusal. Return the seconds until the next one may begin.

        Args:
            seconds: The time for which the service wants no calls; 0 if it named none.
        """
        longest = self._timing.longest_quiet
        named = min(seconds, longest)
        with self._lock:
            if ticket == self._round:
                self._round += 1  # voids the tickets of tasks that were handed over and have not begun
                self._out, self._room = 0, 1.0  # attempts in flight no longer count: they began in another round
                backoff = min(self._timing.first_quiet * 2.0 ** min(self._refusals, 16), longest)
                self._since = self._since if self._refusals else now
                self._refusals += 1
                self._not_before = now + (named or backoff * (0.5 + 0.5 * self._jitter()))
            else:
                self._not_before = max(self._not_before, now + named)
            return max(0.0, self._not_before - now)
