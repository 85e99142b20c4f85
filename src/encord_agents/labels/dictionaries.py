"""Detections as dictionaries and text, in the formats of COCO and YOLO."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PureWindowsPath
from typing import Any

from encord_agents.core.masks import unpacked
from encord_agents.exceptions import PrintableError
from encord_agents.labels.detections import CORNERS, KEYPOINTS, NAMES, NO_TRACK, POLYGONS, Array, Boxes, Detections
from encord_agents.labels.outlines import box_around, outlines

__all__ = ["of_coco", "of_dictionaries", "of_yolo_text", "only_detected", "with_visibility"]


def of_coco(found: Mapping[str, Any], size: tuple[int, int], title: str) -> Detections:
    """Read the annotations of one picture from a COCO file, with the names of their categories.

    Raises:
        PrintableError: The file is about several pictures, and the title is the file name of none or several of them.
    """
    annotations: list[Mapping[str, Any]] = list(found["annotations"])
    pictures = {picture["id"]: picture for picture in found.get("images", ())}
    about = pictures.keys() | _pictures_of(annotations)
    if len(about) > 1:
        about = {_called(title, pictures, len(about))}
        annotations = [one for one in annotations if one.get("image_id") in about]
    for key in about & pictures.keys():
        # Exporters that do not know the size write null or 0.
        size = int(pictures[key].get("width") or size[0]), int(pictures[key].get("height") or size[1])
    names = {category["id"]: str(category["name"]) for category in found.get("categories", ())}
    return of_dictionaries(annotations, size, names)


def _pictures_of(found: Sequence[Mapping[str, Any]]) -> set[Any]:
    return {one["image_id"] for one in found if one.get("image_id") is not None}


def _called(title: str, pictures: Mapping[Any, Mapping[str, Any]], count: int) -> Any:
    """Return the key of the picture with this title as its file name, or as the end of its path, or vice versa."""
    files = {key: str(picture.get("file_name") or "") for key, picture in pictures.items()}
    named = [key for key, file in files.items() if file == title] or [
        key for key, file in files.items() if _is_end_of(file, title) or _is_end_of(title, file)
    ]
    if len(named) != 1:
        which = "none of them is" if not named else f"{len(named)} of them may be"
        raise PrintableError(
            f"The COCO annotations are about {count} pictures, and {which} {title!r}.\n"
            "The title must be the 'file_name' of one of the 'images', with or without folders; or give the "
            "annotations of one picture only."
        )
    return named[0]


def _is_end_of(part: str, path: str) -> bool:
    """Return True if a path ends with another one. Both kinds of separators are accepted."""
    end = PureWindowsPath(part).parts
    return bool(end) and PureWindowsPath(path).parts[-len(end) :] == end


def of_dictionaries(
    found: Sequence[Mapping[str, Any]], size: tuple[int, int], names: Mapping[Any, str] | None = None
) -> Detections:
    """Read one dictionary per detection, as in COCO's results and YOLO's summaries.

    Raises:
        PrintableError: One of them has no readable position on the picture; or they are about several pictures.
    """
    import numpy as np

    if len(pictures := _pictures_of(found)) > 1:
        raise PrintableError(
            f"The detections are about several pictures: 'image_id' has {len(pictures)} values.\n"
            "Give those of one: [one for one in found if one['image_id'] == ...]."
        )
    rows = [_Row(one, number, size) for number, one in enumerate(found)]
    data: dict[str, Any] = {}
    ids, told = _classes(found, names)
    if told is not None:
        data[NAMES] = told
    if any(row.corners is not None for row in rows):
        data[CORNERS] = np.array([row.corners if row.corners is not None else _corners(row.box) for row in rows])
    mask, polygons = _areas(rows, size)
    if mask is not None:
        size = (mask.shape[2], mask.shape[1])
    if polygons is not None:
        data[POLYGONS] = polygons
    if any(row.keypoints is not None for row in rows):
        data[KEYPOINTS] = [row.keypoints for row in rows]
    return Detections(
        np.array([row.box for row in rows], dtype="float64").reshape(-1, 4),
        mask,
        _numbers(found, ("score", "confidence"), otherwise=1.0),
        ids,
        _numbers(found, ("track_id", "tracker_id"), otherwise=NO_TRACK),
        data,
        size,
    )


def _classes(
    found: Sequence[Mapping[str, Any]], names: Mapping[Any, str] | None
) -> tuple[Array | None, list[str] | None]:
    """Return the classes' numbers and names. Numbers under a key for names are accepted, and vice versa."""
    import numpy as np

    ids = _column(found, ("category_id", "class_id", "class"))
    told = _column(found, ("name", "class_name", "category", "label"))
    if ids is not None and told is None:
        if names:
            told = [names.get(one, str(one)) for one in ids]
        elif all(isinstance(one, str) for one in ids):
            told = ids
    elif ids is None and told is not None and all(_is_whole(one) for one in told):
        ids, told = told, None
    numbers = None if ids is None or not all(map(_is_whole, ids)) else np.array([int(one) for one in ids])
    return numbers, None if told is None else [str(one) for one in told]


def _is_whole(value: Any) -> bool:
    """Return True for a whole number of any type that is not text."""
    try:
        return not isinstance(value, str | bytes) and int(value) == value
    except (TypeError, ValueError, OverflowError):
        return False


def _areas(rows: Sequence[_Row], size: tuple[int, int]) -> tuple[Array | None, list[Any] | None]:
    """Return masks if all detections have one and they have the same size; otherwise outlines, also of the masks."""
    import numpy as np

    masks = [row.mask for row in rows if row.mask is not None]
    if masks and len(masks) == len(rows) and len({mask.shape for mask in masks}) == 1:
        return np.stack(masks), None
    if not masks and all(row.polygons is None for row in rows):
        return None, None
    return None, [row.polygons if row.mask is None else _outlines(row.mask, size) for row in rows]


def _outlines(mask: Array, size: tuple[int, int]) -> list[list[Array]]:
    """Return the outlines of a mask on a picture of this size."""
    import numpy as np

    scale = np.array(size) / np.array((mask.shape[1], mask.shape[0]))
    return [[ring * scale for ring in polygon] for polygon in outlines(mask)]


def _numbers(found: Sequence[Mapping[str, Any]], keys: Sequence[str], *, otherwise: float) -> Array | None:
    """Return the values of the first of these keys that a dictionary has; ``None`` if none has any of them."""
    import numpy as np

    for key in keys:
        values = [one.get(key) for one in found]
        if any(value is not None for value in values):
            try:
                return np.array([otherwise if value is None else float(value) for value in values])
            except (TypeError, ValueError) as error:
                raise PrintableError(f"The detections' values of {key!r} are not all numbers ({error}).") from error
    return None


def of_yolo_text(found: str, size: tuple[int, int]) -> Detections:
    """Read a YOLO label file: each line has a class, and a box's centre and size or an outline, as fractions.

    A box may have a fifth number, its confidence.

    Raises:
        PrintableError: A line is neither a box nor an outline.
    """
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(found.splitlines(), 1):
        if not (words := line.split()):
            continue
        try:
            kind, values = int(words[0]), [float(word) for word in words[1:]]
        except ValueError:
            kind, values = -1, []
        if len(values) in (4, 5):
            keys = ("x_center", "y_center", "width", "height", "confidence")
            rows.append({"class": kind, **dict(zip(keys, values, strict=False))})
        elif len(values) >= 6 and len(values) % 2 == 0:
            rows.append({"class": kind, "segments": {"x": values[::2], "y": values[1::2]}, "normalized": True})
        else:
            raise PrintableError(f"Line {number} of the YOLO labels is neither a box nor an outline: {line[:100]!r}.")
    return of_dictionaries(rows, size)


def _column(found: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> list[Any] | None:
    """Return the values of the first of these keys that all dictionaries have."""
    for key in keys:
        if found and all(one.get(key) is not None for one in found):
            return [one[key] for one in found]
    return None


def with_visibility(points: Boxes) -> Boxes:
    """Return points as ``[..., 3]``; points without visibility, ``[..., 2]``, count as visible."""
    import numpy as np

    if points.shape[-1] == 3:
        return points
    return np.concatenate([points, np.ones((*points.shape[:-1], 1))], axis=-1)


def only_detected(points: Boxes) -> Boxes:
    """Return points ``[..., 3]`` with those at (0, 0) invisible: where ultralytics and supervision put undetected ones.

    They may have a confidence above 0 all the same.
    """
    import numpy as np

    detected = points[..., :2].any(axis=-1)
    return np.concatenate([points[..., :2], np.where(detected, points[..., 2], 0.0)[..., None]], axis=-1)


def _corners(box: Boxes | tuple[float, ...]) -> list[tuple[float, float]]:
    left, top, right, bottom = (float(value) for value in box)
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


class _Row:
    """One detection's position on the picture, in pixels."""

    def __init__(self, found: Mapping[str, Any], number: int, size: tuple[int, int]) -> None:
        self.corners: Array | None = None
        self.polygons: list[list[Array]] | None = None
        self.keypoints: Array | None = None
        self.mask: Array | None = None
        self._found = found
        self._size = size
        self._scale = size if found.get("normalized") else (1, 1)
        box = None
        try:
            for read in (self._outline, self._points, self._box):
                box = read() or box
        except (TypeError, ValueError, KeyError, IndexError) as error:
            raise PrintableError(f"Detection {number} cannot be read ({type(error).__name__}: {error}).") from error
        if box is None:
            raise PrintableError(
                f"Detection {number} has no place: it has none of 'bbox', 'box', 'xyxy', 'segmentation', 'segments', "
                f"'keypoints' and 'x_center', but {sorted(map(str, found))[:20]}."
            )
        self.box = box

    def _outline(self) -> tuple[float, ...] | None:
        import numpy as np

        segmentation, segments = self._found.get("segmentation"), self._found.get("segments")
        if isinstance(segmentation, Mapping):
            self.mask = _mask_of(segmentation)
            rows, columns = np.nonzero(self.mask)
            return (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) if len(rows) else (0, 0, 0, 0)
        if segmentation is not None and len(segmentation):
            # COCO's exporters write [[]] for an object that has only a box.
            rings = [np.asarray(ring, dtype="float64").reshape(-1, 2) for ring in segmentation if len(ring)]
        elif segments and len(segments["x"]) >= 3:
            rings = [np.stack([segments["x"], segments["y"]], axis=1).astype("float64") * self._scale]
        else:
            rings = []
        if not rings:
            return None
        self.polygons = [[ring] for ring in rings]
        return box_around(np.concatenate(rings))

    def _points(self) -> tuple[float, ...] | None:
        import numpy as np

        points = self._found.get("keypoints")
        if points is None or not len(points):
            return None
        if isinstance(points, Mapping):
            seen = points.get("visible", [1.0] * len(points["x"]))
            points = np.stack([points["x"], points["y"], seen], axis=1) * np.array([*self._scale, 1.0])
            self.keypoints = only_detected(points)
        else:
            places = np.asarray(points, dtype="float64")
            in_pairs = places.ndim == 2 and places.shape[1] == 2
            self.keypoints = with_visibility(places) if in_pairs else places.reshape(-1, 3)
        shown = self.keypoints[self.keypoints[:, 2] > 0, :2]
        return box_around(shown) if len(shown) else (0, 0, 0, 0)

    def _box(self) -> tuple[float, ...] | None:
        import numpy as np

        found = self._found
        width, height = self._scale
        if "bbox" in found:
            left, top, w, h = (float(value) for value in found["bbox"])
            return left, top, left + w, top + h
        if "xyxy" in found:
            left, top, right, bottom = (float(value) for value in found["xyxy"])
            return left, top, right, bottom
        if "x_center" in found:
            width, height = self._size
            x, y, w, h = (float(found[key]) for key in ("x_center", "y_center", "width", "height"))
            return (x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height
        if (box := found.get("box")) is None:
            return None
        if "x4" in box or "x3" in box:
            self.corners = np.array([(float(box[f"x{i}"]), float(box[f"y{i}"])) for i in (1, 2, 3, 4)]) * self._scale
            return box_around(self.corners)
        keys = ("x1", "y1", "x2", "y2") if "x1" in box else ("xmin", "ymin", "xmax", "ymax")
        left, top, right, bottom = (float(box[key]) for key in keys)
        return left * width, top * height, right * width, bottom * height


def _mask_of(encoded: Mapping[str, Any]) -> Array:
    """Return a mask from COCO's run lengths, which go down the columns and are numbers or packed text."""
    import numpy as np

    height, width = (int(side) for side in encoded["size"])
    counts = encoded["counts"]
    runs = unpacked(counts) if isinstance(counts, str | bytes) else np.asarray(counts, dtype="int64")
    if runs.sum() != height * width:
        raise ValueError(f"the run lengths are of {runs.sum()} pixels, and the mask has {height * width}")
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return np.ascontiguousarray(flat.reshape(width, height).T)
