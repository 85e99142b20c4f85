"""Objects on a frame, in the columns of a detector."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from encord.objects import LabelRowV2
from encord.objects.coordinates import (
    BoundingBoxCoordinates,
    PolygonCoordinates,
    PolylineCoordinates,
    SkeletonCoordinates,
)

from encord_agents.exceptions import PrintableError
from encord_agents.labels import Detections, add_detections, to_detections

BOX = [20.0, 10.0, 60.0, 30.0]
RING = np.array([(20.0, 10.0), (60.0, 10.0), (60.0, 30.0), (20.0, 30.0)])


@pytest.fixture
def row(row_of: Callable[[str], LabelRowV2]) -> LabelRowV2:
    return row_of("image")


def draw(row: LabelRowV2, *names: str, **columns: Any) -> None:
    data: dict[str, Any] = {"class_name": list(names), **columns.pop("data", {})}
    add_detections(row, Detections(np.array([BOX] * len(names)), data=data, **columns))


@pytest.mark.parametrize(("frame", "size"), [(-1, None), (1, (100, 50)), (-1, (100, 50))])
def test_a_frame_that_is_none(row: LabelRowV2, frame: int, size: tuple[int, int] | None) -> None:
    """A number without a frame is refused, also where the size of the picture is given."""
    with pytest.raises(PrintableError, match=rf"'image' has 1 frames \(0 to 0\), so there is no frame {frame}\."):
        to_detections(row, frame, size=size)


@pytest.mark.parametrize("size", [None, (400, 300)])
def test_pixels_of_another_size(row: LabelRowV2, size: tuple[int, int] | None) -> None:
    """The pixels are those of the frame, or of a picture of the given size; masks have it too."""
    draw(row, "Box", "Mask")
    told = to_detections(row, np.int64(0), size=size)  # type: ignore[arg-type]
    width, height = size or (200, 100)
    assert told.size == (width, height)
    assert np.allclose(told.xyxy, [[0.1 * width, 0.1 * height, 0.3 * width, 0.3 * height]] * 2)
    assert told.mask is not None
    assert told.mask.shape == (2, height, width)
    assert told.mask.dtype == bool


def test_columns_are_there_where_an_object_needs_them(row: LabelRowV2) -> None:
    """Corners, outlines, keypoints and masks are columns of all objects if one of them has any, and none otherwise."""
    draw(row, "Box")
    told = to_detections(row)
    assert set(told.data) == {"class_name", "object_hash"}
    assert told.mask is None
    points = np.ones((3, 3, 3))
    draw(row, "Turned", "Polygon", "Face", data={"keypoints": points, "polygons": [[[RING]], [[RING]], None]})
    draw(row, "Mask")
    told = to_detections(row)
    assert told.data["class_name"].tolist() == ["Box", "Turned", "Polygon", "Face", "Mask"]
    assert told.data["xyxyxyxy"].shape == (5, 4, 2)
    assert np.allclose(told.data["xyxyxyxy"][0], RING)
    assert [one is not None for one in told.data["polygons"]] == [False, False, True, False, False]
    assert told.data["keypoints"].shape == (5, 3, 3)
    assert told.data["keypoints"][3, :, 2].tolist() == [1, 1, 1]
    assert not told.data["keypoints"][[0, 1, 2, 4]].any()
    assert told.mask is not None
    assert told.mask[[0, 1, 2, 4]].sum(axis=(1, 2)).tolist() == [800] * 4


def test_masks_are_in_memory_once(row: LabelRowV2) -> None:
    """The masks of a large picture take gigabytes: reading them takes little more than the column itself."""
    draw(row, *["Box"] * 19, "Mask")
    tracemalloc.start()
    try:
        told = to_detections(row, size=(2000, 1000))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert told.mask is not None
    assert told.mask.sum(axis=(1, 2)).tolist() == [80_000] * 20
    assert peak < 1.5 * told.mask.nbytes


def test_shapes_without_an_area_are_left_out(row: LabelRowV2) -> None:
    """A polyline is no detection, and the numbers of the others' tracks count it."""
    (line,) = [one for one in row.ontology_structure.objects if one.title == "Line"]
    drawn = line.create_instance()
    drawn.set_for_frames(PolylineCoordinates({"0": {"x": 0.1, "y": 0.1}, "1": {"x": 0.2, "y": 0.2}}), 0)  # type: ignore[arg-type]
    row.add_object_instance(drawn)
    draw(row, "Box")
    told = to_detections(row, classes=["Line", "Box"])
    assert told.data["class_name"].tolist() == ["Box"]
    assert told.tracker_id is not None
    assert told.tracker_id.tolist() == [1]


@pytest.mark.parametrize(
    ("name", "coordinates"),
    [("Polygon", PolygonCoordinates(polygons=[[[]]])), ("Face", SkeletonCoordinates(values=[], name="Face"))],
)
def test_objects_without_a_point_are_left_out(row_of: Callable[[str], LabelRowV2], name: str, coordinates: Any) -> None:
    """They can be saved, and the other objects on the frame are read."""
    row = row_of("image")
    (kind,) = [one for one in row.ontology_structure.objects if one.title == name]
    nothing = kind.create_instance()
    nothing.set_for_frames(coordinates, 0)
    row.add_object_instance(nothing)
    draw(row, "Box")
    row.save()
    assert len(row_of("image").get_object_instances()) == 2
    told = to_detections(row_of("image"))
    assert told.data["class_name"].tolist() == ["Box"]
    assert np.allclose(told.xyxy, [BOX])


@pytest.mark.parametrize("classes", ["Box", {"Box"}, {0: "Box"}])
def test_classes_without_an_order(row: LabelRowV2, classes: Any) -> None:
    """A text, a set or a mapping would leave objects out, or number them by chance: it is refused."""
    draw(row, "Box")
    with pytest.raises(PrintableError, match=r"give a list, \[\"Person\", \"Car\"\]"):
        to_detections(row, classes=classes)
    assert len(to_detections(row, classes={"Box": 1}.keys())) == 1


def test_the_columns_are_parallel(row: LabelRowV2) -> None:
    """Confidences, classes, tracks and hashes of an object are in the same place, in the row's order."""
    draw(row, "Mask", "Box!", "Box", confidence=np.array([0.25, 0.5, 0.75]))
    told = to_detections(row)
    assert np.asarray(told.confidence).tolist() == [0.25, 0.5, 0.75]
    titles = [one.title for one in row.ontology_structure.objects]
    assert np.asarray(told.class_id).tolist() == [titles.index(name) for name in ("Mask", "Box!", "Box")]
    assert np.asarray(told.tracker_id).tolist() == [0, 1, 2]
    assert told.data["object_hash"].tolist() == [one.object_hash for one in row.get_object_instances()]


def test_detections_that_are_read_can_be_drawn(row: LabelRowV2, row_of: Callable[[str], LabelRowV2]) -> None:
    """An object comes to another row as it was, turned boxes and masks included."""
    for name in ("Box", "Turned", "Polygon", "Mask"):
        draw(row, name)
    told = to_detections(row)
    other = row_of("video")
    add_detections(other, told)
    again = to_detections(other)
    assert np.allclose(again.xyxy, told.xyxy)
    assert again.data["class_name"].tolist() == told.data["class_name"].tolist()


def test_an_object_on_another_frame(row_of: Callable[[str], LabelRowV2]) -> None:
    """Only what is on the frame is told; an object that moves has the place that it has there."""
    film = row_of("video")
    (box,) = [one for one in film.ontology_structure.objects if one.title == "Box"]
    instance = box.create_instance()
    for frame, left in ((2, 0.25), (4, 0.5)):
        instance.set_for_frames(BoundingBoxCoordinates(height=0.5, width=0.5, top_left_x=left, top_left_y=0.5), frame)
    film.add_object_instance(instance)
    assert [to_detections(film, frame).xyxy.tolist() for frame in (2, 3, 4)] == [
        [[50, 50, 150, 100]],
        [],
        [[100, 50, 200, 100]],
    ]
