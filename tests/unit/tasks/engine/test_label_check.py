"""Labels as they will be sent: plain numbers, faults with their place, oddities in words."""

from __future__ import annotations

import copy
import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from encord_agents.tasks.engine.label_check import LabelValueError, find_oddity, make_plain


def label(found: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A row's labels, with one object on its frame 7."""
    one = {"objectHash": "abc", "name": "Person", "confidence": 1.0, "manualAnnotation": True, **(found or {})}
    return {"data_units": {"unit": {"data_sequence": 0, "labels": {"7": {"objects": [one]}}}}, **more}


def only(labels: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = labels["data_units"]["unit"]["labels"]["7"]["objects"][0]
    return found


class Tensor:
    """As torch's: a number that has `item()`, or several that have not."""

    def __init__(self, *values: Any) -> None:
        self.values = values

    def item(self) -> Any:
        if len(self.values) != 1:
            raise RuntimeError("a Tensor with 3 elements cannot be converted to Scalar")
        return self.values[0]

    def tolist(self) -> list[Any]:
        return list(self.values)


class ArrayLike:
    """As TensorFlow's tensors: they can be made an array, and have no `item()`."""

    def __init__(self, *values: Any) -> None:
        self.values = values

    def __array__(self, *_: object, **__: object) -> Any:
        return np.array(self.values[0] if len(self.values) == 1 else self.values, "f4")


class Hostile:
    @property
    def item(self) -> Any:
        raise RuntimeError("not today")

    def __repr__(self) -> str:
        raise RuntimeError("nor this")


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.float32(0.5), 0.5),
        (np.longdouble(0.5), 0.5),
        (np.array(0.5), 0.5),
        (np.array(0.5, "g"), 0.5),
        (np.array([0.5]), 0.5),
        (np.int16(1), 1),
        (np.bool_(True), 1),
        (np.float64(0.5), 0.5),
        (Tensor(0.5), 0.5),
        (Tensor(np.float32(0.5)), 0.5),
        (ArrayLike(0.5), 0.5),
        (np.ma.array(0.5, mask=False), 0.5),
        (np.ma.array([0.5], mask=[False]), 0.5),
    ],
)
def test_numbers_become_pythons(value: Any, plain: float) -> None:
    """Whatever has an `item()`, or can be made an array, is a number of Python's afterwards."""
    labels = label({"confidence": value})
    make_plain(labels)
    found = only(labels)["confidence"]
    assert found == plain
    assert type(found) in (int, float)


def test_several_numbers_become_a_list() -> None:
    """A cuboid's position may be an array, or a tuple of numpy's numbers."""
    labels = label({"cuboid": {"position": np.array([1.5, 2, 3], "f4"), "size": Tensor(1, 2, 3), "o": (np.int8(1), 2)}})
    only(labels)["cuboid"]["p"] = ArrayLike(1, 2)
    make_plain(labels)
    assert only(labels)["cuboid"] == {"position": [1.5, 2.0, 3.0], "size": [1, 2, 3], "o": [1, 2], "p": [1.0, 2.0]}


def test_yes_and_no_stay() -> None:
    """A boolean of numpy's is one where a boolean belongs."""
    labels = label({"manualAnnotation": np.bool_(False)})
    make_plain(labels)
    assert only(labels)["manualAnnotation"] is False


def test_what_is_plain_stays_as_it_is() -> None:
    """Nothing is touched that need not be."""
    labels = label({"boundingBox": {"h": 0.1, "w": 1, "x": 0, "y": 0.5}, "createdBy": None})
    before = copy.deepcopy(labels)
    make_plain(labels)
    assert labels == before


@pytest.mark.parametrize(
    "value",
    [
        Decimal("0.5"),
        Fraction(1, 2),
        1j,
        np.complex64(1),
        np.clongdouble(1),
        b"x",
        {1},
        Hostile(),
        np.void(b"x"),
        np.datetime64(0, "s"),
        np.ma.masked,
        np.ma.array(0.5, mask=True),
        np.ma.array([0.5, 1.5], mask=[False, True]),
        ArrayLike("x"),
    ],
)
def test_what_json_does_not_know_is_refused(value: Any) -> None:
    """The message has the place and the type, whatever the value is like."""
    with pytest.raises(
        LabelValueError, match=rf"confidence of object 'Person' \(abc\) on frame 7 is .*{type(value).__name__}"
    ):
        make_plain(label({"confidence": value}))


@pytest.mark.parametrize(
    ("found", "place"),
    [
        ({"boundingBox": {"h": math.nan}}, "height of object 'Person' (abc) on frame 7"),
        ({"boundingBox": {"x": np.float32("inf")}}, "top_left_x of object 'Person' (abc) on frame 7"),
        ({"rotatableBoundingBox": {"theta": math.nan}}, "theta of object 'Person' (abc) on frame 7"),
        ({"ellipse": {"rx": math.nan}}, "rx of object 'Person' (abc) on frame 7"),
        ({"polygon": {"0": {"x": 1.0, "y": 0.0}, "1": {"x": 0.5, "y": math.nan}}}, "y of point 1 of object"),
        ({"point": {"0": {"x": math.nan}}}, "x of object 'Person' (abc) on frame 7"),
        ({"cuboid": {"position": (0.0, math.nan, 0.0)}}, "cuboid.position.1 of object 'Person' (abc) on frame 7"),
        ({"polygons": [[[0.0, math.nan]]]}, "polygons.0.0.1 of object 'Person' (abc) on frame 7"),
    ],
)
def test_places_of_objects(found: dict[str, Any], place: str) -> None:
    """A fault has its object, class, hash, frame and field, in the SDK's words."""
    with pytest.raises(LabelValueError) as error:
        make_plain(label(found))
    assert str(error.value).startswith(place)


def test_places_on_an_image_of_a_group() -> None:
    """There the frame is the image's place in the group."""
    labels = label()
    labels["data_units"] = {
        "image": {"data_sequence": "3", "labels": {"objects": [{"objectHash": "abc", "confidence": math.nan}]}}
    }
    with pytest.raises(LabelValueError, match=r"confidence of object abc on frame 3 is nan"):
        make_plain(labels)


def test_places_of_answers() -> None:
    """The question is named, and whom it is about."""
    asked = {"name": "Weight", "answers": math.nan}
    about = {"objectHash": "abc", "classifications": [asked]}
    with pytest.raises(LabelValueError, match=r"the answer to 'Weight' of object 'Person' \(abc\) is nan"):
        make_plain(label(object_answers={"abc": about}))
    actions = {"objectHash": "abc", "actions": [asked]}
    with pytest.raises(LabelValueError, match=r"the answer to 'Weight' of object 'Person' \(abc\) is nan"):
        make_plain(label(object_actions={"abc": actions}))
    scene = {
        "classificationHash": "def",
        "classifications": [{"name": "Scene", "answers": "x"}],
        "confidence": math.inf,
    }
    with pytest.raises(LabelValueError, match=r"confidence of classification 'Scene' \(def\) is inf"):
        make_plain(label(classification_answers={"def": scene}))


@pytest.mark.parametrize("half", ["a \ud83d cat", "\ude97", np.str_("é \ud83d")])
def test_half_a_character(half: str) -> None:
    """A text that JSON cannot express is refused with its place, and other text stays as it is."""
    scene = {"classificationHash": "def", "classifications": [{"name": "Caption", "answers": half}]}
    with pytest.raises(LabelValueError) as error:
        make_plain(label(classification_answers={"def": scene}))
    assert str(error.value).startswith(
        f"the answer to 'Caption' of classification 'Caption' (def) is {half!r}, with half of a character"
    )
    labels = label({"name": "Menschen 人物 🚗 \u0000"})
    before = copy.deepcopy(labels)
    make_plain(labels)
    assert labels == before


@pytest.mark.parametrize("halves", ["a \ud83d\ude97", np.str_("a \ud83d\ude97")])
def test_a_character_in_two_halves(halves: str) -> None:
    """It is sent as the one character that it is."""
    labels = label({"name": halves})
    make_plain(labels)
    assert labels == label({"name": "a 🚗"})


def test_places_that_are_none() -> None:
    """What is nobody's is named by where it is."""
    with pytest.raises(LabelValueError, match=r"data_units.unit.data_fps of the labels is nan"):
        make_plain({"data_units": {"unit": {"data_fps": math.nan}}})


GOOD = {"h": 0.1, "w": 0.2, "x": 0.0, "y": 1.0}
CORNERS = {"0": {"x": 0.0, "y": 0.0}, "1": {"x": 0.5, "y": 0.0}, "2": {"x": 0.5, "y": 1.0}}


@pytest.mark.parametrize(
    "found",
    [
        {"boundingBox": GOOD},
        {"boundingBox": {**GOOD, "h": 0}, "event": "delete"},
        {"rotatableBoundingBox": {**GOOD, "theta": 270.0}},
        {"polygon": CORNERS, "polygons": [[[0.0, 0.0, 0.5, 0.0, 0.5, 1.0]]]},
        {"polyline": {"0": {"x": 40.0, "y": 2.0, "z": -1.0}, "1": {"x": 50.0, "y": 2.0, "z": -1.0}}},
        {"point": {"0": {"x": 12.0, "y": 3.0, "z": 1.0}}},
        {"cuboid": {"position": [40.0, 2.0, 1.0]}},
        {"cuboid_2d": {"front": [0.0, 0.5, 1.0, 1.0], "vanishingPoint": {"x": -4.0, "y": 0.5}}},
        {"circle": {"x": 0.5, "y": 0.5, "r": 0.25, "stretch": 3.0, "theta": 90.0}},
        {"bitmask": {"rleString": "oo21"}},
        {"bitmask": {"rleString": "0PP3"}},
        {"confidence": None, "boundingBox": GOOD},
    ],
)
def test_nothing_odd(found: dict[str, Any]) -> None:
    """Angles, points in space and vanishing points are no shares of a picture."""
    assert find_oddity(label(found)) is None


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({"boundingBox": {**GOOD, "x": 30}}, "top_left_x of object 'Person' (abc) on frame 7 is 30: pixels?"),
        ({"boundingBox": {**GOOD, "w": 0}}, "width of object 'Person' (abc) on frame 7 is 0; such a shape"),
        ({"ellipse": {"x": 0.5, "y": 0.5, "rx": 0.0, "ry": 0.1}}, "rx of object"),
        (
            {"polygon": {"0": {"x": 0.1, "y": 0.1}}},
            "polygon of object 'Person' (abc) on frame 7 is a polygon of 1 points",
        ),
        ({"polygon": CORNERS, "polygons": [[[0.0, 7.0]]]}, "polygons.0.0.1 of object"),
        ({"polyline": {}}, "polyline of object 'Person' (abc) on frame 7 is a polyline of 0 points"),
        ({"skeleton": {"0": {"x": 0.1, "y": -2.0}}}, "y of point 0 of object"),
        ({"point": {"0": {"x": 12.0, "y": 0.0}}}, "x of object"),
        ({"bitmask": {"rleString": "PP3"}}, "bitmask of object 'Person' (abc) on frame 7 is a mask without a pixel"),
        ({"boundingBox": GOOD, "confidence": 93.0}, "confidence of object 'Person' (abc) on frame 7 is 93.0; a conf"),
    ],
)
def test_what_is_odd(found: dict[str, Any], message: str) -> None:
    """Pixels, shapes of no size, percent: named with object, frame and field."""
    oddity = find_oddity(label(found))
    assert oddity is not None
    assert oddity.startswith(message)


def test_an_odd_confidence_of_a_classification() -> None:
    """Classifications are looked at too."""
    scene = {"classificationHash": "def", "classifications": [{"name": "Scene"}], "confidence": -1}
    oddity = find_oddity(label({"boundingBox": GOOD}, classification_answers={"def": scene}))
    assert oddity == "confidence of classification 'Scene' (def) is -1; a confidence is from 0 to 1"


def test_text_is_the_platforms_business() -> None:
    """What is no number at all is sent, for the platform to refuse."""
    assert find_oddity(label({"boundingBox": {**GOOD, "x": "left"}, "confidence": "high"})) is None
