"""The pydantic models of answers."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from encord.objects import OntologyStructure
from encord.objects.attributes import ChecklistAttribute, TextAttribute
from pydantic import ValidationError, create_model
from tests.ontologies import Things

from encord_agents.core.ontology.fields import choices_of_objects, fields_of_classifications
from encord_agents.core.ontology.models import AnswerModel, model_of_choices, model_of_fields
from encord_agents.core.ontology.schema import schema_of_choices, schema_of_fields


@pytest.fixture(scope="module")
def things() -> Things:
    return Things()


def about_all(things: Things) -> type[AnswerModel]:
    fields = fields_of_classifications(things.structure.classifications)
    return model_of_fields(fields, schema_of_fields(fields))


def about_objects(things: Things) -> type[AnswerModel]:
    choices = choices_of_objects(things.structure.objects)
    return model_of_choices(choices, schema_of_choices(choices))


def test_a_complete_answer_comes_back_as_it_was(things: Things) -> None:
    """Answers in the form of the schema are accepted, and dumped with the schema's keys."""
    for model, answer in ((about_all(things), things.answer()), (about_objects(things), things.about_a_car())):
        assert model.model_validate(answer).model_dump(by_alias=True) == answer


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("caption", "value"), 7),
        (("caption", "value"), "a \ud83d cat"),
        (("quality", "choice", "comment", "value"), "\ude97"),
        (("how_many", "value"), "3.5"),
        (("how_many", "value"), float("nan")),
        (("how_many", "value"), float("inf")),
        (("tags", "indoors"), "yes"),
        (("tags", "outdoors"), True),
        (("quality", "choice", "title"), "Good"),
        (("quality", "choice", "feature_node_hash"), "nonsense"),
        (("caption", "feature_node_hash"), "nonsense"),
        (("more",), {}),
    ],
)
def test_nothing_is_converted_and_nothing_unknown_is_accepted(
    things: Things, place: tuple[str, ...], value: Any
) -> None:
    """A value of another type, another hash or a key that is not there is an error at its place."""
    answer = copy.deepcopy(things.answer())
    inner: Any = answer
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    with pytest.raises(ValidationError) as caught:
        about_all(things).model_validate(answer)
    assert caught.value.errors()[0]["loc"][0] == place[0]


@pytest.mark.parametrize("make", [about_all, about_objects])
def test_the_schema_is_the_strict_one(things: Things, make: Any) -> None:
    """The model's JSON schema is the one that providers accept, alone and inside another model; a copy of it."""
    model = make(things)
    outer = create_model("Outer", inner=(model, ...))
    assert model.model_json_schema() == model.strict_schema
    assert outer.model_json_schema()["$defs"][model.__name__] == model.strict_schema
    model.model_json_schema()["properties"].clear()
    assert model.model_json_schema() == model.strict_schema != {}
    assert AnswerModel.strict_schema is None


def test_models_of_two_ontologies_are_two(things: Things) -> None:
    """A schema that is set for one model is not another's."""
    one, other = about_all(things), about_objects(things)
    assert one.strict_schema is not other.strict_schema
    assert not issubclass(one, other)


@pytest.mark.parametrize(
    ("title", "key"),
    [("Class", "class"), ("Copy", "copy"), ("Model dump", "model_dump"), ("Json", "json"), ("3 D", "3_d"), ("_x", "x")],
)
def test_keys_that_python_or_pydantic_cannot_use(title: str, key: str) -> None:
    """A field whose key is no name, or one of pydantic's, is validated and dumped by its key all the same."""
    structure = OntologyStructure()
    structure.add_classification().add_attribute(TextAttribute, title)
    tags = structure.add_classification().add_attribute(ChecklistAttribute, "Tags")
    tags.add_option(title)
    fields = fields_of_classifications(structure.classifications)
    model = model_of_fields(fields, schema_of_fields(fields))
    caption, checklist = fields
    assert caption.key == key
    answer = {
        key: {"feature_node_hash": caption.hash, "value": "x"},
        "tags": {"feature_node_hash": checklist.hash, key: True},
    }
    assert model.model_validate(answer).model_dump(by_alias=True) == answer
