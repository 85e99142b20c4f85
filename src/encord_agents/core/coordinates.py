"""Upright boxes around labelled objects.

Boxes are in fractions of the image's width and height, as labels are, unless a function says pixels.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

from encord.objects.bitmask import BitmaskCoordinates
from encord.objects.coordinates import (
    BoundingBoxCoordinates,
    PolygonCoordinates,
    RotatableBoundingBoxCoordinates,
)

from encord_agents.core.masks import pixels_of
from encord_agents.exceptions import PrintableError
from encord_agents.extras import needing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "CroppableCoordinates",
    "mask_to_bbox",
    "poly_to_bbox",
    "rbb_to_poly",
    "rbbox_to_surrounding_bbox",
    "surrounding_bbox",
]

CroppableCoordinates: TypeAlias = (
    BoundingBoxCoordinates | RotatableBoundingBoxCoordinates | PolygonCoordinates | BitmaskCoordinates
)
"""The coordinates of objects that have an area."""


def surrounding_bbox(coordinates: CroppableCoordinates, img_width: int, img_height: int) -> BoundingBoxCoordinates:
    """Return the smallest upright box around an object on an image of that size, in pixels.

    Raises:
        PrintableError: The object has no area: it is a point, a line, a skeleton, or an empty mask or polygon.
    """
    if isinstance(coordinates, BoundingBoxCoordinates):
        return coordinates
    if isinstance(coordinates, RotatableBoundingBoxCoordinates):
        return rbbox_to_surrounding_bbox(coordinates, img_width, img_height)
    if isinstance(coordinates, PolygonCoordinates):
        return poly_to_bbox(coordinates)
    if isinstance(coordinates, BitmaskCoordinates):
        return mask_to_bbox(coordinates)
    if (around := _ellipse_to_bbox(coordinates, img_width, img_height) or _prism_to_bbox(coordinates)) is not None:
        return around
    raise PrintableError(f"{type(coordinates).__name__} have no area to cut out.")


def poly_to_bbox(poly: PolygonCoordinates | NDArray[np.float32]) -> BoundingBoxCoordinates:
    """Return the upright box around a polygon or an array of points ``[number, 2]``, in the unit of its points.

    Raises:
        PrintableError: It has no points.
    """
    if isinstance(poly, PolygonCoordinates):
        return _around([(point.x, point.y) for polygon in poly.polygons for ring in polygon for point in ring])
    return _around([(float(x), float(y)) for x, y in poly])


def rbb_to_poly(rbb: RotatableBoundingBoxCoordinates, img_width: int, img_height: int) -> NDArray[np.float32]:
    """Return the corners of a rotatable box in pixels, float32 ``[4, 2]``: clockwise from the unrotated top left."""
    with needing("vision", "rbb_to_poly()"):
        import numpy as np

    return np.array(_corners(rbb, img_width, img_height), dtype=np.float32)


def rbbox_to_surrounding_bbox(rbb: RotatableBoundingBoxCoordinates, img_w: int, img_h: int) -> BoundingBoxCoordinates:
    """Return the upright box around a rotatable box on an image of that size, in pixels."""
    return _around([(x / img_w, y / img_h) for x, y in _corners(rbb, img_w, img_h)])


def mask_to_bbox(coords: BitmaskCoordinates) -> BoundingBoxCoordinates:
    """Return the upright box around the pixels that a mask covers.

    Raises:
        PrintableError: It covers no pixel.
    """
    with needing("vision", "mask_to_bbox()"):
        import numpy as np

    mask = pixels_of(coords)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        raise PrintableError("The mask is empty, so there is no box around it.")
    height, width = mask.shape[:2]
    return _around([(columns[0] / width, rows[0] / height), ((columns[-1] + 1) / width, (rows[-1] + 1) / height)])


# Older versions of the SDK do not have the shapes below, so they are recognised by their attributes.


def _ellipse_to_bbox(coordinates: Any, img_width: int, img_height: int) -> BoundingBoxCoordinates | None:
    """Return the upright box around a circle or an ellipse; ``None`` for other shapes."""
    if hasattr(coordinates, "radius"):
        across = coordinates.radius * img_width
        along = across * coordinates.stretch
    elif hasattr(coordinates, "rx"):
        across, along = coordinates.rx * img_width, coordinates.ry * img_height
    else:
        return None
    cos, sin = math.cos(math.radians(coordinates.theta)), math.sin(math.radians(coordinates.theta))
    half_w = math.hypot(across * cos, along * sin) / img_width
    half_h = math.hypot(across * sin, along * cos) / img_height
    x, y = coordinates.center_x, coordinates.center_y
    return _around([(x - half_w, y - half_h), (x + half_w, y + half_h)])


def _prism_to_bbox(coordinates: Any) -> BoundingBoxCoordinates | None:
    """Return the upright box around both faces of a prism; ``None`` for other shapes."""
    front = [(point.x, point.y) for point in getattr(coordinates, "front", ())]
    if not front:
        return None
    if hasattr(coordinates, "offset"):
        back = [(x + coordinates.offset.x, y + coordinates.offset.y) for x, y in front]
    else:
        vanishing, ratio = coordinates.vanishing_point, coordinates.scale_ratio
        back = [(vanishing.x + (x - vanishing.x) * ratio, vanishing.y + (y - vanishing.y) * ratio) for x, y in front]
    return _around(front + back)


def _corners(rbb: RotatableBoundingBoxCoordinates, img_width: int, img_height: int) -> list[tuple[float, float]]:
    # Rotated about its centre by theta degrees, in pixels: in fractions of unequal sides, it would be sheared.
    half_w, half_h = rbb.width * img_width / 2, rbb.height * img_height / 2
    centre_x, centre_y = rbb.top_left_x * img_width + half_w, rbb.top_left_y * img_height + half_h
    cos, sin = math.cos(math.radians(rbb.theta)), math.sin(math.radians(rbb.theta))
    return [
        (centre_x + x * cos - y * sin, centre_y + x * sin + y * cos)
        for x, y in [(-half_w, -half_h), (half_w, -half_h), (half_w, half_h), (-half_w, half_h)]
    ]


def _around(points: list[tuple[float, float]]) -> BoundingBoxCoordinates:
    if not points:
        raise PrintableError("It has no points, so there is no box around it.")
    left, top = (float(min(values)) for values in zip(*points, strict=True))
    right, bottom = (float(max(values)) for values in zip(*points, strict=True))
    return BoundingBoxCoordinates(height=bottom - top, width=right - left, top_left_x=left, top_left_y=top)
