"""A crop contains its object's pixels, and no more than the box around them: whatever the shape, wherever it is."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from encord.objects.bitmask import BitmaskCoordinates
from encord.objects.coordinates import (
    BoundingBoxCoordinates,
    CircleCoordinates,
    Cuboid2DIsometricCoordinates,
    Cuboid2DPerspectiveCoordinates,
    EllipseCoordinates,
    PointCoordinate,
    PolygonCoordinates,
    PolylineCoordinates,
    RotatableBoundingBoxCoordinates,
    SkeletonCoordinate,
    SkeletonCoordinates,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.thorough import examples

from encord_agents.core.vision import crop_to_object, read_image
from encord_agents.exceptions import PrintableError

HAIR = 1e-4
"""Pixels by which the edge of an object may miss that of a pixel, for all that fractions of a picture can say."""

AROUND = np.linspace(0, 2 * math.pi, 40_000, endpoint=False)

Points: TypeAlias = list[tuple[float, float]]

sides = st.integers(1, 60)
places = st.floats(-0.5, 1.5) | st.sampled_from([0.0, 0.25, 0.5, 1.0])
lengths = st.floats(0.0, 1.5) | st.sampled_from([0.25, 0.5, 1.0])
angles = st.floats(-720, 720) | st.sampled_from([0.0, 45.0, 90.0, 180.0])
points = st.builds(PointCoordinate, places, places)


relaxed = settings(max_examples=examples(40), deadline=None, suppress_health_check=list(HealthCheck))


def picture(width: int, height: int) -> Any:
    """A picture whose pixels say where they are."""
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([columns, rows, np.full_like(rows, 7)], axis=2).astype(np.uint8)


def check(content: Any, size: tuple[int, int], outline: Points) -> None:
    """The crop is the upright box around points, in pixels, as far as it is on the picture."""
    width, height = size
    x0, y0 = (int(value) for value in content[0, 0, :2])
    x1, y1 = (int(value) + 1 for value in content[-1, -1, :2])
    assert np.array_equal(content, picture(width, height)[y0:y1, x0:x1])
    for first, last, end, values in (
        (x0, x1, width, [x for x, _ in outline]),
        (y0, y1, height, [y for _, y in outline]),
    ):
        low, high = max(min(values), 0.0), min(max(values), float(end))
        assert first <= low + HAIR, "a pixel of the object is missing at the beginning"
        assert last >= high - HAIR, "a pixel of the object is missing at the end"
        assert low < first + 1 + HAIR, "there is more than the object at the beginning"
        assert last - 1 < high + HAIR or last - first == 1, "there is more than the object at the end"


def is_outside(size: tuple[int, int], outline: Points) -> bool:
    xs, ys = zip(*outline, strict=True)
    return min(xs) >= size[0] - HAIR or min(ys) >= size[1] - HAIR or max(xs) <= HAIR or max(ys) <= HAIR


def check_shape(size: tuple[int, int], coordinates: Any, outline: Points) -> None:
    content = None
    try:
        content = crop_to_object(picture(*size), coordinates)
    except PrintableError as error:
        words = str(error)
    if content is not None:
        check(content, size, outline)
        return
    assert "outside" in words
    assert is_outside(size, outline)


def turned(points: Points, centre: tuple[float, float], degrees: float) -> Points:
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return [(centre[0] + x * cos - y * sin, centre[1] + x * sin + y * cos) for x, y in points]


@relaxed
@given(sides, sides, places, places, lengths, lengths)
def test_boxes(width: int, height: int, left: float, top: float, across: float, along: float) -> None:
    """From their left and upper edge to their right and lower one."""
    box = BoundingBoxCoordinates(height=along, width=across, top_left_x=left, top_left_y=top)
    outline = [(left * width, top * height), ((left + across) * width, (top + along) * height)]
    check_shape((width, height), box, outline)


@relaxed
@given(sides, sides, places, places, lengths, lengths, angles)
def test_turned_boxes(
    width: int, height: int, left: float, top: float, across: float, along: float, theta: float
) -> None:
    """Turned about their centre, in pixels."""
    box = RotatableBoundingBoxCoordinates(height=along, width=across, top_left_x=left, top_left_y=top, theta=theta)
    half = across * width / 2, along * height / 2
    corners = [(x * half[0], y * half[1]) for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    outline = turned(corners, (left * width + half[0], top * height + half[1]), theta)
    check_shape((width, height), box, outline)


@relaxed
@given(sides, sides, st.lists(st.lists(st.lists(points, min_size=1, max_size=5), min_size=1, max_size=3), min_size=1))
def test_polygons(width: int, height: int, polygons: list[list[list[PointCoordinate]]]) -> None:
    """All of their parts and rings."""
    outline = [(p.x * width, p.y * height) for polygon in polygons for ring in polygon for p in ring]
    check_shape((width, height), PolygonCoordinates(polygons=polygons), outline)


@relaxed
@given(sides, sides, places, places, lengths, st.floats(0.1, 3), angles)
def test_circles(width: int, height: int, x: float, y: float, radius: float, stretch: float, theta: float) -> None:
    """Stretched and turned ones too; the radius is in parts of the width."""
    across = radius * width
    check_shape(
        (width, height),
        CircleCoordinates(x, y, radius, stretch, theta),
        ellipse((x * width, y * height), across, across * stretch, theta),
    )


@relaxed
@given(sides, sides, places, places, lengths, lengths, angles)
def test_ellipses(width: int, height: int, x: float, y: float, rx: float, ry: float, theta: float) -> None:
    """Turned in pixels."""
    outline = ellipse((x * width, y * height), rx * width, ry * height, theta)
    check_shape((width, height), EllipseCoordinates(x, y, rx, ry, theta), outline)


def ellipse(centre: tuple[float, float], across: float, along: float, theta: float) -> Points:
    """The outermost points, found by going around: apart from a hair, since the steps are small."""
    x, y = across * np.cos(AROUND), along * np.sin(AROUND)
    cos, sin = math.cos(math.radians(theta)), math.sin(math.radians(theta))
    around = np.stack([centre[0] + x * cos - y * sin, centre[1] + x * sin + y * cos], axis=1)
    return [tuple(around.min(axis=0)), tuple(around.max(axis=0))]


@relaxed
@given(sides, sides, st.lists(points, min_size=4, max_size=4), points, st.floats(0, 2))
def test_prisms(width: int, height: int, front: list[PointCoordinate], other: PointCoordinate, ratio: float) -> None:
    """Both faces."""
    shifted = [(p.x + other.x, p.y + other.y) for p in front]
    smaller = [(other.x + (p.x - other.x) * ratio, other.y + (p.y - other.y) * ratio) for p in front]
    for coordinates, back in (
        (Cuboid2DIsometricCoordinates(front, other), shifted),
        (Cuboid2DPerspectiveCoordinates(front, other, ratio), smaller),
    ):
        faces = [(p.x, p.y) for p in front] + back
        check_shape((width, height), coordinates, [(x * width, y * height) for x, y in faces])


@relaxed
@given(sides, sides, st.data())
def test_masks(width: int, height: int, data: st.DataObject) -> None:
    """The pixels that they cover; of masks of another size, what these are on the picture."""
    scale = data.draw(st.sampled_from([1, 2]))
    drawn = data.draw(st.binary(min_size=width * height, max_size=width * height))
    least = data.draw(st.sampled_from([1, 128, 252]))  # nearly all pixels, half of them, a few
    mask = (np.frombuffer(drawn, np.uint8) >= least).reshape(height, width)
    coordinates = BitmaskCoordinates(np.ascontiguousarray(mask))
    size = width * scale, height * scale
    rows, columns = np.nonzero(mask)
    if not len(rows):
        with pytest.raises(PrintableError, match="empty"):
            crop_to_object(picture(*size), coordinates)
        return
    outline = [
        (float(columns.min() * scale), float(rows.min() * scale)),
        (float((columns.max() + 1) * scale), float((rows.max() + 1) * scale)),
    ]
    check_shape(size, coordinates, outline)


@relaxed
@given(sides, sides, st.lists(points, min_size=1, max_size=5))
def test_shapes_without_an_area(width: int, height: int, listed: list[PointCoordinate]) -> None:
    """Points, lines and skeletons are no reason to guess: they are refused."""
    joints = [
        SkeletonCoordinate(x=p.x, y=p.y, name=str(n), color="#000000", feature_hash=str(n), value=str(n))
        for n, p in enumerate(listed)
    ]
    for coordinates in (listed[0], PolylineCoordinates(listed), SkeletonCoordinates(values=joints, name="s")):
        with pytest.raises(PrintableError, match="no area"):
            crop_to_object(picture(width, height), coordinates)  # type: ignore[arg-type]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_that_are_stored_turned(tmp_path: Path, orientation: int) -> None:
    """A box refers to the picture as people see it: upright."""
    upright = np.zeros((40, 60, 3), np.uint8)
    upright[10:20, 30:55] = (10, 200, 90)
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: np.rot90(upright, 2).transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(stored)).save(file, "PNG", exif=exif)
    path = tmp_path / "a.png"
    path.write_bytes(file.getvalue())
    box = BoundingBoxCoordinates(height=10 / 40, width=25 / 60, top_left_x=30 / 60, top_left_y=10 / 40)
    content = crop_to_object(read_image(path), box)
    assert content.shape == (10, 25, 3)
    assert (content == (10, 200, 90)).all()
