"""The time for which this machine has slept."""

from __future__ import annotations

import time

__all__ = ["seconds_asleep"]

_WITH_SLEEP = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))
"""A clock of Linux or macOS that goes on while the machine sleeps. On Windows, `time.monotonic` does."""


def seconds_asleep() -> float:
    """Return the seconds for which `time.monotonic` has stood still since the machine was started."""
    return 0.0 if _WITH_SLEEP is None else time.clock_gettime(_WITH_SLEEP) - time.monotonic()
