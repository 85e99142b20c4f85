"""Pictures, read as far as they can be: modes, orientations, metadata, ends that are missing, and memory."""

from __future__ import annotations

import io
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFile, ImageOps, PngImagePlugin
from tests import preloaded

from encord_agents.pictures import BrokenPictureError, NoPictureError, Picture, TooManyPixelsError

ORIENTATION = 0x0112
GRADIENT = np.add.outer(np.arange(48) * 5, np.arange(64) * 2)[:, :, None] // np.array([1, 2, 3])
PHOTO = Image.fromarray(np.clip(GRADIENT + 16, 0, 255).astype(np.uint8))


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def pixels(content: bytes) -> Any:
    with Picture(content) as picture:
        return picture.pixels()


def exif(*, orientation: int = 6, bad_rational: bool = False) -> bytes:
    """A block with an orientation and, if wanted, a resolution that cannot be written again: -1/0."""
    entries = [struct.pack("<HHIHH", ORIENTATION, 3, 1, orientation, 0)]
    if bad_rational:
        entries.append(struct.pack("<HHII", 0x011A, 10, 1, 8 + 2 + 24 + 4))
    head = b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(entries))
    return head + b"".join(entries) + bytes(4) + (struct.pack("<ii", -1, 0) if bad_rational else b"")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_turned_as_pillow_turns(kind: str, orientation: int) -> None:
    """By the tag alone, for all eight of them."""
    tag = Image.Exif()
    tag[ORIENTATION] = orientation
    options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {}
    content = encoded(PHOTO, kind, exif=tag, **options)
    with Image.open(io.BytesIO(content)) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    found = pixels(content)
    assert np.array_equal(found, expected)
    assert found.flags.c_contiguous
    with Picture(content) as picture:
        assert picture.size == (expected.shape[1], expected.shape[0])


XMP = b'<x:xmpmeta><rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></x:xmpmeta>'


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("tags", [{}, {0x010F: "A maker"}, {ORIENTATION: 1}])
def test_an_orientation_in_xmp(kind: str, tags: dict[int, Any]) -> None:
    """It is passed over, as by browsers."""
    options: dict[str, Any] = {"xmp": XMP}
    if kind == "PNG":
        options = {"pnginfo": PngImagePlugin.PngInfo()}
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", XMP.decode())
    elif kind == "TIFF":
        options = {"tiffinfo": {700: XMP, **tags}}
    if tags and kind != "TIFF":
        options["exif"] = Image.Exif()
        options["exif"].update(tags)
    content = encoded(PHOTO, kind, **options)
    assert XMP in content
    with Picture(content) as picture:
        assert (picture.size, picture.orientation) == ((64, 48), 1)
        assert picture.pixels().shape == (48, 64, 3)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_metadata_that_is_damaged(kind: str) -> None:
    """It costs no pixels: the orientation is applied where it can be read, and the picture taken as upright if not."""
    for block, turned in [
        (b"Exif\0\0abcdefghijk", False),
        (exif()[:20], False),
        (exif(orientation=99), False),
        (exif(), True),
        (exif(bad_rational=True), True),
    ]:
        assert pixels(encoded(PHOTO, kind, exif=block)).shape == ((64, 48, 3) if turned else (48, 64, 3))


def test_a_chunk_with_a_wrong_sum() -> None:
    """What browsers pass over is passed over."""
    content = encoded(PHOTO, "PNG")
    bad = struct.pack(">I", 5) + b"tEXt" + b"a\0abc" + struct.pack(">I", zlib.crc32(b"else"))
    assert np.array_equal(pixels(content[:33] + bad + content[33:]), np.asarray(PHOTO))


def block(name: bytes | int, data: bytes) -> bytes:
    """A chunk of a PNG, or a segment of a JPEG."""
    if isinstance(name, int):
        return struct.pack(">HH", name, len(data) + 2) + data
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


ORIENTED = {"PNG": block(b"eXIf", exif()[6:]), "JPEG": block(0xFFE1, exif())}
DAMAGED = {
    **{
        f"{name} of {length}": ("PNG", block(name.encode(), b"\1" * length))
        for name, length in [("tRNS", 0), ("tRNS", 5)]
    },
    **{name: ("PNG", block(name.encode(), b"")) for name in ("gAMA", "cHRM", "sRGB", "pHYs", "iCCP", "iTXt", "acTL")},
    "a sum of tRNS": ("PNG", block(b"tRNS", b"\0" * 6)[:-1] + b"?"),
    "a sum of tEXt": ("PNG", block(b"tEXt", b"a\0abc")[:-1] + b"?"),
    "JFIF": ("JPEG", block(0xFFE0, b"JFIF\0")),
    "Adobe": ("JPEG", block(0xFFEE, b"Adobe")),
    "profile": ("JPEG", block(0xFFE2, b"ICC_PROFILE\0")),
    "more pictures": ("JPEG", block(0xFFE2, b"MPF\0")),
    "Photoshop": ("JPEG", block(0xFFED, b"Photoshop 3.0\x008BIM\3")),
}


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("case", DAMAGED)
def test_other_metadata_that_is_damaged(case: str, place: str) -> None:
    """It is passed over, as by browsers; the orientation beside it is applied, and nothing counts as missing."""
    kind, bad = DAMAGED[case]
    content = encoded(PHOTO, kind)
    at = {"PNG": 33, "JPEG": 2}[kind]
    both = bad + ORIENTED[kind] if place == "before" else ORIENTED[kind] + bad
    with Picture(content[:at] + both + content[at:]) as picture:
        assert (picture.orientation, picture.loss) == (6, None)
        assert np.array_equal(picture.pixels(), np.rot90(pixels(content), -1))


@pytest.mark.parametrize("case", ["tRNS of 5", "Adobe"])
def test_metadata_and_pixels_that_are_damaged(case: str) -> None:
    """The part of the pixels that is there is read."""
    kind, bad = DAMAGED[case]
    content = encoded(NOISE, kind)
    at = {"PNG": 33, "JPEG": 2}[kind]
    with Picture(content[:at] + bad + content[at : len(content) // 2]) as picture:
        assert picture.loss is not None
        assert "ends too early" in picture.loss
        assert np.array_equal(picture.pixels()[:64], pixels(content)[:64])


def palette(mode: str = "P") -> Image.Image:
    image = Image.new(mode, (8, 4), 1 if mode == "P" else (1, 128))
    image.putpalette([0, 0, 0, 200, 100, 50])
    return image


def deep(value: float, kind: Any, mode: str | None = None) -> Image.Image:
    image = Image.fromarray(np.full((4, 8), value, kind))
    assert mode is None or image.mode == mode
    return image


def lab(colour: tuple[int, int, int]) -> Image.Image:
    profiles = [ImageCms.ImageCmsProfile(ImageCms.createProfile(name)) for name in ("sRGB", "LAB")]  # type: ignore[arg-type]
    made = ImageCms.profileToProfile(Image.new("RGB", (8, 4), colour), profiles[0], profiles[1], outputMode="LAB")
    assert made is not None
    return made


@pytest.mark.parametrize(
    ("image", "kind", "pixel"),
    [
        (Image.new("1", (8, 4), 1), "TIFF", (255, 255, 255)),
        (Image.new("L", (8, 4), 77), "PNG", (77, 77, 77)),
        (palette(), "PNG", (200, 100, 50)),
        (Image.new("LA", (8, 4), (0, 128)), "PNG", (127, 127, 127)),
        (Image.new("RGBA", (8, 4), (10, 20, 30, 0)), "PNG", (255, 255, 255)),
        (Image.new("YCbCr", (8, 4), (76, 85, 255)), "TIFF", (254, 0, 0)),
        (lab((200, 100, 50)), "TIFF", (200, 100, 50)),
        (Image.new("CMYK", (8, 4), (0, 255, 255, 0)), "TIFF", (255, 0, 0)),
        (Image.new("CMYK", (8, 4), (0, 255, 255, 0)), "JPEG", (254, 0, 0)),
        (deep(32896, np.uint16, "I;16"), "PNG", (128, 128, 128)),
        (deep(32896, ">u2"), "TIFF", (128, 128, 128)),
        (deep(32896, np.int32, "I"), "TIFF", (128, 128, 128)),
        (deep(-5, np.int32, "I"), "TIFF", (0, 0, 0)),
        (deep(0.5, np.float32, "F"), "TIFF", (128, 128, 128)),
        (deep(128, np.float32, "F"), "TIFF", (128, 128, 128)),
        (deep(np.nan, np.float32, "F"), "TIFF", (0, 0, 0)),
        (deep(np.inf, np.float32, "F"), "TIFF", (255, 255, 255)),
        (deep(-np.inf, np.float32, "F"), "TIFF", (0, 0, 0)),
    ],
    ids=lambda value: getattr(value, "mode", None),
)
def test_every_mode_has_its_rule(image: Image.Image, kind: str, pixel: tuple[int, int, int]) -> None:
    """All become RGB bytes."""
    options = {"quality": 100} if kind == "JPEG" else {}
    found = pixels(encoded(image, kind, **options))
    assert (found.shape, found.dtype) == ((4, 8, 3), np.uint8)
    assert np.abs(found[1, 2].astype(int) - pixel).max() <= 2


@pytest.mark.parametrize("mode", ["PA", "RGBa", "La", "HSV", "I;16B", "RGBX"])
def test_modes_that_few_files_have(mode: str, tmp_path: Path) -> None:
    """Formats of other plugins may bring any of them."""
    path = tmp_path / "any.png"
    path.write_bytes(encoded(PHOTO, "PNG"))
    with Picture(path) as picture:
        picture.image = palette("PA") if mode == "PA" else Image.new(mode, (8, 4))
        assert picture.pixels().shape == (4, 8, 3)


def test_some_infinite_pixels() -> None:
    """They are white or black, and do not change the others."""
    depths = np.linspace(0, 200, 32, dtype=np.float32).reshape(4, 8)
    whole = pixels(encoded(Image.fromarray(depths), "TIFF"))
    depths[0, :2] = np.inf, -np.inf
    found = pixels(encoded(Image.fromarray(depths), "TIFF"))
    assert found[0, :2].tolist() == [[255] * 3, [0] * 3]
    assert np.array_equal(found[1:], whole[1:])


@pytest.mark.parametrize(("kind", "most"), [(np.uint16, 65535), (np.float32, 1.0), (np.float32, 255.0)])
def test_a_tiff_whose_zero_is_white(kind: Any, most: float) -> None:
    """It is inverted, as those of eight bits are; one that does not say so is not."""
    image = Image.fromarray(np.linspace(0, most, 3).astype(kind)[None])
    for tags, expected in (({262: 0}, [255, 127, 0]), ({262: 1}, [0, 128, 255])):
        found = pixels(encoded(image, "TIFF", tiffinfo=tags))[0, :, 0].astype(int)
        assert np.abs(found - expected).max() <= 1


def test_cmyk_without_adobes_marker() -> None:
    """It is inverted all the same, as browsers have it."""
    content = encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=100)
    start = content.index(b"\xff\xee")
    (size,) = struct.unpack_from(">H", content, start + 2)
    assert b"Adobe" in content
    assert np.abs(pixels(content[:start] + content[start + 2 + size :])[4, 4].astype(int) - (255, 0, 0)).max() < 6


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF", "MPO"])
def test_of_several_pictures_the_first(kind: str) -> None:
    """Animations, pages, views."""
    others = [Image.new("RGB", (64, 48), "black")]
    found = pixels(encoded(PHOTO, kind, save_all=True, append_images=others))
    assert np.abs(found.astype(int) - np.asarray(PHOTO)).mean() < 6


NOISE = Image.effect_noise((320, 240), 60).convert("RGB")


@pytest.mark.parametrize("cut", [1, 2, 20, 500])
@pytest.mark.parametrize("options", [{}, {"progressive": True}], ids=["baseline", "progressive"])
def test_a_jpeg_without_its_end(options: dict[str, Any], cut: int) -> None:
    """What is there is read, and what is missing is said; no switch of Pillow's is touched."""
    content = encoded(NOISE, "JPEG", quality=80, **options)
    whole = pixels(content)
    with Picture(content[:-cut]) as picture:
        found = picture.pixels()
        assert picture.loss is not None
        assert "ends too early" in picture.loss
    assert not ImageFile.LOAD_TRUNCATED_IMAGES
    same = (np.abs(found.astype(int) - whole).max(axis=2) <= 40).mean()
    assert same > (0.999 if cut <= 2 else 0.9)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "TIFF"])
def test_half_a_picture(kind: str) -> None:
    """The rows that come first are there, and it is said how many are not."""
    content = encoded(NOISE, kind)
    whole = pixels(content)
    with Picture(content[: len(content) // 2]) as picture:
        found = picture.pixels()
        loss = picture.loss or ""
    rows = slice(160, 240) if kind == "BMP" else slice(80)  # BMP begins with the last row
    assert np.array_equal(found[rows], whole[rows])
    missing = int(loss.rpartition("up to ")[2].split()[0])
    assert 100 <= missing <= 140
    assert "of its 240 rows is missing" in loss


@pytest.mark.parametrize("kind", ["WEBP", "AVIF", "PNG", "JPEG", "GIF"])
def test_nothing_that_can_be_decoded(kind: str) -> None:
    """It is refused with a reason, however short it is cut."""
    content = encoded(NOISE, kind)
    for length in (4, 30, 60):
        with pytest.raises((BrokenPictureError, NoPictureError)):
            pixels(content[:length])
    if kind == "WEBP":
        with pytest.raises(BrokenPictureError, match="is truncated"):
            pixels(content[:-10])


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_file_that_ends_within_its_metadata(kind: str) -> None:
    """It is truncated, not of an unknown kind."""
    content = encoded(NOISE, kind, icc_profile=b"profile" * 20)
    with pytest.raises(BrokenPictureError, match="is truncated"):
        pixels(content[:90])


def test_what_is_no_picture(tmp_path: Path) -> None:
    """Text, nothing, a video, and what Pillow would have another program read."""
    for content in (
        b"",
        b"hello" * 100,
        b"\0\0\0\x18ftypmp42" + bytes(100),
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    ):
        with pytest.raises(NoPictureError):
            pixels(content)
    with pytest.raises(FileNotFoundError):
        Picture(tmp_path / "none.png")


def test_without_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is not blamed for it."""
    monkeypatch.setitem(sys.modules, "numpy", None)
    with Picture(encoded(Image.new("RGB", (4, 4)), "PNG")) as picture, pytest.raises(ImportError, match="numpy"):
        picture.pixels()


def test_too_many_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound is Pillow's; the message says what it is and how to raise it."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(
        TooManyPixelsError, match=r"3,072 pixels, and Pillow opens 2,000 at most[\s\S]*MAX_IMAGE_PIXELS"
    ):
        pixels(encoded(PHOTO, "PNG"))


def grey16(width: int, height: int) -> bytes:
    """A PNG of sixteen bits, all black: a few kilobytes."""
    packed = zlib.compressobj(9)
    rows = b"".join(packed.compress(bytes(1 + 2 * width)) for _ in range(height)) + packed.flush()
    return png(width, height, 16, 0, rows)


def png(width: int, height: int, depth: int, kind: int, rows: bytes, transparent: bytes = b"") -> bytes:
    """A PNG of compressed rows, with one transparent colour if it is given."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0))]
    chunks += [(b"tRNS", transparent)] if transparent else []
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in (*chunks, (b"IDAT", rows), (b"IEND", b""))
    )


@pytest.mark.parametrize(
    ("depth", "kind", "row", "transparent", "expected"),
    [
        (1, 0, b"\x40", (0,), [255, 255]),
        (2, 0, b"\x10", (0,), [255, 85]),
        (2, 0, b"\x60", (1,), [255, 170]),
        (4, 0, b"\x5a", (5,), [255, 170]),
        (8, 0, b"\x05\x55", (5,), [255, 85]),
        (16, 0, b"\x00\x05\x55\x55", (5,), [255, 85]),
        (16, 0, b"\x00\x06\x55\x55", (5,), [0, 85]),
        (8, 2, b"\x01\x02\x03\x55\x55\x55", (1, 2, 3), [255, 85]),
        (16, 2, b"\x01\x00\x02\x00\x03\x00" + b"\x55" * 6, (0x100, 0x200, 0x300), [255, 85]),
        (16, 2, b"\x01\x00\x02\x00\x03\x00" + b"\x55" * 6, (0x201, 0x202, 0x203), [1, 85]),
    ],
)
def test_one_transparent_colour_of_any_depth(
    depth: int, kind: int, row: bytes, transparent: tuple[int, ...], expected: list[int]
) -> None:
    """Its pixels are white, and only they."""
    content = png(2, 1, depth, kind, zlib.compress(b"\0" + row), struct.pack(f">{len(transparent)}H", *transparent))
    assert pixels(content)[0, :, 0].tolist() == expected


@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted in other units")
@pytest.mark.parametrize("mode", ["I;16", "RGBA", "RGB"])
def test_memory(mode: str, tmp_path: Path) -> None:
    """A picture costs its own pixels and one copy: at most 8 bytes a pixel together."""
    width = height = 4000
    path = tmp_path / "large.png"
    if mode == "I;16":
        path.write_bytes(grey16(width, height))
    else:
        Image.new(mode, (width, height)).save(path, compress_level=1)
    script = (
        "import resource, sys; from pathlib import Path; from encord_agents.core.vision import read_image, make_ready\n"
        "import numpy; make_ready(); before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "read_image(Path(sys.argv[1])); print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = preloaded.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    assert int(done.stdout) * 1024 < 8 * width * height + 40_000_000
