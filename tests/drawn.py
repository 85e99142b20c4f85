"""What detectors return, in the shapes of several libraries, and an ontology with a class of every shape."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Self

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


class Parallel:
    """As the results of ultralytics and supervision: it has a length, and a part of it is of the same kind."""

    def __len__(self) -> int:
        return len(next(iter(vars(self).values())))

    def __getitem__(self, place: Any) -> Self:
        return type(self)(**{name: one[place] for name, one in vars(self).items() if one is not None and len(one)})


@dataclass
class Supervision(Parallel):
    """The fields of supervision's ``Detections``."""

    xyxy: Any
    mask: Any = None
    confidence: Any = None
    class_id: Any = None
    tracker_id: Any = None
    data: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass
class KeyPoints(Parallel):
    """The fields of supervision's ``KeyPoints``."""

    xy: Any
    class_id: Any = None
    keypoint_confidence: Any = None
    detection_confidence: Any = None
    visible: Any = None
    data: dict[str, Any] = field(default_factory=dict)


@dataclass
class Columns(Parallel):
    """The fields of ultralytics' ``Boxes`` and ``OBB``."""

    xyxy: Any
    conf: Any
    cls: Any
    id: Any = None
    xyxyxyxy: Any = None


@dataclass
class Outlines(Parallel):
    """The fields of ultralytics' ``Masks``."""

    xy: Any
    data: Any


@dataclass
class Points(Parallel):
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

    def __len__(self) -> int:
        return len(next(part for part in self._parts().values()))

    def __getitem__(self, place: Any) -> Results:
        return replace(self, **{name: part[place] for name, part in self._parts().items()})

    def _parts(self) -> dict[str, Any]:
        parts = {name: getattr(self, name) for name in ("boxes", "masks", "keypoints", "obb")}
        return {name: part for name, part in parts.items() if part is not None}
