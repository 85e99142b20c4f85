"""The size of save requests: rows are grouped by the weight of their labels."""

from __future__ import annotations

from collections.abc import Sequence, Sized

from encord.objects import LabelRowV2
from encord.objects.bitmask import BitmaskCoordinates
from encord.objects.common import Shape
from encord.objects.coordinates import PolygonCoordinates

from encord_agents.tasks.engine.context import Result
from encord_agents.tasks.engine.own_saves import is_validated

__all__ = ["MAX_WEIGHT", "by_weight", "halves", "validated_alike", "weight_of"]

MAX_WEIGHT = 20_000
"""Annotations (objects on frames) in one save. At about 0.5 kB each that is some 10 MB of labels."""

POINTS = 10
"""Points of an outline that take about as much room as a box."""

CHARACTERS = 40
"""Characters of a bitmask that take about as much room as a point."""

OUTLINES = frozenset({Shape.POLYGON, Shape.POLYLINE, Shape.BITMASK})


def halves(results: list[Result]) -> list[list[Result]]:
    middle = len(results) // 2
    return [results[:middle], results[middle:]]


def validated_alike(results: Sequence[Result]) -> list[list[Result]]:
    """Separate rows to be validated from the others: the platform validates all labels of a request, or none."""
    return [
        [r for r in results if r.labels is not None and is_validated(r.labels) is wanted] for wanted in (False, True)
    ]


def by_weight(results: Sequence[Result]) -> list[list[Result]]:
    """Chunks of rows whose labels go into one request together."""
    chunks: list[list[Result]] = []
    room = 0
    for result in results:
        weight = weight_of(result)
        if weight > room or not chunks:
            chunks.append([])
            room = MAX_WEIGHT
        chunks[-1].append(result)
        room -= weight
    return chunks


def weight_of(result: Result) -> int:
    """About how many boxes' worth of labels a row holds."""
    row = result.label_row
    if row is None or not row.is_labelling_initialised:
        return 1
    try:
        return _boxes_worth(row)
    except (Exception, SystemExit):  # noqa: BLE001 - they cannot be counted, but they have been written down
        return MAX_WEIGHT


def _boxes_worth(row: LabelRowV2) -> int:
    weight = 1 + len(row.get_classification_instances())
    for instance in row.get_object_instances():
        weight += len(instance.get_annotation_frames()) if row.number_of_frames > 1 else 1
        if instance.ontology_item.shape in OUTLINES:
            weight += sum(_points(annotation.coordinates) // POINTS for annotation in instance.get_annotations())
    return weight


def _points(coordinates: object) -> int:
    if isinstance(coordinates, BitmaskCoordinates):
        return len(str(coordinates.to_dict())) // CHARACTERS
    if isinstance(coordinates, PolygonCoordinates):
        return sum(len(ring) for polygon in coordinates.polygons for ring in polygon)
    values = getattr(coordinates, "values", ())
    return len(values) if isinstance(values, Sized) else 0
