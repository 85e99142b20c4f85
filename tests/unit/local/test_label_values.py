"""Single values in labels."""

from __future__ import annotations

from typing import Any

import pytest

from encord_agents.local.label_values import beyond, has_geometry, is_frame, is_number, is_range, joined


@pytest.mark.parametrize(
    ("holds", "good", "bad"),
    [
        (is_number, [1, 0.5], [True, "1", None]),
        (is_range, [[0, 0], [3, 9]], [[1, 0], [0, True], [-1, 0], (0, 1), [0], None]),
        (is_frame, ["0", "10"], ["-1", "\u00b2", "x", "9" * 16]),
    ],
)
def test_values(holds: Any, good: list[Any], bad: list[Any]) -> None:
    """Booleans are no numbers, a range has its first frame first, and frames are written in digits."""
    assert all(map(holds, good))
    assert not any(map(holds, bad))


def test_frames_make_ranges() -> None:
    """Consecutive ones make a range; a frame that is named twice counts once."""
    assert joined([]) == []
    assert joined([0, 1, 1, 2, 5]) == [(0, 2), (5, 5)]


@pytest.mark.parametrize(
    ("ranges", "frames", "first"),
    [
        ([], [3], 3),
        ([[0, 5]], [0, 3, 5], None),
        ([[4, 4], [0, 9], [2, 3]], [0, 9], None),
        ([[6, 9], [0, 4]], [0, 5, 7, 20], 5),
        ([[6, 9], [0, 4]], [0, 7, 20], 20),
    ],
)
def test_frames_beyond_ranges(ranges: list[list[int]], frames: list[int], first: int | None) -> None:
    """The first frame that is in none of them is named, in whatever order the ranges come."""
    assert beyond(ranges, frames) == first


def test_a_shape_without_a_rule() -> None:
    """It is stored without validation."""
    assert has_geometry({}, "cuboid")
    assert has_geometry({}, None)
    assert not has_geometry({}, "bounding_box")
