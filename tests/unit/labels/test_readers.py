"""What detectors return, read by its shape."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.drawn import Columns, KeyPoints, Outlines, Points, Results, Supervision, Tensor

from encord_agents.exceptions import PrintableError
from encord_agents.labels import Detections
from encord_agents.labels.readers import read_detections

BOXES = [[10.0, 20.0, 50.0, 40.0], [60.0, 10.0, 80.0, 90.0]]
RING = [[10.0, 20.0], [50.0, 20.0], [50.0, 40.0]]
SIZE = (200, 100)


def read(found: Any) -> Detections:
    return read_detections(found, size=SIZE, title="one.jpg")


def masks() -> Any:
    pixels = np.zeros((2, 100, 200), dtype=bool)
    pixels[0, 20:40, 10:50] = pixels[1, 10:90, 60:80] = True
    return pixels


IDS, SCORES = np.array([0, 3]), np.array([0.9, 0.25])
NAMES = {0: "Box", 3: "Mask"}
COCO = [
    {"bbox": [10, 20, 40, 20], "category_id": 0, "score": 0.9, "image_id": 1},
    {"bbox": [60, 10, 20, 80], "category_id": 3, "score": 0.25, "image_id": 1},
]
YOLO = [
    {"name": "Box", "class": 0, "confidence": 0.9, "box": {"x1": 10.0, "y1": 20.0, "x2": 50.0, "y2": 40.0}},
    {"name": "Mask", "class": 3, "confidence": 0.25, "box": {"x1": 60.0, "y1": 10.0, "x2": 80.0, "y2": 90.0}},
]
FOUND = {
    "supervision": Supervision(np.array(BOXES, dtype="float32"), None, SCORES, IDS),
    "ultralytics": Results((100, 200), NAMES, Columns(Tensor(BOXES), Tensor(SCORES), Tensor([0.0, 3.0]))),
    "a list of one": [Results((100, 200), NAMES, Columns(Tensor(BOXES), Tensor(SCORES), Tensor([0.0, 3.0])))],
    "a list of one of supervision's": [Supervision(np.array(BOXES, dtype="float32"), None, SCORES, IDS)],
    "torchvision": {"boxes": Tensor(BOXES), "labels": Tensor(IDS), "scores": Tensor(SCORES)},
    "a list of torchvision's": [{"boxes": Tensor(BOXES), "labels": Tensor(IDS), "scores": Tensor(SCORES)}],
    "COCO results": COCO,
    "a COCO file": {"annotations": COCO, "images": [{"id": 1, "file_name": "a/one.jpg"}]},
    "YOLO summaries": YOLO,
    "YOLO summaries, normalized": [
        {**one, "normalized": True, "box": {k: v / (200 if k[0] == "x" else 100) for k, v in one["box"].items()}}  # type: ignore[attr-defined]
        for one in YOLO
    ],
    "YOLO text": "0 0.15 0.3 0.2 0.2 0.9\n\n3 0.35 0.5 0.1 0.8 0.25\n",
    "an array": np.array([[*BOXES[0], 0.9, 0], [*BOXES[1], 0.25, 3]]),
    "a tensor": Tensor([[*BOXES[0], 0.9, 0], [*BOXES[1], 0.25, 3]]),
    "nested lists": [[*BOXES[0], 0.9, 0], [*BOXES[1], 0.25, 3]],
    "our own": Detections(np.array(BOXES), None, SCORES, IDS),
    "a list of one of our own": [Detections(np.array(BOXES), None, SCORES, IDS)],
}


@pytest.mark.parametrize("kind", FOUND)
def test_every_kind_says_the_same(kind: str) -> None:
    """Boxes in pixels, confidences, and the numbers of classes."""
    found = read(FOUND[kind])
    assert np.allclose(found.xyxy, BOXES)
    assert found.confidence is not None
    assert np.allclose(found.confidence, [0.9, 0.25])
    assert found.class_id is not None
    assert found.class_id.tolist() == [0, 3]


@pytest.mark.parametrize("kind", ["ultralytics", "YOLO summaries"])
def test_names_come_along(kind: str) -> None:
    """Where the detector knows them."""
    assert list(read(FOUND[kind]).data["class_name"]) == ["Box", "Mask"]


def test_a_coco_file_of_several_pictures() -> None:
    """The annotations are those of the picture with the title; names come from the categories, and its size."""
    file = {
        "images": [
            {"id": 1, "file_name": "b/two.jpg"},
            {"id": 2, "file_name": "b/one.jpg", "width": 400, "height": 200},
        ],
        "categories": [{"id": 0, "name": "Box"}],
        "annotations": [
            {"image_id": 1, "category_id": 0, "bbox": [0, 0, 1, 1]},
            {"image_id": 2, "category_id": 0, "bbox": [10, 20, 40, 20]},
        ],
    }
    found = read(file)
    assert found.xyxy.tolist() == [BOXES[0]]
    assert found.data["class_name"] == ["Box"]
    assert found.size == (400, 200)
    with pytest.raises(PrintableError, match=r"about 2 pictures, and none of them is 'three.jpg'"):
        read_detections(file, size=SIZE, title="three.jpg")


def test_coco_outlines_and_masks() -> None:
    """Polygons; run lengths as numbers, and as COCO's own library packs them."""
    found = read([{"segmentation": [[10, 20, 50, 20, 50, 40]], "category_id": 0}])
    assert found.xyxy.tolist() == [[10, 20, 50, 40]]
    assert found.data["polygons"][0][0][0].tolist() == RING
    pixels = np.zeros((3, 4), dtype=bool)
    pixels[1:, 1:3] = True
    for counts in ([4, 2, 1, 2, 3], "42102", b"42102"):
        found = read([{"segmentation": {"size": [3, 4], "counts": counts}, "category_id": 0}])
        assert found.mask is not None
        assert np.array_equal(found.mask[0], pixels)
        assert found.xyxy.tolist() == [[1, 1, 3, 3]]
    with pytest.raises(PrintableError, match="run lengths are of 6 pixels, and the mask has 12"):
        read([{"segmentation": {"size": [3, 4], "counts": [6]}, "category_id": 0}])


def test_masks_outlines_and_keypoints_of_ultralytics() -> None:
    """Outlines are in pixels of the whole picture; masks only where they have its size."""
    boxes = Columns(Tensor(BOXES[:1]), Tensor([0.9]), Tensor([0]), Tensor([7]))
    for pixels, known in ((masks()[:1], True), (np.ones((1, 64, 64)), False)):
        results = Results((100, 200), ["Box"], boxes, Outlines([np.array(RING)], Tensor(pixels)))
        results.keypoints = Points(Tensor([[[1.0, 2.0, 0.5]]]))
        found = read(results)
        assert (found.mask is not None) is known
        assert found.data["polygons"][0][0][0].tolist() == RING
        assert found.data["keypoints"].tolist() == [[[1, 2, 0.5]]]
        assert found.tracker_id is not None
        assert found.tracker_id.tolist() == [7]
    turned = Columns(Tensor(BOXES[:1]), Tensor([0.9]), Tensor([0]), None, Tensor([[[0, 1], [2, 3], [4, 5], [6, 7]]]))
    assert read(Results((100, 200), NAMES, obb=turned)).data["xyxyxyxy"].shape == (1, 4, 2)
    assert len(read(Results((100, 200), NAMES))) == 0


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_list_of_one_of_ultralytics(number: int) -> None:
    """The list that a model returns is read, however many boxes it found."""
    found = Results((100, 200), NAMES, Columns(Tensor(BOXES), Tensor(SCORES), Tensor([0.0, 3.0])))[:number]
    assert len(found) == number
    assert read([found]).xyxy.tolist() == BOXES[:number]


def test_masks_and_keypoints_of_torchvision() -> None:
    """Masks are likelihoods with a channel of their own."""
    found = read(
        {
            "boxes": Tensor(BOXES),
            "labels": Tensor(IDS),
            "masks": Tensor(masks()[:, None] * 0.7),
            "keypoints": Tensor(np.ones((2, 3, 3))),
        }
    )
    assert found.mask is not None
    assert np.array_equal(found.mask, masks())
    assert found.data["keypoints"].shape == (2, 3, 3)


@pytest.mark.parametrize("make", [Detections, Supervision, lambda xyxy, mask: {"boxes": xyxy, "masks": mask}])
def test_masks_tell_the_size_of_the_picture(make: Any) -> None:
    """Boxes and masks refer to the same picture, so that boxes are scaled to the frame as masks are."""
    small = read(make(np.array([[5.0, 10, 25, 20]]), masks()[:1, ::2, ::2]))
    assert small.size == (100, 50)
    for nothing in (np.zeros((0, 50, 100), dtype=bool), np.zeros((0, 0, 0)), []):
        assert len(read(make(np.zeros((0, 4)), nothing))) == 0


def test_undetected_keypoints() -> None:
    """Ultralytics puts points with little confidence at (0, 0), and keeps the confidence: they are not seen there."""
    points = [[20.0, 10.0, 0.9], [0.0, 0.0, 0.42], [0.0, 5.0, 0.9]]
    seen = [[20, 10, 0.9], [0, 0, 0], [0, 5, 0.9]]
    boxes = Columns(Tensor(BOXES[:1]), Tensor([0.9]), Tensor([0]))
    results = Results((100, 200), NAMES, boxes, keypoints=Points(Tensor([points])))
    assert read(results).data["keypoints"].tolist() == [seen]
    results.keypoints = Points(Tensor(np.array([points])[..., :2]))
    assert read(results).data["keypoints"][0, :, 2].tolist() == [1, 0, 1]
    found = read(KeyPoints(np.array([points])[..., :2], keypoint_confidence=np.array([points])[..., 2]))
    assert found.data["keypoints"].tolist() == [seen]
    assert found.xyxy.tolist() == [[0, 5, 20, 10]]


def test_columns_of_supervisions_keypoints() -> None:
    """Points that are marked as not visible are not seen; the confidence of a detection is its own."""
    points = np.array([[[20.0, 10.0], [40.0, 30.0]]])
    given = KeyPoints(points, np.array([3]), np.array([[0.9, 0.2]]), np.array([0.75]), np.array([[True, False]]))
    found = read([given])
    assert found.data["keypoints"].tolist() == [[[20, 10, 0.9], [40, 30, 0]]]
    assert (np.asarray(found.confidence).tolist(), np.asarray(found.class_id).tolist()) == ([0.75], [3])


def test_keypoints_of_supervision() -> None:
    """Their box is around those that are seen."""

    class KeyPoints:
        xy = np.array([[[1.0, 2.0], [5.0, 4.0], [0.0, 0.0]]])
        class_id = np.array([0])
        confidence = np.array([[0.9, 0.8, 0.0]])
        data: dict[str, Any] = {}  # noqa: RUF012

    found = read(KeyPoints())
    assert found.xyxy.tolist() == [[1, 2, 5, 4]]
    assert found.data["keypoints"][0].tolist() == [[1, 2, 0.9], [5, 4, 0.8], [0, 0, 0]]


def test_arrays_by_their_columns() -> None:
    """Four to seven numbers for each; bool arrays are masks."""
    assert read(np.array(BOXES)).confidence is None
    assert read(np.array(BOXES[0])).xyxy.tolist() == [BOXES[0]]
    five, seven = np.array([[*BOXES[0], 0.5]]), np.array([[*BOXES[0], 12, 0.5, 3]])
    assert read(five).confidence.tolist() == [0.5]  # type: ignore[union-attr]
    found = read(seven)
    assert [
        column.tolist() for column in (found.tracker_id, found.confidence, found.class_id) if column is not None
    ] == [
        [12],
        [0.5],
        [3],
    ]
    assert read(masks()).xyxy.tolist() == BOXES
    assert read(masks()[0]).xyxy.tolist() == BOXES[:1]


@pytest.mark.parametrize(
    "nothing",
    [[], (), np.zeros((0, 4)), np.zeros((0, 6)), np.array([]), np.zeros((0, 9, 9), dtype=bool),
     {"boxes": [], "labels": []}, "", {"annotations": []},
     Supervision(np.zeros((0, 4)), None, np.array([]), np.array([])), KeyPoints(np.zeros((0, 0, 2)))],
)  # fmt: skip
def test_nothing_found(nothing: Any) -> None:
    """Of any kind."""
    assert len(read(nothing)) == 0


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (object(), "cannot be read from object"),
        (None, "cannot be read from NoneType"),
        (np.ones((2, 3)), "cannot be read from ndarray"),
        ([["a", "b", "c", "d"]], "cannot be read from list"),
        ([{"score": 1}], "Detection 0 has no place"),
        ([{"bbox": [1, 2, 3]}], "Detection 0 cannot be read"),
        ("0 0.1 0.2", "Line 1 of the YOLO labels"),
        ("zero 0.1 0.2 0.3 0.4", "Line 1 of the YOLO labels"),
        (np.array([[0, 0, 1, np.nan]]), "Detection 0 of 1: 'xyxy'"),
        (np.array([[0, 0, 1, 1, 0.5], [0, 0, 1, 1, np.inf]]), "Detection 1 of 2: 'confidence'"),
        (
            Detections(np.array(BOXES), data={"polygons": [None, [[[(0, 0), (1, 0)]], [[(0, np.nan)], [(1, 1)]]]]}),
            "Detection 1 of 2: 'polygons' has values that are not finite numbers",
        ),
        ([Results((100, 200), NAMES), Results((100, 200), NAMES)], "cannot be read from list"),
        ([{**COCO[0], "image_id": 1}, {**COCO[0], "image_id": 2}], "'image_id' has 2 values"),
        (Supervision(np.array(BOXES), None, np.array([1.0]), IDS), "2 detections, and 1 values of 'confidence'"),
        (Supervision(np.array(BOXES), masks()[:1], SCORES, IDS), "2 detections, and 1 values of 'mask'"),
    ],
)
def test_what_cannot_be_read_is_told(found: Any, words: str) -> None:
    """With the detection that is wrong."""
    with pytest.raises(PrintableError, match=words):
        read(found)


# Columns that are odd


class OnAnotherProcessor:
    """Like CuPy's arrays, which numpy may not take, but which can be fetched."""

    def __init__(self, values: Any) -> None:
        self._values = np.asarray(values)
        self.shape = self._values.shape

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    def get(self) -> Any:
        return self._values

    def __len__(self) -> int:
        return len(self._values)


@pytest.mark.parametrize("make", [np.asarray, Tensor, OnAnotherProcessor, list], ids=lambda make: make.__name__)
@pytest.mark.parametrize("kind", ["float16", "float32", "float64", "uint8", "int64"])
def test_numbers_of_every_type(make: Any, kind: str) -> None:
    """Half precision, whole numbers, lists, and arrays that are elsewhere."""
    boxes = make(np.array(BOXES, dtype=kind))
    for found in (
        Supervision(boxes, None, make(np.array([1, 0], dtype=kind)), make(np.array([0, 3], dtype=kind))),
        {"boxes": boxes, "scores": make(np.array([1, 0], dtype=kind)), "labels": make(np.array([0, 3], dtype=kind))},
        Detections(boxes, None, make(np.array([1, 0], dtype=kind)), make(np.array([0, 3], dtype=kind))),
    ):
        read_ = read(found)
        assert read_.xyxy.tolist() == BOXES
        assert read_.confidence is not None
        assert read_.confidence.tolist() == [1, 0]
        assert read_.class_id is not None
        assert read_.class_id.tolist() == [0, 3]


def test_confidences_that_are_rounded_up() -> None:
    """They are 1. Percentages and logits are refused, with the detection and the value."""
    found = read(Supervision(np.array(BOXES), None, np.array([1.0005, -0.0005]), IDS))
    assert found.confidence is not None
    assert found.confidence.tolist() == [1.0, 0.0]
    with pytest.raises(PrintableError, match=r"Detection 1 of 2: 'confidence' is 87, and must be between 0 and 1"):
        read(Supervision(np.array(BOXES), None, np.array([0.5, 87.0]), IDS))


@pytest.mark.parametrize("column", ["class", "track"])
def test_whole_numbers_that_are_none(column: str) -> None:
    """They are refused, not turned into some other number."""
    values = np.array([[*BOXES[0], 1, 0.5, 1], [*BOXES[1], 1, 0.5, 1]])
    values[1, {"class": 6, "track": 4}[column]] = np.nan
    with pytest.raises(PrintableError, match=r"Detection 1 of 2: .* not finite numbers"):
        read(values)


@pytest.mark.parametrize(
    "found",
    [
        {"boxes": Tensor(BOXES), "labels": ["cat", "dog"], "scores": Tensor(SCORES)},
        {"boxes": Tensor(BOXES), "labels": Tensor([0, 1]), "text_labels": ["cat", "dog"], "scores": Tensor(SCORES)},
        [{"bbox": [1, 2, 3, 4], "class": "cat"}, {"bbox": [1, 2, 3, 4], "class": "dog"}],
        [{"bbox": [1, 2, 3, 4], "label": "cat"}, {"bbox": [1, 2, 3, 4], "label": "dog"}],
    ],
)
def test_classes_in_words(found: Any) -> None:
    """Detectors that are asked for words answer with words, under several keys."""
    assert list(read(found).data["class_name"]) == ["cat", "dog"]


@pytest.mark.parametrize("kind", [int, float, np.int64, np.float32, np.uint8])
def test_classes_in_numbers_of_every_type(kind: Any) -> None:
    """As dictionaries hold them that were made of arrays."""
    for key in ("category_id", "class", "label"):
        found = read([{"bbox": [1, 2, 3, 4], key: kind(3)}])
        assert found.class_id is not None
        assert found.class_id.tolist() == [3]
        assert "class_name" not in found.data


def test_dictionaries_that_differ() -> None:
    """What one of them lacks costs the others nothing: confidences, tracks, keypoints, outlines and masks."""
    mask = {"size": [100, 200], "counts": [100 * 10 + 20, 20, 100 * 190 - 40]}
    found = read(
        [
            {"bbox": [10, 20, 1, 20], "segmentation": mask, "score": 0.25, "track_id": 4},
            {"bbox": [10, 20, 40, 20], "segmentation": [np.ravel(RING).tolist()]},
            {"bbox": [10, 20, 40, 20], "keypoints": [1, 2, 2, 3, 4, 0]},
        ]
    )
    assert found.confidence is not None
    assert found.confidence.tolist() == [0.25, 1.0, 1.0]
    assert found.tracker_id is not None
    assert found.tracker_id.tolist() == [4, -1, -1]
    assert [None if one is None else len(one) for one in found.data["keypoints"]] == [None, None, 2]
    first, second, third = found.data["polygons"]
    assert found.mask is None
    assert {tuple(point) for point in first[0][0].tolist()} == {(10, 20), (11, 20), (11, 40), (10, 40)}
    assert second[0][0].tolist() == RING
    assert third is None


def test_masks_of_several_sizes() -> None:
    """They become outlines."""
    masks = [{"size": [4, 4], "counts": [5, 1, 10]}, {"size": [8, 8], "counts": [9, 1, 54]}]
    found = read([{"segmentation": one} for one in masks])
    assert found.mask is None
    assert [len(polygons) for polygons in found.data["polygons"]] == [1, 1]


def test_values_that_are_no_numbers() -> None:
    """They are told by their key."""
    with pytest.raises(PrintableError, match="'track_id' are not all numbers"):
        read([{"bbox": [1, 2, 3, 4], "track_id": "person-1"}])
