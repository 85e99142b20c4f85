"""Whatever the dtype and the field, a number is saved as the number it is, or its place is told."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from encord.objects import LabelRowV2, Object, OntologyStructure, Shape
from encord.objects.coordinates import (
    BoundingBoxCoordinates,
    CircleCoordinates,
    CuboidCoordinates,
    EllipseCoordinates,
    PointCoordinate,
    PolygonCoordinates,
    PolylineCoordinates,
    RotatableBoundingBoxCoordinates,
)
from encord.orm.storage import CustomerProvidedVideoMetadata
from hypothesis import given, settings
from hypothesis import strategies as st

from encord_agents.tasks.engine.label_check import LabelValueError, make_plain

DTYPES = ["f2", "f4", "f8", "g", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?"]

SHAPES: dict[Shape, Any] = {
    Shape.BOUNDING_BOX: lambda n: BoundingBoxCoordinates(n(), n(), n(), n()),
    Shape.ROTATABLE_BOUNDING_BOX: lambda n: RotatableBoundingBoxCoordinates(n(), n(), n(), n(), n()),
    Shape.CIRCLE: lambda n: CircleCoordinates(n(), n(), n(), n(), n()),
    Shape.ELLIPSE: lambda n: EllipseCoordinates(n(), n(), n(), n(), n()),
    Shape.POINT: lambda n: PointCoordinate(n(), n()),
    Shape.POLYGON: lambda n: PolygonCoordinates([PointCoordinate(n(), n()) for _ in range(3)]),
    Shape.POLYLINE: lambda n: PolylineCoordinates([PointCoordinate(n(), n()) for _ in range(2)]),
    Shape.CUBOID: lambda n: CuboidCoordinates((n(), n(), n()), (n(), n(), n()), (n(), n(), n())),
}


@st.composite
def numbers(draw: st.DrawFn) -> Any:
    """A number of any dtype, as a scalar or a 0-d array; of those that have them, NaN and infinity too."""
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    if dtype.kind == "f":
        value: Any = draw(st.sampled_from([0.0, 0.25, 0.5, 1.0, -2.0, 30.0, math.nan, math.inf, -math.inf]))
    else:
        value = draw(st.integers(0, 1))
    return draw(st.sampled_from([dtype.type, lambda one: np.array(one, dtype), float, lambda one: one]))(value)


@settings(deadline=None)
@given(st.data(), st.sampled_from(list(SHAPES)), st.integers(0, 9))
def test_any_number_in_any_field(data: st.DataObject, shape: Shape, frame: int) -> None:
    """What is sent reads back as the same numbers, unless one is NaN or infinite: then the message has its object."""
    structure = OntologyStructure()
    structure.add_object("Thing", shape)
    drawn: list[Any] = []

    def number() -> Any:
        drawn.append(data.draw(numbers()))
        return drawn[-1]

    row = detached(structure)
    instance = structure.get_child_by_title("Thing", Object).create_instance()
    instance.set_for_frames(SHAPES[shape](number), frame, confidence=number())
    row.add_object_instance(instance)
    labels = row.to_encord_dict()
    if all(math.isfinite(float(one)) for one in drawn):
        make_plain(labels)
        (unit,) = json.loads(json.dumps(labels, allow_nan=False))["data_units"].values()
        (found,) = unit["labels"][str(frame)]["objects"]
        assert sorted(set(floats(found))) == sorted({float(one) for one in drawn})
    else:
        with pytest.raises(LabelValueError) as error:
            make_plain(labels)
        assert f"of object 'Thing' ({instance.object_hash}) on frame {frame} is " in str(error.value)


def detached(structure: OntologyStructure) -> LabelRowV2:
    """A label row without a platform."""
    return LabelRowV2.from_media_metadata(
        _Known(structure),  # type: ignore[arg-type]
        CustomerProvidedVideoMetadata(fps=10.0, duration=10.0, width=64, height=48, file_size=1, mime_type="video/mp4"),
    )


class _Known:
    def __init__(self, structure: OntologyStructure) -> None:
        self.structure = structure


def floats(value: Any) -> list[float]:
    """The numbers in a label's coordinates and confidence."""
    if isinstance(value, dict):
        return [one for key, part in value.items() if key != "manualAnnotation" for one in floats(part)]
    if isinstance(value, list):
        return [one for part in value for one in floats(part)]
    return [float(value)] if isinstance(value, int | float) else []
