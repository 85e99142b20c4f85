"""A frame with the objects of its label row painted on it, to look at."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from encord.objects import LabelRowV2, ObjectInstance
from encord.objects.bitmask import BitmaskCoordinates
from encord.objects.coordinates import (
    BoundingBoxCoordinates,
    PointCoordinate,
    PolygonCoordinates,
    PolylineCoordinates,
    RotatableBoundingBoxCoordinates,
)

from encord_agents.core.coordinates import rbb_to_poly

if TYPE_CHECKING:
    from encord_agents.core.data_model import ImageArray

__all__ = ["for_a_page", "painted", "some_labelled_frames"]

LARGEST = 1600
"""The maximum number of pixels of a painted frame's longer side."""

Point = tuple[float, float]


def some_labelled_frames(row: LabelRowV2, most: int) -> list[int]:
    """Return the numbers of frames with objects: the first, the last, and some between; frame 0 if there are none."""
    frames = sorted({a.frame for instance in row.get_object_instances() for a in instance.get_annotations()}) or [0]
    if len(frames) <= most:
        return frames
    return [frames[place * (len(frames) - 1) // (most - 1)] for place in range(most)]


def for_a_page(picture: bytes, *, most: int) -> bytes:
    """Return a picture as a small JPEG file, since a notebook stores its pictures in its own file.

    Args:
        most: The maximum number of pixels of its longer side.
    """
    from PIL import Image

    file = io.BytesIO()
    with Image.open(io.BytesIO(picture)) as image:
        image.thumbnail((most, most))
        image.save(file, "JPEG", quality=85)
    return file.getvalue()


def painted(image: ImageArray, row: LabelRowV2, frame: int = 0) -> bytes:
    """Return a PNG file of a frame, with each of its objects in the colour of its class and under its name."""
    from PIL import Image, ImageDraw, ImageFont

    canvas = Image.fromarray(image).convert("RGB")
    canvas.thumbnail((LARGEST, LARGEST))
    width, height = canvas.size
    drawing = ImageDraw.Draw(canvas, "RGBA")
    line = max(2, max(width, height) // 300)
    font = ImageFont.load_default(size=max(11, max(width, height) // 50))
    for instance, coordinates in _objects(row, frame):
        colour = instance.ontology_item.color
        if isinstance(coordinates, BitmaskCoordinates):
            pixels = coordinates.to_numpy_array()  # type: ignore[no-untyped-call]
            mask = Image.fromarray(pixels.astype("uint8") * 128).resize((width, height))
            canvas.paste(Image.new("RGB", (width, height), colour), (0, 0), mask)
            continue
        outlines = [[(x * width, y * height) for x, y in points] for points in _outlines(coordinates, image.shape)]
        for points in outlines:
            if len(points) == 1:
                ((x, y),) = points
                drawing.ellipse((x - 2 * line, y - 2 * line, x + 2 * line, y + 2 * line), fill=colour)
            else:
                drawing.line(points, fill=colour, width=line, joint="curve")
        if outlines and outlines[0]:
            x, y = min(outlines[0], key=lambda point: point[1])
            name = instance.object_name
            left, top, right, bottom = drawing.textbbox((0, 0), name, font=font)
            x, y = max(0.0, min(x, width - right)), max(0.0, y - bottom - 4)
            drawing.rectangle((x + left - 2, y + top - 2, x + right + 2, y + bottom + 2), fill=colour)
            drawing.text((x, y), name, fill="white" if _is_dark(colour) else "black", font=font)
    file = io.BytesIO()
    canvas.save(file, "PNG")
    return file.getvalue()


def _objects(row: LabelRowV2, frame: int) -> Iterator[tuple[ObjectInstance, Any]]:
    for instance in row.get_object_instances():
        for annotation in instance.get_annotations():
            if annotation.frame == frame:
                yield instance, annotation.coordinates


def _outlines(coordinates: Any, shape: tuple[int, ...]) -> Iterator[list[Point]]:
    """Yield lines of points with coordinates from 0 to 1; a closed outline ends where it begins."""
    match coordinates:
        case BoundingBoxCoordinates(top_left_x=x, top_left_y=y, width=w, height=h):
            yield [(x, y), (x + w, y), (x + w, y + h), (x, y + h), (x, y)]
        case RotatableBoundingBoxCoordinates():
            height, width = shape[:2]
            corners = [(float(x) / width, float(y) / height) for x, y in rbb_to_poly(coordinates, width, height)]
            yield [*corners, corners[0]]
        case PolygonCoordinates():
            for rings in coordinates.polygons:
                for ring in rings:
                    points = [(point.x, point.y) for point in ring]
                    yield [*points, *points[:1]]
        case PolylineCoordinates():
            yield [(point.x, point.y) for point in coordinates.values]
        case PointCoordinate(x=x, y=y):
            yield [(x, y)]


def _is_dark(colour: str) -> bool:
    from PIL import ImageColor

    red, green, blue = ImageColor.getrgb(colour)[:3]
    return 0.3 * red + 0.59 * green + 0.11 * blue < 140
