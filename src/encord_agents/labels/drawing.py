"""Drawing of detections on label rows."""

from __future__ import annotations

import operator
from collections.abc import MutableMapping, Sequence
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary, WeakValueDictionary

from encord.constants.enums import is_geometric
from encord.exceptions import LabelRowError
from encord.objects import LabelRowV2, Object
from encord.objects.ontology_object_instance import ObjectInstance

from encord_agents.core.logs import get_logger
from encord_agents.exceptions import PrintableError
from encord_agents.extras import require
from encord_agents.labels.classes import Classes, objects_for
from encord_agents.labels.detections import Detections
from encord_agents.labels.marks import drawn_before, new_hash, take_off
from encord_agents.labels.readers import read_detections
from encord_agents.labels.shapes import Drawn, Places

__all__ = ["Tracks", "add_detections", "check_size", "frame_size"]

logger = get_logger(__name__)

Tracks: TypeAlias = MutableMapping[tuple[str, int], ObjectInstance]
"""The object of each track, by the hash of its class and the track's number."""

# The objects of a row live as long as the row; nothing here keeps either alive.
_tracks: WeakKeyDictionary[LabelRowV2, dict[str, WeakValueDictionary[tuple[str, int], ObjectInstance]]] = (
    WeakKeyDictionary()
)


def add_detections(
    label_row: LabelRowV2,
    detections: Any,
    *,
    classes: Classes | None = None,
    frame: int = 0,
    min_confidence: float = 0.0,
    tracker: Tracks | None = None,
    replace: bool = False,
    source: str = "encord-agents",
    size: tuple[int, int] | None = None,
) -> list[ObjectInstance]:
    """Draw a detector's findings on a frame of a label row whose labels are loaded.

    The class's object in the ontology determines the shape: a box, a rotated box, a polygon, a bitmask or a skeleton.
    If a detection has no mask for a bitmask, its outline or box is filled, and so on; a skeleton takes keypoints, in
    the order of its template. Parts beyond the picture are cut off; detections without an area or a keypoint on it are
    left out, with a warning.

    Args:
        label_row: The label row.
        detections: supervision's ``Detections`` or ``KeyPoints``; a ``Results`` of ultralytics, or a list of one; a
            dictionary of torchvision or transformers; a COCO file, its annotations or results; YOLO's summaries, or the
            text of a label file; an array of boxes: left, top, right, bottom in pixels, then optionally a track's
            number, and then a confidence and a class; a bool array of masks; or `Detections`.
        classes: The ontology's objects for the detector's classes: titles in the order of the classes' numbers; or a
            mapping of their numbers or names to titles or objects, in which case other classes are not drawn. Default:
            the names in the detections. Names are matched exactly.
        frame: The frame's number.
        min_confidence: Detections with a lower confidence are left out.
        tracker: The objects of tracks, to which this call adds: pass the same dictionary for each frame. Detections
            with the same track number become one object over all frames; one with a negative number, or a second one
            of a track on the same frame, becomes an object of its own. Default: one for the label row and ``source``.
        replace: First remove objects that the same ``source`` has drawn on this frame, except those that a person has
            changed since.
        source: The name of the detector. If several detectors draw on the same rows, each needs a name of its own.
        size: Width and height of the picture that the detector saw. Default: that of the detections or of their masks
            if it is known, otherwise the frame's.

    Returns:
        The objects, in the order of the detections that were drawn.

    Raises:
        PrintableError: The detections cannot be read; the ontology has no such objects; there is no such frame, or the
            data has none, like audio; or an argument is not of its kind. The label row is then unchanged.
        MissingExtraError: numpy is not installed.
    """
    require("vision", "add_detections()")
    check_size(size)
    if not is_geometric(label_row.data_type):
        raise PrintableError(
            f"{label_row.data_title!r} is of type {label_row.data_type.value}, "
            "and detections are drawn on pictures and videos."
        )
    frame = operator.index(frame)  # accepts numpy's integers, too
    drawn_on = frame_size(label_row, frame)
    seen = size or drawn_on
    found = read_detections(detections, size=seen or (1, 1), title=label_row.data_title)
    found = _sized(found, size)
    check_size(found.size)
    drawn_on = drawn_on or found.size or size
    if drawn_on is None:
        raise PrintableError(
            f"The platform does not know the size of {label_row.data_title!r}: give add_detections(..., size=(width, "
            "height))."
        )
    kept = _confident(found, min_confidence)
    objects = objects_for(label_row, _part(found, kept), classes)
    places = Places(found, drawn_on)
    drawn = []
    lost = 0
    for number, one in zip(kept, objects, strict=True):
        if one is None:
            continue
        coordinates = places.of(number, one, label_row)
        if coordinates is None:
            lost += 1
        else:
            drawn.append((number, one, coordinates))
    if lost:
        logger.warning("%d of %d detections have no area on frame %d and were left out.", lost, len(kept), frame)

    # From here on, nothing can fail.
    if replace:
        for instance in drawn_before(label_row, source, frame):
            take_off(label_row, instance, frame)
    tracks = found.tracker_id
    known: Any = tracker if tracker is not None or tracks is None else _tracks_of(label_row, source)
    confidence = None if found.confidence is None else found.confidence.tolist()
    # Without tracks, the row's objects are not listed: a film may have a hundred thousand.
    present = set() if tracks is None else {id(instance) for instance in label_row.get_object_instances()}
    instances: list[ObjectInstance] = []
    taken: set[tuple[str, int]] = set()
    for number, drawn_as, coordinates in drawn:
        marks: dict[str, Any] = {
            "confidence": 1.0 if confidence is None else confidence[number],
            "manual_annotation": False,
        }
        key = None if tracks is None or tracks[number] < 0 else (drawn_as.feature_node_hash, int(tracks[number]))
        if key in taken:
            key = None
        elif key is not None:
            taken.add(key)
        old: ObjectInstance | None = None if key is None else known.get(key)
        if old is not None and id(old) in present:
            old.set_for_frames(coordinates, frame, overwrite=True, **marks)
            instances.append(old)
            continue
        new = _added(label_row, drawn_as, source, coordinates, frame, marks)
        if key is not None:
            known[key] = new
            present.add(id(new))
        instances.append(new)
    return instances


def check_size(size: Sequence[int] | None) -> None:
    """Refuse a size that is not a width and a height above 0. ``None`` is an unknown size.

    Raises:
        PrintableError: It is not.
    """
    if size is not None and not (len(size) == 2 and min(size) > 0):
        raise PrintableError(f"size={size!r} is not a width and a height in pixels, both above 0.")


def frame_size(label_row: LabelRowV2, frame: int) -> tuple[int, int] | None:
    """Return the width and height of a frame, or ``None`` if the platform does not know them.

    Raises:
        PrintableError: There is no such frame.
    """
    count = label_row.number_of_frames
    if frame < 0 or (count and frame >= count):
        raise PrintableError(
            f"{label_row.data_title!r} has {count} frames (0 to {count - 1}), so there is no frame {frame}."
        )
    try:
        view = label_row.get_frame_view(frame)
        width: int | None = view.width
        height: int | None = view.height
    except Exception:  # noqa: BLE001 - the SDK raises several kinds if a file has no size
        width, height = label_row.width, label_row.height
    return (int(width), int(height)) if width and height else None


def _tracks_of(label_row: LabelRowV2, source: str) -> Tracks:
    of_row = _tracks.setdefault(label_row, {})
    if source not in of_row:
        of_row[source] = WeakValueDictionary()
    return of_row[source]


def _added(
    label_row: LabelRowV2, drawn_as: Object, source: str, coordinates: Drawn, frame: int, marks: dict[str, Any]
) -> ObjectInstance:
    """Add a new object, with a hash that none of the row's has."""
    while True:
        new = ObjectInstance(drawn_as, object_hash=new_hash(source))
        new.set_for_frames(coordinates, frame, **marks)
        try:
            label_row.add_object_instance(new, force=False)
        except LabelRowError:
            if all(one.object_hash != new.object_hash for one in label_row.get_object_instances()):
                raise
        else:
            return new


def _sized(found: Detections, size: tuple[int, int] | None) -> Detections:
    if size is None:
        return found
    return Detections(found.xyxy, found.mask, found.confidence, found.class_id, found.tracker_id, found.data, size)


def _confident(found: Detections, least: float) -> list[int]:
    if found.confidence is None:
        return list(range(len(found)))
    return [number for number, confidence in enumerate(found.confidence.tolist()) if confidence >= least]


def _part(found: Detections, kept: list[int]) -> Detections:
    """Return some of the detections: their boxes and classes, which is enough to find their objects."""
    if len(kept) == len(found):
        return found
    names = found.data.get("class_name")
    data = {**found.data} if names is None else {**found.data, "class_name": [names[number] for number in kept]}
    ids = None if found.class_id is None else found.class_id[kept]
    return Detections(found.xyxy[kept], found.mask, None, ids, None, data)
