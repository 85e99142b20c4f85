"""Pictures: what a file is, and small ones made on the spot."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path

from encord_agents.local.items import NewUnit

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


def png(width: int, height: int, grey: int = 128) -> bytes:
    """A PNG of one grey. By hand, since tens of thousands may be wanted."""
    rows = (b"\0" + bytes([grey]) * width) * height
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


def found_in(directory: Path) -> list[Path]:
    """The picture files below a directory, by name."""
    return sorted(path for path in directory.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())


def read(content: bytes, title: str) -> NewUnit:
    """What a picture is, without a digest yet.

    Raises:
        ValueError: It is broken, or no picture.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of oddities that a readable picture may have
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content)) as image:
                image.load()  # the header of a cut-off file is fine
                width, height = image.size
                mime = Image.MIME.get(image.format or "")
    except UnidentifiedImageError:
        raise ValueError("not a picture") from None
    except Exception as error:  # decoders of broken files raise whatever they stumble over
        raise ValueError(str(error) or type(error).__name__) from error
    return NewUnit(title, "image", mime, None, len(content), width, height, 1)
