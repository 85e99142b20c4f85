"""The classes of an ontology in the page's words: a name and a colour for each, whatever the ontology says."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from encord_agents.local.page.classes import PALETTE, LabelClass, read


def box(hash: str = "f", **more: Any) -> dict[str, Any]:
    return {"featureNodeHash": hash, "name": "Car", "shape": "bounding_box", "color": "#123456", **more}


def editor(*objects: dict[str, Any], classifications: tuple[dict[str, Any], ...] = (), **more: Any) -> dict[str, Any]:
    return {"objects": list(objects), "classifications": list(classifications), **more}


@pytest.mark.parametrize(
    ("given", "colour"),
    [
        ("#12aBcD", "#12aBcD"), ("#1aF", "#11aaFF"), ("red", PALETTE[0]), ("#12345", PALETTE[0]), (None, PALETTE[0]),
        (7, PALETTE[0]), ("#123456;}", PALETTE[0]), ("#123456\n", PALETTE[0]), ("#12345g", PALETTE[0]),
    ],
)  # fmt: skip
def test_a_colour(given: object, colour: str) -> None:
    """It has six digits; what is no colour is never written into a page, and one of the palette takes its place."""
    found = read(editor(box(color=given))).get("f")
    assert found.colour == colour
    assert len(found.rgb) == 3


def test_colours_without_end() -> None:
    """Each class of a large ontology has one, and classes that follow each other have different ones."""
    found = read(editor(*(box(str(number), color=None) for number in range(25)))).objects
    assert all(one.colour != other.colour for one, other in itertools.pairwise(found))


@pytest.mark.parametrize(
    ("colour", "ink"),
    [
        ("#ffffff", "#000000"), ("#000000", "#ffffff"), ("#ffff00", "#000000"), ("#0000ff", "#ffffff"),
        ("#757575", "#ffffff"), ("#777777", "#000000"),
    ],
)  # fmt: skip
def test_ink(colour: str, ink: str) -> None:
    """It is the one of black and white that differs more from the colour."""
    assert LabelClass("f", "Car", colour, "polygon").ink == ink


@pytest.mark.parametrize(
    ("attributes", "name", "expected"),
    [
        ([{"name": "Weather"}, {"name": "More"}], "Named", "Weather"),
        ([{"name": ""}], "Named", "Named"),
        ([], "Named", "Named"),
        (None, None, "Classification"),
    ],
)
def test_the_name_of_a_classification(attributes: Any, name: str | None, expected: str) -> None:
    """It is that of its question, or its own, or the kind's."""
    given = {"featureNodeHash": "c", "attributes": attributes, "name": name}
    (found,) = read(editor(box(), classifications=(given,))).classifications
    assert (found.name, found.shape, found.is_object) == (expected, "classification", False)


def test_classes_in_order() -> None:
    """Objects and classifications are as the ontology has them; shapes have blanks."""
    known = read(editor(box("b"), box("a", name=7), classifications=({"featureNodeHash": "c", "name": "C"},)))
    assert list(known.by_hash) == ["b", "a", "c"]
    assert [(one.hash, one.name, one.shape) for one in known.objects] == [
        ("b", "Car", "bounding box"),
        ("a", "7", "bounding box"),
    ]
    assert known.get("c").colour == PALETTE[2]


def test_a_class_that_is_gone() -> None:
    """It has a name and a colour all the same, and counts as an object."""
    found = read(editor()).get("gone")
    assert (found.name, found.is_object, found.colour in PALETTE) == ("gone", True, True)


def test_names_at_any_depth() -> None:
    """Questions and options are named, those within options too; what has no name has none."""
    colours = {
        "featureNodeHash": "q", "name": "Colour",
        "options": [
            {"featureNodeHash": "red", "label": "Red", "options": [{"featureNodeHash": "shade", "name": "Shade"}]},
            {"featureNodeHash": "none", "label": ""},
        ],
    }  # fmt: skip
    known = read(
        editor(box(attributes=[colours]), classifications=({"featureNodeHash": "c", "attributes": [colours]},))
    )
    assert known.names == {"q": "Colour", "red": "Red", "shade": "Shade"}


@pytest.mark.parametrize(
    ("template", "edges"),
    [
        ({"name": "hand", "skeletonEdges": {"a": {"b": {}, "c": {}}, "b": None}}, {"hand": [("a", "b"), ("a", "c")]}),
        ({"template": {"name": "hand", "skeletonEdges": {"a": {"b": {}}}}}, {"hand": [("a", "b")]}),
        ({"name": "hand"}, {"hand": []}),
    ],
)
def test_edges_of_skeletons(template: dict[str, Any], edges: dict[str, list[tuple[str, str]]]) -> None:
    """A template says which of its points are joined, within a wrapping or without."""
    assert read(editor(skeleton_templates=[template])).edges == edges
