"""The history of a request's failures, and its parts if it is split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

__all__ = ["Troubles", "split"]

I = TypeVar("I")  # noqa: E741


@dataclass(slots=True)
class Troubles:
    """The history of one request's failures."""

    kind: str
    tries: int = 0
    since: float | None = None
    successes_before: int = 0
    hopeless: bool = False
    """Everything points to this one request as the cause."""

    def of_part(self) -> Troubles:
        """Return the history for one part of a split request: it keeps the time of the first failure, and resets the
        number of tries."""
        return Troubles(self.kind, since=self.since, successes_before=self.successes_before)


def split(items: Sequence[I], troubles: Troubles) -> list[tuple[Sequence[I], Troubles]]:
    """Return the halves of a request's items, each with a history of its own."""
    middle = len(items) // 2
    return [(items[:middle], troubles.of_part()), (items[middle:], troubles.of_part())]
