"""Outlines: of masks, along the edges of their pixels; filled; cut off at the edges of a picture; in a rectangle."""

from __future__ import annotations

import math
from collections.abc import Sequence
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

    rings = [np.array(ring, dtype="float64") for ring in _rings(_segments(mask))]
    outer = [[ring] for ring in rings if _area(ring) > 0]
    for hole in (ring for ring in rings if _area(ring) < 0):
        inside = _beside_first_edge(hole)
        around = [polygon for polygon in outer if _contains(polygon[0], inside)]
        min(around, key=lambda polygon: _area(polygon[0])).append(hole)
    return outer


def filled(polygons: Sequence[Sequence[Array]], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return a mask ``[height, width]`` of the pixels whose centres are inside polygons, without their holes."""
    import numpy as np

    width, height = size
    mask = np.zeros((height, width), dtype=bool)
    for polygon in polygons:
        inside = np.zeros_like(mask)
        for ring in polygon:
            _toggle(inside, np.asarray(ring, dtype="float64"))
        mask |= inside
    return mask


def _toggle(mask: Array, ring: Boxes) -> None:
    """Invert the pixels whose centres are inside a ring: row by row, between the points where edges cross."""
    import numpy as np

    height, width = mask.shape
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
                mask[row, first:last] ^= True


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
    while segments:
        start = next(iter(segments))
        ring, before, at = [], None, start
        while True:
            ring.append(at)
            following = segments[at]
            # Two segments lead on where two parts touch at a corner: the right turn stays on the same part.
            choice = 0 if len(following) == 1 or before is None else _keeping_right(before, at, following)
            before, at = at, following.pop(choice)
            if not following:
                del segments[before]
            if at == start:
                break
        rings.append(ring)
    return rings


def _keeping_right(before: Point, at: Point, following: list[Point]) -> int:
    dx, dy = at[0] - before[0], at[1] - before[1]
    turns = [dx * (y - at[1]) - dy * (x - at[0]) for x, y in following]
    return turns.index(max(turns))  # y points down: a turn to the right is positive


def _area(ring: Boxes) -> float:
    """Return twice the area, positive for outer rings."""
    import numpy as np

    x, y = ring[:, 0], ring[:, 1]
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))


def _beside_first_edge(hole: Boxes) -> tuple[float, float]:
    """Return the centre of the mask's pixel next to the beginning of a hole's first edge."""
    (x0, y0), (x1, y1) = hole[0], hole[1]
    along = (math.copysign(0.5, x1 - x0) if x1 != x0 else 0.0, math.copysign(0.5, y1 - y0) if y1 != y0 else 0.0)
    # The mask lies to the right, and y points down: (dx, dy) is turned to (-dy, dx).
    return float(x0 + along[0] - along[1]), float(y0 + along[1] + along[0])


def _contains(ring: Boxes, point: tuple[float, float]) -> bool:
    import numpy as np

    x, y = point
    ends = np.roll(ring, -1, axis=0)
    crosses = (ring[:, 1] > y) != (ends[:, 1] > y)
    if not crosses.any():
        return False
    a, b = ring[crosses], ends[crosses]
    places = a[:, 0] + (y - a[:, 1]) * (b[:, 0] - a[:, 0]) / (b[:, 1] - a[:, 1])
    return bool(np.count_nonzero(places > x) % 2)


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
