"""Labelled objects in pixels: each shape, bitmasks by their runs, and what cannot be drawn."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from encord.objects.bitmask import BitmaskCoordinates
from PIL import Image

from encord_agents.shapes import LARGEST_MASK, Canvas, Mark, Mask, Shape, ink, paint, runs, shape

CANVAS = Canvas(200, 100, {"hand": [("0", "1")]})


def rounded(part: Any) -> list[tuple[float, float]]:
    return [(round(x, 6), round(y, 6)) for x, y in part]


@pytest.mark.parametrize(
    ("found", "rings", "lines", "dots"),
    [
        (
            {"shape": "bounding_box", "boundingBox": {"x": 0.1, "y": 0.2, "w": 0.5, "h": 0.3}},
            [[(20, 20), (120, 20), (120, 50), (20, 50)]],
            [],
            [],
        ),
        (
            {
                "shape": "rotatable_bounding_box",
                "rotatableBoundingBox": {"x": 0.1, "y": 0.2, "w": 0.2, "h": 0.2, "theta": 90},
            },
            [[(50, 10), (50, 50), (30, 50), (30, 10)]],
            [],
            [],
        ),
        ({"shape": "point", "point": {"0": {"x": 0.5, "y": 0.5}}}, [], [], [(100, 50)]),
        (
            {"shape": "polyline", "polyline": {"1": {"x": 1, "y": 1}, "0": {"x": 0, "y": 0}}},
            [],
            [[(0, 0), (200, 100)]],
            [],
        ),
        (
            {"shape": "polygon", "polygon": [{"x": 0, "y": 0}, {"x": 0.5, "y": 0}, {"x": 0, "y": 0.5}]},
            [[(0, 0), (100, 0), (0, 50)]],
            [],
            [],
        ),
        (
            {"shape": "polygon", "polygons": [[[0, 0, 1, 0, 1, 1], [0.1, 0.1, 0.2, 0.1, 0.2, 0.2]]]},
            [[(0, 0), (200, 0), (200, 100)], [(20, 10), (40, 10), (40, 20)]],
            [],
            [],
        ),
        (
            {"shape": "skeleton", "name": "hand", "skeleton": {"0": {"x": 0, "y": 0}, "1": {"x": 1, "y": 1}}},
            [],
            [[(0, 0), (200, 100)]],
            [(0, 0), (200, 100)],
        ),
        (
            {
                "shape": "cuboid_2d",
                "cuboid_2d": {"front": [0, 0, 0.1, 0, 0.1, 0.1], "offset": {"x": 0.5, "y": 0.5}},
            },
            [[(0, 0), (20, 0), (20, 10)]],
            [
                [(100, 50), (120, 50), (120, 60), (100, 50)],
                *([(0, 0), (100, 50)], [(20, 0), (120, 50)], [(20, 10), (120, 60)]),
            ],
            [],
        ),
        (
            {
                "shape": "cuboid_2d",
                "cuboid_2d": {"front": [0, 0, 0.2, 0.2], "vanishingPoint": {"x": 1, "y": 1}, "scaleRatio": 0.5},
            },
            [[(0, 0), (40, 20)]],
            [[(100, 50), (120, 60), (100, 50)], [(0, 0), (100, 50)], [(40, 20), (120, 60)]],
            [],
        ),
    ],
    ids=lambda value: value["shape"] if isinstance(value, dict) else "",
)
def test_shapes(found: dict[str, Any], rings: list[Any], lines: list[Any], dots: list[Any]) -> None:
    """Shares of width and height become pixels."""
    drawn = shape(found, CANVAS)
    assert [rounded(ring) for ring in drawn.rings] == rings
    assert [rounded(line) for line in drawn.lines] == lines
    assert rounded(drawn.dots) == dots


def test_round_shapes() -> None:
    """Circles and ellipses are outlines that touch their bounds; either may be stretched and turned."""
    circle = shape({"shape": "circle", "circle": {"x": 0.5, "y": 0.5, "r": 0.1}}, CANVAS)
    assert circle.box == pytest.approx((80, 30, 120, 70))
    turned = {"x": 0.5, "y": 0.5, "r": 0.1, "stretch": 0.5, "theta": 90}
    assert shape({"shape": "circle", "circle": turned}, CANVAS).box == pytest.approx((90, 30, 110, 70))
    ellipse = {"x": 0.5, "y": 0.5, "rx": 0.1, "ry": 0.1}
    assert shape({"shape": "ellipse", "ellipse": ellipse}, CANVAS).box == pytest.approx((80, 40, 120, 60))
    assert shape({"shape": "ellipse", "ellipse": ellipse | {"theta": 90}}, CANVAS).box == pytest.approx(
        (90, 30, 110, 70)
    )


def test_bitmasks_are_the_sdks() -> None:
    """A mask that the SDK wrote is read pixel by pixel, and its PNG shows it in the class's colour."""
    generator = np.random.default_rng(1)
    for density in (0.02, 0.5, 0.98):
        mask = generator.random((37, 53)) < density
        wire = BitmaskCoordinates(mask).to_dict()
        drawn = shape({"shape": "bitmask", "bitmask": wire}, CANVAS)
        assert drawn.mask is not None
        pixels = np.frombuffer(drawn.mask.pixels(), np.uint8).reshape(37, 53)
        assert (pixels == np.where(mask, 255, 0)).all()
        png = np.asarray(Image.open(io.BytesIO(drawn.mask.png(1, 2, 3))).convert("RGBA"))
        assert (png[mask] == (1, 2, 3, 255)).all()
        assert (png[~mask][:, 3] == 0).all()
    assert Mask(0, 0, 3, 1, [1, 100]).pixels() == b"\0\xff\xff"
    assert Mask(0, 0, 3, 1, []).pixels() == b"\0\0\0"
    with pytest.raises(ValueError, match="has no"):
        runs("é")


@pytest.mark.parametrize(
    "found",
    [
        {},
        {"shape": "cuboid"},
        {"shape": "bounding_box"},
        {"shape": "bounding_box", "boundingBox": {"x": "a", "y": 0, "w": 0, "h": 0}},
        {"shape": "bounding_box", "boundingBox": {"x": float("nan"), "y": 0, "w": 0, "h": 0}},
        {"shape": "polygon", "polygon": {"a": {"x": 0, "y": 0}}},
        {"shape": "bitmask", "bitmask": {"rleString": "", "top": 0, "left": 0, "width": LARGEST_MASK, "height": 2}},
        {"shape": "bitmask", "bitmask": {"rleString": "\n", "top": 0, "left": 0, "width": 1, "height": 1}},
        {"shape": "skeleton", "name": "hand", "skeleton": [1]},
    ],
)
def test_what_cannot_be_drawn(found: dict[str, Any]) -> None:
    """It is an empty shape, never an exception."""
    assert shape(found, CANVAS) == Shape()
    assert shape(found, CANVAS).box is None


def test_painted_on_a_copy() -> None:
    """Outlines, masks and points in the colour of the class; the picture itself stays as it was."""
    picture, blue = Image.new("RGB", (100, 80), "white"), (0, 0, 255)
    square = Shape(rings=[[(10, 30), (50, 30), (50, 70), (10, 70)]])
    mask = Shape(mask=Mask(60, 30, 10, 10, (0, 100)))
    shapes = (square, mask, Shape(dots=[(90, 60)]), Shape())
    found = paint(picture, [Mark(one, blue, "Car") for one in shapes])
    assert picture.getcolors() == [(8000, (255, 255, 255))]
    assert [found.getpixel(at) for at in ((10, 50), (50, 50), (30, 30), (30, 70), (90, 60))] == [blue] * 5
    assert found.getpixel((30, 50)) == (255, 255, 255)
    red, green, full = found.getpixel((65, 38))  # type: ignore[misc] -- half of the mask's colour
    assert (red, green) == (128, 128)
    assert full == 255


def test_a_tag_of_several_lines() -> None:
    """It is painted on one."""
    picture, square = Image.new("RGB", (200, 100)), Shape(rings=[[(10, 40), (50, 40), (50, 70), (10, 70)]])
    found, same = (paint(picture, [Mark(square, (255, 255, 0), tag)]) for tag in ("Per\nson\r\n A", "Per son A"))
    assert found.tobytes() == same.tobytes()


@pytest.mark.parametrize(
    "drawn",
    [Shape(rings=[[(60, 60), (90, 60), (90, 90)]]), Shape(mask=Mask(60, 60, 9, 9, (0, 81))), Shape(dots=[(60, 60)])],
)
def test_every_shape_has_its_tag(drawn: Shape) -> None:
    """Above it, in an ink that is legible on its colour."""
    found = paint(Image.new("RGB", (200, 200)), [Mark(drawn, (255, 255, 0), "Car")])
    above = found.crop((55, 35, 110, 58)).getcolors()
    assert above is not None
    assert {(255, 255, 0), (0, 0, 0)} <= {colour for _, colour in above}
    assert (ink((255, 255, 0)), ink((0, 0, 128))) == ("#000000", "#ffffff")
