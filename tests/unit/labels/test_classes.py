"""Classes of detections, matched to the ontology's objects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from encord.objects import LabelRowV2, OntologyStructure, Shape

from encord_agents.exceptions import PrintableError
from encord_agents.labels.classes import objects_for
from encord_agents.labels.detections import Detections
from encord_agents.local import AgentStage, LocalPlatform, Stage, Workflow


@pytest.fixture(scope="module")
def row() -> Iterator[LabelRowV2]:
    """A row with classes of one shape, of two, and of three; it is only looked at."""
    structure = OntologyStructure()
    for title, shapes in {
        "Cat": [Shape.BOUNDING_BOX],
        "Dog": [Shape.BOUNDING_BOX],
        "Car": [Shape.BOUNDING_BOX, Shape.BITMASK],
        "Bus": [Shape.POLYGON, Shape.BITMASK, Shape.ROTATABLE_BOUNDING_BOX],
    }.items():
        for shape in shapes:
            structure.add_object(title, shape)
    workflow = Workflow([AgentStage("Agent", {"end": "Done"}), Stage("Done", "done")])
    with LocalPlatform() as platform:
        project = platform.create_project(workflow=workflow, ontology=structure)
        project.add_placeholders(1)
        (found,) = platform.client().get_project(project.project_hash).list_label_rows_v2()
        yield found


def detections(ids: Any = None, names: Any = None, *, number: int | None = None, **columns: Any) -> Detections:
    """Detections of which only the classes matter."""
    data = columns.pop("data", {}) | ({} if names is None else {"class_name": names})
    count = number if number is not None else len(ids or names or [0])
    numbers = None if ids is None else np.array(ids)
    return Detections(np.zeros((count, 4)), class_id=numbers, data=data, **columns)


def titles(row: LabelRowV2, found: Detections, classes: Any) -> list[str | None]:
    return [None if one is None else one.title for one in objects_for(row, found, classes)]


@pytest.mark.parametrize(
    ("ids", "names", "classes", "expected"),
    [
        (None, ["Dog", "Cat"], None, ["Dog", "Cat"]),
        ([7, 8], ["Dog", "Cat"], None, ["Dog", "Cat"]),
        ([1, 0, 1], None, ["Cat", "Dog"], ["Dog", "Cat", "Dog"]),
        ([1, 0], ["a", "b"], ["Cat", "Dog"], ["Dog", "Cat"]),
        ([1.0], None, ("Cat", "Dog"), ["Dog"]),
        ([1], None, {0: "Cat", 1: "Dog"}.values(), ["Dog"]),
        ([1], None, {"Cat": 17, "Dog": 18}.keys(), ["Dog"]),
        ([1], None, np.array(["Cat", "Dog"]), ["Dog"]),
        (None, None, {0: "Cat"}.values(), ["Cat"]),
        (None, ["Dog"], ["Cat"], ["Dog"]),
        ([17, 3], None, {17: "Cat"}, ["Cat", None]),
        ([17], None, {"17": "Cat"}, ["Cat"]),
        ([17], ["tabby"], {17: "Dog", "tabby": "Cat"}, ["Cat"]),
        ([17], ["tabby"], {17: "Cat"}, ["Cat"]),
        (None, ["tabby", "terrier"], {"tabby": "Cat"}, ["Cat", None]),
        ([17, 18], None, {17: None, 18: "Dog"}, [None, "Dog"]),
    ],
)
def test_classes_are_found(row: LabelRowV2, ids: Any, names: Any, classes: Any, expected: list[str | None]) -> None:
    """Names, places in a list or view and mappings of either lead to titles; in a mapping the name counts first."""
    assert titles(row, detections(ids, names), classes) == expected


def test_one_class_for_detections_without_any(row: LabelRowV2) -> None:
    """A list of one class needs no numbers; no detections need no classes."""
    assert titles(row, detections(number=2), ["Cat"]) == ["Cat", "Cat"]
    assert titles(row, detections(number=0), None) == []
    for classes in (None, ["Cat", "Dog"]):
        with pytest.raises(PrintableError, match="do not tell the names of their classes"):
            titles(row, detections(number=1), classes)


@pytest.mark.parametrize("classes", ["Cat", {"Cat"}, frozenset(["Cat", "Dog"]), 3])
def test_classes_without_an_order(row: LabelRowV2, classes: Any) -> None:
    """A text is not taken for a list of letters, and a set has no first title: the error says what to give."""
    kind = type(classes).__name__
    with pytest.raises(PrintableError, match=rf'classes=\.\.\. is of type {kind}: give a list, \["Person", "Car"\]'):
        titles(row, detections([0]), classes)


@pytest.mark.parametrize("classes", [[17], {0: 17}, [b"Cat"]])
def test_classes_that_are_not_titles(row: LabelRowV2, classes: Any) -> None:
    """A value that is neither a title nor an object is told."""
    with pytest.raises(PrintableError, match=r"classes=\.\.\. has (17|b'Cat') where a title or an object"):
        titles(row, detections([0]), classes)


def test_a_mapping_to_an_object(row: LabelRowV2) -> None:
    """An object of the ontology is taken as it is, though others have its title."""
    _, mask = [one for one in row.ontology_structure.objects if one.title == "Car"]
    assert objects_for(row, detections([3]), {3: mask}) == [mask]


@pytest.mark.parametrize(
    ("ids", "names", "classes", "words"),
    [
        (None, ["cat"], None, r"no object 'cat'\.\nIt has 'Cat', 'Dog', 'Car', 'Bus'; .*\n.*classes=\{'cat': 'Cat'\}"),
        (None, ["Cat", "x", "Unicorn", "x"], None, r"no object 'x', 'Unicorn'\.\n[^\n]*$"),
        ([5], None, ["Cat", "Dog"], "no object 'class 5'"),
        ([-1], None, ["Cat", "Dog"], "no object 'class -1'"),
        ([1], None, {1: "Horse"}, "no object 'Horse'"),
    ],
)
def test_classes_that_the_ontology_has_not(row: LabelRowV2, ids: Any, names: Any, classes: Any, words: str) -> None:
    """All of them are named, each once, with the titles that there are and a mapping where one is close."""
    with pytest.raises(PrintableError, match=words):
        titles(row, detections(ids, names), classes)


@pytest.mark.parametrize(
    ("columns", "shape"),
    [
        ({}, Shape.BOUNDING_BOX),
        ({"mask": np.zeros((1, 2, 2), dtype=bool)}, Shape.BITMASK),
        ({"data": {"polygons": [None]}}, Shape.BITMASK),
        ({"data": {"keypoints": np.zeros((1, 3, 3))}}, Shape.BOUNDING_BOX),
    ],
)
def test_objects_of_the_same_title(row: LabelRowV2, columns: dict[str, Any], shape: Shape) -> None:
    """The object whose shape the detections have is the one that is meant."""
    (one,) = objects_for(row, detections(names=["Car"], **columns), None)
    assert one is not None
    assert one.shape == shape


def test_objects_of_the_same_title_that_fit_equally(row: LabelRowV2) -> None:
    """Nothing is guessed: the error lists the shapes, and says how to give the object."""
    found = detections(names=["Bus"], mask=np.zeros((1, 2, 2), dtype=bool))
    with pytest.raises(PrintableError, match=r"3 objects 'Bus' \(polygon, bitmask, rotatable_bounding_box\)") as caught:
        objects_for(row, found, None)
    assert "classes={'Bus': the_object}" in str(caught.value)
    (one,) = objects_for(row, detections(names=["Bus"]), None)
    assert one is not None
    assert one.shape == Shape.ROTATABLE_BOUNDING_BOX
