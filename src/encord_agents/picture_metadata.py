"""JPEG, PNG and WebP files without their metadata, any block of which may be damaged where the pixels are not."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Final, NamedTuple

__all__ = ["STRIPPED", "Bare", "without_metadata"]

STRIPPED: Final = (b"\xff\xd8", b"\x89PNG", b"RIFF")
"""The first bytes of files whose metadata `without_metadata` can remove."""

DEFINING: Final = {0xFFE0: 18, 0xFFEE: 16}
"""JPEG's segments of JFIF and Adobe, which define the components, and the sizes below which decoders ignore them."""

TRANSPARENT: Final = {0: 2, 2: 6}
"""The least sizes of PNG's transparent colour, by the type of the pixels: grey, RGB."""


class Bare(NamedTuple):
    """A file without its metadata.

    Attributes:
        content: The file without data that does not affect its pixels.
        exif: The Exif block that it had; empty if it had none.
    """

    content: bytes
    exif: bytes


def without_metadata(content: bytes) -> Bare | None:
    """Return a picture without its metadata; `None` unless it is JPEG, PNG or WebP."""
    try:
        if content[:2] == b"\xff\xd8":
            return _joined(content[:2], _jpeg_segments(content))
        if content[:8] == b"\x89PNG\r\n\x1a\n":
            return _joined(content[:8], _png_chunks(content))
        if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
            chunks, exif = _joined(b"", _webp_chunks(content))
            return Bare(b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WEBP" + chunks, exif)
    except (struct.error, IndexError):
        return None
    return None


def _joined(start: bytes, parts: Iterator[Bare]) -> Bare:
    bare = list(parts)
    return Bare(start + b"".join(part.content for part in bare), b"".join(part.exif for part in bare))


def _jpeg_segments(content: bytes) -> Iterator[Bare]:
    """Yield all segments but application data and comments; those that define the components stay, if whole."""
    at = 2
    while at < len(content):
        marker, size = struct.unpack_from(">HH", content, at)
        if not 0xFFC0 <= marker <= 0xFFFE or marker == 0xFFDA:  # the pixels, or no marker
            yield Bare(content[at:], b"")
            return
        segment = content[at : at + 2 + size]
        is_metadata = 0xFFE0 <= marker <= 0xFFEF or marker == 0xFFFE
        keeps = not is_metadata or (marker in DEFINING and len(segment) >= DEFINING[marker])
        is_exif = marker == 0xFFE1 and segment[4:10] == b"Exif\0\0"
        yield Bare(segment if keeps else b"", segment[10:] if is_exif else b"")
        at += 2 + size


def _png_chunks(content: bytes) -> Iterator[Bare]:
    """Yield all critical chunks, and the one that makes pixels transparent, if whole."""
    at, least = 8, TRANSPARENT.get(content[25], 0)
    while at < len(content):
        size, name = struct.unpack_from(">I4s", content, at)
        chunk = content[at : at + 12 + size]
        keeps = not name[0] & 0x20 or (name == b"tRNS" and size >= least and _is_sound(chunk))
        is_exif = name == b"eXIf" and _is_sound(chunk)
        yield Bare(chunk if keeps else b"", chunk[8:-4] if is_exif else b"")
        at += 12 + size


def _is_sound(chunk: bytes) -> bool:
    return chunk[-4:] == struct.pack(">I", zlib.crc32(chunk[4:-4]))


def _webp_chunks(content: bytes) -> Iterator[Bare]:
    """Yield all chunks but Exif, XMP and the colour profile, which the header must then not announce."""
    at = 12
    while at < len(content):
        name, size = struct.unpack_from("<4sI", content, at)
        chunk = content[at : at + 8 + size + size % 2]
        if name == b"VP8X":
            yield Bare(chunk[:8] + bytes([chunk[8] & ~0x2C]) + chunk[9:], b"")
        elif name in (b"EXIF", b"XMP ", b"ICCP"):
            yield Bare(b"", chunk[8 : 8 + size] if name == b"EXIF" else b"")
        else:
            yield Bare(chunk, b"")
        at += 8 + size + size % 2
