"""The schema of client metadata. A newer and an older request save and read it, and name its types differently."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from encord_agents.local.trouble import malformed

_WITH_PARTS = ("enum", "embedding")
_OLD_NAMES: Mapping[str, str | None] = {
    **{name: name for name in ("number", "boolean", "datetime", "geospatial", *_WITH_PARTS)},
    **dict.fromkeys(("varchar", "string", "uuid", "user"), "string"),
    **dict.fromkeys(("text", "long_string"), "long_string"),
    "tombstone": None,
}
"""The types of keys, and their names in the older request, which leaves out deleted keys."""


def check(schema: Mapping[str, Any]) -> None:
    """Check that each key of a schema has a type, and all that belongs to the type.

    Raises:
        Refusal: 400, one has not.
    """
    for key, given in schema.items():
        if _type(given) not in _OLD_NAMES:
            raise malformed(f"The type of {key[:100]!r} must be one of {', '.join(_OLD_NAMES)}.")
        if given in _WITH_PARTS:
            raise malformed(f"{key[:100]!r} lacks its values or size: use client.metadata_schema().add_{given}(...).")


def newer(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema with the types as the newer request has them."""
    return {key: _newer(given) if isinstance(given, str) else given for key, given in schema.items()}


def older(schema: Mapping[str, Any]) -> dict[str, str]:
    """Return a schema with the names of the types only, as the older request has them."""
    named = {key: _OLD_NAMES[_type(given)] for key, given in schema.items()}
    return {key: name for key, name in named.items() if name is not None}


def _newer(name: str) -> dict[str, str]:
    return {"ty": name} if name == "geospatial" else {"ty": "variant", "hint": name}


def _type(given: Any) -> str:
    if isinstance(given, dict):
        given = given.get("hint", "text") if given.get("ty") == "variant" else given.get("ty")
    return given if isinstance(given, str) else ""
