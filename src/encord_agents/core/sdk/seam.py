"""A place where the library relies on the internals of the SDK."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache

from encord_agents.core.logs import get_logger

__all__ = ["Seam", "names_in"]

logger = get_logger(__name__)


@dataclass(frozen=True, eq=False)
class Seam:
    """An expectation about the SDK's internals, and a check whether it holds.

    Attributes:
        does: Its purpose.
        read_from: Versions of `encord` whose source was read.
        reads: Dotted names of the functions and classes read there.
        differences: Yields differences from the expectation, in words. Makes no request, and changes nothing.
        otherwise: The consequence of a difference.
    """

    does: str
    read_from: tuple[str, ...]
    reads: tuple[str, ...]
    differences: Callable[[], Iterable[str]]
    otherwise: str

    @property
    def holds(self) -> bool:
        """True if the SDK is as expected. Checked once per process; if it is not, one line at DEBUG says so."""
        return _holds(self)

    def found(self) -> list[str]:
        """Return the differences from the expectation."""
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
    """Return the global names and attributes that a function's code uses; none for objects without code."""
    code = getattr(function, "__code__", None)
    return () if code is None else tuple(code.co_names)
