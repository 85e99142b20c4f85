"""Reading of detectors' results as `Detections`: recognised by their attributes and keys, not by their class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from encord_agents.exceptions import PrintableError
from encord_agents.labels.detections import CORNERS, KEYPOINTS, NAMES, POLYGONS, Array, Boxes, Detections
from encord_agents.labels.dictionaries import of_coco, of_dictionaries, of_yolo_text, only_detected, with_visibility
from encord_agents.labels.outlines import box_around

__all__ = ["read_detections"]

ROUNDING = 1e-3
"""The distance beyond 0 and 1 that is allowed for a confidence: half-precision numbers are rounded."""

KINDS = (
    "supervision's Detections or KeyPoints, a Results of ultralytics, a dictionary of torchvision or transformers "
    "(boxes, labels, scores), COCO or YOLO dictionaries, an array of boxes [n, 4 to 7], or of masks [n, height, width]"
)


def read_detections(found: Any, *, size: tuple[int, int], title: str = "") -> Detections:
    """Read a detector's result.

    Args:
        found: The result, see `add_detections`.
        size: Width and height of the picture, for coordinates that are fractions of it.
        title: The picture's name, for COCO files of several pictures.

    Raises:
        PrintableError: The result is of no known kind, or its parts do not fit together.
    """
    result = _checked(_read(found, size, title))
    if result.size is None and result.mask is not None and result.mask.ndim == 3 and result.mask.size:
        # Boxes and masks refer to the same picture, so its size is known.
        result = replace(result, size=(result.mask.shape[2], result.mask.shape[1]))
    return result


def _read(found: Any, size: tuple[int, int], title: str) -> Detections:
    if isinstance(found, Detections):
        return _of_our_own(found)
    if isinstance(found, str):
        return of_yolo_text(found, size)
    if isinstance(found, Mapping):
        if "annotations" in found:
            return of_coco(found, size, title)
        if "boxes" in found:
            return _of_torchvision(found)
        return of_dictionaries([found], size)
    if isinstance(found, list | tuple) and (not found or isinstance(found[0], Mapping)):
        if len(found) == 1 and "boxes" in found[0]:
            return _of_torchvision(found[0])
        return of_dictionaries(found, size)
    if isinstance(found, list | tuple) and len(found) == 1 and not _is_numeric(found[0]):
        return _read(found[0], size, title)
    if _is_ultralytics(found):
        return _of_ultralytics(found)
    if hasattr(found, "xyxy") and hasattr(found, "class_id"):
        return _of_supervision(found)
    if hasattr(found, "xy") and hasattr(found, "class_id"):
        return _of_supervisions_keypoints(found)
    return _of_array(found)


def _is_numeric(value: Any) -> bool:
    # Not `__len__`: the results of ultralytics and supervision have one, too.
    return hasattr(value, "__array__") or isinstance(value, list | tuple | int | float)


def array(values: Any) -> Array:
    """Convert anything like an array to numpy's, including tensors on other devices."""
    import numpy as np

    if hasattr(values, "detach"):
        values = values.detach()
    if hasattr(values, "cpu"):
        values = values.cpu()
    try:
        return np.asarray(values)
    except TypeError:
        # torch's bfloat16, which numpy does not have; CuPy's arrays, which have to be fetched.
        fetch = getattr(values, "float", None) or getattr(values, "get", None)
        if fetch is None:
            raise
        return np.asarray(fetch())


def _floats(values: Any) -> Boxes:
    return array(values).astype("float64")


def _of_our_own(found: Detections) -> Detections:
    return replace(
        found,
        xyxy=_floats(found.xyxy).reshape(-1, 4),
        mask=None if found.mask is None else _masks(found.mask),
        confidence=_optional(found.confidence),
        class_id=_optional(found.class_id),
        tracker_id=_optional(found.tracker_id),
    )


def _of_supervision(found: Any) -> Detections:
    data: dict[str, Any] = dict(getattr(found, "data", None) or {})
    if data.get(CORNERS) is not None:
        data[CORNERS] = _floats(data[CORNERS]).reshape(-1, 4, 2)
    return Detections(
        _floats(found.xyxy).reshape(-1, 4),
        _masks(found.mask) if getattr(found, "mask", None) is not None else None,
        _optional(found.confidence),
        _optional(found.class_id),
        _optional(getattr(found, "tracker_id", None)),
        data,
    )


def _of_supervisions_keypoints(found: Any) -> Detections:
    import numpy as np

    places = _floats(found.xy)
    name = "keypoint_confidence" if hasattr(found, "keypoint_confidence") else "confidence"  # the older name
    given, shown = getattr(found, name, None), getattr(found, "visible", None)
    seen = np.ones(places.shape[:2]) if given is None else _floats(given)
    if shown is not None:
        seen = np.where(array(shown), seen, 0.0)
    points = only_detected(np.concatenate([places, seen[..., None]], axis=2))
    data = {**dict(getattr(found, "data", None) or {}), KEYPOINTS: points}
    confidence = _optional(getattr(found, "detection_confidence", None))
    return Detections(_around_points(points), None, confidence, _optional(found.class_id), None, data)


def _is_ultralytics(found: Any) -> bool:
    return hasattr(found, "names") and any(hasattr(found, part) for part in ("boxes", "obb", "masks", "keypoints"))


def _of_ultralytics(found: Any) -> Detections:
    """Read a ``Results``: one of its parts has the classes, and the others are parallel to it."""
    height, width = found.orig_shape
    boxes, turned = getattr(found, "boxes", None), getattr(found, "obb", None)
    main = turned if turned is not None else boxes
    if main is None:
        return Detections(_floats([]).reshape(0, 4), size=(width, height))
    ids = array(main.cls).reshape(-1).astype("int64")
    names = found.names if isinstance(found.names, Mapping) else dict(enumerate(found.names))
    data: dict[str, Any] = {NAMES: [str(names.get(int(one), one)) for one in ids]}
    mask = None
    if turned is not None:
        data[CORNERS] = _floats(turned.xyxyxyxy).reshape(-1, 4, 2)
    if (masks := getattr(found, "masks", None)) is not None:
        # The masks refer to the picture that the model saw, with borders; the outlines refer to the original.
        data[POLYGONS] = [[[_floats(ring)]] if len(ring) >= 3 else None for ring in masks.xy]
        pixels = array(masks.data)
        mask = _masks(pixels) if pixels.shape[1:] == (height, width) else None
    if (keypoints := getattr(found, "keypoints", None)) is not None:
        data[KEYPOINTS] = only_detected(with_visibility(_floats(keypoints.data)))
    tracks = getattr(main, "id", None)
    return Detections(
        _floats(main.xyxy).reshape(-1, 4), mask, _floats(main.conf).reshape(-1), ids, _optional(tracks), data,
        (width, height),
    )  # fmt: skip


def _of_torchvision(found: Mapping[str, Any]) -> Detections:
    data: dict[str, Any] = {}
    labels = None if found.get("labels") is None else array(found["labels"]).reshape(-1)
    # Detectors that are prompted with text return text as labels.
    words = found.get("text_labels") if labels is None or labels.dtype.kind not in "USO" else labels
    if words is not None:
        data[NAMES] = [str(word) for word in words]
        labels = None if labels is words else labels
    if "keypoints" in found:
        data[KEYPOINTS] = with_visibility(_floats(found["keypoints"]))
    masks = found.get("masks")
    return Detections(
        _floats(found["boxes"]).reshape(-1, 4),
        None if masks is None else _masks(masks),
        _optional(found.get("scores")),
        labels,
        _optional(found.get("track_ids")),
        data,
    )


def _of_array(found: Any) -> Detections:
    """Read boxes followed by a track's number, a confidence and a class, in ultralytics' order; or masks."""
    try:
        values = array(found)
    except (TypeError, ValueError):
        values = array([object()])
    if values.size == 0:
        return Detections(_floats([]).reshape(0, 4))
    if values.dtype == bool and values.ndim in (2, 3):
        pixels = values if values.ndim == 3 else values[None]
        return Detections(_around_masks(pixels), pixels)
    if values.ndim == 1 and values.shape[0] in (4, 5, 6, 7):
        values = values[None]
    if values.ndim != 2 or values.shape[1] not in (4, 5, 6, 7) or values.dtype.kind not in "iuf":
        raise PrintableError(f"Detections cannot be read from {type(found).__name__}.\nGive {KINDS}.")
    columns = values.shape[1]
    values = values.astype("float64")
    return Detections(
        values[:, :4],
        None,
        values[:, 5 if columns == 7 else 4] if columns > 4 else None,
        values[:, columns - 1] if columns > 5 else None,
        values[:, 4] if columns == 7 else None,
    )


def _optional(values: Any) -> Array | None:
    return None if values is None else array(values).reshape(-1)


def _masks(values: Any) -> Array:
    pixels = array(values)
    if pixels.ndim == 4:
        pixels = pixels[:, 0]
    return pixels if pixels.dtype == bool else pixels > 0.5


def _around_masks(pixels: Array) -> Boxes:
    import numpy as np

    boxes = np.zeros((len(pixels), 4))
    for number, mask in enumerate(pixels):
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if rows.size:
            boxes[number] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return boxes


def _around_points(points: Boxes) -> Boxes:
    import numpy as np

    boxes = np.zeros((len(points), 4))
    for number, one in enumerate(points):
        seen = one[one[:, 2] > 0, :2]
        if len(seen):
            boxes[number] = box_around(seen)
    return boxes


def _checked(found: Detections) -> Detections:
    """Reject columns of different lengths, values that are not finite numbers, and confidences outside 0 to 1."""
    import numpy as np

    count = len(found.xyxy)
    columns: dict[str, Any] = {
        "mask": found.mask,
        "confidence": found.confidence,
        "class_id": found.class_id,
        "tracker_id": found.tracker_id,
        **{key: found.data.get(key) for key in (NAMES, CORNERS, POLYGONS, KEYPOINTS)},
    }
    for name, column in columns.items():
        if column is not None and len(column) != count:
            raise PrintableError(f"There are {count} detections, and {len(column)} values of {name!r}.")
    for name in ("xyxy", "confidence", "class_id", "tracker_id", CORNERS, KEYPOINTS, POLYGONS):
        column = found.xyxy if name == "xyxy" else columns[name]
        if column is None or not len(column):
            continue
        if name == POLYGONS:
            column = [None if one is None else _coordinates(one) for one in column]
        finite: Any = (
            np.isfinite(column.reshape(count, -1)).all(axis=1)
            if isinstance(column, np.ndarray) and column.dtype.kind in "iufb"
            else [one is None or bool(np.isfinite(np.asarray(one, dtype="float64")).all()) for one in column]
        )
        if not all(finite):
            raise _wrong(found, name, list(finite).index(False), "has values that are not finite numbers")
    if found.confidence is not None and count:
        confidence = np.asarray(found.confidence, dtype="float64")
        beyond = (confidence < -ROUNDING) | (confidence > 1.0 + ROUNDING)
        if beyond.any():
            first = int(np.flatnonzero(beyond)[0])
            raise _wrong(found, "confidence", first, f"is {confidence[first]:g}, and must be between 0 and 1")
        found = replace(found, confidence=np.clip(confidence, 0.0, 1.0))
    return found


def _coordinates(polygons: Sequence[Sequence[Any]]) -> Boxes:
    """Return the coordinates of all rings of an outline in one row."""
    import numpy as np

    rings = [np.asarray(ring, dtype="float64").ravel() for polygon in polygons for ring in polygon]
    return np.concatenate([np.zeros(0), *rings])


def _wrong(found: Detections, column: str, number: int, problem: str) -> PrintableError:
    return PrintableError(f"Detection {number} of {len(found)}: {column!r} {problem}.")
