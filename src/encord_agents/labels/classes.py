"""Matching of detections' classes to the ontology's objects, by exact name."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from encord.objects import LabelRowV2
from encord.objects.common import Shape
from encord.objects.ontology_object import Object

from encord_agents.exceptions import PrintableError, closest
from encord_agents.labels.detections import KEYPOINTS, NAMES, POLYGONS, Detections

__all__ = ["Classes", "in_order", "objects_for"]

Classes: TypeAlias = Collection[str] | Mapping[int, str | Object | None] | Mapping[str, str | Object | None]

_BY_MASK = (Shape.BITMASK, Shape.POLYGON)


def objects_for(label_row: LabelRowV2, found: Detections, classes: Classes | None) -> list[Object | None]:
    """Return the ontology's object for each detection; ``None`` for a detection that is not drawn.

    Raises:
        PrintableError: The detections name no classes; ``classes`` are not titles or a mapping to titles or objects; or
            the ontology has no object of that name, or several.
    """
    ids = None if found.class_id is None else [int(one) for one in found.class_id]
    names = None if found.data.get(NAMES) is None else [str(one) for one in found.data[NAMES]]
    count = len(found)
    wanted: list[str | Object | None]
    if classes is not None and not isinstance(classes, Mapping):
        classes = in_order(classes)
    if isinstance(classes, Mapping):
        wanted = [_mapped(classes, ids[i] if ids else None, names[i] if names else None) for i in range(count)]
    elif classes is not None and ids is not None:
        wanted = [classes[one] if 0 <= one < len(classes) else f"class {one}" for one in ids]
    elif names is not None:
        wanted = list(names)
    elif classes is not None and len(classes) == 1:
        wanted = [classes[0]] * count
    elif not count:
        return []
    else:
        raise PrintableError(
            "The detections do not tell the names of their classes.\n"
            'Give them: add_detections(..., classes=["Person", "Car"]) in the order of their numbers, or by number, '
            'classes={17: "Cat"}.'
        )
    for one in wanted:
        if not isinstance(one, str | Object | None):
            raise PrintableError(f"classes=... has {one!r} where a title or an object of the ontology is expected.")
    known: dict[str, Object | None] = {}
    missing: list[str] = []
    for one in wanted:
        if isinstance(one, str) and one not in known:
            known[one] = _object_called(label_row, one, found)
            if known[one] is None:
                missing.append(one)
    if missing:
        raise _unknown(label_row, missing)
    return [known[one] if isinstance(one, str) else one for one in wanted]


def in_order(classes: Iterable[str]) -> list[str]:
    """Return the titles of classes, of which the first has the number 0.

    Raises:
        PrintableError: They have no order, or are a single text or a mapping.
    """
    if isinstance(classes, str | Mapping | set | frozenset) or not isinstance(classes, Iterable):
        raise PrintableError(
            f'classes=... is of type {type(classes).__name__}: give a list, ["Person", "Car"], in the order of the '
            "classes' numbers."
        )
    return list(classes)


def _mapped(classes: Mapping[Any, str | Object | None], number: int | None, name: str | None) -> str | Object | None:
    """Return the mapping's value for a class, looked up by name, then by number."""
    for key in (name, number, None if number is None else str(number)):  # JSON's keys are always strings
        if key is not None and key in classes:
            return classes[key]
    return None


def _object_called(label_row: LabelRowV2, title: str, found: Detections) -> Object | None:
    """Return the ontology's object with this title; if there are several, the one whose shape fits the detections."""
    same = [one for one in label_row.ontology_structure.objects if one.title == title]
    if len(same) > 1:
        has_mask = found.mask is not None or found.data.get(POLYGONS) is not None
        shapes = (Shape.SKELETON,) if found.data.get(KEYPOINTS) is not None else _BY_MASK if has_mask else ()
        fitting = [one for one in same if one.shape in shapes] or [
            one for one in same if one.shape not in (*_BY_MASK, Shape.SKELETON)
        ]
        if len(fitting) != 1:
            shown = ", ".join(one.shape.value for one in same)
            raise PrintableError(
                f"The ontology has {len(same)} objects {title!r} ({shown}), and it is not clear which is meant.\n"
                "Give the object: add_detections(..., classes={" + repr(title) + ": the_object})."
            )
        same = fitting
    return same[0] if same else None


def _unknown(label_row: LabelRowV2, missing: Sequence[str]) -> PrintableError:
    titles = list(dict.fromkeys(one.title for one in label_row.ontology_structure.objects))
    lines = [f"The ontology has no object {', '.join(map(repr, missing))}."]
    guesses = {name: guess for name in missing if (guess := closest(name, titles)) is not None}
    lines.append(f"It has {', '.join(map(repr, titles)) or 'none'}; names are matched exactly.")
    if guesses:
        mapping = ", ".join(f"{name!r}: {guess!r}" for name, guess in guesses.items())
        lines.append(f"Did you mean classes={{{mapping}}}? Classes that such a mapping leaves out are not drawn.")
    return PrintableError("\n".join(lines))
