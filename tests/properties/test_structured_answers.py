"""Whatever the ontology: its schema is strict, and an answer within the schema comes back as instances that say it."""

from __future__ import annotations

import json
from typing import Any

from encord.objects import OntologyStructure, Shape
from encord.objects.attributes import ChecklistAttribute, NumericAttribute, RadioAttribute, TextAttribute
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.strict_schemas import broken_rules
from tests.thorough import examples

from encord_agents.core.ontology import OntologyDataModel

TITLES = st.sampled_from(["a", "A", "a!", "b c", "b_c", "Ü", "日本", "title", "value", "json", "_x", ""]) | st.text(
    st.characters(codec="utf-8"), max_size=20
)
KINDS = [RadioAttribute, ChecklistAttribute, TextAttribute, NumericAttribute]


def grow(data: st.DataObject, attribute: Any, depth: int) -> None:
    if isinstance(attribute, RadioAttribute | ChecklistAttribute):
        for _ in range(data.draw(st.integers(1, 3))):
            option = attribute.add_option(data.draw(TITLES))
            if isinstance(attribute, RadioAttribute) and depth and data.draw(st.booleans()):
                for kind in data.draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=2)):
                    grow(data, option.add_nested_attribute(kind, data.draw(TITLES)), depth - 1)


def ontology(data: st.DataObject) -> OntologyStructure:
    structure = OntologyStructure()
    for kind in data.draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=3)):
        grow(data, structure.add_classification().add_attribute(kind, data.draw(TITLES)), 2)
    for number in range(data.draw(st.integers(1, 2))):
        thing = structure.add_object(f"thing {number}", Shape.BOUNDING_BOX)
        for kind in data.draw(st.lists(st.sampled_from(KINDS), max_size=2)):
            grow(data, thing.add_attribute(kind, data.draw(TITLES)), 1)
    return structure


def answer_to(data: st.DataObject, schema: dict[str, Any]) -> Any:
    """Something that the schema allows."""
    if "anyOf" in schema:
        return answer_to(data, data.draw(st.sampled_from(schema["anyOf"])))
    if "enum" in schema:
        return data.draw(st.sampled_from(schema["enum"]))
    if schema["type"] == "object":
        return {name: answer_to(data, part) for name, part in schema["properties"].items()}
    return data.draw(
        {"boolean": st.booleans(), "number": st.floats(allow_nan=False, allow_infinity=False), "string": st.text()}[
            schema["type"]
        ]
    )


@settings(max_examples=examples(150), deadline=None)
@given(data=st.data())
def test_what_the_schema_allows_is_read(data: st.DataObject) -> None:
    """Strictly and leniently alike, and every attribute that the answer is about has its value."""
    structure = ontology(data)
    for roots in (structure.classifications, structure.objects):
        model: OntologyDataModel[Any] = OntologyDataModel(roots)
        assert broken_rules(model.model_json_schema) == []
        answer = answer_to(data, model.model_json_schema)
        text = json.dumps(answer)
        strictly, leniently = model.read(text, strict=True), model.read(text)
        assert strictly.data == leniently.data == answer
        assert strictly.parts == leniently.parts
        instances = model.validate_json(text)
        for instance in instances if isinstance(instances, list) else [instances]:
            element = instance.ontology_item
            (settings_,) = (said for root, said in strictly.parts if root is element)
            for attribute, value in settings_:
                assert instance.get_answer(attribute) == value
