"""Compares two versions of a row's labels: the labels that were added, removed and changed."""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from encord_agents.local.page.labelled import Labelled, Row, marked

Box = tuple[float, float, float, float]

ALIKE = 0.5
"""The overlap from which two boxes of a class count as the same object: agents assign new ids in each run."""


@dataclass(frozen=True)
class Compared:
    """The differences between two versions. A changed label has both its states on a frame, the earlier one first.

    Attributes:
        by_frame: The labels by frame; those that do not differ have no ``change``.
        frames: The frames on which something differs.
    """

    added: Sequence[Labelled]
    removed: Sequence[Labelled]
    changed: Sequence[Labelled]
    same: int
    by_frame: dict[int, list[Labelled]] = field(default_factory=dict)
    frames: Sequence[int] = ()

    def on(self, frame: int) -> list[Labelled]:
        return self.by_frame.get(frame, [])


def compare(older: Row, newer: Row) -> Compared:
    """Compare two versions."""
    added: dict[str, Labelled] = {}
    removed: dict[str, Labelled] = {}
    changed: dict[str, Labelled] = {}
    same: set[str] = set()
    later: dict[str, Labelled] = {}
    by_frame: dict[int, list[Labelled]] = {}
    frames = sorted({*older.frames, *newer.frames})
    for frame in frames:
        before = older.objects(frame)
        after = newer.objects(frame)
        shown: list[Labelled] = []
        pairs, gone, new = _paired(before, after)
        for one, other in pairs:
            later.setdefault(one.hash, other)
            detail = _difference(one, other)
            if detail:
                changed.setdefault(other.hash, marked(other, "changed", detail))
                shown += [marked(one, "before"), marked(other, "changed", detail)]
            else:
                same.add(other.hash)
                shown.append(other)
        for labelled in gone:
            removed.setdefault(labelled.hash, marked(labelled, "removed"))
            shown.append(marked(labelled, "removed"))
        for labelled in new:
            added.setdefault(labelled.hash, marked(labelled, "added"))
            shown.append(marked(labelled, "added"))
        by_frame[frame] = shown
    _elsewhere(removed, later, changed, "in fewer places")
    _elsewhere(added, {other.hash: other for other in later.values()}, changed, "in more places")
    pairs, gone, new = _paired(older.classifications(), newer.classifications())
    for one, other in pairs:
        detail = _difference(one, other)
        if detail:
            changed[other.hash] = marked(other, "changed", detail)
        else:
            same.add(other.hash)
    removed |= {labelled.hash: marked(labelled, "removed") for labelled in gone}
    added |= {labelled.hash: marked(labelled, "added") for labelled in new}
    return Compared(
        list(added.values()),
        list(removed.values()),
        list(changed.values()),
        len(same - changed.keys()),
        by_frame,
        [frame for frame, shown in by_frame.items() if any(labelled.change for labelled in shown)],
    )


def _elsewhere(
    missing: dict[str, Labelled], found: Mapping[str, Labelled], changed: dict[str, Labelled], detail: str
) -> None:
    """Move labels that one version lacks only on some frames to the changed ones: on other frames, both have them."""
    for hash in [hash for hash in missing if hash in found]:
        del missing[hash]
        other = found[hash]
        known = changed[other.hash].detail if other.hash in changed else ""
        changed[other.hash] = marked(other, "changed", f"{known}; {detail}" if known else detail)


def _paired(
    before: Sequence[Labelled], after: Sequence[Labelled]
) -> tuple[list[tuple[Labelled, Labelled]], list[Labelled], list[Labelled]]:
    """Pair the labels of two versions: first by id, then those of the same class that overlap or are classifications.

    Returns:
        The pairs, the labels only in ``before``, and the labels only in ``after``.
    """
    later = {labelled.hash: labelled for labelled in after}
    pairs = [(labelled, later.pop(labelled.hash)) for labelled in before if labelled.hash in later]
    paired = {one.hash for one, _ in pairs}
    left = dict(enumerate(labelled for labelled in before if labelled.hash not in paired))
    new = dict(enumerate(later.values()))
    # Of those that are equally alike, the last come first.
    for i, j in itertools.chain(_equal(left, new, _places), _overlapping(left, new), _equal(left, new, _kinds)):
        if i in left and j in new:
            pairs.append((left.pop(i), new.pop(j)))
    return pairs, list(left.values()), list(new.values())


def _equal(
    left: Mapping[int, Labelled], new: Mapping[int, Labelled], keys: Callable[[Labelled], Sequence[Any]]
) -> Iterator[tuple[int, int]]:
    """Yield the unpaired labels of a class of which the first key of the earlier one is a key of the later one."""
    waiting = defaultdict[tuple[str, Any], list[int]](list)
    for j, other in new.items():
        for key in keys(other):
            waiting[other.label_class.hash, key].append(j)
    for i, one in reversed([*left.items()]):
        for key in keys(one)[:1]:
            found = waiting[one.label_class.hash, key]
            while found and found[-1] not in new:
                found.pop()
            if found:
                yield i, found[-1]


def _places(labelled: Labelled) -> list[Box | bytes]:
    """Return the box, if there is one, and the ranges as text: they may be of nodes of HTML."""
    box, ranges = labelled.shape.box, orjson.dumps(list(labelled.ranges), option=orjson.OPT_SORT_KEYS)
    return [box, ranges] if box else [ranges]


def _kinds(labelled: Labelled) -> list[None]:
    """Return the same for all classifications of a class, of which there is usually one, and nothing for objects."""
    return [] if labelled.label_class.is_object else [None]


def _overlapping(left: Mapping[int, Labelled], new: Mapping[int, Labelled]) -> Iterator[tuple[int, int]]:
    """Yield the unpaired objects of a class that overlap enough, from the most to the least."""
    boxes = sorted((other.label_class.hash, box, j) for j, other in new.items() if (box := other.shape.box))
    edges = [(hash, box[0]) for hash, box, _ in boxes]
    scored = []
    for i, one in left.items():
        if (box := one.shape.box) is None:
            continue
        # One that overlaps by half is at most twice as wide, and so does not begin further away than that.
        first = bisect_left(edges, (one.label_class.hash, box[0] - 2 * (box[2] - box[0])))
        last = bisect_left(edges, (one.label_class.hash, box[2]))
        for _, other, j in boxes[first:last]:
            if other[1] < box[3] and box[1] < other[3] and (score := overlap(box, other)) >= ALIKE:
                scored.append((score, i, j))
    for _, i, j in sorted(scored, reverse=True):
        yield i, j


def overlap(one: Box, other: Box) -> float:
    """Return the intersection over union of two boxes."""
    (left, top, right, bottom), (left2, top2, right2, bottom2) = one, other
    shared = max(0.0, min(right, right2) - max(left, left2)) * max(0.0, min(bottom, bottom2) - max(top, top2))
    total = (right - left) * (bottom - top) + (right2 - left2) * (bottom2 - top2) - shared
    return shared / total if total > 0 else float(one == other)


def _difference(one: Labelled, other: Labelled) -> str:
    found = []
    if one.shape != other.shape:
        found.append("moved")
    if list(one.ranges) != list(other.ranges):
        found.append("another range")
    if one.confidence != other.confidence:
        found.append(f"confidence {_share(one.confidence)} → {_share(other.confidence)}")
    earlier, later = _answered(one), _answered(other)
    found += [
        f"{question}: {earlier.get(question) or 'no answer'} → {later.get(question) or 'no answer'}"
        for question in dict.fromkeys([*earlier, *later])
        if earlier.get(question) != later.get(question)
    ]
    return "; ".join(found)


def _answered(labelled: Labelled) -> dict[str, str]:
    """Return the answers by question; several questions may have the same words."""
    found: dict[str, list[str]] = {}
    for answer in labelled.answers:
        found.setdefault(answer.question, []).append(answer.answer)
    return {question: ", ".join(answers) for question, answers in found.items()}


def _share(confidence: float | None) -> str:
    return "none" if confidence is None else f"{confidence:.2f}"
