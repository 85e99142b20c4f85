"""An ontology's classifications or objects as fields of an answer: the possible answers, and their keys.

A key is a title in lower case, with underscores for spaces and without punctuation. If several titles would have the
same key, the first gets it, and the others get a number appended. Options are answered by their unchanged titles.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from encord.objects.attributes import Attribute, ChecklistAttribute, NumericAttribute, RadioAttribute, TextAttribute
from encord.objects.classification import Classification
from encord.objects.ontology_object import Object
from encord.objects.options import FlatOption, Option

from encord_agents.exceptions import PrintableError

__all__ = [
    "CUT_TEXT",
    "HASH",
    "TITLE",
    "Checklist",
    "Choice",
    "Field",
    "Number",
    "Radio",
    "Text",
    "choices_of_objects",
    "fields_of_classifications",
    "loose",
]

HASH = "feature_node_hash"
TITLE = "title"
CUT_TEXT = "the text has half of a character (a lone surrogate), which cannot be saved"
LONGEST_KEY = 56
"""The maximum length of a key, with room for a number: tools of some providers allow names of at most 64 characters."""


@dataclass(frozen=True)
class _Field:
    """One attribute.

    Attributes:
        key: Its name in an answer.
        attribute: The attribute.
    """

    key: str
    attribute: Attribute[Any]

    @property
    def title(self) -> str:
        return str(self.attribute.title)

    @property
    def hash(self) -> str:
        return str(self.attribute.feature_node_hash)

    @property
    def required(self) -> bool:
        return bool(self.attribute.required)


@dataclass(frozen=True)
class Text(_Field):
    """Free text."""


@dataclass(frozen=True)
class Number(_Field):
    """A number."""


@dataclass(frozen=True)
class Checklist(_Field):
    """Any number of options, by their keys."""

    options: Mapping[str, FlatOption]


@dataclass(frozen=True)
class Radio(_Field):
    """One of several options, in order."""

    choices: tuple[Choice, ...]

    @property
    def nested(self) -> bool:
        """True if one of the options has attributes of its own."""
        return any(choice.fields for choice in self.choices)


Field: TypeAlias = Text | Number | Checklist | Radio


@dataclass(frozen=True)
class Choice:
    """An option of a radio attribute, or an object of an ontology, and the attributes that come with it.

    Attributes:
        title: Its title; if two have the same title, followed by its hash.
        element: The option or object.
        fields: Its attributes.
    """

    title: str
    element: Option | Object
    fields: tuple[Field, ...]

    @property
    def hash(self) -> str:
        return str(self.element.feature_node_hash)

    @property
    def tells_title(self) -> bool:
        """True if an answer has a key for its title: unless an attribute has the same key."""
        return all(field.key != TITLE for field in self.fields)


def fields_of_classifications(classifications: Iterable[Classification]) -> tuple[Field, ...]:
    """Return the fields of an answer about classifications.

    Raises:
        PrintableError: One of them cannot be answered.
    """
    return _fields([attribute for classification in classifications for attribute in classification.attributes])


def choices_of_objects(objects: Sequence[Object]) -> tuple[Choice, ...]:
    """Return the objects that an answer can choose from.

    Raises:
        PrintableError: One of their attributes cannot be answered.
    """
    titles = _distinct_titles([(one.title, one.feature_node_hash) for one in objects])
    return tuple(Choice(title, one, _fields(one.attributes)) for title, one in zip(titles, objects, strict=True))


def loose(text: str) -> str:
    """Return a title without case, spaces and punctuation, for lenient comparison."""
    return "".join(c for c in unicodedata.normalize("NFKD", text).casefold() if c.isalnum())


def _fields(attributes: Iterable[Attribute[Any]]) -> tuple[Field, ...]:
    present = [attribute for attribute in attributes if not getattr(attribute, "archived", False)]
    keys = _distinct_keys([str(attribute.title) for attribute in present])
    return tuple(_field(key, attribute) for key, attribute in zip(keys, present, strict=True))


def _field(key: str, attribute: Attribute[Any]) -> Field:
    if isinstance(attribute, TextAttribute):
        return Text(key, attribute)
    if isinstance(attribute, NumericAttribute):
        return Number(key, attribute)
    if not isinstance(attribute, ChecklistAttribute | RadioAttribute):
        raise PrintableError(f"The attribute {attribute.title!r} is of an unknown kind ({type(attribute).__name__}).")
    options: list[Any] = [option for option in attribute.options if not getattr(option, "archived", False)]
    if not options:
        raise PrintableError(f"The attribute {attribute.title!r} has no options, so it cannot be answered.")
    if isinstance(attribute, ChecklistAttribute):
        keys = _distinct_keys([option.label for option in options])
        return Checklist(key, attribute, dict(zip(keys, options, strict=True)))
    titles = _distinct_titles([(option.label, option.feature_node_hash) for option in options])
    return Radio(
        key,
        attribute,
        tuple(Choice(title, option, _fields(option.attributes)) for title, option in zip(titles, options, strict=True)),
    )


def _distinct_keys(titles: Sequence[str]) -> list[str]:
    taken = {HASH}
    keys = []
    for title in titles:
        key = base = _key(title)
        number = 1
        while key in taken:
            number += 1
            key = f"{base}_{number}"
        taken.add(key)
        keys.append(key)
    return keys


def _key(title: str) -> str:
    ascii_only = unicodedata.normalize("NFKD", title.replace("ß", "ss")).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9_]", "", ascii_only.strip().lower().replace(" ", "_"))[:LONGEST_KEY].strip("_") or "field"


def _distinct_titles(named: Sequence[tuple[str, str]]) -> list[str]:
    titles = [title for title, _ in named]
    return [title if titles.count(title) == 1 else f"{title} [{feature_hash}]" for title, feature_hash in named]
