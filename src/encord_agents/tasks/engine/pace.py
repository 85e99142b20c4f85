"""How much is loaded ahead, and how old it may get: pure functions of how long attempts take."""

from __future__ import annotations

import math

__all__ = ["may_take", "soon", "take_at_once", "tasks_ahead"]


def tasks_ahead(seconds: float, workers: int, load_ahead: float) -> float:
    """Return how many tasks may be loaded, or loading, and wait for their first attempt.

    Args:
        seconds: How long the tasks' attempts take, on average; 0 where it is not known.
        workers: Attempts at once.
        load_ahead: Seconds of work that may be loaded and wait.
    """
    return math.inf if seconds <= 0 else max(2.0, load_ahead * workers / seconds // 1)


def take_at_once(wanted: int, ahead: float) -> int:
    """Return how many tasks to load together: half of what may wait, so that the next ones come before they run out."""
    return max(1, int(min(wanted, ahead / 2)))


def may_take(taking: int, waiting: int, ahead: float) -> bool:
    """Return whether to load some more tasks while others wait. Where none does, whatever they are."""
    return waiting == 0 or waiting + taking <= ahead


def soon(seconds: float, load_ahead: float) -> int:
    """Return how many attempts, one after the other, begin before what is fresh now is stale."""
    return max(1, int(min(load_ahead / seconds, 1e6))) if seconds > 0 else 1
