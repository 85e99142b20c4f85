"""The content of an ontology that labels refer to: features, their shapes, and the answers to their attributes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Attribute:
    """A question about a feature.

    Attributes:
        type: ``radio``, ``checklist``, ``text`` or ``numeric``.
        dynamic: Whether the answer may differ from frame to frame.
        options: The feature hashes of the answers to choose from.
    """

    type: str
    dynamic: bool
    options: frozenset[str]


@dataclass(frozen=True)
class Feature:
    """An object, or a classification, which has no shape. ``attributes`` includes those of its options."""

    shape: str | None
    attributes: Mapping[str, Attribute] = field(default_factory=dict)


def features(editor: Mapping[str, Any]) -> dict[str, Feature]:
    """Return the objects and classifications of an ontology, by feature hash."""
    return {
        found["featureNodeHash"]: Feature(found["shape"] if kind == "objects" else None, _attributes(found))
        for kind in ("objects", "classifications")
        for found in editor[kind]
    }


def _attributes(feature: Mapping[str, Any]) -> dict[str, Attribute]:
    found = {}
    waiting = list(feature.get("attributes") or [])
    while waiting:
        attribute = waiting.pop()
        options = attribute.get("options") or []
        hashes = frozenset(option["featureNodeHash"] for option in options)
        found[attribute["featureNodeHash"]] = Attribute(attribute["type"], bool(attribute.get("dynamic")), hashes)
        for option in options:
            # The options of an option are the attributes that choosing it asks for.
            waiting += option.get("options") or []
    return found
