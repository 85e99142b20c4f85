"""Waiting for what others do: until it is so, not for a time that is thought to be long enough."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["PATIENCE", "until"]

PATIENCE = 150.0
"""Seconds after which a test has waited long enough, on a machine that is busy with others."""


def until(is_so: Callable[[], object], seconds: float = PATIENCE) -> bool:
    """Wait until something is so. Return whether it came to that."""
    end = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True
