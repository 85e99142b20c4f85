"""The labels of a row in the page's words: which are on a frame, what they are called and what they say."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import pytest
from tests.thorough import examples
from tests.unit.local.page.counted import counted

from encord_agents.local.page.classes import Classes, LabelClass
from encord_agents.local.page.labelled import Answer, Labelled, Ranges, Row, marked
from encord_agents.shapes import Mask, Shape

CAR = LabelClass("car", "Car", "#0000ff", "bounding box")
DAY = LabelClass("day", "Day", "#ff0000", "classification")
CLASSES = Classes({"car": CAR, "day": DAY}, {"q": "Colour?", "red": "Red", "blue": "Blue"})
SIZES = [(100, 50)]
BOX = {"shape": "bounding_box", "boundingBox": {"x": 0.1, "y": 0.2, "w": 0.3, "h": 0.4}}


def car(hash: str, **more: Any) -> dict[str, Any]:
    return {"objectHash": hash, "featureHash": "car", **BOX, **more}


def objects(*found: dict[str, Any]) -> dict[str, Any]:
    return {"objects": list(found), "classifications": []}


def unit(labels: Any, **more: Any) -> dict[str, Any]:
    return {"data_units": {"data": {"labels": labels}}, **more}


def hashes(found: list[Labelled]) -> list[str]:
    return [labelled.hash for labelled in found]


@pytest.mark.parametrize(("confidence", "tag"), [(None, "Car"), (1, "Car"), (0.5, "Car 0.50"), (0.0, "Car 0.00")])
def test_the_tag(confidence: float | None, tag: str) -> None:
    """It names the class, and the confidence where that is not full."""
    assert Labelled("o", 1, CAR, confidence).tag == tag


@pytest.mark.parametrize(
    ("shape", "outline", "dots", "is_area"),
    [
        (Shape(), "", "", False),
        (Shape(rings=[[(0, 0), (1, 0), (1.005001, 2 / 3)]]), "M0 0L1 0L1.01 0.67Z", "", True),
        (Shape(rings=[[(0, 0)], []], lines=[[(1, 2), (3, 4)], []]), "M0 0Z M1 2L3 4", "", True),
        (Shape(lines=[[(1, 2), (3, 4)]]), "M1 2L3 4", "", False),
        (Shape(dots=[(1, 2), (12345.678, 0.001)]), "", "M1 2h0 M12345.7 0h0", False),
    ],
)
def test_the_paths_of_a_shape(shape: Shape, outline: str, dots: str, is_area: bool) -> None:
    """Rings are closed and lines are not, points are dots, and what is empty is no part of a path."""
    labelled = Labelled("o", 1, CAR, shape=shape)
    assert (labelled.outline, labelled.dots, labelled.is_area) == (outline, dots, is_area)


def test_a_bitmask_is_a_picture() -> None:
    """It is an address of its own content, in the colour of its class; other shapes have none."""
    mask = Mask(0, 0, 2, 1, [1, 1])
    blue, red = (Labelled("o", 1, one, shape=Shape(mask=mask)).mask for one in (CAR, DAY))
    assert blue is not None
    assert red is not None
    assert blue.startswith("data:image/png;base64,")
    assert blue != red
    assert Labelled("o", 1, CAR).mask is None


def test_a_row_without_labels() -> None:
    """It has none of anything, whatever its kind."""
    for item_type in ("image", "video", "audio", "imageGroup", "group", "pdf"):
        row = Row(None, CLASSES, item_type, SIZES, [("m", 0)])
        assert (row.objects(), row.classifications(), row.tracks(), row.count(), row.names()) == ([], [], [], 0, {})


def test_the_objects_of_a_picture() -> None:
    """They are in its pixels, numbered by class, with what is said of them; a picture has one frame."""
    content = unit(objects(car("a", confidence=0.5), car("b")))
    row = Row(content, CLASSES, "image", SIZES)
    one, other = row.objects(0)
    assert (one.hash, one.number, one.label_class, one.confidence, one.ranges) == ("a", 1, CAR, 0.5, ())
    assert one.shape.box == pytest.approx((10, 10, 40, 30))
    assert (other.number, other.confidence) == (2, None)
    assert (row.frames, row.count(), row.names()) == ([0], 2, {"a": "Car 1", "b": "Car 2"})
    assert row.objects(1) == []


def test_a_class_that_is_gone() -> None:
    """An object whose class the ontology has no longer is shown all the same."""
    row = Row(unit(objects(car("a", featureHash="old"), car("b"))), CLASSES, "image", SIZES)
    assert row.names() == {"a": "old 1", "b": "Car 1"}


def test_the_frames_of_a_video() -> None:
    """The frames with objects count, in the order of numbers; each has its own objects, in its own size."""
    frames = {"10": objects(car("b")), "2": objects(car("a")), "5": objects(), "3": objects(car("a"))}
    row = Row(unit(frames), CLASSES, "video", [(10, 10), (10, 10), (100, 10)])
    assert row.frames == [2, 3, 10]
    assert [hashes(row.objects(frame)) for frame in (2, 3, 4, 5, 10)] == [["a"], ["a"], [], [], ["b"]]
    assert row.objects(10)[0].shape.box == pytest.approx((10, 2, 40, 6))  # the last size is that of those behind it
    assert row.names() == {"a": "Car 1", "b": "Car 2"}


def test_tracks() -> None:
    """Frames that follow each other are one range of an object."""
    frames = {str(frame): objects(car("a")) for frame in (0, 1, 2, 5, 7, 8)} | {"9": objects(car("b"))}
    row = Row(unit(frames), CLASSES, "video", SIZES)
    assert [(found.hash, found.number, ranges) for found, ranges in row.tracks()] == [
        ("a", 1, [(0, 2), (5, 5), (7, 8)]),
        ("b", 2, [(9, 9)]),
    ]


def test_classifications_by_frame() -> None:
    """Answers without a range are of the whole file, both ends of a range belong to it, and all can be asked for."""
    ranges: Mapping[str, Any] = {"a": [[2, 4], [8, 8]], "b": [], "c": None}
    answers = {key: {"featureHash": "day", "range": given, "classifications": []} for key, given in ranges.items()}
    row = Row({"classification_answers": answers}, CLASSES, "video", SIZES)
    assert {frame: hashes(row.classifications(frame)) for frame in (1, 2, 4, 5, 8)} == {
        1: ["b", "c"], 2: ["a", "b", "c"], 4: ["a", "b", "c"], 5: ["b", "c"], 8: ["a", "b", "c"],
    }  # fmt: skip
    everything = row.classifications()
    assert [(found.number, found.ranges) for found in everything] == [(1, [(2, 4), (8, 8)]), (2, []), (3, [])]


@pytest.mark.parametrize("item_type", ["audio", "plainText"])
def test_objects_with_ranges(item_type: str) -> None:
    """Objects of sound and text are where their answers say, on no frame; an answer without a class is no object."""
    answers = {"a": {"featureHash": "car", "range": [[0, 9], [20, 30]]}, "b": {"featureHash": "car"}, "c": {}}
    row = Row({"object_answers": answers}, CLASSES, item_type, SIZES)
    assert row.is_ranged
    assert [(found.hash, found.number, found.ranges) for found in row.objects(7)] == [
        ("a", 1, [(0, 9), (20, 30)]),
        ("b", 2, []),
    ]
    assert (row.frames, row.count()) == ([0], 2)


@pytest.mark.parametrize("item_type", ["imageGroup", "imageSequence"])
def test_an_image_group(item_type: str) -> None:
    """A picture's labels are those of its unit, wherever that is among the units; each has its own size."""
    units = {"n": {"labels": objects(car("b"))}, "gone": {"labels": objects(car("c"))}, "m": {"labels": None}}
    row = Row({"data_units": units}, CLASSES, item_type, [(10, 10), (100, 100)], [("m", 0), ("n", 0)])
    assert row.frames == [1]
    assert [hashes(row.objects(frame)) for frame in (0, 1, 2)] == [[], ["b"], []]
    assert row.objects(1)[0].shape.box == pytest.approx((10, 20, 40, 60))


def test_a_data_group() -> None:
    """A member's labels are on its own pictures; objects with ranges, on the first of theirs."""
    parts = [("picture", 0), ("film", 0), ("film", 1), ("sound", 0), ("words", 0), ("words", 1)]
    content = {
        "spaces": {
            "picture": {"labels": objects(car("p"))},
            "film": {"labels": {"1": objects(car("f")), "0": None}},
            "sound": {"labels": None},
        },
        "object_answers": {
            "s": {"featureHash": "car", "spaces": {"sound": {"range": [[1, 2]]}, "words": {"range": []}}},
            "w": {"featureHash": "car", "spaces": {"words": {"range": [[3, 4]]}}},
            "p": {"classifications": []},
        },
    }
    row = Row(content, CLASSES, "group", SIZES, parts)
    assert [hashes(row.objects(frame)) for frame in range(7)] == [["p"], [], ["f"], ["s"], ["w"], [], []]
    assert row.objects(3)[0].ranges == [(1, 2)]
    assert row.frames == [0, 2, 3, 4]
    assert row.names() == {"p": "Car 1", "f": "Car 2", "s": "Car 3", "w": "Car 4"}


def test_classifications_of_a_data_group() -> None:
    """They are on the pictures of the members that they are placed in, whose own frames their ranges count."""
    parts = [("left", 0), ("right", 0), ("film", 0), ("film", 1), ("film", 2)]
    spaces: Mapping[str, Any] = {
        "a": {"left": {"range": [[0, 0]]}},
        "b": {"film": {"range": [[1, 2]]}},
        "c": {"film": {"range": []}, "right": {"range": [[0, 0]]}},
        "d": {"not shown": {"range": [[0, 0]]}},
        "e": {},
    }
    answers = {key: {"featureHash": "day", "range": [], "spaces": placed} for key, placed in spaces.items()}
    row = Row({"classification_answers": answers}, CLASSES, "group", SIZES, parts)
    assert ["".join(hashes(row.classifications(frame))) for frame in range(5)] == ["ae", "ce", "ce", "bce", "bce"]
    assert [(found.hash, found.ranges) for found in row.classifications()] == [
        ("a", [(0, 0)]), ("b", [(3, 4)]), ("c", [(1, 4)]), ("d", []), ("e", [(0, 4)]),
    ]  # fmt: skip
    assert hashes(Row({"classification_answers": answers}, CLASSES, "group", SIZES).classifications(0)) == list("abcde")


def test_answers_that_change_in_a_data_group() -> None:
    """Their ranges count the frames of the member, not the pictures of the group."""
    actions = [{"featureHash": "q", "answers": f"frame {k}", "range": [[k, k]]} for k in range(2)]
    content = {
        "spaces": {"film": {"labels": {str(k): objects(car("a")) for k in range(2)}}},
        "object_actions": {"a": {"actions": actions}},
    }
    row = Row(content, CLASSES, "group", SIZES, [("picture", 0), ("film", 0), ("film", 1)])
    said = [[answer.answer for found in row.objects(frame) for answer in found.answers] for frame in range(3)]
    assert said == [[], ["frame 0"], ["frame 1"]]


def test_answers_that_change() -> None:
    """An object says what it is everywhere, then what it is on this frame; both ends of a range belong to it."""
    content = unit(
        {str(frame): objects(car("a")) for frame in (1, 2, 3, 4)},
        object_answers={"a": {"classifications": [{"featureHash": "q", "answers": "always"}]}},
        object_actions={"a": {"actions": [{"featureHash": "q", "answers": "now", "range": [[2, 3]]}, {"answers": 1}]}},
    )
    row = Row(content, CLASSES, "video", SIZES)
    assert [[answer.answer for answer in row.objects(frame)[0].answers] for frame in (1, 2, 3, 4)] == [
        ["always"], ["always", "now"], ["always", "now"], ["always"],
    ]  # fmt: skip


def test_many_answers_that_change() -> None:
    """They are put in order once for each object, however many frames are looked at."""
    seen: list[int] = []
    actions = [{"featureHash": "q", "answers": str(k), "range": [[counted(k, seen), k]]} for k in range(200)]
    content = unit({str(k): objects(car("a")) for k in range(200)}, object_actions={"a": {"actions": actions}})
    row = Row(content, CLASSES, "video", SIZES)
    said = [[answer.answer for answer in row.objects(frame)[0].answers] for frame in range(200)]
    assert said == [[str(k)] for k in range(200)]
    assert len(seen) <= 2 * len(actions)


def test_ranges_at_a_number() -> None:
    """The same are found, in the same order, as in a search through all of them."""
    chosen = random.Random(0)
    for _ in range(examples(100)):
        ranges = [
            [(first, first + chosen.randrange(8)) for first in chosen.choices(range(30), k=chosen.randrange(4))]
            for _ in range(chosen.randrange(12))
        ]
        found = Ranges(ranges)
        for number in range(-2, 42):
            on = [k for k, own in enumerate(ranges) if any(first <= number <= last for first, last in own)]
            assert found.at(number) == on, (ranges, number)
    assert Ranges([[(3, 2)], [(2, 2)]]).at(2) == [1]


@pytest.mark.parametrize(
    ("given", "answer"),
    [
        ({"featureHash": "q", "answers": [{"featureHash": "red"}]}, Answer("Colour?", "Red")),
        (
            {"featureHash": "q", "answers": [{"featureHash": "red"}, {"featureHash": "blue"}]},
            Answer("Colour?", "Red, Blue"),
        ),
        ({"featureHash": "q", "name": "old", "answers": [{"featureHash": "x", "name": "X"}]}, Answer("Colour?", "X")),
        ({"featureHash": "y", "name": "Y?", "answers": [{"value": "v"}, "odd"]}, Answer("Y?", "v")),
        ({"featureHash": "q", "answers": "in words"}, Answer("Colour?", "in words")),
        ({"featureHash": "q", "answers": 7.5}, Answer("Colour?", "7.5")),
        ({"featureHash": "q", "answers": None}, Answer("Colour?", "")),
        ({}, Answer("", "")),
    ],
)
def test_an_answer(given: dict[str, Any], answer: Answer) -> None:
    """It is in the ontology's words where it has some for it, otherwise in those of the labels."""
    answers = {"a": {"featureHash": "day", "classifications": [given]}}
    (found,) = Row({"classification_answers": answers}, CLASSES, "image", SIZES).classifications()
    assert list(found.answers) == [answer]


def test_one_that_differs() -> None:
    """It is the same label, with what has changed."""
    labelled = Labelled("o", 3, CAR, 0.5)
    other = marked(labelled, "changed", "moved")
    assert (other.change, other.detail, other.tag, other.number) == ("changed", "moved", "Car 0.50", 3)
    assert labelled.change is None
