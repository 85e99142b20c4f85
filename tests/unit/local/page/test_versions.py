"""Two versions of a row's labels: what is the same in both, and in what the others differ."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from tests.thorough import examples

from encord_agents.local.page import versions
from encord_agents.local.page.classes import Classes, LabelClass
from encord_agents.local.page.labelled import Labelled, Row
from encord_agents.local.page.versions import ALIKE, Box, Compared, compare, overlap
from encord_agents.shapes import Shape

CLASSES = Classes(
    {
        "car": LabelClass("car", "Car", "#0000ff", "bounding box"),
        "bus": LabelClass("bus", "Bus", "#00ff00", "bounding box"),
        "day": LabelClass("day", "Day", "#ff0000", "classification"),
    },
    {"q": "Colour"},
)


def box(hash: str, x: float = 0.0, *, feature: str = "car", **more: Any) -> dict[str, Any]:
    """Return an object whose box is a tenth of the picture wide, and as high as it."""
    place = {"x": x, "y": 0.0, "w": 0.1, "h": 1.0}
    return {"objectHash": hash, "featureHash": feature, "shape": "bounding_box", "boundingBox": place, **more}


def film(frames: Mapping[int, list[dict[str, Any]]], **more: Any) -> Row:
    labels = {str(frame): {"objects": objects} for frame, objects in frames.items()}
    return Row({"data_units": {"data": {"labels": labels}}, **more}, CLASSES, "video", [(1000, 100)])


def picture(*objects: dict[str, Any], **more: Any) -> Row:
    content = {"data_units": {"data": {"labels": {"objects": list(objects)}}}, **more}
    return Row(content, CLASSES, "image", [(1000, 100)])


def counts(compared: Compared) -> tuple[int, int, int, int]:
    return len(compared.added), len(compared.removed), len(compared.changed), compared.same


@pytest.mark.parametrize(
    ("older", "newer", "expected"),
    [
        ([box("a")], [box("a")], (0, 0, 0, 1)),
        ([], [box("a")], (1, 0, 0, 0)),
        ([box("a")], [], (0, 1, 0, 0)),
        ([box("a")], [box("a", 0.5)], (0, 0, 1, 0)),
        ([box("a")], [box("b")], (0, 0, 0, 1)),
        ([box("a")], [box("b", 0.01)], (0, 0, 1, 0)),
        ([box("a")], [box("b", 0.05)], (1, 1, 0, 0)),
        ([box("a")], [box("b", feature="bus")], (1, 1, 0, 0)),
        ([box("a"), box("b")], [box("b"), box("a")], (0, 0, 0, 2)),
        ([box("a"), box("b")], [box("c")], (0, 1, 0, 1)),
    ],
)
def test_pairs(older: list[dict[str, Any]], newer: list[dict[str, Any]], expected: tuple[int, int, int, int]) -> None:
    """An object is the one of its id; without that, one of its class which it overlaps by half, and no other's."""
    assert counts(compare(picture(*older), picture(*newer))) == expected


def test_the_best_pair_comes_first() -> None:
    """The nearest of several objects that overlap one is the same as it."""
    older = picture(box("a", 0.02), box("b", 0.0), box("c", 0.03))
    compared = compare(older, picture(box("n", 0.0)))
    assert [labelled.hash for labelled in compared.removed] == ["a", "c"]
    assert compared.same == 1


@pytest.mark.parametrize(
    ("older", "newer", "detail"),
    [
        (box("a"), box("a", 0.5), "moved"),
        (box("a", confidence=0.5), box("a", confidence=0.75), "confidence 0.50 → 0.75"),
        (box("a"), box("a", confidence=1), "confidence none → 1.00"),
        (box("a", confidence=1), box("a", 0.5), "moved; confidence 1.00 → none"),
    ],
)
def test_the_difference_in_words(older: dict[str, Any], newer: dict[str, Any], detail: str) -> None:
    """It names what has changed of an object, with the values where they are short."""
    (changed,) = compare(picture(older), picture(newer)).changed
    assert changed.detail == detail


@pytest.mark.parametrize(
    ("before", "after", "detail"),
    [
        ("red", "blue", "Colour: red → blue"),
        (None, "blue", "Colour: no answer → blue"),
        ("red", None, "Colour: red → no answer"),
    ],
)
def test_answers_that_differ(before: str | None, after: str | None, detail: str) -> None:
    """The question is named with both answers, also for classifications, which are paired by their class."""

    def day(hash: str, answer: str | None) -> Row:
        given = [] if answer is None else [{"featureHash": "q", "answers": answer}]
        return picture(classification_answers={hash: {"featureHash": "day", "classifications": given}})

    compared = compare(day("c", before), day("d", after))
    assert [labelled.detail for labelled in compared.changed] == [detail]
    assert counts(compared) == (0, 0, 1, 0)


def test_questions_of_the_same_words() -> None:
    """An answer that differs is told, also where another question of the class has the same words."""

    def day(*answers: str) -> Row:
        given = [{"featureHash": "q", "answers": answer} for answer in answers]
        return picture(classification_answers={"c": {"featureHash": "day", "classifications": given}})

    (changed,) = compare(day("red", "light"), day("blue", "light")).changed
    assert changed.detail == "Colour: red, light → blue, light"


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"c": ["left"]}, {"c": ["left"]}, (0, 0, 0, 1)),
        ({"c": ["left"]}, {"c": ["right"]}, (0, 0, 1, 0)),
        ({"c": ["left"]}, {"d": ["right"]}, (0, 0, 1, 0)),
        ({"c": ["left"]}, {"c": ["left", "right"]}, (0, 0, 1, 0)),
        ({"c": ["left"], "d": ["right"]}, {"e": ["right"], "f": ["left"]}, (0, 0, 0, 2)),
    ],
)
def test_classifications_of_members(
    before: dict[str, list[str]], after: dict[str, list[str]], expected: tuple[int, int, int, int]
) -> None:
    """A classification of a data group is the same if it is of the same members; of several, that of its member."""

    def group(placed: dict[str, list[str]]) -> Row:
        answers = {
            hash: {"featureHash": "day", "range": [], "spaces": {member: {"range": [[0, 0]]} for member in members}}
            for hash, members in placed.items()
        }
        parts = [("left", 0), ("right", 0)]
        return Row({"classification_answers": answers}, CLASSES, "group", [(10, 10)], parts)

    assert counts(compare(group(before), group(after))) == expected


def test_ranges_that_differ() -> None:
    """Objects of sound are the same by their ranges; one that is the same by its id may have another."""

    def sound(hash: str, *ranges: list[int]) -> Row:
        return Row({"object_answers": {hash: {"featureHash": "car", "range": ranges}}}, CLASSES, "audio", [(1, 1)])

    assert [one.detail for one in compare(sound("a", [0, 9]), sound("a", [0, 8])).changed] == ["another range"]
    assert counts(compare(sound("a", [0, 9]), sound("b", [0, 9]))) == (0, 0, 0, 1)
    assert counts(compare(sound("a", [0, 9]), sound("b", [0, 8]))) == (1, 1, 0, 0)


def test_frames_of_a_video() -> None:
    """A frame shows both states of an object that changed, the earlier one first, and those that are the same."""
    older = film({0: [box("a")], 2: [box("a"), box("b")], 5: [box("b")]})
    newer = film({0: [box("a")], 2: [box("a", 0.5), box("b")], 7: [box("c")]})
    compared = compare(older, newer)
    assert compared.frames == [2, 5, 7]
    shown = {frame: [(found.hash, found.change) for found in compared.on(frame)] for frame in (0, 1, 2, 5, 7)}
    assert shown == {
        0: [("a", None)], 1: [], 2: [("a", "before"), ("a", "changed"), ("b", None)],
        5: [("b", "removed")], 7: [("c", "added")],
    }  # fmt: skip


def test_an_object_counts_once() -> None:
    """It does so on however many frames of a video it differs, and if it differs on some, it is not the same."""
    older = film({frame: [box("a"), box("b")] for frame in range(3)})
    newer = film({frame: [box("a", 0.5 if frame else 0.0), box("c", 0.9)] for frame in range(3)})
    assert counts(compare(older, newer)) == (1, 1, 1, 0)


@pytest.mark.parametrize(
    ("hash", "older", "newer", "detail", "frames"),
    [
        ("a", {0: 0.0, 1: 0.0}, {0: 0.0}, "in fewer places", [1]),
        ("b", {0: 0.0, 1: 0.0}, {0: 0.0}, "in fewer places", [1]),
        ("a", {0: 0.0}, {0: 0.0, 1: 0.0}, "in more places", [1]),
        ("b", {0: 0.0}, {0: 0.0, 1: 0.0}, "in more places", [1]),
        ("b", {0: 0.0, 1: 0.0}, {0: 0.0, 2: 0.0}, "in fewer places; in more places", [1, 2]),
        ("a", {0: 0.0, 1: 0.0}, {1: 0.5, 2: 0.5}, "moved; in fewer places; in more places", [0, 1, 2]),
    ],
)
def test_an_object_on_other_frames(
    hash: str, older: dict[int, float], newer: dict[int, float], detail: str, frames: list[int]
) -> None:
    """It has changed, by whichever id: it is neither added, removed nor the same, though a frame may show it so."""
    before = film({frame: [box("a", x)] for frame, x in older.items()})
    compared = compare(before, film({frame: [box(hash, x)] for frame, x in newer.items()}))
    assert counts(compared) == (0, 0, 1, 0)
    assert (compared.changed[0].hash, compared.changed[0].detail, compared.frames) == (hash, detail, frames)


@pytest.mark.parametrize(
    ("one", "other", "share"),
    [
        ((0, 0, 1, 1), (0, 0, 1, 1), 1.0),
        ((0, 0, 1, 1), (0.5, 0, 1.5, 1), 1 / 3),
        ((0, 0, 1, 1), (3, 3, 3, 3), 0.0),
        ((3, 3, 3, 3), (3, 3, 3, 3), 1.0),
        ((3, 3, 3, 3), (4, 3, 4, 3), 0.0),
    ],
)
def test_overlap(one: Box, other: Box, share: float) -> None:
    """It is the same in either order; points without an area overlap where they are the same."""
    assert overlap(one, other) == overlap(other, one) == pytest.approx(share)


def drawn(hash: str, label_class: LabelClass, box: Box | None = None, ranges: Sequence[Any] = ()) -> Labelled:
    shape = Shape(rings=[[box[:2], box[2:]]]) if box else Shape()
    return Labelled(hash, 1, label_class, shape=shape, ranges=ranges)


def simply_paired(before: Sequence[Labelled], after: Sequence[Labelled]) -> list[tuple[str, str]]:
    """Pair labels as the page does, by trying each with each."""
    pairs = [(one.hash, one.hash) for one in before if any(one.hash == other.hash for other in after)]

    def alike(one: Labelled, other: Labelled) -> float:
        if not one.label_class.is_object:
            return 1.0 if one.ranges == other.ranges else ALIKE
        if one.shape.box is None:
            return float(one.ranges == other.ranges)
        return overlap(one.shape.box, other.shape.box) if other.shape.box else 0.0

    used = {(side, hash) for one, _ in pairs for side, hash in ((0, one), (1, one))}
    for score, i, j in sorted(
        ((alike(one, other), i, j) for i, one in enumerate(before) for j, other in enumerate(after)), reverse=True
    ):
        one, other = before[i], after[j]
        if one.label_class == other.label_class and score >= ALIKE and not used & {(0, one.hash), (1, other.hash)}:
            used |= {(0, one.hash), (1, other.hash)}
            pairs.append((one.hash, other.hash))
    return pairs


def test_pairs_of_many() -> None:
    """The best are first, as trying each with each finds them; what has no pair keeps its order."""
    chosen = random.Random(0)
    objects = [CLASSES.get(hash) for hash in ("car", "bus")]
    classifications = [LabelClass(hash, hash, "#000000", "classification") for hash in ("day", "dusk")]

    def some(hash: str, classes: Sequence[LabelClass]) -> Labelled:
        label_class = chosen.choice(classes)
        x, y, width, height = (chosen.randrange(most) for most in (7, 4, 5, 4))
        box = (x, y, x + width, y + height) if label_class.is_object and chosen.random() < 0.8 else None
        return drawn(hash, label_class, box, chosen.choice([[], [], [(0, 3)], [({"offset": 1}, {"offset": 2})]]))

    for _ in range(examples(200)):
        classes = chosen.choice([objects, classifications])
        before = [some(f"a{k}", classes) for k in range(chosen.randrange(20))]
        after = [some(f"b{k}", classes) for k in range(chosen.randrange(20))]
        after += chosen.sample(before, chosen.randrange(1 + len(before) // 4))
        chosen.shuffle(after)
        pairs, gone, new = versions._paired(before, after)
        expected = simply_paired(before, after)
        assert [(one.hash, other.hash) for one, other in pairs] == expected
        assert gone == [one for one in before if one.hash not in {hash for hash, _ in expected}]
        assert new == [other for other in after if other.hash not in {hash for _, hash in expected}]


@pytest.mark.parametrize(
    ("label_class", "place"),
    [
        ("car", lambda k, moved: {"box": (20 * k + moved, 0, 20 * k + moved + 10, 10)}),
        ("car", lambda k, moved: {"box": (0, 20 * k + moved, 10, 20 * k + moved + 10)}),
        ("car", lambda k, moved: {"box": (0, 0, 10, 10)}),
        ("car", lambda k, moved: {}),
        ("car", lambda k, moved: {"ranges": [(k, k)]}),
        ("day", lambda k, moved: {"ranges": [(k, k)]}),
        ("day", lambda k, moved: {"ranges": [(k, k + moved)]}),
    ],
)
def test_few_are_compared(
    monkeypatch: pytest.MonkeyPatch, label_class: str, place: Callable[[int, int], dict[str, Any]]
) -> None:
    """Many labels with new ids, whether they have moved or not, are paired without comparing each with each."""
    looked: list[str] = []

    class Noted(LabelClass):
        def __getattribute__(self, name: str) -> Any:
            looked.append(name)
            return super().__getattribute__(name)

    def noted(one: Box, other: Box) -> float:
        looked.append("overlap")
        return overlap(one, other)

    monkeypatch.setattr(versions, "overlap", noted)
    known = CLASSES.get(label_class)
    kind = Noted(known.hash, known.name, known.colour, known.shape)
    before, after = ([drawn(f"{moved}-{k}", kind, **place(k, moved)) for k in range(200)] for moved in (0, 1))
    pairs, _, _ = versions._paired(before, after)
    assert len(pairs) == len(before)
    assert len(looked) <= 20 * len(before)
