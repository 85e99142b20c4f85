"""An ontology as a pydantic model and a JSON schema, and a model's answer as labels."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar, overload

from encord.objects.classification import Classification
from encord.objects.classification_instance import ClassificationInstance
from encord.objects.ontology_object import Object
from encord.objects.ontology_object_instance import ObjectInstance
from pydantic import BaseModel, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from encord_agents.core.ontology.answer import Answer, settings_in
from encord_agents.core.ontology.fields import HASH, choices_of_objects, fields_of_classifications
from encord_agents.core.ontology.matching import match_choice, match_fields
from encord_agents.core.ontology.models import AnswerModel, model_of_choices, model_of_fields
from encord_agents.core.ontology.reading import breaks_off, objects_in
from encord_agents.core.ontology.schema import schema_of_choices, schema_of_fields
from encord_agents.exceptions import PrintableError

__all__ = ["Answer", "OntologyDataModel"]

OntologyType = TypeVar("OntologyType", Classification, Object)


class OntologyDataModel(Generic[OntologyType]):
    """The form of a model's answer about some classifications, or about an object, of an ontology.

    Pass its JSON schema to a model that supports structured output, or put the schema into the prompt; pass the answer
    to `read`, and put the result on a label row:

        question = OntologyDataModel(label_row.ontology_structure.classifications)
        text = my_model(f"Describe the image as JSON with the schema {question.model_json_schema_str}", image)
        question.read(text).add_to(label_row)

    With objects, the answer names one of them, and its attributes.

    Args:
        root_obj: A classification or object, or several of one kind.

    Attributes:
        ontology: The classifications or objects.
        DataModel: The pydantic model of an answer, for clients that take one in place of a schema. It accepts only
            answers that the schema allows.

    Raises:
        PrintableError: ``root_obj`` is empty, or contains both classifications and objects; or one of them has a
            radio or checklist attribute without options.
    """

    DataModel: type[AnswerModel]

    def __init__(self, root_obj: Iterable[OntologyType] | OntologyType) -> None:
        roots = list(_flattened(root_obj))
        classifications = [root for root in roots if isinstance(root, Classification)]
        objects = [root for root in roots if isinstance(root, Object)]
        if not roots or (classifications and objects):
            raise PrintableError(
                "OntologyDataModel takes a classification or an object of an ontology, or a list of one kind: "
                + ("there is none." if not roots else "these are of both kinds.")
            )
        self.ontology: list[OntologyType] = roots
        self._objects = objects
        if objects:
            self._choices = choices_of_objects(objects)
            self._schema = schema_of_choices(self._choices)
            self.DataModel = model_of_choices(self._choices, self._schema)
        else:
            self._fields = fields_of_classifications(classifications)
            self._schema = schema_of_fields(self._fields)
            self.DataModel = model_of_fields(self._fields, self._schema)

    def __repr__(self) -> str:
        return f"OntologyDataModel({[root.title for root in self.ontology]})"

    @property
    def model_json_schema(self) -> dict[str, Any]:
        """The JSON schema of an answer. The strict modes of structured output accept it."""
        return copy.deepcopy(self._schema)

    @property
    def model_json_schema_str(self) -> str:
        """The JSON schema of an answer, as text."""
        return json.dumps(self._schema, ensure_ascii=False)

    def read(self, answer: str | bytes | Mapping[str, Any] | BaseModel, *, strict: bool = False) -> Answer:
        """Check an answer.

        Unambiguous deviations from the schema are accepted: a code fence or words around the JSON, trailing commas,
        other quotes or none around keys, an option's title in another case, titles in place of keys, a list of titles
        in place of a checklist's flags, a value without the object around it, one more object or quotes around it all,
        missing hashes. ``null`` means no answer, which is allowed for attributes that are not required. Values that do
        not belong to the ontology are left out.

        Args:
            answer: JSON text, or parsed JSON.
            strict: Accept only answers that the schema allows.

        Raises:
            pydantic.ValidationError: Each of its errors names the field and the allowed values.
        """
        return self._answer(self._strictly(answer) if strict else self._leniently(answer))

    @overload
    def validate_json(
        self: OntologyDataModel[Classification], answer_str: str, *, strict: bool = ...
    ) -> list[ClassificationInstance]: ...

    @overload
    def validate_json(self: OntologyDataModel[Object], answer_str: str, *, strict: bool = ...) -> ObjectInstance: ...

    def validate_json(self, answer_str: str, *, strict: bool = False) -> list[ClassificationInstance] | ObjectInstance:
        """Check an answer, and return instances made from it: of each classification, or of the object it is about.

        They have their attributes, but neither frames nor coordinates yet. See `read`, whose result can put them on a
        label row.

        Raises:
            pydantic.ValidationError: Each of its errors names the field and the allowed values.
        """
        answer = self.read(answer_str, strict=strict)
        return answer.object_instance() if self._objects else answer.classification_instances()

    @overload
    def __call__(self: OntologyDataModel[Classification], answer: str) -> list[ClassificationInstance]: ...

    @overload
    def __call__(self: OntologyDataModel[Object], answer: str) -> ObjectInstance: ...

    def __call__(self, answer: str) -> list[ClassificationInstance] | ObjectInstance:
        """Do the same as `validate_json`."""
        instances: list[ClassificationInstance] | ObjectInstance = self.validate_json(answer)
        return instances

    def _strictly(self, answer: str | bytes | Mapping[str, Any] | BaseModel) -> dict[str, Any]:
        if isinstance(answer, str | bytes):
            model = self.DataModel.model_validate_json(answer)
        elif isinstance(answer, self.DataModel):
            model = answer
        else:
            model = self.DataModel.model_validate(_as_mapping(answer))
        return model.model_dump(by_alias=True)

    def _leniently(self, answer: str | bytes | Mapping[str, Any] | BaseModel) -> dict[str, Any]:
        if isinstance(answer, bytes):
            answer = answer.decode("utf-8", "replace")
        text: str | None = None
        found: Sequence[Mapping[str, Any]]
        if isinstance(answer, str):
            text = _without_quotes(answer)
            found = list(objects_in(text))[::-1]  # a model that thinks aloud gives its answer last
        else:
            data = _as_mapping(answer)
            if not isinstance(data, Mapping):  # None, for instance, where a model refused to answer
                self.DataModel.model_validate(data)
            found = [data]
        problem: ValidationError | None = None
        for candidate in _candidates(found):
            try:
                return self._matched(candidate)
            except ValidationError as error:  # of several objects, raise the error of the closest one
                if problem is None or error.error_count() < problem.error_count():
                    problem = error
        if text is not None and breaks_off(text):
            raise self._cut_short(text)
        if problem is None:
            assert text is not None
            self.DataModel.model_validate_json(text)  # raises an error that says why it is not JSON
            raise AssertionError("a JSON object was not found, and then it was")
        raise problem

    def _cut_short(self, answer: str) -> ValidationError:
        kind = PydanticCustomError(
            "answer_cut_short",
            "The answer ends in the middle of its JSON. Let the model write more (its maximum of tokens), or ask for "
            "less at once",
        )
        details = InitErrorDetails(type=kind, loc=(), input=answer)
        return ValidationError.from_exception_data(self.DataModel.__name__, [details])

    def _matched(self, data: Mapping[str, Any]) -> dict[str, Any]:
        title = self.DataModel.__name__
        return match_choice(title, self._choices, data) if self._objects else match_fields(title, self._fields, data)

    def _answer(self, data: dict[str, Any]) -> Answer:
        if self._objects:
            inner = data["choice"]
            (choice,) = (choice for choice in self._choices if choice.hash == inner[HASH])
            assert isinstance(choice.element, Object)
            return Answer(data, ((choice.element, tuple(settings_in(choice.fields, inner))),), about_object=True)
        parts: list[tuple[Classification | Object, tuple[Any, ...]]] = []
        for root in self.ontology:
            mine = {attribute.feature_node_hash for attribute in root.attributes}
            settings = tuple(settings_in([field for field in self._fields if field.hash in mine], data))
            if settings:
                parts.append((root, settings))
        return Answer(data, tuple(parts), about_object=False)


def _as_mapping(answer: Mapping[str, Any] | BaseModel) -> Mapping[str, Any]:
    return answer.model_dump(by_alias=True) if isinstance(answer, BaseModel) else answer


def _without_quotes(answer: str) -> str:
    """Return the text inside a JSON string; return other texts unchanged."""
    if answer.lstrip().startswith('"'):
        try:
            inner = json.loads(answer, strict=False)
        except (ValueError, RecursionError):
            return answer
        if isinstance(inner, str):
            return inner
    return answer


def _candidates(found: Iterable[Mapping[str, Any]]) -> Iterable[Mapping[str, Any]]:
    """Yield objects, and the only value of each if that is an object: some models wrap their answer in another one."""
    for data in found:
        yield data
        if len(data) == 1:
            yield from (value for value in data.values() if isinstance(value, Mapping))


def _flattened(root: Any) -> Iterable[Any]:
    if isinstance(root, Classification | Object):
        yield root
    elif isinstance(root, Iterable) and not isinstance(root, str | bytes | Mapping):
        for inner in root:
            yield from _flattened(inner)
    else:
        raise PrintableError(
            f"OntologyDataModel takes classifications or objects of an ontology, not {type(root).__name__}."
        )
