"""Label rows that were loaded in one request: anything that one of them needs, the others will need soon."""

from __future__ import annotations

from collections.abc import Sequence
from weakref import WeakKeyDictionary, ref

from encord.objects import LabelRowV2

__all__ = ["loaded_together", "with_it"]

# Weak on both sides, so that rows of finished tasks are not returned, and not kept alive.
_company: WeakKeyDictionary[LabelRowV2, tuple[ref[LabelRowV2], ...]] = WeakKeyDictionary()


def loaded_together(rows: Sequence[LabelRowV2]) -> None:
    """Record that rows were loaded together."""
    references = tuple(ref(row) for row in rows)
    for row in rows:
        _company[row] = references


def with_it(row: LabelRowV2) -> list[LabelRowV2]:
    """Return the other rows that were loaded with a row and are still in use, in their order."""
    others = (reference() for reference in _company.get(row, ()))
    return [other for other in others if other is not None and other is not row]
