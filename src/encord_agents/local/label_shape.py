"""Validation of labels that are saved: labels that the SDK could not read back are refused."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from encord_agents.local.features import Attribute, Feature
from encord_agents.local.trouble import Refusal, corrupted

CONTENT = ("data_units", "object_answers", "classification_answers", "object_actions", "spaces")
"""The parts of a label row that are stored; the platform adds the rest itself."""

_ANSWERS = "ANSWER_DICTIONARY_ERROR"
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# Not by strptime, whose names are those of the process's locale.
_IN_WORDS = re.compile(
    rf"[A-Z][a-z]{{2}}, (\d\d?) ({'|'.join(_MONTHS)}) (\d{{4}}) ([\d:]{{8}})(?: UTC| GMT)?", re.ASCII
)
LONGEST_RANGE = 100_000_000
"""Milliseconds of audio (more than a day), or characters of text."""
_BY_FRAME = ("image", "imageGroup", "imageSequence", "group")
"""Kinds of items whose data units have the labels of one frame each."""
_RANGED = ("audio", "plainText")
"""Kinds of items whose objects have ranges instead of frames, and are in ``object_answers`` only."""


def check(
    label: dict[str, Any],
    row: sqlite3.Row,
    features: Mapping[str, Feature],
    members: Sequence[sqlite3.Row] = (),
) -> None:
    """Check the labels that were sent for a row. ``members`` are those of a group.

    Raises:
        Refusal: 400, they are of another row or another ontology, or could not be read back.
    """
    title = row["title"]
    if label.get("label_hash", row["label_hash"]) != row["label_hash"]:
        raise corrupted(f"The labels sent for {title} are those of another label row.")
    grouped = row["item_type"] in ("imageGroup", "imageSequence")
    expected = [member["uuid"] for member in members] if grouped else [row["data_hash"]]
    units = label.get("data_units")
    if not isinstance(units, dict) or sorted(units) != sorted(expected):
        raise corrupted(f"The labels of {title} must have the data units {', '.join(expected)[:500]}, and no other.")
    for key in CONTENT[1:]:
        parts = label.get(key, {})
        if not isinstance(parts, dict) or not all(isinstance(part, dict) for part in parts.values()):
            raise corrupted(f"`{key}` of {title} must be an object of objects.")
    checked = _Row(label, row, features, members)
    for unit in units.values():
        labels = unit.get("labels") if isinstance(unit, dict) else None
        if not isinstance(labels, dict):
            raise corrupted(f"A data unit of {title} has no labels.")
        checked.unit(labels)
    checked.spaces(label.get("spaces") or {})
    checked.answers()


class _Row:
    """The labels of one row.

    ``_objects`` are the objects found so far, object hash -> feature hash; ``_ends`` those in spaces of a data group,
    object hash -> the last frame of the longest of its spaces.
    """

    def __init__(
        self,
        label: dict[str, Any],
        row: sqlite3.Row,
        features: Mapping[str, Feature],
        members: Sequence[sqlite3.Row],
    ) -> None:
        self._title = row["title"]
        self._item_type = row["item_type"]
        self._last = last_of(row)
        self._members = {member["uuid"]: member for member in members} if row["item_type"] == "group" else {}
        self._features = features
        self._answers = label.get("object_answers", {})
        self._actions = label.get("object_actions", {})
        self._classifications = label.get("classification_answers", {})
        self._objects: dict[str, str] = {}
        self._ends: dict[str, int] = {}

    def unit(self, labels: dict[str, Any]) -> None:
        """Check the labels of a data unit."""
        if self._item_type in _BY_FRAME:
            self._frame(labels, required=False)
            if self._item_type == "group" and labels.get("objects"):
                raise self._bad("have objects outside of the group's spaces")
        elif self._item_type not in _RANGED:
            self._frames(labels, self._last)

    def spaces(self, spaces: dict[str, Any]) -> None:
        """Check the labels in the spaces of a data group."""
        if spaces and not self._members:
            raise corrupted(f"{self._title} is not a group, and has no `spaces`.")
        for key, space in spaces.items():
            if key not in self._members:
                raise self._bad(f"have a space {key!r} that the group lacks")
            labels = space.get("labels")
            if not isinstance(labels, dict):
                raise self._bad("have a space without labels")
            if self._members[key]["item_type"] not in _RANGED:
                last = last_of(self._members[key])
                self._frames(labels, last)
                self._lies(last, (found["objectHash"] for frame in labels.values() for found in frame["objects"]))

    def _frames(self, labels: dict[str, Any], last: int) -> None:
        for number, frame in labels.items():
            if not _is_frame(number):
                raise self._bad(f"have {number!r} where a frame's number belongs")
            if int(number) > last:
                raise self._bad(f"have a frame {number}, and the last is {last}")
            self._frame(frame, required=True)

    def answers(self) -> None:
        """Check the answers and actions of all objects and classifications. Comes last, once all objects are known."""
        for key, answer in self._answers.items():
            self._object_answer(key, answer)
        for action in self._actions.values():
            hash = action.get("objectHash")
            if not isinstance(hash, str):
                raise self._bad("have an action without objectHash")
            self._attributes(action.get("actions"), self._objects.get(hash), self._end(hash))
        for answer in self._classifications.values():
            self._classification(answer)

    def _frame(self, frame: Any, *, required: bool) -> None:
        objects = frame.get("objects", None if required else []) if isinstance(frame, dict) else None
        if not isinstance(objects, list):
            raise self._bad("must have a list of objects per frame")
        seen = set()
        for found in objects:
            hash, feature = self._feature(found, "objectHash", shaped=True)
            if hash in seen:
                raise self._bad(f"have the object {hash} twice in one frame")
            seen.add(hash)
            if self._objects.setdefault(hash, found["featureHash"]) != found["featureHash"]:
                raise self._bad(f"have the object {hash} with two features")
            if found.get("shape") != feature.shape or not _GEOMETRY.get(feature.shape or "", _other)(found):
                raise self._bad(f"have an object that is not a {feature.shape}")
            if found.get("event") is not None or found.get("interpolate") is not None:
                raise self._bad("have events, which only scenes have")
            self._annotation(found)
            if hash not in self._answers:
                raise Refusal(400, f"An object of {self._title} lacks object_answers.", name=_ANSWERS)

    def _object_answer(self, key: str, answer: dict[str, Any]) -> None:
        hash = answer.get("objectHash")
        if hash != key:
            raise self._bad(f"have object_answers of {hash!r} under {key!r}")
        feature = self._objects.get(key)
        placed = answer.get("spaces")
        if self._item_type in _RANGED or (self._members and placed):
            self._feature(answer, "objectHash", shaped=True)
            self._ranges(answer.get("range"), self._last)
            self._annotation(answer)
            feature = answer["featureHash"]
        self._placed(placed, key)
        self._attributes(answer.get("classifications"), feature, self._end(key))

    def _classification(self, answer: dict[str, Any]) -> None:
        hash, _ = self._feature(answer, "classificationHash", shaped=False)
        self._ranges(answer.get("range") or [], self._last)
        self._placed(answer.get("spaces"), hash)
        self._annotation(answer)
        self._attributes(answer.get("classifications"), answer["featureHash"], self._end(hash))

    def _lies(self, last: int, hashes: Iterable[str]) -> None:
        """Note that objects lie in a space that ends with this frame."""
        for hash in hashes:
            self._ends[hash] = max(self._ends.get(hash, 0), last)

    def _end(self, hash: str) -> int:
        """Return the last frame at which an object can have an answer."""
        return self._ends.get(hash, self._last)

    def _placed(self, spaces: Any, hash: str) -> None:
        """Check the places of an object or classification in the spaces of a data group."""
        if not spaces:
            return
        if not self._members:
            raise self._bad("have something in a space, which only groups have")
        if not isinstance(spaces, dict):
            raise self._bad("have spaces that are none")
        for key, place in spaces.items():
            if key not in self._members:
                raise self._bad(f"have something in a space {key!r} that the group lacks")
            if not isinstance(place, dict) or not isinstance(place.get("range"), list):
                raise self._bad("have an invalid place in a space")
            last = last_of(self._members[key])
            self._lies(last, [hash])
            if place.get("type") != "html":
                self._ranges(place["range"], last)

    def _feature(self, found: Any, hash: str, *, shaped: bool) -> tuple[str, Feature]:
        if not isinstance(found, dict) or not isinstance(found.get(hash), str):
            raise self._bad(f"have one that is not an object with {hash}")
        name = found.get("featureHash")
        feature = self._features.get(name) if isinstance(name, str) else None
        if feature is None or (feature.shape is not None) is not shaped:
            raise Refusal(
                400,
                f"A label of {self._title} has the feature {name!r}, which the ontology lacks.",
                name="FEATURE_DOES_NOT_EXIST_ERROR",
            )
        return found[hash], feature

    def _attributes(self, answers: Any, feature: str | None, last: int) -> None:
        """Check the answers of an object or classification. ``feature`` is ``None`` for an object that is gone, whose
        answers older rows may still have."""
        if not isinstance(answers, list) or not all(isinstance(answer, dict) for answer in answers):
            raise Refusal(400, f"The answers of {self._title} must be lists of objects.", name=_ANSWERS)
        if feature is None:
            return
        known = self._features[feature].attributes
        for answer in answers:
            hash = answer.get("featureHash")
            attribute = known.get(hash) if isinstance(hash, str) else None
            if attribute is None or not self._answered(attribute, answer, last):
                raise Refusal(400, f"An answer of {self._title} does not answer its attribute.", name=_ANSWERS)

    def _answered(self, attribute: Attribute, answer: dict[str, Any], last: int) -> bool:
        given = answer.get("answers")
        if not isinstance(answer.get("manualAnnotation"), bool):
            return False
        if attribute.dynamic:
            self._ranges(answer.get("range"), last)
        if attribute.type == "text":
            return isinstance(given, str)
        if attribute.type == "numeric":
            return _number(given)
        if not isinstance(given, list) or (attribute.type == "radio" and len(given) != 1):
            return False
        return all(
            isinstance(chosen, dict)
            and isinstance(chosen.get("featureHash"), str)
            and chosen["featureHash"] in attribute.options
            for chosen in given
        )

    def _annotation(self, found: dict[str, Any]) -> None:
        for key in ("createdAt", "lastEditedAt"):
            if not _date(found.get(key)):
                raise self._bad(f"have the date {str(found[key])[:100]!r}, neither ISO 8601 nor in English")
        if not (found.get("confidence") is None or _number(found["confidence"])):
            raise self._bad("have a confidence that is not a number")

    def _ranges(self, value: Any, end: int) -> None:
        if not isinstance(value, list) or not all(map(_is_range, value)):
            raise self._bad("have an invalid range")
        if any(last > end for _, last in value):
            # The SDK makes an entry for each frame of a range, so it could hardly read such labels back.
            raise self._bad(f"have a range that goes beyond the end, which is at {end}")

    def _bad(self, what: str) -> Refusal:
        return corrupted(f"The labels of {self._title} {what}.")


def last_of(row: sqlite3.Row) -> int:
    """Return the last frame of a row's data unit; if the platform does not know it, a bound that no file reaches."""
    if row["item_type"] == "image":
        return 0
    if row["item_type"] in ("dicomFile", "dicomSeries", "nifti"):
        return LONGEST_RANGE  # only a viewer knows the axis of its frames
    if row["item_type"] in _RANGED or not row["frames"]:
        return LONGEST_RANGE
    return int(row["frames"]) - 1


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_range(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_count, value)) and value[0] <= value[1]


def _is_frame(number: str) -> bool:
    return number.isascii() and number.isdigit() and len(number) < 16


def _date(value: Any) -> bool:
    return value is None or (isinstance(value, str) and _readable_date(value))


@lru_cache(maxsize=1024)  # the labels of one save mostly share their dates
def _readable_date(value: str) -> bool:
    try:
        if (found := _IN_WORDS.fullmatch(value)) is not None:
            day, month, year, time = found.groups()
            value = f"{year}-{_MONTHS.index(month) + 1:02}-{int(day):02}T{time}"
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


def _fields(key: str, *numbers: str) -> Callable[[dict[str, Any]], bool]:
    def has(found: dict[str, Any]) -> bool:
        geometry = found.get(key)
        return isinstance(geometry, dict) and all(_number(geometry.get(number)) for number in numbers)

    return has


def _is_point(value: Any) -> bool:
    return isinstance(value, dict) and _number(value.get("x")) and _number(value.get("y"))


def _points(value: Any) -> bool:
    """Return True if a value is points, in a list or by number."""
    if isinstance(value, dict):
        return all(map(_is_frame, value)) and all(map(_is_point, value.values()))
    return isinstance(value, list) and all(map(_is_point, value))


def _point(found: dict[str, Any]) -> bool:
    return isinstance(found.get("point"), dict) and _is_point(found["point"].get("0"))


def _polygon(found: dict[str, Any]) -> bool:
    several = found.get("polygons")
    if several is None:
        return _points(found.get("polygon"))
    # Polygons of rings, each a list of x, y, x, y, ...
    if found.get("polygon") is not None and not _points(found["polygon"]):
        return False
    return isinstance(several, list) and all(
        isinstance(rings, list)
        and rings
        and all(isinstance(ring, list) and len(ring) % 2 == 0 and all(map(_number, ring)) for ring in rings)
        for rings in several
    )


def _skeleton(found: dict[str, Any]) -> bool:
    points = found.get("skeleton")
    return isinstance(points, dict) and isinstance(found.get("name"), str) and all(map(_is_point, points.values()))


def _bitmask(found: dict[str, Any]) -> bool:
    mask = found.get("bitmask")
    return (
        isinstance(mask, dict)
        and isinstance(mask.get("rleString"), str)
        and all(_count(mask.get(key)) for key in ("top", "left", "height", "width"))
    )


def _other(found: dict[str, Any]) -> bool:
    """Accept a shape that is stored without validation."""
    return True


_GEOMETRY: Mapping[str, Callable[[dict[str, Any]], bool]] = {
    "bounding_box": _fields("boundingBox", "h", "w", "x", "y"),
    "rotatable_bounding_box": _fields("rotatableBoundingBox", "h", "w", "x", "y", "theta"),
    "circle": _fields("circle", "x", "y", "r"),
    "ellipse": _fields("ellipse", "x", "y", "rx", "ry"),
    "point": _point,
    "polygon": _polygon,
    "polyline": lambda found: _points(found.get("polyline")),
    "skeleton": _skeleton,
    "bitmask": _bitmask,
}
