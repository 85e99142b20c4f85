"""The check of labels: what nobody could read back is refused, with the reason."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from encord_agents.local.features import features
from encord_agents.local.label_shape import LONGEST_RANGE, check
from encord_agents.local.ontologies import DEFAULT
from encord_agents.local.trouble import Refusal

SHAPES: dict[str, dict[str, Any]] = {
    "bounding_box": {"boundingBox": {"x": 0, "y": 0, "w": 1, "h": 1}},
    "rotatable_bounding_box": {"rotatableBoundingBox": {"x": 0, "y": 0, "w": 1, "h": 1, "theta": 3}},
    "circle": {"circle": {"x": 0, "y": 0, "r": 1}},
    "ellipse": {"ellipse": {"x": 0, "y": 0, "rx": 1, "ry": 1}},
    "point": {"point": {"0": {"x": 0, "y": 0}}},
    "polygon": {"polygon": [{"x": 0, "y": 0}], "polygons": [[[0, 0, 1, 1]]]},
    "polyline": {"polyline": {"0": {"x": 0, "y": 0}}},
    "skeleton": {"skeleton": {"a": {"x": 0, "y": 0}}, "name": "s"},
    "bitmask": {"bitmask": {"rleString": "", "top": 0, "left": 0, "height": 1, "width": 1}},
}
ONTOLOGY = {
    "objects": [
        {"id": str(number), "name": shape, "color": "#000", "shape": shape, "featureNodeHash": shape}
        for number, shape in enumerate(SHAPES)
    ],
    "classifications": DEFAULT["classifications"],
}
FEATURES = features(ONTOLOGY)


def row(item_type: str = "image", frames: int | None = 1) -> Any:
    return {"title": "a", "item_type": item_type, "label_hash": "l", "data_hash": "d", "frames": frames}


def labels(kind: str = "bounding_box", **more: Any) -> dict[str, Any]:
    found = {"objectHash": "o", "featureHash": kind, "shape": kind, **copy.deepcopy(SHAPES[kind]), **more}
    answer = {
        "classificationHash": "c", "featureHash": "sCeneCl1", "range": [[0, 0]],
        "classifications": [
            {"featureHash": "sCeneRa1", "answers": [{"featureHash": "sCeneIn1"}], "manualAnnotation": True}
        ],
    }  # fmt: skip
    return {
        "label_hash": "l",
        "data_units": {"d": {"labels": {"objects": [found], "classifications": []}}},
        "object_answers": {"o": {"objectHash": "o", "classifications": []}},
        "classification_answers": {"c": answer},
        "object_actions": {},
    }


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape(shape: str) -> None:
    """It passes as it is, and not without one of its numbers."""
    check(labels(shape), row(), FEATURES)
    for key, geometry in SHAPES[shape].items():
        if shape == "polygon":
            continue
        with pytest.raises(Refusal):
            check(labels(shape, **{key: None}), row(), FEATURES)
        if isinstance(geometry, dict) and shape not in ("polyline", "skeleton"):
            for number in geometry:
                broken = {name: value for name, value in geometry.items() if name != number}
                with pytest.raises(Refusal):
                    check(labels(shape, **{key: broken}), row(), FEATURES)


@pytest.mark.parametrize(
    "more",
    [
        {"shape": "polygon"},
        {"featureHash": "other"},
        {"featureHash": "sCeneCl1"},
        {"objectHash": 3},
        {"objectHash": "without-answer"},
        {"confidence": "high"},
        {"createdAt": "yesterday"},
        {"boundingBox": {"x": True, "y": 0, "w": 1, "h": 1}},
        {"boundingBox": {"x": "0", "y": 0, "w": 1, "h": 1}},
        {"event": "enter"},
    ],
)
def test_an_object_that_is_none(more: dict[str, Any]) -> None:
    """Another shape or feature than the ontology's, or parts that are not what they should be."""
    with pytest.raises(Refusal) as caught:
        check(labels(**more), row(), FEATURES)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "damage",
    [
        lambda label: label.update(label_hash="other"),
        lambda label: label.update(data_units={}),
        lambda label: label["data_units"].update(other={"labels": {}}),
        lambda label: label["data_units"]["d"].update(labels=None),
        lambda label: label["data_units"]["d"]["labels"].update(objects=None) or label.update(object_answers={"o": 3}),
        lambda label: label["data_units"]["d"]["labels"]["objects"].append(
            label["data_units"]["d"]["labels"]["objects"][0]
        ),
        lambda label: label["object_answers"]["o"].update(objectHash="p"),
        lambda label: label["object_answers"]["o"].update(classifications=None),
        lambda label: label["object_actions"].update(a={"actions": []}),
        lambda label: label["classification_answers"]["c"].update(range=[[0, 1]]),
        lambda label: label["classification_answers"]["c"].update(range=[[1, 0]]),
        lambda label: label["classification_answers"]["c"]["classifications"][0].update(answers=[]),
        lambda label: label["classification_answers"]["c"]["classifications"][0].update(answers="Indoors"),
        lambda label: label["classification_answers"]["c"]["classifications"][0].pop("manualAnnotation"),
        lambda label: label.update(spaces={"x": {"labels": {}}}),
        lambda label: label["data_units"]["d"]["labels"].update(classifications=3),
        lambda label: label["data_units"]["d"]["labels"].update({"0": {"objects": []}}),
        lambda label: label["classification_answers"].update(d=label["classification_answers"].pop("c")),
    ],
)
def test_labels_that_could_not_be_read_back(damage: Any) -> None:
    """They are refused before anything is kept."""
    label = labels()
    check(label, row(), FEATURES)
    damage(label)
    with pytest.raises(Refusal) as caught:
        check(label, row(), FEATURES)
    assert caught.value.status == 400


def test_a_classification_of_two_classes() -> None:
    """On its frame it has the class that its answer says."""
    label = labels()
    found = {"classificationHash": "c", "featureHash": "other"}
    label["data_units"]["d"]["labels"]["classifications"] = [found]
    others = features({"objects": ONTOLOGY["objects"], "classifications": [
        *DEFAULT["classifications"], {"id": "9", "featureNodeHash": "other", "attributes": []}
    ]})  # fmt: skip
    with pytest.raises(Refusal, match="the classification c with two features"):
        check(label, row(), others)
    found["featureHash"] = "sCeneCl1"
    check(label, row(), others)


def test_frames_of_sounds() -> None:
    """Audio and text have no frames, so labels there are refused: nobody would read them."""
    label = labels()
    label["data_units"]["d"]["labels"] = {}
    label["object_answers"] = {}
    check(label, row("audio", None), FEATURES)
    label["data_units"]["d"]["labels"] = {"0": {"objects": []}}
    with pytest.raises(Refusal, match="audio and text have their labels in the answers only"):
        check(label, row("audio", None), FEATURES)


@pytest.mark.parametrize("answered", [True, False])
def test_classifications_of_members(answered: bool) -> None:
    """On the frames of a group's member as well, they need an answer, which is given their frames if it has none."""
    members: Any = [{"uuid": "film", "item_type": "video", "frames": 10}]
    found = {"classificationHash": "c", "featureHash": "sCeneCl1", "confidence": 0.5}
    label = labels()
    label["data_units"]["d"]["labels"] = {}
    label["object_answers"] = {}
    frame = {"objects": [], "classifications": [found]}
    label["spaces"] = {"film": {"labels": {"5": frame, "4": frame, "9": frame}}}
    if not answered:
        label["classification_answers"] = {}
        with pytest.raises(Refusal, match="lacks classification_answers"):
            check(label, row("group"), FEATURES, members)
        return
    del label["classification_answers"]["c"]["range"]
    check(label, row("group"), FEATURES, members)
    answer = label["classification_answers"]["c"]
    assert answer["spaces"] == {"film": {"type": "frame", "range": [[4, 5], [9, 9]]}}
    assert answer["confidence"] == 0.5
    assert "range" not in answer


@pytest.mark.parametrize(
    ("item_type", "frames", "number", "good"),
    [
        ("video", 6, "5", True),
        ("video", 6, "6", False),
        ("video", 6, "-1", False),
        ("video", 6, "x", False),
        ("video", None, "100", True),
        ("pdf", 2, "1", True),
        ("pdf", 2, "2", False),
        ("dicomFile", 1, "50", True),
        ("dicomFile", 1, str(LONGEST_RANGE + 1), False),
    ],
)
def test_frames_end_with_the_data(item_type: str, frames: int | None, number: str, good: bool) -> None:
    """The last one is the file's; where the platform cannot know it, a bound that no file reaches."""
    label = labels()
    label["data_units"]["d"]["labels"] = {number: label["data_units"]["d"]["labels"]}
    if good:
        check(label, row(item_type, frames), FEATURES)
    else:
        with pytest.raises(Refusal):
            check(label, row(item_type, frames), FEATURES)


@pytest.mark.parametrize(
    ("answers", "place", "good"),
    [([5, 6], [0, 9], True), ([9, 9], [9, 9], True), ([5, 10], [0, 9], False), ([5, 6], [0, 10], False)],
)
def test_ranges_in_a_group_end_with_its_members(answers: list[int], place: list[int], good: bool) -> None:
    """An answer that changes lasts as long as the video in which its object lies; a classification, as its own."""
    dynamic = {
        "id": "1", "name": "Car", "color": "#000", "shape": "bounding_box", "featureNodeHash": "car",
        "attributes": [{"id": "1.1", "name": "s", "type": "text", "featureNodeHash": "s", "dynamic": True}],
    }  # fmt: skip
    known = features({"objects": [dynamic], "classifications": DEFAULT["classifications"]})
    members: Any = [
        {"uuid": "film", "item_type": "video", "frames": 10}, {"uuid": "still", "item_type": "image", "frames": 1}
    ]  # fmt: skip
    changing = {"featureHash": "s", "answers": "x", "manualAnnotation": True, "range": [answers]}
    label = labels()
    (car,) = label["data_units"]["d"]["labels"].pop("objects")
    car["featureHash"] = "car"
    label["spaces"] = {"still": {"labels": {}}, "film": {"labels": {"5": {"objects": [car]}}}}
    label["object_actions"] = {"o": {"objectHash": "o", "actions": [changing]}}
    spread = label["classification_answers"]["c"]
    spread |= {"range": [], "spaces": {"film": {"range": [place], "type": "frame"}}}
    if good:
        check(label, row("group"), known, members)
        return
    with pytest.raises(Refusal, match="beyond the end, which is at 9"):
        check(label, row("group"), known, members)


@pytest.mark.parametrize(
    ("date", "good"),
    [
        ("Fri, 27 Nov 2026 23:26:16 UTC", True),
        ("Fri, 27 Nov 2026 23:26:16", True),
        ("2026-11-27T23:26:16+00:00", True),
        ("2026-11-27 23:26:16", True),
        ("Fri, 31 Nov 2026 23:26:16 UTC", False),
        ("Mi, 02 Dez 2026 23:26:16 UTC", False),
        ("yesterday", False),
        (3, False),
    ],
)
def test_dates(date: Any, good: bool) -> None:
    """In English words or ISO 8601, whatever the language of the process; another one is named."""
    label = labels(createdAt=date)
    if good:
        check(label, row(), FEATURES)
        return
    with pytest.raises(Refusal, match=str(date)):
        check(label, row(), FEATURES)
