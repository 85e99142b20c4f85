"""How much the tests try: what finds mistakes in minutes; all there is with ``ENCORD_AGENTS_THOROUGH=1``."""

from __future__ import annotations

import os

__all__ = ["THOROUGH", "examples"]

THOROUGH = bool(os.environ.get("ENCORD_AGENTS_THOROUGH"))


def examples(number: int) -> int:
    """Return how many examples a property is tried with: a number that is enough by default, or ten times as many."""
    return 10 * number if THOROUGH else number
