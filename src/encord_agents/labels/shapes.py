"""Conversion between detections in pixels and the SDK's coordinates in fractions of the picture, by shape."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from encord.objects import LabelRowV2
from encord.objects.bitmask import BitmaskCoordinates
from encord.objects.common import Shape
from encord.objects.coordinates import (
    BoundingBoxCoordinates,
    PointCoordinate,
    PolygonCoordinates,
    RotatableBoundingBoxCoordinates,
    SkeletonCoordinate,
    SkeletonCoordinates,
    Visibility,
)
from encord.objects.ontology_object import Object
from encord.objects.skeleton_template import SkeletonTemplate

from encord_agents.core.coordinates import rbb_to_poly
from encord_agents.core.masks import pixels_of
from encord_agents.exceptions import PrintableError
from encord_agents.labels.detections import CORNERS, KEYPOINTS, POLYGONS, Array, Boxes, Detections
from encord_agents.labels.outlines import box_around, filled, has_area, outlines, part_within, smallest_rectangle

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["DRAWN", "Drawn", "Place", "Places", "has_place"]

Drawn: TypeAlias = (
    BoundingBoxCoordinates
    | RotatableBoundingBoxCoordinates
    | PolygonCoordinates
    | BitmaskCoordinates
    | SkeletonCoordinates
)

DRAWN = (Shape.BOUNDING_BOX, Shape.ROTATABLE_BOUNDING_BOX, Shape.POLYGON, Shape.BITMASK, Shape.SKELETON)
"""The shapes in which detections can be drawn."""


class Places:
    """The positions of detections, as coordinates for any shape of object.

    Args:
        found: The detections.
        size: Width and height of the frame to draw on. Detections on a picture of another size are scaled to it.
    """

    def __init__(self, found: Detections, size: tuple[int, int]) -> None:
        import numpy as np

        self._found = found
        self._size = size
        self._scale = np.array(size) / np.array(found.size or size)
        boxes = np.clip(found.xyxy * np.tile(self._scale, 2) / np.tile(np.array(size, dtype="float64"), 2), 0.0, 1.0)
        self._boxes: list[list[float]] = boxes.tolist()
        self._draw: dict[Shape, Callable[[int], Drawn | None]] = {
            Shape.BOUNDING_BOX: self._box,
            Shape.ROTATABLE_BOUNDING_BOX: self._turned_box,
            Shape.POLYGON: self._polygon,
            Shape.BITMASK: self._bitmask,
        }

    def of(self, number: int, drawn_as: Object, label_row: LabelRowV2) -> Drawn | None:
        """Return the coordinates of one detection as an object, or ``None`` if no part of it is on the picture.

        Raises:
            PrintableError: Detections cannot be drawn as such an object.
        """
        if drawn_as.shape == Shape.SKELETON:
            return self._skeleton(number, drawn_as, label_row)
        if (draw := self._draw.get(drawn_as.shape)) is None:
            drawable = ", ".join(shape.value for shape in DRAWN)
            raise PrintableError(
                f"{drawn_as.title!r} is of shape {drawn_as.shape.value}, and detections are drawn as one of {drawable}."
            )
        return draw(number)

    def _box(self, number: int) -> BoundingBoxCoordinates | None:
        left, top, right, bottom = self._boxes[number]
        if right <= left or bottom <= top:
            return None
        return BoundingBoxCoordinates(height=bottom - top, width=right - left, top_left_x=left, top_left_y=top)

    def _turned_box(self, number: int) -> RotatableBoundingBoxCoordinates | None:
        import numpy as np

        corners = self._column(CORNERS, number)
        if corners is not None:
            corners = np.asarray(corners, dtype="float64") * self._scale
        elif (rings := self._rings(number)) is not None:
            if not any(has_area(self._on_picture(polygon[0])) for polygon in rings):
                return None
            corners = smallest_rectangle(np.concatenate([polygon[0] for polygon in rings]))
        elif (box := self._box(number)) is not None:
            return RotatableBoundingBoxCoordinates(
                height=box.height, width=box.width, top_left_x=box.top_left_x, top_left_y=box.top_left_y, theta=0.0
            )
        else:
            return None
        if not has_area(self._on_picture(corners)):
            return None
        width, height = self._size
        side, down = corners[1] - corners[0], corners[2] - corners[1]
        across, along = float(np.hypot(*side)), float(np.hypot(*down))
        x, y = corners.mean(axis=0).tolist()
        return RotatableBoundingBoxCoordinates(
            height=along / height,
            width=across / width,
            top_left_x=(x - across / 2) / width,
            top_left_y=(y - along / 2) / height,
            theta=math.degrees(math.atan2(side[1], side[0])) % 360,
        )

    def _polygon(self, number: int) -> PolygonCoordinates | None:
        import numpy as np

        rings = self._rings(number)
        if rings is None and (corners := self._column(CORNERS, number)) is not None:
            rings = [[np.asarray(corners, dtype="float64") * self._scale]]
        if rings is None:
            if self._box(number) is None:
                return None
            x0, y0, x1, y1 = self._boxes[number]
            return _polygons([[np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])]])
        shares = [[self._on_picture(ring) for ring in polygon] for polygon in rings]
        shares = [[outer, *filter(has_area, holes)] for outer, *holes in shares if has_area(outer)]
        return _polygons(shares) if shares else None

    def _bitmask(self, number: int) -> BitmaskCoordinates | None:
        import numpy as np

        if self._found.mask is not None:
            mask = _resized(np.asarray(self._found.mask[number], dtype=bool), self._size)
        elif (rings := self._rings(number)) is not None:
            mask = filled(rings, self._size)
        elif (corners := self._column(CORNERS, number)) is not None:
            mask = filled([[np.asarray(corners, dtype="float64") * self._scale]], self._size)
        else:
            left, top, right, bottom = self._found.xyxy[number] * np.tile(self._scale, 2)
            mask = filled([[np.array([(left, top), (right, top), (right, bottom), (left, bottom)])]], self._size)
        return BitmaskCoordinates(np.ascontiguousarray(mask)) if mask.any() else None

    def _skeleton(self, number: int, drawn_as: Object, label_row: LabelRowV2) -> SkeletonCoordinates | None:
        import numpy as np

        points = self._column(KEYPOINTS, number)
        if points is None:
            raise PrintableError(f"{drawn_as.title!r} is a skeleton, and the detections have no keypoints.")
        points = np.asarray(points, dtype="float64") * (*self._scale, 1.0) / (*self._size, 1.0)
        template = _template_of(drawn_as, label_row)
        vertices = [template.skeleton[key] for key in sorted(template.skeleton, key=_number)]
        if len(points) > len(vertices) and not points[len(vertices) :].any():
            points = points[: len(vertices)]  # a column is padded to its longest entry
        if len(points) != len(vertices):
            named = ", ".join(vertex.name for vertex in vertices)
            raise PrintableError(
                f"The skeleton of {drawn_as.title!r} has {len(vertices)} points ({named}), and the detections have "
                f"{len(points)} keypoints."
            )
        shown = points[points[:, 2] > 0] if (points[:, 2] > 0).any() else points
        if not ((shown[:, :2] >= 0) & (shown[:, :2] <= 1)).all(axis=1).any():
            return None
        return SkeletonCoordinates(
            values=[
                SkeletonCoordinate(
                    x=min(max(x, 0.0), 1.0),
                    y=min(max(y, 0.0), 1.0),
                    name=vertex.name,
                    color=vertex.color,
                    feature_hash=vertex.feature_hash,
                    value=vertex.value,
                    visibility=Visibility.VISIBLE if seen > 0 else Visibility.INVISIBLE,
                )
                for (x, y, seen), vertex in zip(points.tolist(), vertices, strict=True)
            ],
            name=template.name,
        )

    def _on_picture(self, ring: Boxes) -> Boxes:
        """Return the part of a ring on the picture, as fractions of its width and height."""
        return part_within(ring / self._size)

    def _column(self, name: str, number: int) -> Any | None:
        column = self._found.data.get(name)
        return None if column is None else column[number]

    def _rings(self, number: int) -> list[list[Boxes]] | None:
        """Return the outlines of a detection, in pixels of the frame; ``None`` if it has neither outline nor mask."""
        import numpy as np

        if (polygons := self._column(POLYGONS, number)) is not None:
            return [
                [np.asarray(ring, dtype="float64") * self._scale for ring in polygon if len(ring)]
                for polygon in polygons
                if len(polygon) and len(polygon[0])
            ]
        if self._found.mask is None:
            return None
        mask = np.asarray(self._found.mask[number], dtype=bool)
        scale = np.array(self._size) / np.array((mask.shape[1], mask.shape[0]))
        return [[ring * scale for ring in polygon] for polygon in outlines(mask)]


def _polygons(rings: Sequence[Sequence[Array]]) -> PolygonCoordinates:
    return PolygonCoordinates(
        polygons=[[[PointCoordinate(x=x, y=y) for x, y in ring.tolist()] for ring in polygon] for polygon in rings]
    )


def _resized(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the mask in another size: each pixel takes the value of the old pixel that its centre falls on."""
    import numpy as np

    height, width = mask.shape
    if (width, height) == size:
        return mask
    if not mask.size:
        return np.zeros((size[1], size[0]), dtype=bool)
    columns = ((np.arange(size[0]) + 0.5) * width / size[0]).astype(int)
    rows = ((np.arange(size[1]) + 0.5) * height / size[1]).astype(int)
    resized: NDArray[np.bool_] = mask[rows[:, None], columns[None, :]]
    return resized


def _template_of(drawn_as: Object, label_row: LabelRowV2) -> SkeletonTemplate:
    templates = label_row.ontology_structure.skeleton_templates
    for template in templates.values():
        if template.feature_node_hash == drawn_as.feature_node_hash:
            return template
    named = templates.get(drawn_as.title)
    if named is None and len(templates) == 1:
        (named,) = templates.values()
    if named is None:
        raise PrintableError(f"The ontology has no template for the skeleton {drawn_as.title!r}.")
    return named


def _number(key: str) -> tuple[int, str]:
    return (int(key), key) if key.isdecimal() else (1 << 30, key)


def has_place(coordinates: Drawn) -> bool:
    """Return False for coordinates without a single point, as saved labels may have."""
    if isinstance(coordinates, PolygonCoordinates):
        return any(polygon and polygon[0] for polygon in coordinates.polygons)
    return not isinstance(coordinates, SkeletonCoordinates) or bool(coordinates.values)


class Place:
    """An object's coordinates on a frame, in pixels.

    Args:
        coordinates: The coordinates; they have a place, see `has_place`.
        size: The frame's width and height.

    Attributes:
        xyxy: The box around it.
        corners: The corners of a rotated box.
        polygons: The rings of each part of a polygon.
        mask: The mask of a bitmask.
        keypoints: The keypoints of a skeleton, ``[points, 3]``.
    """

    def __init__(self, coordinates: Drawn, size: tuple[int, int]) -> None:
        import numpy as np

        width, height = size
        self.corners: Array | None = None
        self.polygons: list[list[Boxes]] | None = None
        self.keypoints: Boxes | None = None
        self.mask: Array | None = None
        if isinstance(coordinates, BoundingBoxCoordinates):
            left, top = coordinates.top_left_x * width, coordinates.top_left_y * height
            self.xyxy = (left, top, left + coordinates.width * width, top + coordinates.height * height)
        elif isinstance(coordinates, RotatableBoundingBoxCoordinates):
            self.corners = rbb_to_poly(coordinates, width, height).astype("float64")
            self.xyxy = box_around(self.corners)
        elif isinstance(coordinates, PolygonCoordinates):
            self.polygons = [
                [np.array([(point.x * width, point.y * height) for point in ring]) for ring in polygon if ring]
                for polygon in coordinates.polygons
                if polygon and polygon[0]
            ]
            self.xyxy = box_around(np.concatenate([ring for polygon in self.polygons for ring in polygon]))
        elif isinstance(coordinates, BitmaskCoordinates):
            self.mask = _resized(pixels_of(coordinates), size)
            rows, columns = np.flatnonzero(self.mask.any(axis=1)), np.flatnonzero(self.mask.any(axis=0))
            self.xyxy = (
                (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
                if len(rows)
                else (0.0, 0.0, 0.0, 0.0)
            )
        else:
            self.keypoints = np.array(
                [(p.x * width, p.y * height, float(p.visibility != Visibility.INVISIBLE)) for p in coordinates.values]
            )
            shown = self.keypoints[self.keypoints[:, 2] > 0, :2]
            self.xyxy = box_around(shown if len(shown) else self.keypoints[:, :2])

    def filled(self, size: tuple[int, int]) -> Array:
        """Return a mask of the pixels that the object covers."""
        import numpy as np

        if self.mask is not None:
            return self.mask
        if self.polygons is not None:
            return filled(self.polygons, size)
        left, top, right, bottom = self.xyxy
        box = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
        return filled([[box if self.corners is None else self.corners]], size)
