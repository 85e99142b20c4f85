"""Reading of label rows as detections."""

from __future__ import annotations

import operator
from collections.abc import Collection
from typing import Any

from encord.objects import LabelRowV2
from encord.objects.ontology_object_instance import ObjectInstance

from encord_agents.exceptions import PrintableError
from encord_agents.extras import require
from encord_agents.labels.classes import in_order
from encord_agents.labels.detections import CORNERS, KEYPOINTS, NAMES, POLYGONS, Detections
from encord_agents.labels.drawing import check_size, frame_size
from encord_agents.labels.shapes import DRAWN, Place, has_place

__all__ = ["OBJECT_HASHES", "to_detections"]

OBJECT_HASHES = "object_hash"
"""The key of the objects' hashes in `Detections.data`."""


def to_detections(
    label_row: LabelRowV2,
    frame: int = 0,
    *,
    classes: Collection[str] | None = None,
    size: tuple[int, int] | None = None,
) -> Detections:
    """Return the objects on a frame of a label row whose labels are loaded, in the columns of a detector.

    Boxes, rotated boxes, polygons, bitmasks and skeletons are read; other shapes, and objects without a single point,
    are left out. ``data`` has their names (``class_name``), their hashes (``object_hash``), and, where there are any,
    corners of rotated boxes (``xyxyxyxy``), outlines (``polygons``) and ``keypoints``. There are masks if one of the
    objects is a bitmask. ``tracker_id`` is the same for an object on all frames.

    Args:
        label_row: The label row.
        frame: The frame's number.
        classes: Titles; the index of an object's title is its ``class_id``, and objects with other titles are left out.
            Default: those of the ontology, in its order.
        size: Width and height of the picture that the pixels refer to. Default: the frame's.

    Raises:
        PrintableError: There is no such frame, its size is not known, or an argument is not of its kind.
        MissingExtraError: numpy is not installed.
    """
    require("vision", "to_detections()")
    import numpy as np

    check_size(size)
    frame = operator.index(frame)  # accepts numpy's integers, too
    known = frame_size(label_row, frame)  # called even if a size is given: it rejects missing frames
    size = size or known
    if size is None:
        raise PrintableError(
            f"The platform does not know the size of {label_row.data_title!r}: give to_detections(..., size=(width, "
            "height))."
        )
    titles = in_order(classes) if classes is not None else _titles(label_row)
    tracks = {instance.object_hash: number for number, instance in enumerate(label_row.get_object_instances())}
    found: list[tuple[ObjectInstance, Any]] = [
        (instance, instance.get_annotation(frame))
        for instance in label_row.get_object_instances(filter_frames=frame)
        if instance.ontology_item.shape in DRAWN and instance.object_name in titles
    ]
    found = [(instance, annotation) for instance, annotation in found if has_place(annotation.coordinates)]
    shown, annotations = [instance for instance, _ in found], [annotation for _, annotation in found]
    places = [Place(annotation.coordinates, size) for annotation in annotations]
    data: dict[str, Any] = {
        NAMES: np.array([instance.object_name for instance in shown], dtype=object),
        OBJECT_HASHES: np.array([instance.object_hash for instance in shown], dtype=object),
    }
    if any(place.corners is not None for place in places):
        data[CORNERS] = np.array([_corners(place) for place in places])
    if any(place.polygons is not None for place in places):
        data[POLYGONS] = [place.polygons for place in places]
    if any(place.keypoints is not None for place in places):
        most = max(len(place.keypoints) for place in places if place.keypoints is not None)
        points = np.zeros((len(places), most, 3))
        for number, place in enumerate(places):
            if place.keypoints is not None:
                points[number, : len(place.keypoints)] = place.keypoints
        data[KEYPOINTS] = points
    boxes = np.array([place.xyxy for place in places], dtype="float64").reshape(-1, 4)
    masks = None
    if any(place.mask is not None for place in places):
        masks = np.empty((len(places), size[1], size[0]), dtype=bool)
        for mask in reversed(masks):
            mask[:] = places.pop().filled(size)  # taken off the list, so that no mask is in memory twice
    return Detections(
        boxes,
        masks,
        np.array([annotation.confidence for annotation in annotations], dtype="float64"),
        np.array([titles.index(instance.object_name) for instance in shown], dtype="int64"),
        np.array([tracks[instance.object_hash] for instance in shown], dtype="int64"),
        data,
        size,
    )


def _titles(label_row: LabelRowV2) -> list[str]:
    return list(dict.fromkeys(one.title for one in label_row.ontology_structure.objects))


def _corners(place: Place) -> Any:
    if place.corners is not None:
        return place.corners
    left, top, right, bottom = place.xyxy
    return [(left, top), (right, top), (right, bottom), (left, bottom)]
