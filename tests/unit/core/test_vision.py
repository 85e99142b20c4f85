"""Image files -> RGB; RGB -> base64; the part of a frame that an object covers."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from encord.objects import ObjectInstance, OntologyStructure, Shape
from encord.objects.bitmask import BitmaskCoordinates
from encord.objects.coordinates import (
    BoundingBoxCoordinates,
    PointCoordinate,
    PolygonCoordinates,
    RotatableBoundingBoxCoordinates,
)
from encord.orm.storage import StorageItemType
from PIL import Image

from encord_agents.core.data_model import Frame, InstanceCrop
from encord_agents.core.vision import (
    b64_encode_image,
    crop_to_bbox,
    crop_to_instance,
    crop_to_object,
    encode_image,
    read_first_frame,
    read_image,
)
from encord_agents.exceptions import PrintableError, UnsupportedAssetError

ORIENTATION = 0x0112


def saved(path: Path, image: Image.Image, **options: Any) -> Path:
    image.save(path, **options)
    return path


def palette() -> Image.Image:
    image = Image.new("P", (8, 4), 1)
    image.putpalette([0, 0, 0, 200, 100, 50])
    return image


GREY16 = np.full((4, 8), 32896, np.uint16)  # 128.5 * 256: the middle


@pytest.mark.parametrize(
    ("name", "image", "pixel"),
    [
        ("rgb.png", Image.new("RGB", (8, 4), (10, 20, 30)), (10, 20, 30)),
        ("bits.png", Image.new("1", (8, 4), 1), (255, 255, 255)),
        ("grey.png", Image.new("L", (8, 4), 77), (77, 77, 77)),
        ("grey16.png", Image.fromarray(GREY16), (128, 128, 128)),
        ("grey16.tiff", Image.fromarray(GREY16), (128, 128, 128)),
        ("dark16.png", Image.fromarray(GREY16 // 256), (0, 0, 0)),
        ("float.tiff", Image.fromarray(np.full((4, 8), 0.5, np.float32)), (128, 128, 128)),
        ("float255.tiff", Image.fromarray(np.full((4, 8), 128.0, np.float32)), (128, 128, 128)),
        ("palette.png", palette(), (200, 100, 50)),
        ("clear.png", Image.new("RGBA", (8, 4), (10, 20, 30, 0)), (255, 255, 255)),
        ("solid.png", Image.new("RGBA", (8, 4), (10, 20, 30, 255)), (10, 20, 30)),
        ("half.png", Image.new("LA", (8, 4), (0, 128)), (127, 127, 127)),
        ("cmyk.tiff", Image.new("CMYK", (8, 4), (0, 255, 255, 0)), (255, 0, 0)),
        ("photo.webp", Image.new("RGB", (8, 4), (10, 20, 30)), (10, 20, 30)),
        ("still.gif", palette(), (200, 100, 50)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_kind_becomes_rgb(name: str, image: Image.Image, pixel: tuple[int, int, int], tmp_path: Path) -> None:
    """Grey, deep, palette, transparent and CMYK images come as RGB bytes of one's own, height first."""
    options = {"lossless": True} if name.endswith("webp") else {}
    pixels = read_image(saved(tmp_path / name, image, **options))
    assert (pixels.shape, pixels.dtype) == ((4, 8, 3), np.uint8)
    assert np.abs(pixels[1, 2].astype(int) - pixel).max() <= 1
    pixels[:] = 0  # and may be drawn on


def test_a_cmyk_jpeg(tmp_path: Path) -> None:
    """A print shop's JPEG comes in the colours it is meant to have, not in their negative."""
    pixels = read_image(saved(tmp_path / "print.jpg", Image.new("CMYK", (8, 8), (0, 255, 255, 0)), quality=95))
    assert np.abs(pixels[4, 4].astype(int) - (255, 0, 0)).max() < 12


def test_one_transparent_colour(tmp_path: Path) -> None:
    """A colour that is declared transparent is laid on white as well."""
    image = Image.new("RGB", (8, 4), (10, 20, 30))
    pixels = read_image(saved(tmp_path / "key.png", image, transparency=(10, 20, 30)))
    assert pixels[0, 0].tolist() == [255, 255, 255]


def test_pixels_are_upright(tmp_path: Path) -> None:
    """The Exif orientation is applied, in width and height too: as browsers show the picture where it is labelled."""
    image = Image.new("RGB", (8, 4), "black")
    image.putpixel((0, 0), (255, 255, 255))
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    path = saved(tmp_path / "phone.png", image, exif=exif)
    with Image.open(path) as opened:
        assert opened.getexif()[ORIENTATION] == 6
    pixels = read_image(path)
    assert pixels.shape == (8, 4, 3)
    assert pixels[0, 3].tolist() == [255, 255, 255]
    assert pixels[0, 0].tolist() == [0, 0, 0]


def test_damaged(tmp_path: Path) -> None:
    """What is no image, or nothing of it, is refused by the item's name."""
    whole = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(whole, "PNG")
    for number, content in enumerate([b"", b"not an image", whole.getvalue()[:40], whole.getvalue()[:20]]):
        path = tmp_path / f"tmp-{number}.png"
        path.write_bytes(content)
        with pytest.raises(UnsupportedAssetError, match=r"'cat\.png' cannot be read as an image") as error:
            read_image(path, name="cat.png")
        assert error.value.item == "cat.png"
        assert str(tmp_path) not in str(error.value)
    with pytest.raises(FileNotFoundError):
        read_image(tmp_path / "none.png")


def test_half_an_image(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What can be decoded is read, with a warning that names the item and says how much is missing."""
    whole = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(whole, "PNG")
    path = tmp_path / "tmp.png"
    path.write_bytes(whole.getvalue()[:2500])
    assert read_image(path, name="cat.png").shape == (64, 64, 3)
    (warning,) = caplog.messages
    assert "'cat.png' ends too early" in warning
    assert "of its 64 rows is missing" in warning
    path.write_bytes(whole.getvalue()[:2500])
    read_first_frame(path, name="cat.png")  # whatever its type is said to be


def test_too_many_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image beyond Pillow's limit is not called damaged: the error says how to raise the limit."""
    path = saved(tmp_path / "satellite.png", Image.new("L", (8, 8)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(UnsupportedAssetError, match=r"'satellite\.png' .*64 pixels[\s\S]*MAX_IMAGE_PIXELS"):
        read_image(path)


def test_no_frames(tmp_path: Path) -> None:
    """Sound and text have no first frame, whatever the file; the error says what to ask for instead."""
    path = saved(tmp_path / "song", Image.new("RGB", (8, 4), "red"), format="PNG")
    for item_type in (StorageItemType.AUDIO, StorageItemType.PLAIN_TEXT, StorageItemType.PDF, StorageItemType.NIFTI):
        with pytest.raises(
            UnsupportedAssetError, match=rf"'song' is of type {item_type.value}, which has no frames[\s\S]*dep_asset"
        ):
            read_first_frame(path, item_type=item_type)


def test_first_frame_by_content(tmp_path: Path) -> None:
    """Without the type of an item, the file is what it turns out to be."""
    path = saved(tmp_path / "thing", Image.new("RGB", (8, 4), "red"), format="PNG")
    assert read_first_frame(path).shape == (4, 8, 3)
    path.write_bytes(b"nothing")
    with pytest.raises(UnsupportedAssetError, match="'thing' cannot be read"):
        read_first_frame(path)


# Encoding

PICTURE = np.zeros((4, 8, 3), np.uint8) + np.array([200, 100, 50], np.uint8)


def decoded(text: str) -> np.ndarray[Any, Any]:
    with Image.open(io.BytesIO(base64.b64decode(text))) as image:
        return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("image_format", [".png", "png", "PNG", ".jpeg", "jpg", "JPEG", ".webp"])
def test_encoding_and_back(image_format: Any) -> None:
    """PNG is exact, JPEG and WebP are close; red stays red."""
    back = decoded(b64_encode_image(PICTURE, image_format))
    assert np.abs(back.astype(int) - PICTURE).max() <= (0 if "png" in image_format.lower() else 4)


def test_parts_of_messages() -> None:
    """Each provider's shape holds the same image, and is JSON."""
    raw = b64_encode_image(PICTURE, ".png")
    url = f"data:image/png;base64,{raw}"
    assert b64_encode_image(PICTURE, ".png", "url") == url
    openai = b64_encode_image(PICTURE, ".png", "openai")
    assert openai == {"type": "image_url", "image_url": {"url": url}}
    anthropic = b64_encode_image(PICTURE, ".jpg", "anthropic")
    assert isinstance(anthropic, dict)
    assert anthropic["source"]["media_type"] == "image/jpeg"
    json.dumps([openai, anthropic])


def test_one_channel_and_four() -> None:
    """Grey and transparent pictures are encoded too; JPEG, which has no transparency, leaves it out."""
    grey = np.full((4, 8), 77, np.uint8)
    assert np.abs(decoded(b64_encode_image(grey)).astype(int) - 77).max() <= 4
    assert encode_image(grey[:, :, None], ".png") == encode_image(grey, ".png")
    transparent = np.dstack([PICTURE, np.zeros((4, 8), np.uint8)])
    assert np.abs(decoded(b64_encode_image(img=transparent, format=".jpg")).astype(int) - PICTURE).max() <= 4
    with Image.open(io.BytesIO(encode_image(transparent, ".png"))) as image:
        assert image.mode == "RGBA"


@pytest.mark.parametrize("image", [PICTURE.astype(float), PICTURE[:, :, :2], PICTURE[None], np.zeros((4, 8), int)])
def test_arrays_that_are_no_images(image: Any) -> None:
    """They are refused in words, with the kind of array that is wanted."""
    with pytest.raises(PrintableError, match=rf"array of {image.dtype}, \[.*uint8, \[height, width, 3\]"):
        encode_image(image)


def test_unknown_formats() -> None:
    """Unknown formats are refused by name."""
    with pytest.raises(ValueError, match="'bmp'"):
        encode_image(PICTURE, "bmp")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'mistral'"):
        b64_encode_image(PICTURE, ".png", "mistral")  # type: ignore[arg-type]


# Crops

HEIGHT, WIDTH = 40, 80


def frame(number: int = 0) -> Frame:
    """Each pixel says where it is: red is its column, green its row."""
    content = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    content[:, :, 0], content[:, :, 1] = np.arange(WIDTH)[None, :], np.arange(HEIGHT)[:, None]
    return Frame(number, content)


def instance(shape: Shape, coordinates: Any, number: int = 0) -> ObjectInstance:
    made: ObjectInstance = OntologyStructure().add_object("Thing", shape).create_instance()
    made.set_for_frames(coordinates, number)
    return made


def extent(content: Any) -> tuple[int, int, int, int]:
    """Left, top, right, bottom (both included)."""
    return tuple(int(value) for value in (*content[0, 0, :2], *content[-1, -1, :2]))  # type: ignore[return-value]


def box(x: float, y: float, width: float, height: float) -> BoundingBoxCoordinates:
    return BoundingBoxCoordinates(top_left_x=x, top_left_y=y, width=width, height=height)


@pytest.mark.parametrize(
    ("coordinates", "expected"),
    [
        (box(0.25, 0.5, 0.5, 0.25), (20, 20, 59, 29)),
        (box(0.0, 0.0, 1.0, 1.0), (0, 0, 79, 39)),
        (box(0.05, 0.5, 0.55, 0.25), (4, 20, 47, 29)),  # 0.55 * 80 is 44.00000000000001
        (box(0.9, 0.9, 0.5, 0.5), (72, 36, 79, 39)),
        (box(0.13, 0.13, 0.0, 0.0), (10, 5, 10, 5)),
    ],
    ids=["inside", "all", "by a hair", "over the edge", "a point"],
)
def test_a_box(coordinates: BoundingBoxCoordinates, expected: tuple[int, int, int, int]) -> None:
    """A crop holds the pixels that the box touches, cut at the frame's edge, and at least one."""
    crop = crop_to_instance(frame(3), instance(Shape.BOUNDING_BOX, coordinates, 3))
    assert extent(crop.content) == expected
    assert crop.frame == 3
    assert crop.instance.get_annotation(3).coordinates == coordinates


def test_a_crop_is_a_copy() -> None:
    """Drawing on a crop leaves the frame alone."""
    whole = frame()
    crop_to_instance(whole, instance(Shape.BOUNDING_BOX, box(0, 0, 0.5, 0.5))).content[:] = 255
    assert whole.content.max() < 255


def test_a_crop_of_an_image() -> None:
    """By image and coordinates, the crop is the same pixels, of as many channels as the image has."""
    image, coordinates = frame().content, box(0.25, 0.5, 0.5, 0.25)
    crop = crop_to_object(image, coordinates)
    assert np.array_equal(crop, image[20:30, 20:60])
    assert np.array_equal(crop_to_bbox(image[:, :, 0], coordinates), image[20:30, 20:60, 0])
    assert np.array_equal(crop_to_instance(frame(), instance(Shape.BOUNDING_BOX, coordinates)).content, crop)
    with pytest.raises(PrintableError, match="outside"):
        crop_to_object(image, box(-0.5, 0.5, 0.1, 0.1))
    with pytest.raises(PrintableError, match="PointCoordinate have no area"):
        crop_to_object(image, PointCoordinate(0.5, 0.5))  # type: ignore[arg-type]


def test_a_turned_box() -> None:
    """A rotatable box is turned in pixels: a quarter turn swaps its sides, about the same centre."""
    turned = RotatableBoundingBoxCoordinates(top_left_x=0.25, top_left_y=0.4, width=0.25, height=0.2, theta=90.0)
    assert extent(crop_to_instance(frame(), instance(Shape.ROTATABLE_BOUNDING_BOX, turned)).content) == (26, 10, 33, 29)


def test_a_polygon() -> None:
    """A polygon's crop is its bounding rectangle."""
    corners = {0: (0.25, 0.25), 1: (0.5, 0.5), 2: (0.25, 0.75)}
    polygon = PolygonCoordinates(values=[PointCoordinate(x, y) for x, y in corners.values()])
    assert extent(crop_to_instance(frame(), instance(Shape.POLYGON, polygon)).content) == (20, 10, 39, 29)


def test_a_mask() -> None:
    """A mask's crop is the rectangle of what it covers."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[5:9, 30:41] = True
    made = instance(Shape.BITMASK, BitmaskCoordinates(mask))
    assert extent(crop_to_instance(frame(), made).content) == (30, 5, 40, 8)
    empty = instance(Shape.BITMASK, BitmaskCoordinates(np.zeros((HEIGHT, WIDTH), bool)))
    with pytest.raises(PrintableError, match="empty"):
        crop_to_instance(frame(), empty)


def test_nothing_to_cut_out() -> None:
    """A point has no area, and a box beside the frame no pixels: errors that say so."""
    with pytest.raises(PrintableError, match="no area"):
        crop_to_instance(frame(), instance(Shape.POINT, PointCoordinate(0.5, 0.5)))
    with pytest.raises(PrintableError, match="frame 0: It lies outside"):
        crop_to_instance(frame(), instance(Shape.BOUNDING_BOX, box(1.5, 0.5, 0.1, 0.1)))


def test_frames_encode_themselves() -> None:
    """Frame.b64_encoding is the same encoding, as a URL where nothing else is asked for; crops inherit it."""
    small = Frame(0, PICTURE)
    assert small.b64_encoding(".png", "raw") == b64_encode_image(PICTURE, ".png")
    assert small.b64_encoding() == b64_encode_image(PICTURE, output_format="url")
    crop = InstanceCrop(0, PICTURE, instance(Shape.BOUNDING_BOX, box(0, 0, 1, 1)))
    assert crop.b64_encoding() == small.b64_encoding()
    assert small.b64_encoding(output_format="anthropic")["type"] == "image"
