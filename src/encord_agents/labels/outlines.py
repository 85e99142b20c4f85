"""Outlines: of masks, along the edges of their pixels; filled; cut off at the edges of a picture; in a rectangle."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from encord_agents.labels.detections import Array, Boxes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["box_around", "filled", "has_area", "outlines", "part_within", "smallest_rectangle"]

Point = tuple[int, int]

LEAST_AREA = 1e-12
"""The area up to which a ring has none, as a share of the picture: rounding, and less than a pixel of any picture."""


def box_around(points: Array) -> tuple[float, float, float, float]:
    """Return the left, top, right and bottom of points ``[n, 2]``."""
    left, top = points.min(axis=0)
    right, bottom = points.max(axis=0)
    return float(left), float(top), float(right), float(bottom)


def outlines(mask: Array) -> list[list[Boxes]]:
    """Return the polygons that cover exactly the pixels of a mask: for each part, the outer ring and then its holes.

    Coordinates are corners of pixels: the pixel at (x, y) reaches from x to x + 1. Pixels that only touch at a corner
    are separate parts.
    """
    import numpy as np

    rings = _rings(_segments(mask))
    arrays = [np.array(ring, dtype="float64") for ring in rings]
    parts = {number: [array] for number, array in enumerate(arrays) if _area(array) > 0}
    part_of = _parts_of(rings, set(parts))
    for number, array in enumerate(arrays):
        if number not in parts:
            parts[part_of[number]].append(array)
    return list(parts.values())


def filled(polygons: Sequence[Sequence[Array]], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return a mask ``[height, width]`` of the pixels whose centres are inside polygons, without their holes."""
    import numpy as np

    width, height = size
    mask = np.zeros((height, width), dtype=bool)
    for polygon in polygons:
        spans = [span for ring in polygon for span in _spans(np.asarray(ring, dtype="float64"), size)]
        if spans:
            rows, firsts, lasts = zip(*spans, strict=True)
            top, left = min(rows), min(firsts)
            # Only as large as the part: a polygon may have thousands of them.
            inside = np.zeros((max(rows) + 1 - top, max(lasts) - left), dtype=bool)
            for row, first, last in spans:
                inside[row - top, first - left : last - left] ^= True
            mask[top : top + inside.shape[0], left : left + inside.shape[1]] |= inside
    return mask


def _spans(ring: Boxes, size: tuple[int, int]) -> Iterator[tuple[int, int, int]]:
    """Yield the pixels whose centres are inside a ring, between the points where edges cross a row: row, first, end."""
    import numpy as np

    width, height = size
    starts, ends = ring, np.roll(ring, -1, axis=0)
    crossings: dict[int, list[float]] = {}
    for (x0, y0), (x1, y1) in zip(starts.tolist(), ends.tolist(), strict=True):
        if y0 == y1:
            continue
        low, high = (y0, y1) if y0 < y1 else (y1, y0)
        first, last = max(0, math.ceil(low - 0.5)), min(height - 1, math.ceil(high - 0.5) - 1)
        slope = (x1 - x0) / (y1 - y0)
        for row in range(first, last + 1):
            crossings.setdefault(row, []).append(x0 + (row + 0.5 - y0) * slope)
    for row, places in crossings.items():
        places.sort()
        for left, right in zip(places[::2], places[1::2], strict=False):
            first, last = max(0, math.ceil(left - 0.5)), min(width, math.ceil(right - 0.5))
            if first < last:
                yield row, first, last


def _segments(mask: Array) -> dict[Point, list[Point]]:
    """Return the straight pieces of the edges of a mask, with the mask's pixels on their right."""
    import numpy as np

    padded = np.pad(np.asarray(mask, dtype=bool), 1).astype(np.int8)
    across = np.diff(padded, axis=0)[:, 1:-1]  # edges between a row and the one above it
    down = np.diff(padded, axis=1)[1:-1, :]
    found: dict[Point, list[Point]] = {}
    for row, start, end, sign in _runs(across):
        first, last = ((start, row), (end, row)) if sign > 0 else ((end, row), (start, row))
        found.setdefault(first, []).append(last)
    for column, start, end, sign in _runs(down.T):
        first, last = ((column, end), (column, start)) if sign > 0 else ((column, start), (column, end))
        found.setdefault(first, []).append(last)
    return found


def _runs(lines: Array) -> list[tuple[int, int, int, int]]:
    """Return the runs of equal values other than zero in each line: line, start, end, value."""
    import numpy as np

    padded = np.pad(lines, ((0, 0), (1, 1)))
    changes = padded[:, 1:] != padded[:, :-1]
    rows, places = np.nonzero(changes)
    found = []
    for row, start, next_row, end in zip(rows[:-1], places[:-1], rows[1:], places[1:], strict=True):
        value = lines[row, start] if row == next_row and start < lines.shape[1] else 0
        if value:
            found.append((int(row), int(start), int(end), int(value)))
    return found


def _rings(segments: dict[Point, list[Point]]) -> list[list[Point]]:
    rings = []
    for start in segments:
        while segments[start]:
            ring, before, at = [], None, start
            while True:
                ring.append(at)
                following = segments[at]
                # Two segments lead on where two parts touch at a corner: the right turn stays on the same part.
                choice = 0 if len(following) == 1 or before is None else _keeping_right(before, at, following)
                before, at = at, following.pop(choice)
                if at == start:
                    break
            rings.append(ring)
    return rings


def _keeping_right(before: Point, at: Point, following: list[Point]) -> int:
    dx, dy = at[0] - before[0], at[1] - before[1]
    turns = [dx * (y - at[1]) - dy * (x - at[0]) for x, y in following]
    return turns.index(max(turns))  # y points down: a turn to the right is positive


def _parts_of(rings: Sequence[Sequence[Point]], outer: Collection[int]) -> dict[int, int]:
    """Return the number of the outer ring of each ring's part, from the numbers of the outer rings.

    To the left of a hole's leftmost edge is a run of the part's pixels. It begins at the part's outer ring, or at a
    hole that reaches further left, and whose part is known.
    """
    begins: dict[int, list[tuple[int, int]]] = {}
    for number, ring in enumerate(rings):
        for (x, y0), (_, y1) in zip(ring, [*ring[1:], ring[0]], strict=True):
            for row in range(y1, y0):  # runs begin at edges that go up: the mask's pixels are on the right of them
                begins.setdefault(row, []).append((x, number))
    for places in begins.values():
        places.sort()
    found: dict[int, int] = {}
    for (x, y), number in sorted((min(ring), number) for number, ring in enumerate(rings)):
        if number in outer:
            found[number] = number
        else:
            found[number] = found[begins[y][bisect_left(begins[y], (x,)) - 1][1]]
    return found


def _area(ring: Boxes) -> float:
    """Return twice the area, positive for outer rings."""
    import numpy as np

    x, y = ring[:, 0], ring[:, 1]
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))


def part_within(ring: Boxes) -> Boxes:
    """Return the part of a ring ``[n, 2]`` within the square from 0 to 1; without points if no part of it is within.

    Parts that are separate there stay joined, by lines along the edge (Sutherland and Hodgman's algorithm).
    """
    import numpy as np

    for axis, edge, inwards in ((0, 0.0, 1.0), (0, 1.0, -1.0), (1, 0.0, 1.0), (1, 1.0, -1.0)):
        depth = (ring[:, axis] - edge) * inwards
        if (depth >= 0).all():
            continue
        kept = []
        for a, b, from_, to in zip(ring, np.roll(ring, -1, axis=0), depth, np.roll(depth, -1), strict=True):
            if from_ >= 0:
                kept.append(a)
            if min(from_, to) < 0 < max(from_, to):
                crossing = a + (b - a) * (from_ / (from_ - to))
                crossing[axis] = edge
                kept.append(crossing)
        ring = np.array(kept, dtype="float64").reshape(-1, 2)
    return ring


def has_area(ring: Boxes) -> bool:
    """Return True if a ring within the square from 0 to 1 has an area, and not only points on a line or on its edge."""
    return len(ring) >= 3 and abs(_area(ring)) > LEAST_AREA


def smallest_rectangle(points: Array) -> Boxes:
    """Return the corners ``[4, 2]`` of the rectangle of least area around points, clockwise with y pointing down."""
    import numpy as np

    hull = _hull(points)
    if len(hull) < 3:
        left, top, right, bottom = box_around(np.asarray(points))
        return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
    edges = np.roll(hull, -1, axis=0) - hull
    best: tuple[float, Boxes] | None = None
    for angle in np.unique(np.round(np.arctan2(edges[:, 1], edges[:, 0]) % (math.pi / 2), 12)):
        cos, sin = math.cos(angle), math.sin(angle)
        turned = hull @ np.array([[cos, -sin], [sin, cos]])
        left, top, right, bottom = box_around(turned)
        area = (right - left) * (bottom - top)
        if best is None or area < best[0] - 1e-9:
            corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
            best = area, corners @ np.array([[cos, sin], [-sin, cos]])
    assert best is not None
    return best[1]


def _hull(points: Array) -> Boxes:
    import numpy as np

    ordered = sorted({(float(x), float(y)) for x, y in points})
    if len(ordered) < 3:
        return np.array(ordered)

    def half(places: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
        chain: list[tuple[float, float]] = []
        for x, y in places:
            while len(chain) > 1:
                (ax, ay), (bx, by) = chain[-2:]
                if (bx - ax) * (y - ay) - (by - ay) * (x - ax) > 0:
                    break
                chain.pop()
            chain.append((x, y))
        return chain[:-1]

    return np.array(half(ordered) + half(ordered[::-1]))
