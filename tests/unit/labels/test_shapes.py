"""Positions of detections as coordinates of each shape, and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from encord.objects import LabelRowV2, Shape
from encord.objects.bitmask import BitmaskCoordinates
from encord.objects.coordinates import (
    BoundingBoxCoordinates,
    PointCoordinate,
    PolygonCoordinates,
    RotatableBoundingBoxCoordinates,
    SkeletonCoordinate,
    SkeletonCoordinates,
    Visibility,
)
from tests.drawn import ontology

from encord_agents.exceptions import PrintableError
from encord_agents.labels.detections import Detections
from encord_agents.labels.shapes import DRAWN, Place, Places, has_place

SIZE = (200, 100)
BOX = [20.0, 10.0, 60.0, 30.0]
RING = np.array([(20.0, 10.0), (60.0, 10.0), (60.0, 30.0), (20.0, 30.0)])
OBJECTS = {one.title: one for one in ontology().objects}
NO_ROW: Any = None
MORE = ("xyxyxyxy", "polygons", "keypoints")


def mask(left: int, top: int, right: int, bottom: int, size: tuple[int, int] = SIZE) -> Any:
    pixels = np.zeros((size[1], size[0]), dtype=bool)
    pixels[top:bottom, left:right] = True
    return pixels


def drawn(title: str, *, box: list[float] = BOX, row: LabelRowV2 = NO_ROW, size: Any = None, **columns: Any) -> Any:
    """The coordinates of one detection; columns that are no fields of `Detections` are more data."""
    data: dict[str, Any] = {name: columns.pop(name) for name in MORE if name in columns}
    return Places(Detections(np.array([box]), data=data, size=size, **columns), SIZE).of(0, OBJECTS[title], row)


def points(coordinates: PolygonCoordinates) -> list[list[list[tuple[float, float]]]]:
    """The points of a polygon's rings, in pixels."""
    return [
        [[(round(p.x * SIZE[0], 6), round(p.y * SIZE[1], 6)) for p in ring] for ring in polygon]
        for polygon in coordinates.polygons
    ]


@pytest.mark.parametrize(
    ("box", "shares"),
    [
        (BOX, (0.1, 0.1, 0.2, 0.2)),
        ([-20, -10, 20, 10], (0, 0, 0.1, 0.1)),
        ([180, 90, 999, 999], (0.9, 0.9, 0.1, 0.1)),
        ([0, 0, 200, 100], (0, 0, 1, 1)),
        ([200, 0, 300, 100], None),
        ([10, 10, 10, 20], None),
        ([30, 10, 20, 20], None),
    ],
)
def test_a_box_is_cut_at_the_edges(box: list[float], shares: Any) -> None:
    """The part on the picture is drawn; a box without such a part is not."""
    found = drawn("Box", box=box)
    got = found and (found.top_left_x, found.top_left_y, found.width, found.height)
    assert got == (None if shares is None else pytest.approx(shares))


@pytest.mark.parametrize("title", ["Box", "Turned", "Polygon", "Mask"])
def test_a_picture_of_another_size_is_scaled(title: str) -> None:
    """Boxes, corners, outlines and masks in the pixels of a smaller picture are the same as in those of the frame."""
    half = np.array(BOX) / 2
    given: dict[str, dict[str, Any]] = {
        "Box": {},
        "Turned": {"xyxyxyxy": [RING / 2]},
        "Polygon": {"polygons": [[[RING / 2]]]},
        "Mask": {"mask": mask(10, 5, 30, 15, (100, 50))[None]},
    }
    small = drawn(title, box=half.tolist(), size=(100, 50), **given[title])
    full = drawn(title)
    if title == "Mask":
        assert np.array_equal(np.asarray(small), np.asarray(full))
    elif title == "Polygon":
        assert points(small) == points(full)
    else:
        assert vars(small) == pytest.approx(vars(full))


TURN = np.array([(100.0, 10.0), (130.0, 40.0), (110.0, 60.0), (80.0, 30.0)])


@pytest.mark.parametrize(
    ("corners", "theta"),
    [
        (TURN, 45),
        (np.roll(TURN, -1, axis=0), 135),
        (np.roll(TURN, -2, axis=0), 225),
        (RING, 0),
        (RING[::-1], 0),
        (np.roll(RING, -2, axis=0), 180),
    ],
)
def test_corners_of_a_turned_box(corners: Any, theta: float) -> None:
    """The first side gives the angle, clockwise from the right; the corners come back from the coordinates."""
    found = drawn("Turned", xyxyxyxy=[corners])
    assert found.theta == pytest.approx(theta)
    back = Place(found, SIZE).corners
    assert back is not None
    assert sorted(back.round(1).tolist()) == sorted(corners.tolist())


@pytest.mark.parametrize(
    "corners",
    [
        np.full((4, 2), 5.0),
        np.array([(5.0, 5.0), (9.0, 5.0), (9.0, 5.0), (5.0, 5.0)]),
        RING + np.array([500, 0]),
        RING - np.array([0, 500]),
        np.array([(200.0, -60.0), (260.0, 0.0), (230.0, 30.0), (170.0, -30.0)]) + np.array([0, -29]),
    ],
)
def test_a_turned_box_without_area_or_beside_the_picture(corners: Any) -> None:
    """A rotated box of which nothing can be seen is not drawn."""
    assert drawn("Turned", xyxyxyxy=[corners]) is None


def test_a_turned_box_lies_close_around_an_outline() -> None:
    """Without corners, a rotated box is the smallest around the outlines, or the box where there are none."""
    found = drawn("Turned", polygons=[[[TURN[:3]], [TURN[2:]]]])
    assert found.theta % 90 == pytest.approx(45)
    plain = drawn("Turned", polygons=[None])
    assert (plain.theta, plain.top_left_x, plain.width) == pytest.approx((0, 0.1, 0.2))


HOLE = np.array([(30.0, 15.0), (40.0, 15.0), (40.0, 20.0)])


def test_a_polygon_keeps_its_parts_and_holes() -> None:
    """The rings are drawn as they are, and parts of which nothing is on the picture are left out."""
    found = drawn("Polygon", polygons=[[[RING, HOLE], [RING + 500], [RING - np.array([30, 0])]]])
    outer, hole = [tuple(p) for p in RING.tolist()], [tuple(p) for p in HOLE.tolist()]
    assert points(found) == [[outer, hole], [[(0, 10), (30, 10), (30, 30), (0, 30)]]]


BEYOND_A_CORNER = np.array([(150.0, -60.0), (260.0, 50.0), (260.0, -60.0)])


@pytest.mark.parametrize(
    ("ring", "part"),
    [
        ([(0, 0), (100, 50), (0, 1000)], [(0, 0), (100, 50), (94.736842, 100), (0, 100)]),
        ([(20, -40), (60, 0), (20, 40), (-20, 0)], [(60, 0), (20, 40), (0, 20), (0, 0)]),
    ],
)
def test_a_polygon_is_cut_off_at_the_edges(ring: Any, part: Any) -> None:
    """The part on the picture keeps its shape, for outlines and for rotated boxes; holes are cut off as well."""
    ring = np.array(ring, dtype="float64")
    assert points(drawn("Polygon", polygons=[[[ring]]])) == [[part]]
    outside = np.array([(-10.0, -10.0), (310.0, -10.0), (310.0, 210.0), (-10.0, 210.0)])
    ((_, hole),) = points(drawn("Polygon", polygons=[[[outside, ring, BEYOND_A_CORNER]]]))
    assert hole == part
    if len(ring) == 4:
        assert points(drawn("Polygon", xyxyxyxy=[ring])) == [[part]]


@pytest.mark.parametrize("title", ["Polygon", "Turned", "Mask"])
@pytest.mark.parametrize(
    "parts", [[], [[]], [[np.zeros((0, 2))]], [[RING[:1]]], [[RING[:2]]], [[RING + 500]], [[BEYOND_A_CORNER]]]
)
def test_an_outline_of_nothing(title: str, parts: Any) -> None:
    """An outline without area on the picture is not drawn, and raises nothing."""
    assert drawn(title, polygons=[parts]) is None


def test_an_empty_part_costs_the_others_nothing() -> None:
    """Rings without points are passed over; the parts and holes beside them are drawn."""
    nothing = np.zeros((0, 2))
    found = drawn("Polygon", polygons=[[[nothing], [RING, nothing, HOLE], []]])
    assert [len(polygon) for polygon in points(found)] == [2]
    assert drawn("Turned", polygons=[[[nothing], [RING]]]).width == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("given", "covered"),
    [
        ({}, (20, 10, 60, 30)),
        ({"xyxyxyxy": [RING]}, (20, 10, 60, 30)),
        ({"polygons": [[[RING]]]}, (20, 10, 60, 30)),
        ({"mask": mask(1, 2, 3, 4)[None], "polygons": [[[RING]]]}, (1, 2, 3, 4)),
        ({"mask": mask(50, 25, 100, 50, (100, 50))[None]}, (100, 50, 200, 100)),
        ({"box": [-50, 10, 60, 900]}, (0, 10, 60, 100)),
        ({"mask": mask(0, 0, 0, 0)[None]}, None),
        ({"box": [300, 10, 400, 30]}, None),
    ],
)
def test_pixels_of_a_bitmask(given: dict[str, Any], covered: Any) -> None:
    """A mask is taken as it is, in the frame's size; otherwise the pixels inside the closest outline are covered."""
    found = drawn("Mask", **given)
    if covered is None:
        assert found is None
    else:
        assert np.array_equal(np.asarray(found), mask(*covered))


def test_shapes_in_which_nothing_is_drawn() -> None:
    """A shape that detections cannot have is refused with the list of those that they can."""
    with pytest.raises(PrintableError) as caught:
        drawn("Line")
    assert str(caught.value).endswith(", ".join(shape.value for shape in DRAWN) + ".")
    assert Shape.POLYLINE not in DRAWN


# Skeletons


def test_keypoints_of_a_skeleton(row_of: Callable[[str], LabelRowV2]) -> None:
    """Points are cut at the edges; those that only fill up a longer column are left out."""
    row = row_of("image")
    for spare in (0, 2):
        given = [(20.0, 10.0, 1.0), (-5.0, 500.0, 0.5), (40.0, 20.0, 0.0), *[(0.0, 0.0, 0.0)] * spare]
        found = drawn("Face", keypoints=np.array([given]), row=row)
        assert [(p.x, p.y, p.visibility) for p in found.values] == [
            (0.1, 0.1, Visibility.VISIBLE),
            (0.0, 1.0, Visibility.VISIBLE),
            (0.2, 0.2, Visibility.INVISIBLE),
        ]


def test_another_number_of_keypoints(row_of: Callable[[str], LabelRowV2]) -> None:
    """A number of points other than the skeleton's is refused: they would be the wrong ones."""
    row = row_of("image")
    for number in (2, 4):
        words = rf"has 3 points \(nose, left, right\), and the detections have {number} keypoints"
        with pytest.raises(PrintableError, match=words):
            drawn("Face", keypoints=np.ones((1, number, 3)), row=row)


@pytest.mark.parametrize(
    "given",
    [
        [(-20.0, 10.0, 0.0), (40.0, 120.0, 0.0), (0.0, -1.0, 0.0)],
        [(-20.0, 10.0, 1.0), (40.0, 500.0, 1.0), (40.0, 20.0, 0.0)],
    ],
)
def test_a_skeleton_beside_the_picture(row_of: Callable[[str], LabelRowV2], given: Any) -> None:
    """A skeleton whose visible points, or all points if none is visible, are beyond the picture is not drawn."""
    assert drawn("Face", keypoints=[given], row=row_of("image")) is None


@pytest.mark.parametrize("given", [{}, {"keypoints": [None]}])
def test_a_skeleton_without_keypoints(given: dict[str, Any]) -> None:
    """A detection that has none, or none among others that have some, is refused."""
    with pytest.raises(PrintableError, match="'Face' is a skeleton, and the detections have no keypoints"):
        drawn("Face", **given)


# Back


@pytest.mark.parametrize("title", ["Box", "Turned", "Polygon", "Mask"])
def test_coordinates_come_back_as_pixels(title: str) -> None:
    """Each shape has the same box around it and covers the same pixels as were drawn."""
    place = Place(drawn(title), SIZE)
    assert place.xyxy == pytest.approx(tuple(BOX), abs=1e-4)
    assert np.array_equal(place.filled(SIZE), mask(20, 10, 60, 30))
    told = [name for name in ("corners", "polygons", "mask", "keypoints") if getattr(place, name) is not None]
    assert told == {"Turned": ["corners"], "Polygon": ["polygons"], "Mask": ["mask"]}.get(title, [])


def test_an_empty_bitmask_comes_back() -> None:
    """A mask that covers nothing has an empty box."""
    place = Place(BitmaskCoordinates(mask(0, 0, 0, 0)), SIZE)
    assert place.xyxy == (0, 0, 0, 0)
    assert not place.filled(SIZE).any()


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (5, 0)])
def test_a_bitmask_without_pixels_comes_back(shape: tuple[int, int]) -> None:
    """A mask of no size covers nothing either."""
    place = Place(BitmaskCoordinates(np.zeros(shape, dtype=bool)), SIZE)
    assert place.xyxy == (0, 0, 0, 0)
    assert place.filled(SIZE).shape == (100, 200)


def test_parts_without_points_come_back() -> None:
    """They are passed over, with their holes, and the others are read."""
    ring = [PointCoordinate(x=x / 200, y=y / 100) for x, y in RING.tolist()]
    place = Place(PolygonCoordinates(polygons=[[ring, []], [[]], [], [[], ring]]), SIZE)
    assert place.polygons is not None
    assert [len(polygon) for polygon in place.polygons] == [1]
    assert place.xyxy == pytest.approx(tuple(BOX))


@pytest.mark.parametrize(
    ("coordinates", "known"),
    [
        (PolygonCoordinates(polygons=[[[]]]), False),
        (PolygonCoordinates(polygons=[[[]], [[PointCoordinate(x=0.1, y=0.1)]]]), True),
        (SkeletonCoordinates(values=[], name="Face"), False),
        (BoundingBoxCoordinates(height=0.2, width=0.2, top_left_x=0.1, top_left_y=0.1), True),
        (BitmaskCoordinates(mask(0, 0, 0, 0)), True),
    ],
)
def test_coordinates_without_a_place(coordinates: Any, known: bool) -> None:
    """Saved labels may have polygons and skeletons without a point."""
    assert has_place(coordinates) is known


def test_a_bitmask_of_another_size_comes_back_in_the_frames() -> None:
    """Each pixel is the one of the mask that its centre falls on."""
    small = np.array([[True, False], [False, True]])
    place = Place(BitmaskCoordinates(small), (4, 2))
    assert place.filled((4, 2)).tolist() == [[True, True, False, False], [False, False, True, True]]
    assert Place(BitmaskCoordinates(mask(1, 1, 2, 2, (4, 4))), (2, 2)).xyxy == (0, 0, 1, 1)


@pytest.mark.parametrize(
    ("seen", "box"),
    [
        ((Visibility.VISIBLE, Visibility.OCCLUDED, Visibility.INVISIBLE), (20, 10, 60, 30)),
        ((None, Visibility.VISIBLE, Visibility.INVISIBLE), (20, 10, 60, 30)),
        ((Visibility.INVISIBLE,) * 3, (20, 10, 180, 90)),
    ],
)
def test_the_box_around_a_skeleton(seen: tuple[Visibility | None, ...], box: Any) -> None:
    """The points that are not invisible count, or all of them if all are."""
    places = [(0.1, 0.1), (0.3, 0.3), (0.9, 0.9)]
    values = [
        SkeletonCoordinate(x=x, y=y, name="p", color="#000000", feature_hash="abcd1234", value="p", visibility=one)
        for (x, y), one in zip(places, seen, strict=True)
    ]
    place = Place(SkeletonCoordinates(values=values, name="Face"), SIZE)
    assert place.xyxy == pytest.approx(box)
    assert place.keypoints is not None
    assert place.keypoints[:, 2].tolist() == [float(one != Visibility.INVISIBLE) for one in seen]


def test_holes_are_not_covered() -> None:
    """The pixels in a polygon's hole are free, in whatever size the mask is wanted."""
    rings = [
        [PointCoordinate(x=x / 200, y=y / 100) for x, y in ring.tolist()]
        for ring in (RING, RING / 2 + np.array([15, 7.5]))
    ]
    place = Place(PolygonCoordinates(polygons=[rings]), SIZE)
    covered = place.filled(SIZE)
    assert covered.sum() < 40 * 20
    assert not covered[20, 35]
    assert covered[11, 21]


def test_a_turned_box_covers_no_corners_of_its_box() -> None:
    """The pixels of a rotated box are those inside its own sides."""
    covered = Place(drawn("Turned", xyxyxyxy=[TURN]), SIZE).filled(SIZE)
    assert covered[35, 105]
    assert not covered[12, 82]


def test_whole_and_turned_boxes() -> None:
    """A box and a rotated one by 90 degrees around the same centre have their sides exchanged in pixels."""
    plain = Place(BoundingBoxCoordinates(height=0.2, width=0.2, top_left_x=0.1, top_left_y=0.1), SIZE)
    turned = RotatableBoundingBoxCoordinates(height=0.2, width=0.2, top_left_x=0.1, top_left_y=0.1, theta=90.0)
    left, top, right, bottom = Place(turned, SIZE).xyxy
    assert plain.xyxy == pytest.approx((20, 10, 60, 30))
    assert (right - left, bottom - top) == pytest.approx((20, 40), abs=1e-3)
