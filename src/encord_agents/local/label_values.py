"""Single values in labels: numbers, frames, ranges, dates, and the geometry of every shape."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# Not by strptime, whose names are those of the process's locale.
_IN_WORDS = re.compile(
    rf"[A-Z][a-z]{{2}}, (\d\d?) ({'|'.join(_MONTHS)}) (\d{{4}}) ([\d:]{{8}})(?: UTC| GMT)?", re.ASCII
)


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def is_range(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_count, value)) and value[0] <= value[1]


def beyond(ranges: Iterable[Any], frames: Iterable[int]) -> int | None:
    """Return the first of the frames, given in order, that is in none of the ranges."""
    waiting, end = sorted(ranges, reverse=True), -1
    for frame in frames:
        while waiting and waiting[-1][0] <= frame:
            end = max(end, waiting.pop()[1])
        if frame > end:
            return frame
    return None


def joined(frames: Iterable[int]) -> list[tuple[int, int]]:
    """Return the ranges that frames, given in order, make up."""
    found: list[tuple[int, int]] = []
    for frame in frames:
        if found and frame <= found[-1][1] + 1:
            found[-1] = (found[-1][0], frame)
        else:
            found.append((frame, frame))
    return found


def is_frame(number: str) -> bool:
    return number.isascii() and number.isdigit() and len(number) < 16


def is_date(value: Any) -> bool:
    return value is None or (isinstance(value, str) and _readable_date(value))


@lru_cache(maxsize=1024)  # the labels of one save mostly share their dates
def _readable_date(value: str) -> bool:
    try:
        if (found := _IN_WORDS.fullmatch(value)) is not None:
            day, month, year, time = found.groups()
            value = f"{year}-{_MONTHS.index(month) + 1:02}-{int(day):02}T{time}"
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


def _fields(key: str, *numbers: str) -> Callable[[dict[str, Any]], bool]:
    def has(found: dict[str, Any]) -> bool:
        geometry = found.get(key)
        return isinstance(geometry, dict) and all(is_number(geometry.get(number)) for number in numbers)

    return has


def _is_point(value: Any) -> bool:
    return isinstance(value, dict) and is_number(value.get("x")) and is_number(value.get("y"))


def _points(value: Any) -> bool:
    """Return True if a value is points, in a list or by number."""
    if isinstance(value, dict):
        return all(map(is_frame, value)) and all(map(_is_point, value.values()))
    return isinstance(value, list) and all(map(_is_point, value))


def _point(found: dict[str, Any]) -> bool:
    return isinstance(found.get("point"), dict) and _is_point(found["point"].get("0"))


def _polygon(found: dict[str, Any]) -> bool:
    several = found.get("polygons")
    if several is None:
        return _points(found.get("polygon"))
    # Polygons of rings, each a list of x, y, x, y, ...
    if found.get("polygon") is not None and not _points(found["polygon"]):
        return False
    return isinstance(several, list) and all(
        isinstance(rings, list)
        and rings
        and all(isinstance(ring, list) and len(ring) % 2 == 0 and all(map(is_number, ring)) for ring in rings)
        for rings in several
    )


def _skeleton(found: dict[str, Any]) -> bool:
    points = found.get("skeleton")
    return isinstance(points, dict) and isinstance(found.get("name"), str) and all(map(_is_point, points.values()))


def _bitmask(found: dict[str, Any]) -> bool:
    mask = found.get("bitmask")
    return (
        isinstance(mask, dict)
        and isinstance(mask.get("rleString"), str)
        and all(_is_count(mask.get(key)) for key in ("top", "left", "height", "width"))
    )


_GEOMETRY: Mapping[str, Callable[[dict[str, Any]], bool]] = {
    "bounding_box": _fields("boundingBox", "h", "w", "x", "y"),
    "rotatable_bounding_box": _fields("rotatableBoundingBox", "h", "w", "x", "y", "theta"),
    "circle": _fields("circle", "x", "y", "r"),
    "ellipse": _fields("ellipse", "x", "y", "rx", "ry"),
    "point": _point,
    "polygon": _polygon,
    "polyline": lambda found: _points(found.get("polyline")),
    "skeleton": _skeleton,
    "bitmask": _bitmask,
}


def has_geometry(found: dict[str, Any], shape: str | None) -> bool:
    """Return True if an object has what belongs to its shape. Some shapes are stored without validation."""
    fits = _GEOMETRY.get(shape or "")
    return fits is None or fits(found)
