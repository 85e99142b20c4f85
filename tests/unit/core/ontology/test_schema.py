"""The JSON schema of an answer."""

from __future__ import annotations

from typing import Any

import pytest
from encord.objects import OntologyStructure, Shape
from encord.objects.attributes import ChecklistAttribute, NumericAttribute, RadioAttribute, TextAttribute

from encord_agents.core.ontology.fields import choices_of_objects, fields_of_classifications
from encord_agents.core.ontology.schema import schema_of_choices, schema_of_fields


def constant(value: str) -> dict[str, Any]:
    return {"type": "string", "enum": [value]}


def closed(description: str | None, **properties: Any) -> dict[str, Any]:
    """An object that has just these properties."""
    described = {} if description is None else {"description": description}
    required = {"required": list(properties), "additionalProperties": False}
    return {"type": "object", **described, "properties": properties, **required}


@pytest.mark.parametrize(
    ("attribute", "options", "description", "properties"),
    [
        (TextAttribute, [], "It: text.", {"value": {"type": "string"}}),
        (NumericAttribute, [], "It: a number.", {"value": {"type": "number"}}),
        (
            RadioAttribute,
            ["Red", "Blue"],
            "It: exactly one of the options.",
            {"choice": {"type": "string", "enum": ["Red", "Blue"]}},
        ),
        (
            ChecklistAttribute,
            ["Is red"],
            "It: true for each of the options that applies.",
            {"is_red": {"type": "boolean", "description": "Whether 'Is red' applies."}},
        ),
    ],
)
def test_a_field(attribute: type[Any], options: list[str], description: str, properties: dict[str, Any]) -> None:
    """Each kind of attribute is a closed object with its hash as a constant, and a sentence for the model."""
    structure = OntologyStructure()
    made: Any = structure.add_classification().add_attribute(attribute, "It")
    for option in options:
        made.add_option(option)
    schema = schema_of_fields(fields_of_classifications(structure.classifications))
    field = closed(description, feature_node_hash=constant(made.feature_node_hash), **properties)
    assert schema == closed(None, it=field)


def test_options_with_attributes_of_their_own() -> None:
    """An option that brings further questions is an object with them; the others are objects without."""
    structure = OntologyStructure()
    radio = structure.add_classification().add_attribute(RadioAttribute, "It")
    good, bad = radio.add_option("Good"), radio.add_option("Bad")
    why = bad.add_nested_attribute(TextAttribute, "Why")
    schema = schema_of_fields(fields_of_classifications(structure.classifications))
    choice = schema["properties"]["it"]["properties"]["choice"]
    hashed = {"feature_node_hash": constant(good.feature_node_hash), "title": constant("Good")}
    reason = closed("Why: text.", feature_node_hash=constant(why.feature_node_hash), value={"type": "string"})
    assert choice == {
        "description": "The option that fits best.",
        "anyOf": [
            closed("Good", **hashed),
            closed("Bad", feature_node_hash=constant(bad.feature_node_hash), title=constant("Bad"), why=reason),
        ],
    }


@pytest.mark.parametrize("titles", [["Car"], ["Car", "Tree"]])
def test_one_of_several_objects(titles: list[str]) -> None:
    """Several objects are alternatives; the only one is not wrapped."""
    structure = OntologyStructure()
    made = [structure.add_object(title, Shape.BOUNDING_BOX) for title in titles]
    schema = schema_of_choices(choices_of_objects(structure.objects))
    objects = [
        closed(one.title, feature_node_hash=constant(one.feature_node_hash), title=constant(one.title)) for one in made
    ]
    several = {"description": "The object that fits best.", "anyOf": objects}
    assert schema == closed(None, choice=objects[0] if len(objects) == 1 else several)


def test_an_attribute_that_is_called_title() -> None:
    """The key of a choice's title is left to an attribute of that name."""
    structure = OntologyStructure()
    book = structure.add_object("Book", Shape.BOUNDING_BOX)
    book.add_attribute(TextAttribute, "Title")
    schema = schema_of_choices(choices_of_objects(structure.objects))
    assert schema["properties"]["choice"]["properties"]["title"]["description"] == "Title: text."
