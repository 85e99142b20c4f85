"""A place where the library relies on the inside of the SDK."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache

__all__ = ["Seam", "names_in"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Seam:
    """What is expected of the SDK's inside, and how to see whether it is so.

    Attributes:
        does: What it is used for.
        read_from: Versions of `encord` whose source was read.
        reads: Dotted names of what was read there.
        differences: Yields, in words, what is not as expected. Makes no request, and changes nothing.
        otherwise: What happens where something is not.
    """

    does: str
    read_from: tuple[str, ...]
    reads: tuple[str, ...]
    differences: Callable[[], Iterable[str]]
    otherwise: str

    @property
    def holds(self) -> bool:
        """Whether the SDK is as expected. Looked at once in a process; if it is not, one line at DEBUG says so."""
        return _holds(self)

    def found(self) -> list[str]:
        """Return what is not as expected."""
        try:
            return list(self.differences())
        except Exception as error:  # noqa: BLE001 - another SDK may be different in any way
            return [f"it cannot be told ({type(error).__name__})"]


@cache
def _holds(seam: Seam) -> bool:
    found = seam.found()
    if found:
        logger.debug(
            "encord is not as in %s, from which this was read: %s. So %s.",
            " and ".join(seam.read_from),
            "; ".join(found),
            seam.otherwise,
        )
    return not found


def names_in(function: object) -> tuple[str, ...]:
    """Return the global names and attributes that a function's code uses; nothing for what has no code."""
    code = getattr(function, "__code__", None)
    return () if code is None else tuple(code.co_names)
