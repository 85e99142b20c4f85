"""Filters of lists. An unknown filter is refused, never ignored."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

from encord_agents.local.trouble import NotKnown, Refusal, malformed

LONGEST_PATTERN = 1000
_CAMEL = re.compile(r"_([a-z])")
_OFF = (None, "", "False", "false", False)


@lru_cache(maxsize=1024)  # each field of a request is looked up in both cases
def camel(name: str) -> str:
    """Convert a name from snake case to camel case."""
    return _CAMEL.sub(lambda match: match[1].upper(), name)


def one(query: Mapping[str, Sequence[str]], name: str) -> str | None:
    """Return the last value of a parameter, named in snake case, from a query in either case."""
    values = query.get(camel(name)) or query.get(name)
    return values[-1] if values else None


def many(query: Mapping[str, Sequence[str]], name: str) -> list[str] | None:
    """Return all values of a parameter, named in snake case, from a query in either case."""
    values = query.get(camel(name)) or query.get(name)
    return None if values is None else list(values)


def flag(query: Mapping[str, Sequence[str]], name: str) -> bool | None:
    """Return the value of a parameter that is true or false.

    Raises:
        Refusal: 400, it is neither.
    """
    value = one(query, name)
    if value is None:
        return None
    if value.lower() not in ("true", "false"):
        raise malformed(f"{camel(name)} must be true or false.")
    return value.lower() == "true"


def only(query: Mapping[str, Any], what: str, *names: str, off: Sequence[str] = ()) -> None:
    """Refuse parameters that are not among these, named in snake case.

    Args:
        query: The query of the request.
        what: The name of the list, for the message.
        off: Parameters that are allowed if they ask for nothing.

    Raises:
        Refusal: 501, there is another parameter.
    """
    known = {*names, *map(camel, names)}
    idle = {*off, *map(camel, off)}
    for key, values in query.items():
        if key in known:
            continue
        asked = list(values) if isinstance(values, (list, tuple)) else [values]
        if key in idle and all(value in _OFF for value in asked):
            continue
        raise NotKnown(f"the filter {key[:100]} of {what}.", "List without it, and choose among what comes.")


def like(value: str, pattern: str) -> bool:
    """Match as SQL's LIKE does: % is any text, _ any character; case does not matter."""
    if len(pattern) > LONGEST_PATTERN:
        raise malformed("The pattern is too long.")
    # fnmatch's patterns never backtrack over a star, however many there are, so none is slow.
    plain = re.sub(r"([*?[])", r"[\1]", pattern.lower())
    return fnmatchcase(value.lower(), plain.replace("%", "*").replace("_", "?"))


def date(value: Any, name: str) -> float | None:
    """Return a date as seconds since 1970.

    Raises:
        Refusal: 400, it is not a date.
    """
    if value is None:
        return None
    try:
        found = datetime.fromisoformat(value)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, OverflowError):
        raise Refusal(400, f"{name} is not a date.", name="INVALID_DATE_FORMAT_ERROR") from None


NAMES = (
    "title_eq", "title_like", "desc_eq", "desc_like", "description_eq", "description_like", "created_before",
    "created_after", "edited_before", "edited_after",
)  # fmt: skip
"""The filters that lists of projects, datasets and ontologies share."""


@dataclass(frozen=True)
class Listing:
    """The filters of a list of titled things."""

    values: Mapping[str, Any]

    @classmethod
    def of_query(cls, query: Mapping[str, Sequence[str]]) -> Listing:
        return cls({name: one(query, name) for name in NAMES if one(query, name) is not None})

    def allows(self, title: str, description: str, created_at: float, edited_at: float) -> bool:
        """Return True if all filters let a thing through.

        Raises:
            Refusal: 400, a filter's date is not a date.
        """
        tests: Mapping[str, Callable[[Any], bool]] = {
            "title_eq": lambda v: title == v,
            "title_like": lambda v: like(title, v),
            "desc_eq": lambda v: description == v,
            "desc_like": lambda v: like(description, v),
            "description_eq": lambda v: description == v,
            "description_like": lambda v: like(description, v),
            "created_before": lambda v: created_at < (date(v, "created_before") or 0),
            "created_after": lambda v: created_at > (date(v, "created_after") or 0),
            "edited_before": lambda v: edited_at < (date(v, "edited_before") or 0),
            "edited_after": lambda v: edited_at > (date(v, "edited_after") or 0),
        }
        return all(tests[name](value) for name, value in self.values.items() if value is not None)
