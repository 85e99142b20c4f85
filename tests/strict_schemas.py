"""A checker of the rules that providers document for the schemas of their strict structured outputs.

Together they are stricter than each: a schema that passes is accepted by all.

- OpenAI, "Structured Outputs", supported schemas: the root is an object and no ``anyOf``; every object has
  ``additionalProperties: false`` and lists all properties as required; at most 5,000 properties, 10 levels, 1,000
  values of enumerations and 120,000 characters of names and values; an enumeration of more than 250 has at most 15,000.
- Anthropic, "Structured outputs", JSON Schema limitations: no bounds of numbers, texts or lists, no references to
  elsewhere, no recursion. Names of properties, as those of tools, are up to 64 letters, digits, ``_``, ``.`` or ``-``.
- Gemini, "Structured output": types, ``enum`` of texts, ``anyOf``, ``properties``, ``required``, ``description``.
"""

from __future__ import annotations

import re
from typing import Any

KEYWORDS = {"type", "description", "enum", "anyOf", "properties", "required", "additionalProperties"}
TYPES = {"object", "string", "number", "boolean", "integer", "array"}


def broken_rules(schema: dict[str, Any]) -> list[str]:
    """The rules that a schema breaks, each with its place."""
    found: list[str] = []
    totals = {"properties": 0, "enum": 0, "characters": 0}
    if schema.get("type") != "object" or "anyOf" in schema:
        found.append("the root is no object")
    _look_at(schema, "$", 1, found, totals)
    for what, most in (("properties", 5_000), ("enum", 1_000), ("characters", 120_000)):
        if totals[what] > most:
            found.append(f"{totals[what]} {what}, where {most} are allowed")
    return found


def _look_at(schema: Any, place: str, level: int, found: list[str], totals: dict[str, int]) -> None:
    if not isinstance(schema, dict):
        found.append(f"{place}: no schema")
        return
    found.extend(f"{place}: the keyword {word!r}" for word in schema.keys() - KEYWORDS)
    if level > 10:
        found.append(f"{place}: level {level}")
    if "anyOf" in schema:
        if set(schema) - {"anyOf", "description"}:
            found.append(f"{place}: anyOf beside other keywords")
        for number, part in enumerate(schema["anyOf"]):
            _look_at(part, f"{place}[{number}]", level, found, totals)
        return
    if schema.get("type") not in TYPES:
        found.append(f"{place}: the type {schema.get('type')!r}")
    if "enum" in schema:
        values = schema["enum"]
        totals["enum"] += len(values)
        totals["characters"] += sum(map(len, values))
        if not values or len(set(values)) != len(values) or schema["type"] != "string":
            found.append(f"{place}: the enumeration {values}")
        if len(values) > 250 and sum(map(len, values)) > 15_000:
            found.append(f"{place}: too long an enumeration")
    if schema.get("type") == "object":
        properties = schema.get("properties", {})
        totals["properties"] += len(properties)
        totals["characters"] += sum(map(len, properties))
        if schema.get("additionalProperties") is not False:
            found.append(f"{place}: additional properties")
        if list(properties) != schema.get("required"):
            found.append(f"{place}: properties that are not required")
        for name, part in properties.items():
            if not re.fullmatch(r"[a-zA-Z0-9_.-]{1,64}", name):
                found.append(f"{place}: the name {name!r}")
            _look_at(part, f"{place}.{name}", level + 1, found, totals)
