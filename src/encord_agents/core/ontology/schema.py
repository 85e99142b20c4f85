"""The JSON schema of an answer, within the limits of providers' strict modes.

Every object lists all of its properties as required and allows no others; there are no references and no keywords that
bound a text or a number, and constants are enumerations of one value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from encord_agents.core.ontology.fields import HASH, TITLE, Checklist, Choice, Field, Number, Radio

__all__ = ["schema_of_choices", "schema_of_fields"]

Schema: TypeAlias = dict[str, Any]


def schema_of_fields(fields: Sequence[Field]) -> Schema:
    """Return the schema of an answer with these fields."""
    return _object({field.key: _field(field) for field in fields})


def schema_of_choices(choices: Sequence[Choice]) -> Schema:
    """Return the schema of an answer that names one of these objects, and its attributes."""
    return _object({"choice": _one_of(choices, "The object that fits best.")})


def _field(field: Field) -> Schema:
    constant = {HASH: _constant(field.hash)}
    if isinstance(field, Checklist):
        described = {key: _flag(option.label) for key, option in field.options.items()}
        return _object({**constant, **described}, f"{field.title}: true for each of the options that applies.")
    if isinstance(field, Radio):
        if field.nested:
            choice = _one_of(field.choices, "The option that fits best.")
        else:
            choice = {"type": "string", "enum": [choice.title for choice in field.choices]}
        return _object({**constant, "choice": choice}, f"{field.title}: exactly one of the options.")
    kind, words = ("number", "a number") if isinstance(field, Number) else ("string", "text")
    return _object({**constant, "value": {"type": kind}}, f"{field.title}: {words}.")


def _one_of(choices: Sequence[Choice], description: str) -> Schema:
    schemas = [
        _object(
            {
                HASH: _constant(choice.hash),
                **({TITLE: _constant(choice.title)} if choice.tells_title else {}),
                **{field.key: _field(field) for field in choice.fields},
            },
            choice.title,
        )
        for choice in choices
    ]
    return schemas[0] if len(schemas) == 1 else {"description": description, "anyOf": schemas}


def _object(properties: dict[str, Schema], description: str | None = None) -> Schema:
    described = {} if description is None else {"description": description}
    return {
        "type": "object",
        **described,
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _constant(value: str) -> Schema:
    return {"type": "string", "enum": [value]}


def _flag(title: str) -> Schema:
    return {"type": "boolean", "description": f"Whether {title!r} applies."}
