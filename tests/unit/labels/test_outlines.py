"""Masks to outlines and back."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.thorough import examples

from encord_agents.labels.outlines import filled, has_area, outlines, part_within, smallest_rectangle


def mask_of(picture: str) -> Any:
    return np.array([[c == "#" for c in line] for line in picture.split()])


@pytest.mark.parametrize(
    ("picture", "rings"),
    [
        ("...", []),
        ("#", [1]),
        ("## ##", [1]),
        ("#.# #.# #.#", [1, 1]),
        ("### #.# ###", [2]),
        ("#. .#", [1, 1]),
        ("##### #...# #.#.# #...# #####", [2, 1]),
        ("###. #.## ##.# .###", [2]),
    ],
)
def test_parts_and_their_holes(picture: str, rings: list[int]) -> None:
    """Each part has its outer ring, and then its holes; what only touches at a corner is apart."""
    found = outlines(mask_of(picture))
    assert [len(polygon) for polygon in found] == rings or sorted(map(len, found)) == sorted(rings)


def test_a_rectangle_has_four_corners() -> None:
    """At the corners of its pixels."""
    mask = np.zeros((5, 7), dtype=bool)
    mask[1:3, 2:6] = True
    (((ring),),) = outlines(mask)
    assert {tuple(point) for point in ring.tolist()} == {(2, 1), (6, 1), (6, 3), (2, 3)}
    assert len(ring) == 4


@settings(max_examples=examples(300), deadline=None)
@given(st.data())
def test_an_outline_covers_just_its_mask(data: st.DataObject) -> None:
    """Whatever the mask: filled again, the outlines are the same pixels."""
    height, width = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))
    bits = data.draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width))
    mask = np.array(bits, dtype=bool).reshape(height, width)
    assert np.array_equal(filled(outlines(mask), (width, height)), mask)
    area = sum(_area(ring) for polygon in outlines(mask) for ring in polygon)
    assert area == mask.sum()


@settings(max_examples=examples(300), deadline=None)
@given(st.data())
def test_a_hole_is_in_the_part_around_it(data: st.DataObject) -> None:
    """Whatever the mask: each polygon covers the pixels of one part, those that are side by side, and has its holes."""
    height, width = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 12))
    bits = data.draw(st.integers(0, 2 ** (height * width) - 1))
    mask = np.array([bits >> place & 1 for place in range(height * width)], dtype=bool).reshape(height, width)
    found = outlines(mask)
    covered = [frozenset(zip(*np.nonzero(filled([one], (width, height))), strict=True)) for one in found]
    assert sorted(map(sorted, covered)) == sorted(map(sorted, parts_of(mask)))
    for first, *holes in found:
        assert _area(first) > 0
        assert all(_area(hole) < 0 for hole in holes)


def parts_of(mask: Any) -> list[set[tuple[int, int]]]:
    """The pixels of each part, found one by one."""
    left, parts = set(zip(*np.nonzero(mask), strict=True)), []
    while left:
        part, edge = set(), [left.pop()]
        while edge:
            y, x = edge.pop()
            part.add((y, x))
            beside = {(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)} & left
            left -= beside
            edge += beside
        parts.append(part)
    return parts


def test_a_mask_of_many_parts_and_holes() -> None:
    """10,000 rings, as in noise: if each hole were looked for in each part, this would take longer than a test may."""
    ring = mask_of("###. #.#. ###. ....")
    mask = np.tile(ring, (100, 100))
    found = outlines(mask)
    assert [len(polygon) for polygon in found] == [2] * 10_000
    assert np.array_equal(filled(found, (400, 400)), mask)


def test_a_large_picture_of_many_parts() -> None:
    """Each of 20,000 parts costs what it covers: if each cost the picture, this would take longer than a test may."""
    square = np.array([(0.0, 0.0), (2.0, 0.0), (2.0, 2.0), (0.0, 2.0)])
    parts = [[square + np.array([3 * (place % 200), 3 * (place // 200)])] for place in range(20_000)]
    assert np.count_nonzero(filled(parts, (8000, 6000))) == 80_000


@settings(max_examples=examples(200), deadline=None)
@given(st.data())
def test_filling_is_counting_crossings(data: st.DataObject) -> None:
    """Whatever the rings: a pixel is inside a polygon if a line from it to the left crosses an odd number of edges."""
    point = st.tuples(st.integers(-8, 16), st.integers(-8, 16))
    polygons = data.draw(st.lists(st.lists(st.lists(point, min_size=1, max_size=6), max_size=3), max_size=3))
    aside = np.array([1e-4, 3**0.5 * 1e-4])  # no edge goes through the centre of a pixel
    moved = [[np.array(ring) + aside for ring in polygon] for polygon in polygons]
    expected = [[any(crossed(polygon, x + 0.5, y + 0.5) for polygon in moved) for x in range(9)] for y in range(7)]
    assert filled(moved, (9, 7)).tolist() == expected


def crossed(polygon: Any, x: float, y: float) -> bool:
    """Return True if a line from a point to the left crosses an odd number of a polygon's edges."""
    return bool(
        sum(
            (y0 > y) != (y1 > y) and x0 + (y - y0) * (x1 - x0) / (y1 - y0) < x
            for ring in polygon
            for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True)
        )
        % 2
    )


def _area(ring: Any) -> float:
    x, y = ring[:, 0], ring[:, 1]
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) / 2


def test_filling_takes_the_pixels_whose_centres_are_inside() -> None:
    """As far as there are any on the picture."""
    triangle = np.array([(0.0, 0.0), (4.0, 0.0), (0.0, 4.0)])
    assert np.array_equal(filled([[triangle]], (4, 4)), mask_of("###. ##.. #... ...."))
    assert np.array_equal(filled([[triangle - 2]], (2, 2)), mask_of(".. .."))
    square = np.array([(-5.0, -5.0), (50.0, -5.0), (50.0, 50.0), (-5.0, 50.0)])
    assert filled([[square]], (3, 2)).all()


UNIT = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]


@pytest.mark.parametrize(
    ("ring", "part"),
    [
        (UNIT, UNIT),
        ([(0.25, 0.5), (0.5, 0.25), (0.75, 0.5)], [(0.25, 0.5), (0.5, 0.25), (0.75, 0.5)]),
        ([(-9.0, -9.0), (9.0, -9.0), (9.0, 9.0), (-9.0, 9.0)], UNIT),
        ([(-0.5, 0.25), (0.5, 0.25), (0.5, 0.5), (-0.5, 0.5)], [(0, 0.25), (0.5, 0.25), (0.5, 0.5), (0, 0.5)]),
        ([(0.0, 0.0), (0.5, 0.0), (0.0, 4.0)], [(0, 0), (0.5, 0), (0.375, 1), (0, 1)]),
        ([(0.5, -0.5), (1.0, 0.0), (0.5, 0.5), (0.0, 0.0)], [(1, 0), (0.5, 0.5), (0, 0)]),
        ([(0.75, -0.5), (1.5, 0.25), (1.5, -0.5)], []),
        ([(1.5, 0.0), (2.0, 0.0), (2.0, 1.0)], []),
        ([(1.0, 0.0), (2.0, 0.0), (2.0, 1.0), (1.0, 1.0)], []),
        # Two parts of a U, above whose opening the edge lies.
        (
            [(0.0, -0.5), (1.0, -0.5), (1.0, 0.5), (0.75, 0.5), (0.75, -0.25), (0.25, -0.25), (0.25, 0.5), (0.0, 0.5)],
            [(1.0, 0.0), (1.0, 0.5), (0.75, 0.5), (0.75, 0.0), (0.25, 0.0), (0.25, 0.5), (0.0, 0.5), (0.0, 0.0)],
        ),
    ],
)
def test_the_part_of_a_ring_within_the_picture(ring: Any, part: Any) -> None:
    """Rings are cut off at the edges: the points between are where the edges cross, and nothing else is moved."""
    found = part_within(np.array(ring))
    assert has_area(found) is bool(part)
    if part:
        start = next(i for i, point in enumerate(found) if np.allclose(point, part[0]))
        assert np.allclose(np.roll(found, -start, axis=0), part)


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(st.tuples(st.integers(-20, 40), st.integers(-20, 40)), min_size=3, max_size=7))
def test_a_part_covers_what_the_ring_covers(points: list[tuple[int, int]]) -> None:
    """Whatever the ring: on the picture, its part covers the same pixels."""
    ring = np.array(points) / 20 + (1e-4, 3**0.5 * 1e-4)  # no edge goes through the centre of a pixel
    whole, part = filled([[ring * 20]], (20, 20)), filled([[part_within(ring) * 20]], (20, 20))
    assert np.array_equal(whole, part)


@pytest.mark.parametrize(
    "ring",
    [
        np.zeros((0, 2)),
        [(0.1, 0.1), (0.2, 0.2)],
        [(0.5, 0.5)] * 3,
        [(0.1, 0.1), (0.3, 0.3), (0.2, 0.2)],
        [(0.0, 0.5), (0.0, 0.0), (0.5, 0.0), (0.0, 0.0)],
        [(1.0, 1.0), (1.0, 0.1), (1.0, 0.7)],
    ],
)
def test_rings_without_an_area(ring: Any) -> None:
    """Points on a line, and lines along the edges, cover nothing."""
    assert not has_area(np.array(ring))


@pytest.mark.parametrize("degrees", range(0, 180, 15))
def test_the_smallest_rectangle(degrees: int) -> None:
    """Around the points of a turned one it is that one."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    corners = np.array([(-6.0, -2.0), (6.0, -2.0), (6.0, 2.0), (-6.0, 2.0)])
    inner = np.random.default_rng(1).uniform((-6, -2), (6, 2), (50, 2))
    turned = np.concatenate([corners, inner]) @ np.array([[cos, sin], [-sin, cos]]) + (20, 30)
    found = smallest_rectangle(turned)
    sides = sorted(float(np.hypot(*(found[i] - found[(i + 1) % 4]))) for i in range(4))
    assert np.allclose(sides, [4, 4, 12, 12])
    for corner in turned[:4]:
        assert np.abs(found - corner).sum(axis=1).min() < 1e-6


def test_rectangles_around_a_line_and_a_point() -> None:
    """They have no area, and do no harm."""
    assert smallest_rectangle(np.array([(1.0, 2.0)])).tolist() == [[1, 2]] * 4
    assert smallest_rectangle(np.array([(0.0, 0.0), (2.0, 0.0), (1.0, 0.0)])).shape == (4, 2)
