"""The size of save requests: payloads are grouped by their number and weight."""

from __future__ import annotations

import marshal
from collections.abc import Callable, Iterable
from typing import TypeVar

from encord_agents.core.sdk.bundle import Parcel
from encord_agents.core.tracebacks import contained
from encord_agents.tasks.engine.timing import Limits

__all__ = ["by_weight", "weight_of"]

T = TypeVar("T")


def by_weight(items: Iterable[T], parcel_of: Callable[[T], Parcel], limits: Limits) -> list[list[T]]:
    """Return chunks of items to send in one request each: of at most the limits' number and weight, or one item."""
    chunks: list[list[T]] = []
    room = 0
    for item in items:
        weight = weight_of(parcel_of(item), limits.weight)
        if weight > room or not chunks or len(chunks[-1]) >= limits.at_once:
            chunks.append([])
            room = limits.weight
        chunks[-1].append(item)
        room -= weight
    return chunks


def weight_of(parcel: Parcel, uncounted: int) -> int:
    """Return the approximate size of a payload in bytes; ``uncounted`` if it cannot be counted.

    The fastest way to count all of it: a quarter to a tenth of the time that JSON takes. Texts and names are as long as
    in JSON, and numbers about half as long.
    """
    with contained:
        return len(marshal.dumps(vars(parcel.payload), 2))
    return uncounted
