"""Detections in the dictionaries and the text of COCO and YOLO."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from encord_agents.exceptions import PrintableError
from encord_agents.labels.detections import Detections
from encord_agents.labels.dictionaries import of_coco, of_dictionaries, of_yolo_text

SIZE = (200, 100)
BBOX = [20, 10, 40, 20]
BOX = [20, 10, 60, 30]
RING = [20, 10, 60, 10, 60, 30]


def one(**found: Any) -> Detections:
    return of_dictionaries([found], SIZE)


def listed(column: Any) -> Any:
    return None if column is None else np.asarray(column).tolist()


@pytest.mark.parametrize(
    "place",
    [
        {"bbox": BBOX},
        {"xyxy": BOX},
        {"bbox": np.array(BBOX)},
        {"bbox": ["20", "10", "40", "20"]},
        {"box": {"x1": 20, "y1": 10, "x2": 60, "y2": 30}},
        {"box": {"xmin": 20, "ymin": 10, "xmax": 60, "ymax": 30}},
        {"box": {"x1": 0.1, "y1": 0.1, "x2": 0.3, "y2": 0.3}, "normalized": True},
        {"box": {"x1": 20, "y1": 10, "x2": 60, "y2": 10, "x3": 60, "y3": 30, "x4": 20, "y4": 30}},
        {"x_center": 0.2, "y_center": 0.2, "width": 0.2, "height": 0.2},
        {"segmentation": [RING]},
        {"segmentation": [RING[:4], RING[4:]]},
        {"segmentation": np.array([RING])},
        {"segments": {"x": RING[::2], "y": RING[1::2]}},
        {"segments": {"x": [0.1, 0.3, 0.3], "y": [0.1, 0.1, 0.3]}, "normalized": True},
        {"segmentation": {"size": [100, 200], "counts": [2010, *[20, 80] * 39, 20, 14070]}},
        {"keypoints": [20, 10, 2, 60, 30, 1, 0, 0, 0]},
        {"keypoints": {"x": [20, 60], "y": [10, 30]}},
        # The box counts where there is more.
        {"bbox": BBOX, "segmentation": [[0, 0, 1, 0, 1, 1]], "keypoints": [0, 0, 1]},
        {"segmentation": [RING], "keypoints": [20, 10, 1, 60, 30, 1]},
    ],
)
def test_the_same_box_in_many_ways(place: Mapping[str, Any]) -> None:
    """A place in any form is a box in pixels of the picture."""
    found = one(**place)
    assert found.xyxy.dtype == np.float64
    assert np.allclose(found.xyxy, [BOX])
    assert found.size == SIZE


@pytest.mark.parametrize("nothing", [[], [[]], [[], []], None, np.zeros((0, 2))])
def test_an_empty_outline_beside_a_box(nothing: Any) -> None:
    """An outline without points says nothing: the box is read as if there were none."""
    found = one(bbox=BBOX, segmentation=nothing)
    assert found.xyxy.tolist() == [BOX]
    assert "polygons" not in found.data


def test_an_empty_ring_among_others() -> None:
    """The rings with points are read, each as a polygon of its own."""
    (polygons,) = one(segmentation=[[], RING, [0, 0, 1, 0, 1, 1]]).data["polygons"]
    assert [[ring.tolist() for ring in polygon] for polygon in polygons] == [
        [[[20, 10], [60, 10], [60, 30]]],
        [[[0, 0], [1, 0], [1, 1]]],
    ]


@pytest.mark.parametrize(
    ("keypoints", "read"),
    [
        ([1, 2, 2, 3, 4, 0], [[1, 2, 2], [3, 4, 0]]),
        ([[1, 2, 2], [3, 4, 0]], [[1, 2, 2], [3, 4, 0]]),
        (np.array([1, 2, 2, 3, 4, 0]), [[1, 2, 2], [3, 4, 0]]),
        ([[1, 2], [3, 4], [5, 6]], [[1, 2, 1], [3, 4, 1], [5, 6, 1]]),
        ({"x": [1, 3], "y": [2, 4]}, [[1, 2, 1], [3, 4, 1]]),
        ({"x": [1, 3], "y": [2, 4], "visible": [0.5, 0]}, [[1, 2, 0.5], [3, 4, 0]]),
        ({"x": [1, 0, 0], "y": [2, 0, 4], "visible": [0.5, 0.4, 0.5]}, [[1, 2, 0.5], [0, 0, 0], [0, 4, 0.5]]),
        ([0, 0, 2, 3, 4, 1], [[0, 0, 2], [3, 4, 1]]),
    ],
)
def test_keypoints(keypoints: Any, read: Any) -> None:
    """Flat triples, triples, pairs and columns are the same points; those without a visibility are visible.

    Ultralytics writes columns, and puts the points that it did not detect at (0, 0).
    """
    assert listed(one(bbox=BBOX, keypoints=keypoints).data["keypoints"][0]) == read


def test_keypoints_as_shares() -> None:
    """Columns of a normalized detection are shares of the picture, like its box."""
    found = one(keypoints={"x": [0.25, 0.5], "y": [0.25, 0.5], "visible": [1, 0.5]}, normalized=True)
    assert listed(found.data["keypoints"][0]) == [[50, 25, 1], [100, 50, 0.5]]
    assert found.xyxy.tolist() == [[50, 25, 100, 50]]


def test_keypoints_of_which_none_is_seen() -> None:
    """Their box is empty, so that a detection without another has no area."""
    assert one(keypoints=[20, 10, 0, 60, 30, 0]).xyxy.tolist() == [[0, 0, 0, 0]]


def test_corners_beside_upright_boxes() -> None:
    """Where one box is rotated, the others have their corners too."""
    turned = {"box": {f"{axis}{i}": 10 * i for i in (1, 2, 3, 4) for axis in "xy"}}
    found = of_dictionaries([turned, {"bbox": BBOX}], SIZE)
    assert found.data["xyxyxyxy"].tolist() == [
        [[10, 10], [20, 20], [30, 30], [40, 40]],
        [[20, 10], [60, 10], [60, 30], [20, 30]],
    ]


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({"score": 1}, r"Detection 0 has no place: .* but \['score'\]"),
        ({"segmentation": [[]]}, "Detection 0 has no place"),
        ({"segments": {"x": [1, 2], "y": [1, 2]}}, "Detection 0 has no place"),
        ({"bbox": [1, 2, 3]}, r"Detection 0 cannot be read \(ValueError"),
        ({"bbox": None}, r"Detection 0 cannot be read \(TypeError"),
        ({"box": {"x1": 1}}, r"Detection 0 cannot be read \(KeyError: 'y1'"),
        ({"segmentation": [[1, 2, 3]]}, r"Detection 0 cannot be read \(ValueError"),
        ({"keypoints": [1, 2]}, r"Detection 0 cannot be read \(ValueError"),
        ({"bbox": BBOX, "score": "high"}, "values of 'score' are not all numbers"),
    ],
)
def test_dictionaries_that_cannot_be_read(found: Any, words: str) -> None:
    """An error names the detection by its number, and the keys that are looked for or wrong."""
    with pytest.raises(PrintableError, match=words):
        one(**found)


@pytest.mark.parametrize(
    ("classes", "names", "numbers", "told"),
    [
        ([{"category_id": 3}, {"category_id": 4}], None, [3, 4], None),
        ([{"category_id": 3}, {"category_id": 4}], {3: "Cat"}, [3, 4], ["Cat", "4"]),
        ([{"category_id": 3, "name": "Dog"}], {3: "Cat"}, [3], ["Dog"]),
        ([{"class": "Cat"}, {"class": "Dog"}], None, None, ["Cat", "Dog"]),
        ([{"label": 3.0}, {"label": np.int64(4)}], None, [3, 4], None),
        ([{"label": "3"}], None, None, ["3"]),
        ([{"category_id": 3}, {"category_id": None}], None, None, None),
        ([{"category_id": 3.5}], None, None, None),
        ([{"category_id": 3, "class": 5}, {"class": 6}], None, [5, 6], None),
    ],
)
def test_classes_by_number_and_name(classes: Any, names: Any, numbers: Any, told: Any) -> None:
    """Numbers and names are taken from the keys that all detections have, whichever of the two is under them."""
    found = of_dictionaries([{"bbox": BBOX, **kind} for kind in classes], SIZE, names)
    assert listed(found.class_id) == numbers
    assert found.data.get("class_name") == told


def test_no_detections() -> None:
    """An empty list is no detection, with boxes of the right form."""
    found = of_dictionaries([], SIZE)
    assert found.xyxy.shape == (0, 4)
    assert len(found) == 0
    assert (found.mask, found.confidence, found.class_id, found.tracker_id) == (None, None, None, None)


# COCO files


def coco(*annotations: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {"annotations": [{"bbox": BBOX, **one} for one in annotations], **more}


IMAGES = [{"id": 1, "file_name": "a/one.jpg", "width": 400, "height": 300}, {"id": 2, "file_name": "two.jpg"}]


@pytest.mark.parametrize(
    ("file", "title", "scores", "size"),
    [
        (coco({"image_id": 1, "score": 0.5}, {"image_id": 2}, images=IMAGES), "one.jpg", [0.5], (400, 300)),
        (coco({"image_id": 1}, {"image_id": 2, "score": 0.5}, images=IMAGES), "two.jpg", [0.5], SIZE),
        (coco({"image_id": 1, "score": 0.5}, images=IMAGES[:1]), "another.jpg", [0.5], (400, 300)),
        (coco({"score": 0.5}, images=IMAGES[:1]), "another.jpg", [0.5], (400, 300)),
        (coco({"image_id": 1, "score": 0.5}, images=IMAGES), "two.jpg", None, SIZE),
        (coco({"image_id": 7, "score": 0.5}), "one.jpg", [0.5], SIZE),
        (coco({"score": 0.5}), "one.jpg", [0.5], SIZE),
        (coco({"image_id": 1, "score": 0.5}, images=[{"id": 1, "width": 0, "height": None}]), "one.jpg", [0.5], SIZE),
    ],
)
def test_the_picture_of_a_coco_file(file: Any, title: str, scores: Any, size: tuple[int, int]) -> None:
    """The picture with the title counts, or else the only one that there is; its size is that of the pixels."""
    found = of_coco(file, SIZE, title)
    assert listed(found.confidence) == scores
    assert found.size == size


@pytest.mark.parametrize(
    ("files", "title", "found"),
    [
        (["train/c.jpg", "val/c.jpg"], "val/c.jpg", 1),
        (["c.jpg", "val/c.jpg"], "c.jpg", 0),
        (["train/c.jpg", "val/c.jpg"], "images/val/c.jpg", 1),
        (["b.jpg", "c.jpg"], "images/val/c.jpg", 1),
        ([r"train\c.jpg", r"C:\images\val\c.jpg"], "val/c.jpg", 1),
        (["b.jpg", "images/c.jpg"], r"val\images\c.jpg", 1),
        (["train/c.jpg", "val/c.jpg"], "c.jpg", "2 of them may be 'c.jpg'"),
        (["c.jpg", "c.jpg"], "c.jpg", "2 of them may be 'c.jpg'"),
        (["train/c.jpg", "train/b.jpg"], "val/c.jpg", "none of them is 'val/c.jpg'"),
        (["c.jpg", "ac.jpg"], "bc.jpg", "none of them is 'bc.jpg'"),
        ([None, ""], "c.jpg", "none of them is 'c.jpg'"),
        (["a.jpg", "b.jpg"], "", "none of them is ''"),
    ],
)
@pytest.mark.parametrize("annotated", [1, 2])
def test_one_of_several_pictures(files: list[Any], title: str, found: Any, annotated: int) -> None:
    """The title is a picture's file name, or else the end of its path, or the other way round; nothing is guessed.

    Annotations of another picture are never taken for those of this one, also where only one picture has any.
    """
    images = [{"id": number, "file_name": file} for number, file in enumerate(files)]
    file = coco(*({"image_id": number, "score": number / 4} for number in range(annotated)), images=images)
    if isinstance(found, int):
        assert listed(of_coco(file, SIZE, title).confidence) == ([found / 4] if found < annotated else None)
    else:
        with pytest.raises(PrintableError, match=f"about 2 pictures, and {found}"):
            of_coco(file, SIZE, title)


def test_annotations_of_pictures_that_are_not_listed() -> None:
    """They are about several pictures all the same, none of which is known to be this one."""
    with pytest.raises(PrintableError, match=r"about 2 pictures, and none of them is 'three\.jpg'"):
        of_coco(coco({"image_id": 1}, {"image_id": 2}), SIZE, "three.jpg")
    with pytest.raises(PrintableError, match=r"about 2 pictures, and none of them is 'three\.jpg'"):
        of_coco(coco({"image_id": 7}, images=IMAGES[:1]), SIZE, "three.jpg")


def test_results_of_several_pictures() -> None:
    """A list says nothing about titles: it is of one picture, or refused."""
    assert len(of_dictionaries([{"bbox": BBOX, "image_id": 4}, {"bbox": BBOX, "image_id": 4}], SIZE)) == 2
    with pytest.raises(PrintableError, match=r"about several pictures: 'image_id' has 2 values"):
        of_dictionaries([{"bbox": BBOX, "image_id": 4}, {"bbox": BBOX, "image_id": 5}], SIZE)


# YOLO's label files


def test_lines_of_a_yolo_file() -> None:
    """A line is a box, a box with a confidence, or an outline; empty lines are passed over."""
    found = of_yolo_text("0 0.2 0.2 0.2 0.2\n\n3 0.2 0.2 0.2 0.2 0.25\n  5 0.1 0.1 0.3 0.1 0.3 0.3\n", SIZE)
    assert np.allclose(found.xyxy, [BOX] * 3)
    assert listed(found.class_id) == [0, 3, 5]
    assert listed(found.confidence) == [1.0, 0.25, 1.0]
    assert found.data["polygons"][:2] == [None, None]
    assert np.allclose(found.data["polygons"][2][0][0].ravel(), np.array(RING))


@pytest.mark.parametrize(
    "line", ["cat 0.1 0.1 0.1 0.1", "0 0.1 0.1 0.1", "0 1 2 3 4 5 6 7", "0 a b c d", "0.5 1 1 1 1"]
)
def test_a_line_that_is_no_label(line: str) -> None:
    """An error tells the number of the line and the line itself."""
    with pytest.raises(PrintableError, match=f"Line 3 of the YOLO labels .*: {line!r}"):
        of_yolo_text(f"0 0.2 0.2 0.2 0.2\n\n{line}\n", SIZE)
