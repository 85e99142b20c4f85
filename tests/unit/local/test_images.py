"""Pictures: read as they are, or refused with a reason."""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from pathlib import Path

import pytest
from PIL import Image

from encord_agents.local.images import found_in, png, read, readable


def encoded(kind: str) -> bytes:
    file = io.BytesIO()
    Image.effect_noise((40, 30), 50).convert("RGB").save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
def test_size_and_type_are_those_of_the_content(kind: str) -> None:
    """Whatever the name says."""
    unit = read(encoded(kind), "picture.png")
    assert (unit.width, unit.height, unit.mime_type) == (40, 30, f"image/{kind.lower()}")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
def test_however_much_of_it_is_missing(kind: str) -> None:
    """A picture that is cut off is refused, or is whole enough to be read; nothing else ever happens."""
    whole = encoded(kind)
    for length in [*range(0, 64, 3), *range(64, len(whole) - 1, max(1, len(whole) // 40))]:
        # Some formats are whole without their last bytes.
        with contextlib.suppress(ValueError):
            assert read(whole[:length], "cut").width == 40


def test_an_oddity_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Pillow only warns about is still a picture."""
    load = Image.Image.load

    def odd(self: Image.Image) -> object:
        warnings.warn("Corrupt EXIF data", UserWarning, stacklevel=1)
        return load(self)

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", odd)
    assert read(png(5, 4), "odd.png").width == 5


def test_a_picture_that_is_suspiciously_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused before its pixels are there."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    for side in (12, 100):
        with pytest.raises(ValueError, match="exceeds limit"):
            read(png(side, side), "large.png")


def test_what_counts_as_a_picture_file(tmp_path: Path) -> None:
    """By suffix of any case, in folders below, sorted; directories and other files do not."""
    (tmp_path / "below.png").mkdir()
    for name in ("b.JPG", "a.png", "below.png/c.webp", "notes.txt", "png"):
        (tmp_path / name).touch()
    assert [str(path.relative_to(tmp_path)) for path in found_in(tmp_path)] == ["a.png", "b.JPG", "below.png/c.webp"]


@pytest.mark.parametrize(
    ("name", "title"),
    [(b"cat.png", "cat.png"), ("caf\xe9.png".encode(), "caf\xe9.png"), (b"caf\xe9\xff.png", "caf\ufffd\ufffd.png")],
)
def test_a_name_becomes_a_title(name: bytes, title: str) -> None:
    """What is UTF-8 stays, and the rest is text that can be stored, sent and shown."""
    assert readable(Path(os.fsdecode(name))) == title
