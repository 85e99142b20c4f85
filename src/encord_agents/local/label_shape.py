"""Validation of labels that are saved: labels that the SDK could not read back are refused."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from encord_agents.local.features import Attribute, Feature
from encord_agents.local.label_values import beyond, has_geometry, is_date, is_frame, is_number, is_range, joined
from encord_agents.local.trouble import Refusal, corrupted

CONTENT = ("data_units", "object_answers", "classification_answers", "object_actions", "spaces")
"""The parts of a label row that are stored; the platform adds the rest itself."""

_ANSWERS = "ANSWER_DICTIONARY_ERROR"
LONGEST_RANGE = 100_000_000
"""Milliseconds of audio (more than a day), or characters of text."""
_BY_FRAME = ("image", "imageGroup", "imageSequence", "group")
"""Kinds of items whose data units have the labels of one frame each."""
_RANGED = ("audio", "plainText")
"""Kinds of items whose objects have ranges instead of frames, and are in ``object_answers`` only."""
_FACTS = ("featureHash", "createdAt", "createdBy", "lastEditedAt", "lastEditedBy", "confidence", "manualAnnotation")
"""The facts about a classification that older clients state on its frames only."""


def check(
    label: dict[str, Any],
    row: sqlite3.Row,
    features: Mapping[str, Feature],
    members: Sequence[sqlite3.Row] = (),
) -> None:
    """Check the labels that were sent for a row, and complete them in place: older clients, such as the SDK 0.1.200,
    put a classification on its frames, with its facts, and newer ones read its range and its facts from its answer.

    Args:
        members: The members of a group.

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
    for index, hash in enumerate(expected):
        labels = units[hash].get("labels") if isinstance(units[hash], dict) else None
        if not isinstance(labels, dict):
            raise corrupted(f"A data unit of {title} has no labels.")
        checked.unit(labels, index)
    checked.spaces(label.get("spaces") or {})
    checked.answers()


class _Row:
    """The labels of one row.

    ``_objects`` are the objects found so far, object hash -> feature hash; ``_ends`` those in spaces of a data group,
    object hash -> the last frame of the longest of its spaces. ``_on`` are the frames that have a classification, by
    its hash and its space, which is ``None`` outside of spaces; ``_taken`` the ranges of each class's classifications
    in each space, with their hashes.
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
        self._on: dict[str, dict[str | None, list[int]]] = {}
        self._taken: dict[tuple[str, str | None], list[tuple[int, int, str]]] = {}

    def unit(self, labels: dict[str, Any], index: int) -> None:
        """Check the labels of a data unit, given its place in its group."""
        if self._item_type in _BY_FRAME:
            if any(map(is_frame, labels)):
                raise self._bad("have frames by number, where a picture has its objects and classifications directly")
            self._frame(labels, index, required=False)
            if self._item_type == "group" and labels.get("objects"):
                raise self._bad("have objects outside of the group's spaces")
        elif self._item_type not in _RANGED:
            self._frames(labels, self._last)
        else:
            self._no_frames(labels)

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
            if self._members[key]["item_type"] in _RANGED:
                self._no_frames(labels)
            else:
                last = last_of(self._members[key])
                self._frames(labels, last, key)
                self._lies(last, (found["objectHash"] for frame in labels.values() for found in frame["objects"]))

    def _frames(self, labels: dict[str, Any], last: int, space: str | None = None) -> None:
        for number, frame in labels.items():
            if not is_frame(number):
                raise self._bad(f"have {number!r} where a frame's number belongs")
            if int(number) > last:
                raise self._bad(f"have a frame {number}, and the last is {last}")
            self._frame(frame, int(number), space, required=True)

    def _no_frames(self, labels: dict[str, Any]) -> None:
        if labels:
            raise self._bad("have frames, and audio and text have their labels in the answers only")

    def answers(self) -> None:
        """Check the answers and actions of all objects and classifications. Comes last, once all objects are known."""
        for key, answer in self._answers.items():
            self._object_answer(key, answer)
        for action in self._actions.values():
            hash = action.get("objectHash")
            if not isinstance(hash, str):
                raise self._bad("have an action without objectHash")
            self._attributes(action.get("actions"), self._objects.get(hash), self._end(hash))
        for key, answer in self._classifications.items():
            self._classification(key, answer)
        for ranges in self._taken.values():
            end, holder = -1, ""
            for first, last, hash in sorted(ranges):
                if first <= end and hash != holder:
                    raise self._bad(f"have two classifications of one class on frame {first}, {holder} and {hash}")
                end, holder = max((end, holder), (last, hash))

    def _frame(self, frame: Any, number: int, space: str | None = None, *, required: bool) -> None:
        objects = frame.get("objects", None if required else []) if isinstance(frame, dict) else None
        classifications = frame.get("classifications") or [] if isinstance(frame, dict) else None
        if not isinstance(objects, list) or not isinstance(classifications, list):
            raise self._bad("must have a list of objects and one of classifications per frame")
        seen = set()
        for found in objects:
            hash, feature = self._feature(found, "objectHash", shaped=True)
            if hash in seen:
                raise self._bad(f"have the object {hash} twice in one frame")
            seen.add(hash)
            if self._objects.setdefault(hash, found["featureHash"]) != found["featureHash"]:
                raise self._bad(f"have the object {hash} with two features")
            if found.get("shape") != feature.shape or not has_geometry(found, feature.shape):
                raise self._bad(f"have an object that is not a {feature.shape}")
            if found.get("event") is not None or found.get("interpolate") is not None:
                raise self._bad("have events, which only scenes have")
            self._annotation(found)
            if hash not in self._answers:
                raise Refusal(400, f"An object of {self._title} lacks object_answers.", name=_ANSWERS)
        for found in classifications:
            hash, _ = self._feature(found, "classificationHash", shaped=False)
            answer = self._classifications.get(hash)
            if answer is None:
                raise Refusal(400, f"A classification of {self._title} lacks classification_answers.", name=_ANSWERS)
            for key in _FACTS:
                if answer.get(key) is None and found.get(key) not in (None, ""):  # the SDK's word for a missing date
                    answer[key] = found[key]
            if answer["featureHash"] != found["featureHash"]:
                raise self._bad(f"have the classification {hash} with two features")
            self._on.setdefault(hash, {}).setdefault(space, []).append(number)

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

    def _classification(self, key: str, answer: dict[str, Any]) -> None:
        if answer.get("featureHash") is None:
            raise Refusal(
                400,
                f"The answer {key!r} in classification_answers of {self._title} lacks featureHash and range, and no"
                " frame has its classification: give it both, or put the classification on its frames.",
                name=_ANSWERS,
            )
        hash, _ = self._feature(answer, "classificationHash", shaped=False)
        if hash != key:
            raise self._bad(f"have classification_answers of {hash!r} under {key!r}")
        self._ranges(answer.get("range") or [], self._last)
        self._placed(answer.get("spaces"), hash)
        self._annotation(answer)
        self._attributes(answer.get("classifications"), answer["featureHash"], self._end(hash))
        spaces = answer.get("spaces") or {}
        for space, frames in self._on.get(hash, {}).items():
            place = answer if space is None else spaces.setdefault(space, {"type": "frame"})
            place["range"] = place.get("range") or [[first, last] for first, last in joined(sorted(frames))]
            if (left := beyond(place["range"], sorted(frames))) is not None:
                raise self._bad(
                    f"have the classification {hash} on frame {left}, which the range of its answer leaves out: add"
                    " the frame to the range, or take the classification off the frame"
                )
        answer["spaces"] = spaces  # the SDK 0.1.200 reads no answer without them
        for space, place in {None: answer, **spaces}.items():
            if place.get("type") != "html":
                taken = self._taken.setdefault((answer["featureHash"], space), [])
                taken += [(first, last, hash) for first, last in place.get("range") or []]

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
            return is_number(given)
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
            if not is_date(found.get(key)):
                raise self._bad(f"have the date {str(found[key])[:100]!r}, neither ISO 8601 nor in English")
        if not (found.get("confidence") is None or is_number(found["confidence"])):
            raise self._bad("have a confidence that is not a number")

    def _ranges(self, value: Any, end: int) -> None:
        if not isinstance(value, list) or not all(map(is_range, value)):
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
