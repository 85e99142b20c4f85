"""A frame with the objects of its label row painted on it, to look at."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from encord.objects import LabelRowV2

from encord_agents.shapes import RGB, Canvas, Edges, Mark, paint, shape

if TYPE_CHECKING:
    from encord_agents.core.data_model import ImageArray

__all__ = ["for_a_page", "painted", "some_labelled_frames"]

LARGEST = 1600
"""The maximum number of pixels of a painted frame's longer side."""


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
    from PIL import Image

    picture = Image.fromarray(image)
    canvas = Canvas(*picture.size, _edges(row))
    marks = [
        Mark(shape(found, canvas), _rgb(found.get("color")), str(found.get("name"))) for found in _objects(row, frame)
    ]
    finished = paint(picture, marks)
    finished.thumbnail((LARGEST, LARGEST))
    file = io.BytesIO()
    finished.save(file, "PNG")
    return file.getvalue()


def _objects(row: LabelRowV2, frame: int) -> Iterator[dict[str, Any]]:
    """Yield the objects on a frame, in the form in which they would be saved."""
    for unit in row.to_encord_dict()["data_units"].values():
        labels = unit["labels"]
        if "objects" not in labels:  # a video: its frames have them
            labels = labels.get(str(frame), {})
        elif int(unit["data_sequence"]) != frame:  # another image of the group
            continue
        yield from labels.get("objects", ())


def _edges(row: LabelRowV2) -> Edges:
    """Return the edges of skeletons, by their names: pairs of the keys of their points."""
    return {
        name: [(start, end) for start, ends in template.skeleton_edges.items() for end in ends]
        for name, template in row.ontology_structure.skeleton_templates.items()
    }


def _rgb(colour: object) -> RGB:
    from PIL import ImageColor

    red, green, blue = ImageColor.getrgb(str(colour))[:3]
    return red, green, blue
