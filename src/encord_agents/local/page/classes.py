"""The classes of an ontology as the page shows them: their names and colours, and the texts of answers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from encord_agents.shapes import Edges
from encord_agents.shapes import ink as ink_on

PALETTE = ("#7c5cff", "#00a3a3", "#e0569b", "#d97706", "#2f7de1", "#5b8c2a", "#c2410c", "#8b5cf6", "#0e7490", "#be185d")
"""Colours for classes without a valid colour of their own: classifications, and objects of some ontologies."""
_COLOUR = re.compile(r"#(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6})")


@dataclass(frozen=True)
class LabelClass:
    """An object or a classification of the ontology.

    Attributes:
        shape: The ontology's name for it, with spaces; ``classification`` for a classification.
        ink: Black or white, whichever is legible on its colour.
    """

    hash: str
    name: str
    colour: str
    shape: str

    @property
    def is_object(self) -> bool:
        return self.shape != "classification"

    @property
    def rgb(self) -> tuple[int, int, int]:
        red, green, blue = (int(self.colour[at : at + 2], 16) for at in (1, 3, 5))
        return red, green, blue

    @property
    def ink(self) -> str:
        return ink_on(self.rgb)


@dataclass(frozen=True)
class Classes:
    """The classes of one ontology.

    Attributes:
        by_hash: In the ontology's order, by feature hash.
        names: The names of attributes and options, by feature hash.
        edges: How the points of skeletons are joined.
        edited_at: The time of the ontology's last change.
    """

    by_hash: Mapping[str, LabelClass]
    names: Mapping[str, str] = field(default_factory=dict)
    edges: Edges = field(default_factory=dict)
    edited_at: float = 0.0

    def get(self, hash: str) -> LabelClass:
        """Return a class; a class that is no longer in the ontology gets its hash as a name, and a colour."""
        return self.by_hash.get(hash) or LabelClass(hash, hash, PALETTE[0], "unknown")

    @property
    def objects(self) -> list[LabelClass]:
        return [found for found in self.by_hash.values() if found.is_object]

    @property
    def classifications(self) -> list[LabelClass]:
        return [found for found in self.by_hash.values() if not found.is_object]


def read(editor: Mapping[str, Any], *, edited_at: float = 0.0) -> Classes:
    """Read the classes from an ontology's ``editor``."""
    found: dict[str, LabelClass] = {}
    for index, feature in enumerate(editor["objects"]):
        colour = _colour(feature.get("color"), index)
        hash = feature["featureNodeHash"]
        found[hash] = LabelClass(hash, str(feature["name"]), colour, str(feature["shape"]).replace("_", " "))
    for index, feature in enumerate(editor["classifications"], len(found)):
        hash = feature["featureNodeHash"]
        attributes = feature.get("attributes") or [{}]
        name = str(attributes[0].get("name") or feature.get("name") or "Classification")
        found[hash] = LabelClass(hash, name, PALETTE[index % len(PALETTE)], "classification")
    return Classes(found, dict(_names(editor)), _edges(editor), edited_at)


def _colour(given: object, index: int) -> str:
    if not isinstance(given, str) or not _COLOUR.fullmatch(given):
        return PALETTE[index % len(PALETTE)]
    return given if len(given) == 7 else "#" + "".join(2 * digit for digit in given[1:])


def _names(editor: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    waiting = [attribute for kind in ("objects", "classifications") for f in editor[kind] for attribute in _inner(f)]
    while waiting:
        found = waiting.pop()
        if name := found.get("name") or found.get("label"):
            yield str(found.get("featureNodeHash")), str(name)
        waiting += _inner(found)


def _inner(feature: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [*(feature.get("attributes") or []), *(feature.get("options") or [])]


def _edges(editor: Mapping[str, Any]) -> dict[str, list[tuple[str, str]]]:
    edges: dict[str, list[tuple[str, str]]] = {}
    for template in editor.get("skeleton_templates") or []:
        content = template.get("template", template)
        joined = content.get("skeletonEdges") or {}
        edges[str(content.get("name"))] = [
            (str(start), str(end)) for start, ends in joined.items() if isinstance(ends, Mapping) for end in ends
        ]
    return edges
