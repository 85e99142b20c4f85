"""How much is loaded ahead, and how old it may get: pure functions of how long attempts take."""

from __future__ import annotations

import math

__all__ = ["STALE_AFTER", "may_take", "soon", "take_at_once", "tasks_ahead"]

STALE_AFTER = 60.0
"""Seconds after which the platform is asked again whether a task is still in its stage."""
AHEAD_FOR = 30.0
"""Seconds of work that may be loaded and wait. With what else goes by, nothing that waits in turn gets stale."""


def tasks_ahead(seconds: float, workers: int) -> float:
    """Return how many tasks may be loaded, or loading, and wait for their first attempt.

    Args:
        seconds: How long the tasks' attempts take, on average; 0 where it is not known.
        workers: Attempts at once.
    """
    return math.inf if seconds <= 0 else max(2.0, AHEAD_FOR * workers / seconds // 1)


def take_at_once(wanted: int, ahead: float) -> int:
    """Return how many tasks to load together: half of what may wait, so that the next ones come before they run out."""
    return max(1, int(min(wanted, ahead / 2)))


def may_take(taking: int, waiting: int, ahead: float) -> bool:
    """Return whether to load some more tasks while others wait. Where none does, whatever they are."""
    return waiting == 0 or waiting + taking <= ahead


def soon(seconds: float) -> int:
    """Return how many attempts, one after the other, begin before what is fresh now is stale."""
    return max(1, int(min(AHEAD_FOR / seconds, 1e6))) if seconds > 0 else 1
