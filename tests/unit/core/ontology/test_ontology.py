"""An ontology as a model, and answers as instances."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from encord.objects import OntologyStructure, Shape
from encord.objects.attributes import ChecklistAttribute, RadioAttribute, TextAttribute
from pydantic import BaseModel, ValidationError
from tests.ontologies import Things, answered
from tests.strict_schemas import broken_rules

from encord_agents.core.ontology import OntologyDataModel
from encord_agents.exceptions import PrintableError

SAID = {
    "Quality?": "Bad!",
    "Why bad": ["Blurry"],
    "Comment": "hm",
    "Caption": "a cat",
    "Tags": ["Indoors"],
    "How many": 3.5,
}


@pytest.fixture
def things() -> Things:
    return Things()


@pytest.fixture
def about_all(things: Things) -> OntologyDataModel[Any]:
    return OntologyDataModel(things.structure.classifications)


def told(model: OntologyDataModel[Any], answer: object, *, strict: bool = False) -> dict[str, Any]:
    said: dict[str, Any] = {}
    given: Any = answer
    for instance in model.read(given, strict=strict).classification_instances():
        said |= answered(instance)
    return said


def problems(model: OntologyDataModel[Any], answer: object, *, strict: bool = False) -> dict[str, str]:
    given: Any = answer
    with pytest.raises(ValidationError) as caught:
        model.read(given, strict=strict)
    return {".".join(map(str, error["loc"])): error["msg"] for error in caught.value.errors()}


def test_the_schema_is_accepted_by_strict_modes(things: Things, about_all: OntologyDataModel[Any]) -> None:
    """It breaks none of the rules that providers document, whichever way it is asked for."""
    about_objects: OntologyDataModel[Any] = OntologyDataModel(things.structure.objects)
    for model in (about_all, about_objects):
        assert broken_rules(model.model_json_schema) == []
        assert json.loads(model.model_json_schema_str) == model.model_json_schema
        assert model.DataModel.model_json_schema() == model.model_json_schema


def test_the_checker_of_schemas_finds_what_is_forbidden() -> None:
    """What pydantic makes of a plain model breaks some of the rules."""

    class Plain(BaseModel):
        a: int = 3
        b: str | None = None

    assert len(broken_rules(Plain.model_json_schema())) > 3


def test_the_model_can_be_part_of_another(about_all: OntologyDataModel[Any], things: Things) -> None:
    """As a field of a model of one's own."""
    kind: Any = about_all.DataModel

    class Reply(BaseModel):
        thoughts: str
        answer: kind

    reply = Reply.model_validate({"thoughts": "", "answer": things.answer()})
    assert told(about_all, reply.answer) == SAID
    assert about_all.model_json_schema["properties"] == Reply.model_json_schema()["$defs"][kind.__name__]["properties"]


def test_the_keys_are_those_of_the_schema(about_all: OntologyDataModel[Any]) -> None:
    """The names are as in 0.2.10."""
    assert list(about_all.model_json_schema["properties"]) == ["quality", "caption", "tags", "how_many"]


@pytest.mark.parametrize("strict", [False, True])
def test_an_answer_as_the_schema_wants_it(things: Things, about_all: OntologyDataModel[Any], strict: bool) -> None:
    """It is read, as text, bytes, dictionary or model."""
    answer = things.answer()
    text = json.dumps(answer)
    for form in (text, text.encode(), answer, about_all.DataModel.model_validate_json(text)):
        assert told(about_all, form, strict=strict) == SAID


def test_instances_as_in_0_2_10(things: Things, about_all: OntologyDataModel[Any]) -> None:
    """A call and `validate_json` give one instance for each classification, or one of the object."""
    text = json.dumps(things.answer())
    for instances in (about_all(text), about_all.validate_json(text)):
        assert [instance.classification_name for instance in instances] == ["Quality?", "Caption", "Tags", "How many"]
        assert not any(instance.get_annotations() for instance in instances)
    about_objects: OntologyDataModel[Any] = OntologyDataModel(things.structure.objects)
    instance = about_objects(json.dumps(things.about_a_car()))
    assert instance.object_name == "Car"
    colour = instance.ontology_item.attributes[0]
    assert instance.get_answer(colour).label == "Red"


def test_one_is_as_good_as_a_list(things: Things) -> None:
    """A single classification or object, a list, and the list in a list of the old documentation."""
    (first, *_) = things.structure.classifications
    answer = {"quality": things.answer()["quality"]}
    for given in (first, [first], [[first]]):
        root: Any = given
        assert told(OntologyDataModel(root), answer) == {key: SAID[key] for key in ("Quality?", "Why bad", "Comment")}


@pytest.mark.parametrize("given", [[], None, "Car", [None], [[]]])
def test_neither_is_an_error(given: Any) -> None:
    """As are both at once."""
    with pytest.raises(PrintableError, match="OntologyDataModel takes"):
        OntologyDataModel(given)


def test_both_are_an_error(things: Things) -> None:
    """An answer is about classifications or about an object."""
    both: Any = [*things.structure.classifications, *things.structure.objects]
    with pytest.raises(PrintableError, match="of both kinds"):
        OntologyDataModel(both)


# What models really answer


def test_hashes_may_be_left_out(about_all: OntologyDataModel[Any]) -> None:
    """The keys say as much; an option with attributes is known by its title."""
    answer = {
        "quality": {"choice": {"title": "Bad!", "why_bad": {"blurry": True, "dark_very": False}, "comment": "hm"}},
        "caption": "a cat",
        "tags": ["Indoors"],
        "how_many": 3.5,
    }
    assert told(about_all, answer) == SAID
    assert set(problems(about_all, answer, strict=True)) >= {"quality.feature_node_hash", "caption", "tags"}


def test_titles_in_place_of_keys_and_another_case(about_all: OntologyDataModel[Any]) -> None:
    """Titles are what people and models see."""
    answer = {
        "Quality?": {"choice": {"title": "bad", "Why bad": ["BLURRY"], "COMMENT": {"value": "hm"}}},
        "CAPTION": {"value": "a cat"},
        "Tags": {"indoors": "yes", "People": "no"},
        "How Many": {"value": "3.5"},
    }
    assert told(about_all, answer) == SAID


def test_what_is_not_in_the_ontology_is_left_out(things: Things, about_all: OntologyDataModel[Any]) -> None:
    """But not strictly."""
    answer = things.answer() | {"confidence": 0.9}
    assert told(about_all, answer) == SAID
    assert list(problems(about_all, answer, strict=True)) == ["confidence"]


def test_fences_and_words_around_it(things: Things, about_all: OntologyDataModel[Any]) -> None:
    """Of several objects the last one that fits counts."""
    text = json.dumps(things.answer())
    earlier = copy.deepcopy(things.answer())
    earlier["caption"]["value"] = "a dog"
    for written in (f"```json\n{text}\n```", f"First {json.dumps(earlier)}.\nNo: {text} {{'a': 1}}"):
        assert told(about_all, written) == SAID
        with pytest.raises(ValidationError):
            about_all.read(written, strict=True)


def test_answers_that_are_nearly_json(things: Things, about_all: OntologyDataModel[Any]) -> None:
    """As models write them that know Python, JavaScript or typography better; in one more object, or in quotes."""
    answer = things.answer()
    text = json.dumps(answer)
    for written in (
        repr(answer),
        f"```python\nanswer = {answer!r}\n```",
        text.replace('"', "”").replace("”", "“", 1),
        text.replace("}}", "},}", 1),
        json.dumps(text),
        json.dumps({"answer": answer}),
        {"result": answer},
        text.replace('"tags"', "tags").replace('"caption"', "caption"),
        "def f(x) { return {}; } // {1} {2}\n" * 100 + text,
    ):
        assert told(about_all, written) == SAID


def test_an_answer_that_breaks_off(things: Things, about_all: OntologyDataModel[Any]) -> None:
    """It is said so, wherever the model ran out of tokens, and never taken for a whole one."""
    text = json.dumps(things.answer())
    for end in range(text.index('"') + 1, len(text)):
        (message,) = problems(about_all, text[:end]).values()
        assert "ends in the middle of its JSON" in message
    for written in ("```json\n" + text[:-40], f"Well {{ok}}: {text[:-1]}\n```"):
        (message,) = problems(about_all, written).values()
        assert "maximum of tokens" in message
    assert told(about_all, text + text[:-40]) == SAID


def test_the_error_of_the_object_that_comes_closest(things: Things, about_all: OntologyDataModel[Any]) -> None:
    """Not of one that was only mentioned."""
    answer = things.answer()
    answer["how_many"]["value"] = "many"
    written = f"{{'format': 'json'}} {json.dumps(answer)} {{'done': True}}"
    assert list(problems(about_all, written)) == ["how_many.value"]


@pytest.mark.parametrize(
    ("given", "meant"), [("c++", "C++"), ("C", "C"), ("c#", "C#"), (" c ", "C"), ("F sharp", "F-sharp")]
)
def test_case_before_punctuation(given: str, meant: str) -> None:
    """Options that differ in punctuation are told apart in any case."""
    structure = OntologyStructure()
    radio = structure.add_classification().add_attribute(RadioAttribute, "Language")
    for option in ("C", "C++", "C#", "F-sharp"):
        radio.add_option(option)
    assert told(OntologyDataModel(structure.classifications), {"language": given}) == {"Language": meant}


def test_null_is_no_answer(things: Things, about_all: OntologyDataModel[Any]) -> None:
    """Attributes that are not required may be without one; a required one says so."""
    answer = things.answer() | {"caption": {"value": None}, "tags": None}
    answer["quality"]["choice"]["why_bad"] = None
    said = told(about_all, answer)
    assert said == {key: SAID[key] for key in ("Quality?", "Comment", "How many")}
    assert problems(about_all, answer | {"quality": {"choice": None}}) == {
        "quality.choice": "'Quality?' needs an answer: one of 'Good', 'Bad!' is allowed"
    }


# What cannot be read


def test_each_error_says_which_field_and_what_was_allowed(things: Things, about_all: OntologyDataModel[Any]) -> None:
    """All of them at once."""
    answer = things.answer()
    answer["quality"]["choice"] |= {"why_bad": ["Foggy"]}
    del answer["quality"]["choice"]["comment"]
    answer["caption"] = {"value": ["a"]}
    answer["tags"] = {"indoors": "perhaps", "people": True}
    answer["how_many"] = {"value": "many"}
    assert problems(about_all, answer) == {
        "quality.choice.why_bad": "'Foggy' is not one of the options: 'Blurry', 'Dark (very)' are allowed",
        "quality.choice.comment": "There is no answer to 'Comment': text is allowed",
        "caption.value": "'Caption': text is allowed",
        "tags.indoors": "'Indoors' must be true or false",
        "how_many.value": "'How many': a finite number is allowed",
    }


def test_an_option_that_is_none(about_all: OntologyDataModel[Any], things: Things) -> None:
    """The options are listed, in braces or not."""
    answer = things.answer() | {"quality": {"choice": "{fine}"}}
    assert problems(about_all, answer) == {
        "quality.choice": "'{fine}' is not one of the options: 'Good', 'Bad!' are allowed"
    }
    assert (
        "'Red' or 'Blue'"
        in problems(OntologyDataModel(things.structure.objects[0]), _painted(things, "Green"), strict=True)[
            "choice.colour.choice"
        ]
    )


def test_an_option_named_twice_over(things: Things, about_all: OntologyDataModel[Any]) -> None:
    """A hash and a title that contradict each other are no answer."""
    answer = things.answer()
    answer["quality"]["choice"]["title"] = "Good"
    assert "they must be of the same" in problems(about_all, answer)["quality.choice"]


@pytest.mark.parametrize("text", ["", "I cannot say.", "{", "[]", '"text"', "{'quality': 1}"])
def test_no_json_is_told_as_in_0_2_10(about_all: OntologyDataModel[Any], text: str) -> None:
    """By pydantic's error, which existing code catches."""
    with pytest.raises(ValidationError):
        about_all(text)


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("answer", [None, [], [{"caption": "a cat"}], 3, True])
def test_no_answer_is_told_as_no_json(about_all: OntologyDataModel[Any], answer: Any, strict: bool) -> None:
    """By the same error: clients give ``None`` where a model refused, or wrote nothing."""
    assert "valid dictionary" in problems(about_all, answer, strict=strict)[""]


@pytest.mark.parametrize("strict", [False, True])
def test_half_a_character(things: Things, about_all: OntologyDataModel[Any], strict: bool) -> None:
    """A text that breaks off in the middle of an emoji cannot be saved, so that it is refused with its field."""
    answer = things.answer()
    answer["caption"]["value"] = "a \ud83d cat"
    (message,) = problems(about_all, answer, strict=strict).values()
    assert "half of a character" in message
    assert len(problems(about_all, json.dumps(answer), strict=strict)) == 1
    for whole in ("a 🚗", "a \ud83d\ude97"):
        answer["caption"]["value"] = whole
        for form in (answer, json.dumps(answer)):
            assert about_all.read(form, strict=strict).data["caption"]["value"] == "a 🚗"


def test_what_looks_alike_stays_apart() -> None:
    """Titles that differ only in case or punctuation are told apart, or are an error."""
    structure = OntologyStructure()
    for title in ("Big", "BIG!"):
        radio = structure.add_classification().add_attribute(RadioAttribute, title)
        radio.add_option("yes")
        radio.add_option("Yes")
    model = OntologyDataModel(structure.classifications)
    assert broken_rules(model.model_json_schema) == []
    assert told(model, {"big": "yes", "big_2": "Yes"}) == {"Big": "yes", "BIG!": "Yes"}
    assert told(model, {"BIG!": "yes", "Big": "Yes"}) == {"Big": "Yes", "BIG!": "yes"}
    assert "may be several of the options" in problems(model, {"big": "YES", "big_2": "yes"})["big"]


def test_keys_that_are_names_of_pydantic() -> None:
    """Attributes may be called like methods of models, or begin with an underscore."""
    structure = OntologyStructure()
    titles = ("json", "copy", "schema", "model config", "model_fields", "_private", "__init__", "class", "value")
    for title in titles:
        structure.add_classification().add_attribute(TextAttribute, title)
    model = OntologyDataModel(structure.classifications)
    answer = {key: {"feature_node_hash": part["properties"]["feature_node_hash"]["enum"][0], "value": "x"}
              for key, part in model.model_json_schema["properties"].items()}  # fmt: skip
    assert told(model, json.dumps(answer), strict=True) == dict.fromkeys(titles, "x")
    assert told(model, answer) == dict.fromkeys(titles, "x")


def test_flags_called_like_the_words_of_the_schema() -> None:
    """A checklist may have an option "Value"."""
    structure = OntologyStructure()
    tags = structure.add_classification().add_attribute(ChecklistAttribute, "Tags")
    tags.add_option("Value")
    tags.add_option("Choice")
    model = OntologyDataModel(structure.classifications)
    assert told(model, {"tags": {"value": True, "choice": False}}) == {"Tags": ["Value"]}
    assert told(model, {"tags": ["Choice"]}) == {"Tags": ["Choice"]}


def test_an_object_without_attributes(things: Things) -> None:
    """It is named, and that is all."""
    model: OntologyDataModel[Any] = OntologyDataModel(things.structure.objects)
    for choice in ({"title": "Tree"}, "tree", {"feature_node_hash": things.hash("Tree")}):
        assert model.read({"choice": choice}).object_instance().object_name == "Tree"
    assert "'Car', 'Tree'" in problems(model, {"choice": "Bush"})["choice"]
    assert "'Car', 'Tree'" in problems(model, {})["choice"]


def test_attributes_of_one_object_alone(things: Things) -> None:
    """Where there is only one object, it need not be named."""
    model: OntologyDataModel[Any] = OntologyDataModel(things.structure.objects[0])
    instance = model.read({"colour": "blue", "plate": "X"}).object_instance()
    assert instance.get_answer(instance.ontology_item.attributes[0]).label == "Blue"


def test_nested_to_any_depth() -> None:
    """Radio in radio in radio, with another at each level."""
    structure = OntologyStructure()
    attribute: Any = structure.add_object("Thing", Shape.BOUNDING_BOX).add_attribute(RadioAttribute, "Level 0")
    answer: Any = {}
    inner = answer
    for level in range(8):
        attribute.add_option("stop")
        option = attribute.add_option("deeper")
        inner[f"level_{level}"] = {"choice": (deeper := {"title": "deeper"})}
        inner = deeper
        attribute = option.add_nested_attribute(RadioAttribute, f"Level {level + 1}")
    attribute.add_option("end")
    inner["level_8"] = {"choice": "end"}
    model: OntologyDataModel[Any] = OntologyDataModel(structure.objects)
    answer["title"] = "Thing"
    instance = model.read(answer).object_instance()
    assert instance.get_answer(attribute).label == "end"


def _painted(things: Things, colour: str) -> dict[str, Any]:
    answer = things.about_a_car()
    answer["choice"]["colour"]["choice"] = colour
    return answer
