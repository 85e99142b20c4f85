"""Numbers that count how often they are compared, to tell one search through a list from one at each of its entries."""

from __future__ import annotations


class Counted(int):
    """A number that notes each ``number <= other`` in ``seen``."""

    seen: list[int]

    def __le__(self, other: int) -> bool:
        self.seen.append(other)
        return super().__le__(other)


def counted(number: int, seen: list[int]) -> Counted:
    found = Counted(number)
    found.seen = seen
    return found
