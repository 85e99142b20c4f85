"""The labels of a row, frame by frame, in the form that the page shows."""

from __future__ import annotations

import base64
from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from encord_agents.local.label_values import joined
from encord_agents.local.page.classes import Classes, LabelClass
from encord_agents.shapes import Canvas, Shape, shape

Range = tuple[int, int]


@dataclass(frozen=True)
class Answer:
    question: str
    answer: str


@dataclass(frozen=True)
class Labelled:
    """An object or a classification.

    Attributes:
        hash: Its own hash, not its feature's.
        number: Its number among the labels of its class in this row, from 1.
        shape: Its geometry on this frame; empty for classifications and for objects of audio and text.
        ranges: Its frames, milliseconds or characters, if it has ranges; in a data group, the numbers of pictures.
        change: ``added``, ``removed`` or ``changed``, if two versions are compared.
        detail: The changes in words.
    """

    hash: str
    number: int
    label_class: LabelClass
    confidence: float | None = None
    shape: Shape = field(default_factory=Shape)
    answers: Sequence[Answer] = ()
    ranges: Sequence[Range] = ()
    change: str | None = None
    detail: str = ""

    @property
    def name(self) -> str:
        return self.label_class.name

    @property
    def tag(self) -> str:
        """The text next to it: its class, and its confidence if that is less than 1."""
        certain = self.confidence is None or self.confidence == 1
        return self.name if certain else f"{self.name} {self.confidence:.2f}"

    @cached_property
    def mask(self) -> str | None:
        """The bitmask in the class's colour, as a data URL."""
        if self.shape.mask is None:
            return None
        return "data:image/png;base64," + base64.b64encode(self.shape.mask.png(*self.label_class.rgb)).decode("ascii")

    @property
    def outline(self) -> str:
        """An SVG path of all rings and lines."""
        rings = ("M" + "L".join(f"{x:g} {y:g}" for x, y in _cut(ring)) + "Z" for ring in self.shape.rings if ring)
        lines = ("M" + "L".join(f"{x:g} {y:g}" for x, y in _cut(line)) for line in self.shape.lines if line)
        return " ".join([*rings, *lines])

    @property
    def dots(self) -> str:
        """An SVG path of zero-length lines, which round line caps make visible as dots."""
        return " ".join(f"M{x:g} {y:g}h0" for x, y in _cut(self.shape.dots))

    @property
    def is_area(self) -> bool:
        return bool(self.shape.rings)


def _cut(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Round points to a hundredth of a pixel: more is not visible, and makes pages large."""
    return [(round(x, 2), round(y, 2)) for x, y in points]


class Ranges:
    """The ranges of several labels or answers, ordered once: a search through all of them at each number is slow.

    Attributes:
        edges: The numbers at which a range begins, or has just ended, in order.
    """

    def __init__(self, ranges: Iterable[Iterable[Sequence[int]]]) -> None:
        begun, ended = defaultdict[int, list[int]](list), defaultdict[int, list[int]](list)
        for index, own in enumerate(ranges):
            for first, last in own:
                if first <= last:
                    begun[first].append(index)
                    ended[last + 1].append(index)
        self.edges = sorted({*begun, *ended})
        self._from: list[list[int]] = []
        on: list[int] = []  # once for each range: those of one label may overlap
        for edge in self.edges:
            for index in ended.get(edge, ()):
                del on[bisect_left(on, index)]
            for index in begun.get(edge, ()):
                insort(on, index)
            self._from.append(on.copy())

    def at(self, number: int) -> list[int]:
        """Return the indexes of those that have a range with a number in it, in order."""
        edge = bisect_right(self.edges, number)
        return list(dict.fromkeys(self._from[edge - 1])) if edge else []


class Row:
    """The saved content of a label row.

    Args:
        content: The content as it was saved; ``None`` for a row without labels.
        item_type: The type of the storage item.
        sizes: The size of each picture in pixels, or a single size that all have.
        parts: For a group: for each picture, the uuid of its member, and the picture's number in it.
    """

    def __init__(
        self,
        content: Mapping[str, Any] | None,
        classes: Classes,
        item_type: str,
        sizes: Sequence[tuple[int, int]],
        parts: Sequence[tuple[str, int]] = (),
    ) -> None:
        self._content = content or {}
        self._classes = classes
        self._item_type = item_type
        self._sizes = sizes
        self._parts = parts
        self._labels: dict[str, Any] = self._by_frame()
        self._numbers: dict[str, int] = {}
        self._seen: dict[str, int] = {}
        self._changing: dict[str, Ranges] = {}
        for hash, feature in self._order():
            self._number(hash, feature)

    def _by_frame(self) -> dict[str, Any]:
        """Return the labels by frame; those of a single picture as they are."""
        units = self._content.get("data_units", {})
        if self._item_type in ("imageGroup", "imageSequence"):
            found = [(k, units.get(member)) for k, (member, _) in enumerate(self._parts)]
            return {str(k): unit.get("labels") or {} for k, unit in found if unit is not None}
        if self._item_type == "group":
            spaces = self._content.get("spaces", {})
            return {str(k): _labels_of(spaces.get(member), number) for k, (member, number) in enumerate(self._parts)}
        first: Mapping[str, Any] = next(iter(units.values()), {})
        return first.get("labels") or {}

    @property
    def is_ranged(self) -> bool:
        return self._item_type in ("audio", "plainText")

    @property
    def frames(self) -> list[int]:
        """The frames that have objects, in order."""
        if self._item_type == "image" or self.is_ranged:
            return [0]
        drawn = {int(frame) for frame, labels in self._labels.items() if labels.get("objects")}
        return sorted(drawn | {k for k in range(len(self._parts)) if self._ranged(k)})

    def objects(self, frame: int = 0) -> list[Labelled]:
        """Return the objects on a frame; all objects of audio and text, whatever their range."""
        if self.is_ranged:
            return self._by_range(lambda answer: answer.get("range") or [])
        return [
            Labelled(
                found["objectHash"],
                self._numbers.get(found["objectHash"], 1),
                self._classes.get(found["featureHash"]),
                found.get("confidence"),
                shape(found, Canvas(*self._sizes[min(frame, len(self._sizes) - 1)], self._classes.edges)),
                [*self._static(found["objectHash"]), *self._dynamic(found["objectHash"], frame)],
            )
            for found in self._frame(frame).get("objects", ())
        ] + self._ranged(frame)

    def _ranged(self, frame: int) -> list[Labelled]:
        """Return the objects of a group's member that have ranges of audio or text, and no geometry."""
        if self._item_type != "group" or frame >= len(self._parts) or self._parts[frame][1]:
            return []
        member = self._parts[frame][0]
        ranges = self._by_range(lambda answer: (answer.get("spaces") or {}).get(member, {}).get("range") or [])
        return [one for one in ranges if one.ranges]

    def _by_range(self, ranges_of: Callable[[dict[str, Any]], list[Any]]) -> list[Labelled]:
        return [
            Labelled(
                key,
                self._numbers.get(key, 1),
                self._classes.get(answer["featureHash"]),
                answer.get("confidence"),
                answers=self._answers(answer.get("classifications")),
                ranges=[(first, last) for first, last in ranges_of(answer)],
            )
            for key, answer in self._content.get("object_answers", {}).items()
            if "featureHash" in answer
        ]

    def classifications(self, frame: int | None = None) -> list[Labelled]:
        """Return the classifications on a frame, or all of them."""
        found = []
        for key, answer in self._content.get("classification_answers", {}).items():
            if frame is not None and not self._is_on(answer, frame):
                continue
            if self._item_type == "group" and frame is None:
                ranges = joined([k for k in range(len(self._parts)) if self._is_on(answer, k)])
            else:
                ranges = [(first, last) for first, last in answer.get("range") or []]
            found.append(
                Labelled(
                    key,
                    self._numbers.get(key, 1),
                    self._classes.get(answer["featureHash"]),
                    answer.get("confidence"),
                    answers=self._answers(answer.get("classifications")),
                    ranges=ranges,
                )
            )
        return found

    def _is_on(self, answer: Mapping[str, Any], frame: int) -> bool:
        """Return True if a classification is on a frame; without a range, it is on all frames of its file or member."""
        member, number = self._place(frame)
        spaces = answer.get("spaces") if member is not None else None
        if spaces and member not in spaces:
            return False
        ranges = (spaces[member] if spaces else answer).get("range")
        return not ranges or _covers(ranges, number)

    def _place(self, frame: int) -> tuple[str | None, int]:
        """Return the member of a data group that a frame is of, and the number that the frame has in its own file."""
        in_group = self._item_type == "group" and frame < len(self._parts)
        return self._parts[frame] if in_group else (None, frame)

    def tracks(self) -> list[tuple[Labelled, list[Range]]]:
        """Return each object of a video with its ranges of frames."""
        on: dict[str, list[int]] = {}
        features: dict[str, str] = {}
        for frame in self.frames:
            for found in self._frame(frame).get("objects", ()):
                on.setdefault(found["objectHash"], []).append(frame)
                features[found["objectHash"]] = found["featureHash"]
        return [
            (Labelled(hash, self._numbers.get(hash, 1), self._classes.get(features[hash])), joined(frames))
            for hash, frames in on.items()
        ]

    def count(self) -> int:
        """Return the number of objects and classifications."""
        return len(self._numbers)

    def names(self) -> dict[str, str]:
        """Return the name of each object and classification, by its hash."""
        return {hash: f"{self._classes.get(feature).name} {self._numbers[hash]}" for hash, feature in self._order()}

    def _order(self) -> Iterator[tuple[str, str]]:
        frames = [self._labels] if self._item_type == "image" else [self._frame(frame) for frame in self.frames]
        for frame in frames if not self.is_ranged else []:
            for found in frame.get("objects", ()):
                yield found["objectHash"], found["featureHash"]
        for key, answer in self._content.get("object_answers", {}).items():
            if "featureHash" in answer and (self.is_ranged or answer.get("spaces")):
                yield key, answer["featureHash"]
        for key, answer in self._content.get("classification_answers", {}).items():
            yield key, answer["featureHash"]

    def _number(self, hash: str, feature: str) -> None:
        if hash not in self._numbers:
            self._seen[feature] = self._seen.get(feature, 0) + 1
            self._numbers[hash] = self._seen[feature]

    def _frame(self, frame: int) -> dict[str, Any]:
        if self._item_type == "image":
            return self._labels if frame == 0 else {}
        found = self._labels.get(str(frame))
        return found if isinstance(found, dict) else {}

    def _static(self, hash: str) -> list[Answer]:
        return self._answers(self._content.get("object_answers", {}).get(hash, {}).get("classifications"))

    def _dynamic(self, hash: str, frame: int) -> list[Answer]:
        actions = self._content.get("object_actions", {}).get(hash, {}).get("actions") or ()
        if hash not in self._changing:
            self._changing[hash] = Ranges(one.get("range") or () for one in actions)
        _, number = self._place(frame)
        return self._answers([actions[k] for k in self._changing[hash].at(number)])

    def _answers(self, given: Any) -> list[Answer]:
        found = []
        for answer in given or ():
            question = self._classes.names.get(str(answer.get("featureHash"))) or str(answer.get("name") or "")
            chosen = answer.get("answers")
            if isinstance(chosen, list):
                text = ", ".join(
                    self._classes.names.get(str(one.get("featureHash")))
                    or str(one.get("name") or one.get("value") or "")
                    for one in chosen
                    if isinstance(one, dict)
                )
            else:
                text = "" if chosen is None else str(chosen)
            found.append(Answer(question, text))
        return found


def _labels_of(space: Mapping[str, Any] | None, number: int) -> dict[str, Any]:
    """Return the labels of one picture of a group's member."""
    labels = (space or {}).get("labels") or {}
    if isinstance(labels.get("objects"), list):
        return dict(labels) if number == 0 else {}
    found = labels.get(str(number))
    return found if isinstance(found, dict) else {}


def _covers(ranges: Any, number: int) -> bool:
    return any(first <= number <= last for first, last in ranges or ())


def marked(labelled: Labelled, change: str, detail: str = "") -> Labelled:
    """Return the same label, marked as one that differs between two versions."""
    return replace(labelled, change=change, detail=detail)
