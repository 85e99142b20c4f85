"""The box around an object: in fractions, for objects of each shape."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from encord.objects.bitmask import BitmaskCoordinates
from encord.objects.coordinates import (
    BoundingBoxCoordinates,
    PointCoordinate,
    PolygonCoordinates,
    RotatableBoundingBoxCoordinates,
)

from encord_agents.core.coordinates import (
    mask_to_bbox,
    poly_to_bbox,
    rbb_to_poly,
    rbbox_to_surrounding_bbox,
    surrounding_bbox,
)
from encord_agents.exceptions import PrintableError

TURNED = RotatableBoundingBoxCoordinates(top_left_x=0.25, top_left_y=0.25, width=0.5, height=0.25, theta=30.0)


def ltwh(box: BoundingBoxCoordinates) -> Any:
    return pytest.approx((box.top_left_x, box.top_left_y, box.width, box.height), abs=1e-6)


def test_a_polygon() -> None:
    """The box around a polygon is in fractions; that around an array of points is in the unit of the points."""
    points = [(0.1, 0.2), (0.5, 0.3), (0.3, 0.8)]
    polygon = PolygonCoordinates(values=[PointCoordinate(x, y) for x, y in points])
    assert ltwh(poly_to_bbox(polygon)) == (0.1, 0.2, 0.4, 0.6)
    assert ltwh(poly_to_bbox(np.array([[6, 10], [32, 14]], np.float32))) == (6, 10, 26, 4)


def test_a_polygon_without_points() -> None:
    """There is no box around nothing, and the error says so."""
    for nothing in (PolygonCoordinates(polygons=[[[]]]), np.empty((0, 2), np.float32)):
        with pytest.raises(PrintableError, match="has no points"):
            poly_to_bbox(nothing)
    with pytest.raises(PrintableError, match="has no points"):
        surrounding_bbox(PolygonCoordinates(polygons=[[[]]]), 64, 48)


def test_a_turned_box() -> None:
    """The corners are in pixels and turn clockwise about the centre; the box around them is in fractions."""
    corners = rbb_to_poly(TURNED, 64, 48)
    assert (corners.dtype, corners.shape) == (np.float32, (4, 2))
    # the first corner is 16 to the left of the centre (32, 18), and 6 above it, before it is turned by 30 degrees
    assert corners[0].tolist() == pytest.approx([32 - 16 * 3**0.5 / 2 + 3, 18 - 8 - 6 * 3**0.5 / 2], abs=1e-4)
    assert corners.mean(axis=0).tolist() == pytest.approx([32, 18], abs=1e-4)
    around = rbbox_to_surrounding_bbox(TURNED, 64, 48)
    left, top = corners.min(axis=0)
    width, height = np.ptp(corners, axis=0)
    assert ltwh(around) == (left / 64, top / 48, width / 64, height / 48)


def test_a_mask() -> None:
    """The box holds the covered pixels, the last ones too; an empty mask has none."""
    mask = np.zeros((48, 64), bool)
    mask[12:24, 16:40] = True
    assert ltwh(mask_to_bbox(BitmaskCoordinates(mask))) == (0.25, 0.25, 0.375, 0.25)
    with pytest.raises(PrintableError, match="empty"):
        mask_to_bbox(BitmaskCoordinates(np.zeros((48, 64), bool)))


def test_any_of_them() -> None:
    """A box is its own box; what has no area is refused by name."""
    box = BoundingBoxCoordinates(top_left_x=0.1, top_left_y=0.2, width=0.3, height=0.4)
    assert surrounding_bbox(box, 64, 48) is box
    assert surrounding_bbox(TURNED, 64, 48) == rbbox_to_surrounding_bbox(TURNED, 64, 48)
    with pytest.raises(PrintableError, match="PointCoordinate"):
        surrounding_bbox(PointCoordinate(0.5, 0.5), 64, 48)  # type: ignore[arg-type]
