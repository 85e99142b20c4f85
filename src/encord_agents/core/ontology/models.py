"""The pydantic models of an answer, for code and for clients that take a model in place of a schema."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from keyword import iskeyword
from typing import Annotated, Any, ClassVar, Literal, Union

from pydantic import AfterValidator, BaseModel, ConfigDict, create_model
from pydantic import Field as PydanticField
from pydantic_core import PydanticCustomError

from encord_agents.core.legible import is_cut, joined
from encord_agents.core.ontology.fields import CUT_TEXT, HASH, TITLE, Checklist, Choice, Field, Number, Radio
from encord_agents.core.ontology.schema import Schema

__all__ = ["AnswerModel", "model_of_choices", "model_of_fields"]


class AnswerModel(BaseModel):
    """The base class of answer models: values are not converted, and unknown fields are not accepted."""

    model_config = ConfigDict(
        extra="forbid", strict=True, populate_by_name=True, protected_namespaces=(), allow_inf_nan=False
    )

    strict_schema: ClassVar[Schema | None] = None
    """The schema of the model, if it stands for a whole answer."""

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: Any) -> Schema:
        if cls.strict_schema is None:
            schema: Schema = handler(core_schema)
            return schema
        return copy.deepcopy(cls.strict_schema)


def model_of_fields(fields: Sequence[Field], schema: Schema) -> type[AnswerModel]:
    """Return the model of an answer with these fields."""
    return _whole(_model("ClassificationModel", {field.key: _type_of(field) for field in fields}), schema)


def model_of_choices(choices: Sequence[Choice], schema: Schema) -> type[AnswerModel]:
    """Return the model of an answer that names one of these objects."""
    return _whole(_model("ObjectsRadioModel", {"choice": _one_of(choices)}), schema)


def _whole(model: type[AnswerModel], schema: Schema) -> type[AnswerModel]:
    model.strict_schema = schema
    return model


def _type_of(field: Field) -> Any:
    types: dict[str, Any] = {HASH: _constant(field.hash)}
    if isinstance(field, Checklist):
        types |= dict.fromkeys(field.options, bool)
    elif isinstance(field, Radio):
        titles = tuple(choice.title for choice in field.choices)
        types["choice"] = _one_of(field.choices) if field.nested else Literal[titles]
    else:
        types["value"] = float if isinstance(field, Number) else Annotated[str, AfterValidator(_whole_text)]
    return _model(f"{_camel(field.key)}{type(field).__name__}Model", types)


def _whole_text(text: str) -> str:
    if is_cut(text):
        raise PydanticCustomError("answer_text", CUT_TEXT)
    return joined(text)


def _one_of(choices: Sequence[Choice]) -> Any:
    models = tuple(
        _model(
            f"Choice{number}Model",
            {
                HASH: _constant(choice.hash),
                **({TITLE: _constant(choice.title)} if choice.tells_title else {}),
                **{field.key: _type_of(field) for field in choice.fields},
            },
        )
        for number, choice in enumerate(choices, 1)
    )
    if len(models) == 1:
        return models[0]
    return Annotated[Union[models], PydanticField(discriminator=HASH)]  # noqa: UP007 - made from a tuple


def _constant(value: str) -> Any:
    return Literal[(value,)]


def _model(name: str, types: dict[str, Any]) -> type[AnswerModel]:
    """Return a model with these fields. If a key cannot be the name of a field, the field has a similar name."""
    fields: dict[str, Any] = {}
    for key, kind in types.items():
        if hasattr(AnswerModel, key) or not key.isidentifier() or iskeyword(key):
            fields[f"{'' if key[0].isalpha() else 'field_'}{key}_"] = (kind, PydanticField(alias=key))
        else:
            fields[key] = (kind, ...)
    model: type[AnswerModel] = create_model(name, __base__=AnswerModel, **fields)
    return model


def _camel(key: str) -> str:
    return "".join(part.capitalize() for part in key.split("_"))
