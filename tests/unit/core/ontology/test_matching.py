"""Answers matched to the fields of an ontology: exactly, or leniently where only one thing can be meant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from encord.objects import OntologyStructure
from encord.objects.attributes import ChecklistAttribute, NumericAttribute, RadioAttribute, TextAttribute
from pydantic import ValidationError
from tests.ontologies import Things

from encord_agents.core.ontology.fields import choices_of_objects, fields_of_classifications
from encord_agents.core.ontology.matching import match_choice, match_fields


@pytest.fixture(scope="module")
def things() -> Things:
    return Things()


def one_field(attribute: type[Any], *options: str, required: bool = False) -> Callable[[Any], Any]:
    """The value that an answer to the only attribute of an ontology is matched to; ``None`` if it is left out."""
    structure = OntologyStructure()
    made: Any = structure.add_classification().add_attribute(attribute, "It", required=required)
    for option in options:
        made.add_option(option)
    fields = fields_of_classifications(structure.classifications)

    def match(raw: Any) -> Any:
        answer = match_fields("Answer", fields, {"it": raw})
        if "it" not in answer:
            return None
        assert answer["it"].pop("feature_node_hash") == made.feature_node_hash
        return answer["it"]

    return match


number, text = one_field(NumericAttribute), one_field(TextAttribute)
radio = one_field(RadioAttribute, "Red", "Blue", "blue!", "Light green")
checklist = one_field(ChecklistAttribute, "Indoors", "Many people")


def checked(indoors: bool, people: bool) -> dict[str, bool]:
    return {"indoors": indoors, "many_people": people}


@pytest.mark.parametrize(
    ("match", "raw", "expected"),
    [
        (number, 3, {"value": 3}),
        (number, "3.5", {"value": 3.5}),
        (number, {"value": -1}, {"value": -1}),
        (number, {"answer": "1e3"}, {"value": 1000.0}),
        (number, -(10**30), {"value": -1e30}),
        (number, None, None),
        (text, "a cat", {"value": "a cat"}),
        (text, "", {"value": ""}),
        (text, 7, {"value": "7"}),
        (text, {"value": "x", "feature_node_hash": "other"}, {"value": "x"}),
        (text, {"value": None}, None),
        (radio, "Red", {"choice": "Red"}),
        (radio, {"choice": "red"}, {"choice": "Red"}),
        (radio, {"value": {"title": "Red"}}, {"choice": "Red"}),
        (radio, "BLUE", {"choice": "Blue"}),
        (radio, "blue!", {"choice": "blue!"}),
        (radio, "light_green", {"choice": "Light green"}),
        (one_field(RadioAttribute, "Red", "red"), "red", {"choice": "red"}),
        (one_field(RadioAttribute, "Other", "Other "), "Other", {"choice": "Other"}),
        (one_field(RadioAttribute, "Other", "Other "), "Other ", {"choice": "Other "}),
        (one_field(RadioAttribute, "Red ", "Blue"), "Red", {"choice": "Red "}),
        (one_field(ChecklistAttribute, "Other", "Other "), ["Other "], {"other": False, "other_2": True}),
        (text, "🚗 a\u0000b", {"value": "🚗 a\u0000b"}),
        (radio, None, None),
        (checklist, {"indoors": True, "many_people": False}, checked(True, False)),
        (checklist, {"Indoors": "yes", "Many people": 0}, checked(True, False)),
        (checklist, {"value": {"indoors": "False", "many_people": "1"}}, checked(False, True)),
        (checklist, ["Many People"], checked(False, True)),
        (checklist, "indoors", checked(True, False)),
        (checklist, [], checked(False, False)),
        (checklist, None, None),
    ],
)
def test_answers_that_are_read(match: Callable[[Any], Any], raw: Any, expected: Any) -> None:
    """A value in any of the usual wrappings, types and spellings becomes the one that the schema asks for."""
    assert match(raw) == expected


@pytest.mark.parametrize(
    ("match", "raw", "kind", "words"),
    [
        (number, "many", "type", "'It': a finite number is allowed"),
        (number, True, "type", "a finite number is allowed"),
        (number, "nan", "type", "a finite number is allowed"),
        (number, float("inf"), "type", "a finite number is allowed"),
        (number, [3], "type", "a finite number is allowed"),
        (text, True, "type", "'It': text is allowed"),
        (text, ["a"], "type", "text is allowed"),
        (text, "a \ud83d cat", "text", "'It': the text has half of a character (a lone surrogate)"),
        (text, {"value": "a \ude97"}, "text", "half of a character"),
        (one_field(RadioAttribute, "Other", "Other "), " Other", "choice", "'Other' may be several of the options"),
        (
            *(radio, "Green", "choice"),
            "'Green' is not one of the options: 'Red', 'Blue', 'blue!', 'Light green' are allowed",
        ),
        (radio, "blue?", "choice", "'blue?' may be several of the options"),
        (radio, 3, "choice", "One of 'Red', 'Blue', 'blue!', 'Light green' must be named"),
        (radio, "!", "choice", "'!' is not one of the options"),
        (checklist, {"indoors": True}, "type", "'Many people' must be true or false"),
        (checklist, {"indoors": "maybe", "many_people": True}, "type", "'Indoors' must be true or false"),
        (checklist, ["Outdoors"], "choice", "'Outdoors' is not one of the options"),
        (checklist, 3, "type", "'It': any of 'Indoors', 'Many people' are allowed"),
        (one_field(TextAttribute, required=True), None, "missing", "'It' needs an answer: text is allowed"),
        (one_field(ChecklistAttribute, "A", required=True), None, "missing", "'It' needs an answer"),
    ],
)
def test_answers_that_are_refused(match: Callable[[Any], Any], raw: Any, kind: str, words: str) -> None:
    """The error says at which field, and the values that are allowed there."""
    with pytest.raises(ValidationError) as caught:
        match(raw)
    (error,) = caught.value.errors()
    assert error["type"] == f"answer_{kind}"
    assert error["loc"][0] == "it"
    assert words in error["msg"]


def test_all_errors_are_told_together(things: Things) -> None:
    """A model that is asked again learns of each field that was wrong or missing."""
    fields = fields_of_classifications(things.structure.classifications)
    with pytest.raises(ValidationError) as caught:
        match_fields("Answer", fields, {"quality": "Bad!", "tags": {"indoors": True}, "how_many": "x"})
    assert caught.value.title == "Answer"
    assert sorted(".".join(map(str, error["loc"])) for error in caught.value.errors()) == [
        "caption",
        "how_many",
        "quality.comment",
        "quality.why_bad",
        "tags.people",
    ]


def test_a_field_by_its_title(things: Things) -> None:
    """A key that is no field's is taken for its title; a field's own key wins, and other keys are left out."""
    fields = [
        f for f in fields_of_classifications(things.structure.classifications) if f.key in ("caption", "how_many")
    ]
    told = match_fields("Answer", fields, {"CAPTION": "no", "caption": "a cat", "How Many?": 2, "x": 1, "title": "t"})
    assert {key: value["value"] for key, value in told.items()} == {"caption": "a cat", "how_many": 2}


@pytest.mark.parametrize("wrap", [lambda answer: answer, lambda answer: answer["choice"]])
def test_an_object(things: Things, wrap: Callable[[Any], Any]) -> None:
    """An object is named by its hash, with or without the outermost layer, and its attributes are matched."""
    choices = choices_of_objects(things.structure.objects)
    assert match_choice("Answer", choices, wrap(things.about_a_car())) == things.about_a_car()


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"feature_node_hash": "Tree's", "title": "tree"}, None),
        ({"title": " TREE "}, None),
        ({"feature_node_hash": "nonsense", "title": "Tree"}, None),
        ({"feature_node_hash": "Tree's", "title": "a plant"}, None),
        ({"choice": "tree"}, None),
        ({"feature_node_hash": "Tree's", "title": "Car"}, "is that of 'Tree', and title is 'Car'"),
        ({"feature_node_hash": "nonsense"}, "One of 'Car', 'Tree' must be named"),
        ({"title": "Bush"}, "'Bush' is not one of the options: 'Car', 'Tree' are allowed"),
    ],
)
def test_hash_and_title_of_an_object(things: Things, given: dict[str, str], error: str | None) -> None:
    """The hash counts; a title that names another object is a contradiction, and alone it is enough."""
    data = {key: things.hash("Tree") if value == "Tree's" else value for key, value in given.items()}
    choices = choices_of_objects(things.structure.objects)
    if error is None:
        expected = {"feature_node_hash": things.hash("Tree"), "title": "Tree"}
        assert match_choice("Answer", choices, {"choice": data}) == {"choice": expected}
    else:
        with pytest.raises(ValidationError, match=error):
            match_choice("Answer", choices, {"choice": data})


def test_the_only_object_need_not_be_named(things: Things) -> None:
    """Where there is one object, an answer without its name is about it."""
    (tree,) = [choice for choice in choices_of_objects(things.structure.objects) if choice.title == "Tree"]
    assert match_choice("Answer", [tree], {"choice": {}})["choice"]["title"] == "Tree"
    with pytest.raises(ValidationError, match="'Bush' is not one of the options"):
        match_choice("Answer", [tree], {"choice": {"title": "Bush"}})


def test_a_long_list_of_options_is_cut() -> None:
    """An error names thirty options at most, each on one line and of a readable length."""
    match = one_field(RadioAttribute, *(f"Option {i}" for i in range(40)), "x" * 200)
    with pytest.raises(ValidationError) as caught:
        match("y" * 250 + "\n" + "y" * 249)
    message = caught.value.errors()[0]["msg"]
    assert "'Option 29' and 11 more are allowed" in message
    assert "Option 30" not in message
    assert f"'{'y' * 100}... (400 more characters)' is not one of the options" in message
    assert "\n" not in message
