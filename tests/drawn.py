"""What detectors return, in the shapes of several libraries, and an ontology with a class of every shape."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from encord.objects import OntologyStructure, Shape
from encord.objects.skeleton_template import SkeletonTemplate, SkeletonTemplateCoordinate

SHAPES = {
    "Box": Shape.BOUNDING_BOX,
    "Turned": Shape.ROTATABLE_BOUNDING_BOX,
    "Polygon": Shape.POLYGON,
    "Mask": Shape.BITMASK,
}
VERTICES = ("nose", "left", "right")


def ontology() -> OntologyStructure:
    structure = OntologyStructure()
    for title, shape in SHAPES.items():
        structure.add_object(title, shape)
    corners = {
        str(number): SkeletonTemplateCoordinate(x=0.1 * number, y=0.2, name=name, feature_hash=f"point00{number}")
        for number, name in enumerate(VERTICES)
    }
    template = SkeletonTemplate(name="Face", width=1, height=1, skeleton=corners, skeleton_edges={})
    structure.add_skeleton_object("Face", template)
    structure.add_object("Line", Shape.POLYLINE)
    structure.add_object("Box!", Shape.BOUNDING_BOX)
    return structure


class Tensor:
    """Like torch's: on another device, and part of a graph."""

    def __init__(self, values: Any) -> None:
        self._values = np.asarray(values)
        self.shape = self._values.shape

    def detach(self) -> Tensor:
        return self

    def cpu(self) -> Any:
        return self._values

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, place: Any) -> Any:
        return Tensor(self._values[place])


@dataclass
class Supervision:
    """The fields of supervision's ``Detections``."""

    xyxy: Any
    mask: Any = None
    confidence: Any = None
    class_id: Any = None
    tracker_id: Any = None
    data: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass
class Columns:
    """The fields of ultralytics' ``Boxes`` and ``OBB``."""

    xyxy: Any
    conf: Any
    cls: Any
    id: Any = None
    xyxyxyxy: Any = None


@dataclass
class Outlines:
    """The fields of ultralytics' ``Masks``."""

    xy: Any
    data: Any


@dataclass
class Points:
    """The fields of ultralytics' ``Keypoints``."""

    data: Any


@dataclass
class Results:
    """The fields of ultralytics' ``Results``."""

    orig_shape: tuple[int, int]
    names: Any
    boxes: Any = None
    masks: Any = None
    keypoints: Any = None
    obb: Any = None
