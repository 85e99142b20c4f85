"""Pictures as browsers show them: upright, opaque, no larger than asked for, and kept up to a size."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from encord_agents.local.page import pictures
from encord_agents.local.page.pictures import THUMBNAIL, Kept


def packed(image: Image.Image, kind: str, **options: object) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def turned(kind: str) -> bytes:
    """Return a picture that is 20 high and 10 wide when it is seen as its EXIF data say."""
    image = Image.new("RGB", (20, 10), "red")
    exif = image.getexif()
    exif[0x0112] = 6
    return packed(image, kind, exif=exif)


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def test_made_once() -> None:
    """A picture is made the first time that it is asked for; one that cannot be made is tried again."""
    kept, made = Kept(), []
    for key in ("a", "b", "a"):
        assert kept.get(key, lambda key=key: made.append(key) or key.encode()) == key.encode()  # type: ignore[misc]
    assert made == ["a", "b"]
    with pytest.raises(ZeroDivisionError):
        kept.get("c", lambda: bytes(1 // 0))
    assert kept.get("c", lambda: b"c") == b"c"


def test_those_not_asked_for_lately_go_first() -> None:
    """All together are no larger than allowed, and one that is larger than that alone is kept until the next."""
    kept = Kept(most=10)

    def is_kept(key: str) -> bool:
        found = []
        kept.get(key, lambda: found.append(key) or b"1234")  # type: ignore[func-returns-value]
        return not found

    for key in ("a", "b"):
        kept.get(key, lambda: b"1234")
    assert is_kept("a")
    kept.get("c", lambda: b"1234")
    assert is_kept("a")
    assert not is_kept("b")
    kept.get("large", lambda: b"x" * 100)
    assert is_kept("large")
    assert not is_kept("a")
    assert not is_kept("large")


@pytest.mark.parametrize(
    ("size", "small"),
    [((2 * THUMBNAIL, 10), (THUMBNAIL, 5)), ((30, 2 * THUMBNAIL), (15, THUMBNAIL)), ((40, 30), (40, 30))],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_thumbnail(size: tuple[int, int], small: tuple[int, int], kind: str) -> None:
    """It is a JPEG of the same shape, and no larger than the picture."""
    found = opened(pictures.thumbnail(packed(Image.new("RGB", size, "blue"), kind)))
    assert (found.format, found.size) == ("JPEG", small)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_upright(kind: str, tmp_path: Path) -> None:
    """A picture is seen as its EXIF data say, small or in full, from bytes or a file."""
    content = turned(kind)
    path = tmp_path / "picture"
    path.write_bytes(content)
    for source in (content, path):
        assert pictures.upright(source).size == (10, 20)
        assert opened(pictures.thumbnail(source)).size == (10, 20)
        assert opened(pictures.shown(source)).size == (10, 20)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_and_mirrored(orientation: int) -> None:
    """Each of the eight orientations of Exif is shown as Pillow turns it, which says whether it is stored so."""
    image = Image.new("L", (20, 10))
    image.paste(255, (0, 0, 4, 3))
    exif = image.getexif()
    exif[0x0112] = orientation
    content = packed(image, "PNG", exif=exif)
    assert pictures.upright(content).tobytes() == ImageOps.exif_transpose(opened(content)).convert("RGB").tobytes()
    assert pictures.is_turned(content) == (orientation != 1)
    assert not pictures.is_turned(content[:50])


def test_an_orientation_of_xmp() -> None:
    """It does not count, as it does not in browsers, and for agents."""
    xmp = '<x xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>'
    told = PngInfo()
    told.add_itxt("XML:com.adobe.xmp", xmp)
    image = Image.new("RGB", (20, 10))
    for content in (packed(image, "JPEG", xmp=xmp.encode()), packed(image, "PNG", pnginfo=told)):
        assert opened(content).getexif()[0x0112] == 6
        assert opened(pictures.thumbnail(content)).size == pictures.upright(content).size == (20, 10)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_nothing_shines_through(mode: str) -> None:
    """Transparent pixels are white, in whatever way the file says which they are."""
    image, options = Image.new(mode, (4, 4), 0), {"transparency": 0} if mode == "P" else {}
    found = pictures.upright(packed(image, "PNG", **options))
    assert (found.mode, found.getpixel((0, 0))) == ("RGB", (255, 255, 255))


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "I;16", "F"])
def test_a_picture_of_any_mode(mode: str) -> None:
    """It is shown as a PNG in RGB, of the same size."""
    found = opened(pictures.shown(packed(Image.new(mode, (5, 3)), "TIFF")))
    assert (found.format, found.mode, found.size) == ("PNG", "RGB", (5, 3))


def test_what_is_no_picture(tmp_path: Path) -> None:
    """It is refused in words, a file that is not there by its own error."""
    for read in (pictures.thumbnail, pictures.shown, pictures.upright):
        with pytest.raises(ValueError, match="of a kind"):
            read(b"no picture")
        with pytest.raises(OSError, match="none"):
            read(tmp_path / "none.png")


def test_a_jpeg_that_breaks_off() -> None:
    """It is shown as far as it goes, in its own shape."""
    content = packed(Image.linear_gradient("L").resize((60, 40)).convert("RGB"), "JPEG")
    assert opened(pictures.thumbnail(content[:-100])).size == (60, 40)
