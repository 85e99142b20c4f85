"""Picture files without their metadata: the same pixels, and the Exif block for itself."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from encord_agents.picture_metadata import STRIPPED, without_metadata

PHOTO = Image.fromarray(np.arange(48 * 64 * 3, dtype=np.uint8).reshape(48, 64, 3))
ORIENTATION = 0x0112


def encoded(kind: str, image: Image.Image = PHOTO, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_without_metadata(kind: str) -> None:
    """The same pixels, and fewer bytes; the orientation can be read from the Exif block."""
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    content = encoded(kind, exif=exif, icc_profile=b"profile" * 20)
    bare = without_metadata(content)
    assert bare is not None
    assert content.startswith(STRIPPED)
    assert len(bare.content) < len(content) - 60
    with Image.open(io.BytesIO(content)) as whole, Image.open(io.BytesIO(bare.content)) as image:
        assert np.array_equal(np.asarray(whole), np.asarray(image))
        assert not image.getexif()
    found = Image.Exif()
    found.load(bare.exif)
    assert found[ORIENTATION] == 6
    again = without_metadata(bare.content)
    assert again == (bare.content, b"")


def test_what_defines_the_pixels_stays() -> None:
    """Transparency of a PNG, and Adobe's segment of a JPEG, which tells CMYK from other components."""
    for kind, image, options in (
        ("PNG", PHOTO, {"transparency": (1, 2, 3)}),
        ("PNG", PHOTO.convert("L"), {"transparency": 7}),
        ("PNG", PHOTO.convert("P"), {"transparency": 3}),
        ("JPEG", PHOTO.convert("CMYK"), {}),
    ):
        content = encoded(kind, image, **options)
        bare = without_metadata(content)
        assert bare is not None
        with Image.open(io.BytesIO(content)) as whole, Image.open(io.BytesIO(bare.content)) as left:
            assert left.info.get("transparency") == whole.info.get("transparency")
            assert left.info.get("adobe") == whole.info.get("adobe")


@pytest.mark.parametrize("content", [encoded("BMP"), b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", encoded("PNG")[:40]])
def test_other_files(content: bytes) -> None:
    """Other formats, and files that end within a header, are left alone."""
    assert without_metadata(content) is None
