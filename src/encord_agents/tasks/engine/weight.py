"""The size of save requests: rows are grouped by the weight of their labels."""

from __future__ import annotations

from collections.abc import Sequence, Sized

from encord.objects import LabelRowV2
from encord.objects.bitmask import BitmaskCoordinates
from encord.objects.common import Shape
from encord.objects.coordinates import PolygonCoordinates

from encord_agents.core.tracebacks import contained
from encord_agents.tasks.engine.context import Result

__all__ = ["by_weight", "weight_of"]

POINTS = 10
"""Points of an outline that take about as much room as a box."""

CHARACTERS = 40
"""Characters of a bitmask that take about as much room as a point."""

OUTLINES = frozenset({Shape.POLYGON, Shape.POLYLINE, Shape.BITMASK})


def by_weight(results: Sequence[Result], most: int) -> list[list[Result]]:
    """Return chunks of rows to save in one request each: of at most a given weight, or a single row."""
    chunks: list[list[Result]] = []
    room = 0
    for result in results:
        weight = weight_of(result, most)
        if weight > room or not chunks:
            chunks.append([])
            room = most
        chunks[-1].append(result)
        room -= weight
    return chunks


def weight_of(result: Result, uncounted: int) -> int:
    """Return the approximate weight of a row's labels, in boxes; ``uncounted`` if they cannot be counted."""
    row = result.label_row
    if row is None or not row.is_labelling_initialised:
        return 1
    with contained:
        return _boxes_worth(row)
    return uncounted  # they cannot be counted, but they were serialised


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
