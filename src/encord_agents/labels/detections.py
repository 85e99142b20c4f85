"""A detector's findings on one picture, in columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[Any]
    Boxes: TypeAlias = NDArray[np.float64]
else:
    Array = Boxes = Any

__all__ = ["CORNERS", "KEYPOINTS", "NAMES", "NO_TRACK", "POLYGONS", "Array", "Boxes", "Detections"]

NAMES = "class_name"
"""The key of the classes' names in `Detections.data`, as in supervision."""
CORNERS = "xyxyxyxy"
"""The key of rotated boxes' corners, float ``[n, 4, 2]`` in pixels, as in supervision."""
POLYGONS = "polygons"
"""The key of outlines: for each detection a list of polygons, each a list of rings, each float ``[points, 2]``; the
first ring is the outer one, and the others are holes. ``None`` for a detection that has none."""
KEYPOINTS = "keypoints"
"""The key of keypoints, for each detection float ``[points, 3]``: x and y in pixels, and the point's visibility: 0 is
invisible. ``None`` for a detection that has none."""
NO_TRACK = -1
"""The track number of a detection without a track, as in supervision."""


@dataclass(frozen=True)
class Detections:
    """A detector's findings on one picture. Its fields are those of supervision's ``Detections``, so this works:

        sv.Detections(found.xyxy, found.mask, found.confidence, found.class_id, found.tracker_id, found.data)

    Attributes:
        xyxy: Boxes in pixels, float ``[n, 4]``: left, top, right, bottom.
        mask: Bool ``[n, height, width]``; ``None`` if there are none.
        confidence: Float ``[n]``, 0 to 1.
        class_id: Int ``[n]``.
        tracker_id: Int ``[n]``: the same number on several frames means the same physical object; negative: no track.
        data: More columns, by name: ``class_name``, ``xyxyxyxy``, ``polygons``, ``keypoints``, ...
        size: Width and height of the picture that the pixels refer to, if known.
    """

    xyxy: Boxes
    mask: Array | None = None
    confidence: Array | None = None
    class_id: Array | None = None
    tracker_id: Array | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    size: tuple[int, int] | None = None

    def __len__(self) -> int:
        return len(self.xyxy)
