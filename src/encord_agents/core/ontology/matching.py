"""Matching of a model's answer to the fields of an ontology: exactly, or leniently if that is unambiguous."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from encord_agents.core.legible import is_cut, joined, on_a_line
from encord_agents.core.ontology.fields import (
    CUT_TEXT,
    HASH,
    TITLE,
    Checklist,
    Choice,
    Field,
    Number,
    Radio,
    loose,
)

__all__ = ["match_choice", "match_fields"]

T = TypeVar("T")

_NOTHING: Final = object()
_VALUE_KEYS = ("value", "choice", "answer")
_YES = frozenset({"true", "yes", "1"})
_NO = frozenset({"false", "no", "0"})
_MOST_NAMED = 30

Location = tuple[str | int, ...]


def match_fields(title: str, fields: Sequence[Field], data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the answer in the form that the schema asks for, without optional fields that have no answer.

    Args:
        title: The title of a validation error.
        fields: The fields that can be answered.
        data: The model's answer.

    Raises:
        ValidationError: Each of its errors names the field and the allowed values.
    """
    matcher = _Matcher()
    answer = matcher.fields(fields, data, ())
    matcher.check(title)
    return answer


def match_choice(title: str, choices: Sequence[Choice], data: Mapping[str, Any]) -> dict[str, Any]:
    """Do the same for an answer that names one of several objects."""
    matcher = _Matcher()
    raw = data.get("choice", data)  # some models leave out the outermost layer
    answer = {"choice": matcher.choice(choices, raw, ("choice",))}
    matcher.check(title)
    return answer


class _Matcher:
    def __init__(self) -> None:
        self.errors: list[InitErrorDetails] = []

    def check(self, title: str) -> None:
        if self.errors:
            raise ValidationError.from_exception_data(title, self.errors)

    def refuse(self, kind: str, message: str, location: Location, value: object) -> None:
        error = PydanticCustomError("answer_" + kind, "{message}", {"message": message})
        self.errors.append(InitErrorDetails(type=error, loc=location, input=value))

    def fields(self, fields: Sequence[Field], data: Mapping[str, Any], location: Location) -> dict[str, Any]:
        given = _by_name({field.key: (field.key, field.title) for field in fields}, data)
        answer: dict[str, Any] = {}
        for field in fields:
            here = (*location, field.key)
            raw = given.get(field.key, _NOTHING)
            if raw is _NOTHING:
                self.refuse("missing", f"There is no answer to {field.title!r}: {_allowed(field)}", here, dict(data))
            elif (value := self.field(field, raw, here)) is not _NOTHING:
                answer[field.key] = value
        return answer

    def field(self, field: Field, raw: Any, location: Location) -> Any:
        if isinstance(field, Checklist):
            return self.checklist(field, raw, location)
        inner, here = _unwrapped(raw)
        if here is not None:
            location = (*location, here)
        if inner is None:
            if field.required:
                self.refuse("missing", f"{field.title!r} needs an answer: {_allowed(field)}", location, raw)
            return _NOTHING
        if isinstance(field, Radio):
            if field.nested:
                return {HASH: field.hash, "choice": self.choice(field.choices, inner, location)}
            chosen = self.named(field.choices, inner, location)
            return {HASH: field.hash, "choice": None if chosen is None else chosen.title}
        value = self.number(inner) if isinstance(field, Number) else self.text(inner)
        if value is None:
            self.refuse("type", f"{field.title!r}: {_allowed(field)}", location, inner)
        elif isinstance(value, str) and is_cut(value):
            self.refuse("text", f"{field.title!r}: {CUT_TEXT}", location, inner)
        return {HASH: field.hash, "value": value}

    @staticmethod
    def text(raw: object) -> str | None:
        if isinstance(raw, str):
            return joined(raw)
        return str(raw) if isinstance(raw, int | float) and not isinstance(raw, bool) else None

    @staticmethod
    def number(raw: object) -> float | None:
        if isinstance(raw, bool) or not isinstance(raw, int | float | str):
            return None
        try:
            number = float(raw)
        except (ValueError, OverflowError):
            return None
        if not math.isfinite(number):
            return None
        # Whole numbers beyond 64 bits cannot be saved as such.
        return raw if isinstance(raw, int) and abs(raw) < 2**63 else number

    def checklist(self, field: Checklist, raw: Any, location: Location) -> Any:
        inner, here = _unwrapped(raw)
        if here is not None and not any(here == key for key in field.options):
            raw, location = inner, (*location, here)
        if raw is None:
            if field.required:
                self.refuse("missing", f"{field.title!r} needs an answer: {_allowed(field)}", location, raw)
            return _NOTHING
        names = {key: (key, option.label) for key, option in field.options.items()}
        answer: dict[str, Any] = {HASH: field.hash}
        if isinstance(raw, Mapping):
            given = _by_name(names, raw)
            for key, option in field.options.items():
                flag = _flag(given.get(key, _NOTHING))
                if flag is None:
                    message = f"{option.label!r} must be true or false"
                    self.refuse("type", message, (*location, key), given.get(key))
                answer[key] = flag
            return answer
        titles = [raw] if isinstance(raw, str) else raw
        if not isinstance(titles, Sequence) or not all(isinstance(title, str) for title in titles):
            self.refuse("type", f"{field.title!r}: {_allowed(field)}", location, raw)
            return answer
        chosen = {self.one_named(names, title, location) for title in titles}
        return answer | {key: key in chosen for key in field.options}

    def choice(self, choices: Sequence[Choice], raw: Any, location: Location) -> dict[str, Any] | None:
        """Return an option or object with the answers to its own attributes."""
        chosen = self.named(choices, raw, location)
        if chosen is None:
            return None
        data = raw if isinstance(raw, Mapping) else {}
        told = {TITLE: chosen.title} if chosen.tells_title else {}
        return {HASH: chosen.hash, **told, **self.fields(chosen.fields, data, location)}

    def named(self, choices: Sequence[Choice], raw: Any, location: Location) -> Choice | None:
        """Return the option or object that is named by its hash or title."""
        by_hash = {choice.hash: choice for choice in choices}
        names = {choice.hash: (choice.title,) for choice in choices}
        title = raw
        if isinstance(raw, Mapping):
            chosen = by_hash.get(str(raw.get(HASH)))
            told = raw.get(TITLE) if chosen is None or chosen.tells_title else None
            if chosen is not None:
                others = [] if not isinstance(told, str) or loose(told) == loose(chosen.title) else _find(names, told)
                if others:
                    message = f"{HASH} is that of {chosen.title!r}, and {TITLE} is {told!r}: they must be of the same"
                    self.refuse("choice", message, location, raw)
                    return None
                return chosen
            title = raw.get("value", raw.get("choice")) if told is None else told
            if title is None and len(choices) == 1:
                return choices[0]
        if isinstance(title, str):
            if title in by_hash:
                return by_hash[title]
            key = self.one_named(names, title, location)
            return None if key is None else by_hash[key]
        self.refuse("choice", f"One of {_listed(choice.title for choice in choices)} must be named", location, raw)
        return None

    def one_named(self, names: Mapping[str, tuple[str, ...]], title: str, location: Location) -> str | None:
        """Return the only key with this name, matched exactly or loosely; otherwise record an error."""
        found = _find(names, title)
        if len(found) == 1:
            return found[0]
        allowed = _listed(alternatives[-1] for alternatives in names.values())
        shown = repr(on_a_line(title, 100))
        problem = f"{shown} may be several of the options" if found else f"{shown} is not one of the options"
        self.refuse("choice", f"{problem}: {allowed} are allowed", location, title)
        return None


def _find(names: Mapping[str, tuple[str, ...]], name: str) -> list[str]:
    """Return the keys that match a name: exactly, failing that without outer spaces, in another case, then loosely."""
    for alike in (str, str.strip, _in_one_case):
        for place in range(max(map(len, names.values()), default=0)):
            same = [key for key, known in names.items() if place < len(known) and alike(known[place]) == alike(name)]
            if same:
                return same
    plain = loose(name)
    if not plain:
        return []
    return [key for key, known in names.items() if any(loose(one) == plain for one in known)]


def _in_one_case(text: str) -> str:
    return " ".join(text.casefold().split())


def _by_name(names: Mapping[str, tuple[str, str]], data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a mapping by the keys of their fields; values without a field are left out."""
    given = {key: data[key] for key in names if key in data}
    for name, value in data.items():
        if name in given or name in (HASH, TITLE) or not isinstance(name, str):
            continue
        found = _find(names, name)
        if len(found) == 1:
            given.setdefault(found[0], value)
    return given


def _unwrapped(raw: Any) -> tuple[Any, str | None]:
    """Unwrap the value of ``{"feature_node_hash": ..., "value": ...}``, with its key; return other data unchanged."""
    if isinstance(raw, Mapping):
        for key in _VALUE_KEYS:
            if key in raw:
                return raw[key], key
    return raw, None


def _flag(raw: object) -> bool | None:
    if isinstance(raw, bool):
        return raw
    plain = str(raw).strip().lower() if isinstance(raw, str | int) else ""
    return True if plain in _YES else False if plain in _NO else None


def _allowed(field: Field) -> str:
    if isinstance(field, Radio):
        return f"one of {_listed(choice.title for choice in field.choices)} is allowed"
    if isinstance(field, Checklist):
        return f"any of {_listed(option.label for option in field.options.values())} are allowed"
    return "a finite number is allowed" if isinstance(field, Number) else "text is allowed"


def _listed(titles: Iterable[str]) -> str:
    named = [repr(on_a_line(title, 100)) for title in titles]
    more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
    return ", ".join(named[:_MOST_NAMED]) + more
