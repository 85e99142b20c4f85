"""Detects the type of a file from its content (picture, video, audio, text, PDF, DICOM, NIfTI), and reads its facts."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import mimetypes
import re
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from encord_agents.films import main_stream, open_film
from encord_agents.local import images
from encord_agents.local.items import NewUnit
from encord_agents.local.page.film import Film

TEXTS = ("text/", "application/json", "application/xml", "application/xhtml+xml", "application/x-ndjson")
UNKNOWN = "of no kind that the platform takes"
"""The reason for skipping a file of any other type."""
LARGEST_TEXT = 64 * 2**20
"""Bytes. A longer text is skipped: no editor shows it."""
_LARGEST_STREAM, _LARGEST_STREAMS = 8 * 2**20, 64 * 2**20
"""Bytes that are unpacked of one stream of a PDF's objects, and of all."""
_PAGE = re.compile(rb"/Type\s*/Page(?![A-Za-z])")
_PAGES = re.compile(rb"/Count\s+(\d{1,6})")
# Possessive, since a comment that could go on past its end would be tried with every end that follows.
_SVG = re.compile(
    rb"(?:\xef\xbb\xbf)?(?>\s+|<\?xml.*?\?>|<!--.*?-->|<!DOCTYPE svg[^>\[]*(?:\[[^\]]*\]\s*)?>)*+<svg[\s>]", re.DOTALL
)
_DICOM_LONG = frozenset({b"OB", b"OD", b"OF", b"OL", b"OW", b"SQ", b"UC", b"UR", b"UT", b"UN"})


def read_file(path: Path, title: str, kind: str | None = None) -> NewUnit:
    """Read the type and facts of a file; the digest is still missing.

    Args:
        kind: The type of item that it must be, in the storage items' words; ``None``: any type.

    Raises:
        ValueError: The file is broken, of a type that the platform does not know, or not of ``kind``.
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(1024)
    if not head:
        raise ValueError("it is empty")
    if kind is not None:
        return _MUST_BE[kind](path, title, head)
    if head[:5] == b"%PDF-":
        return _pdf(path, title, head)
    if head[128:132] == b"DICM":
        return _dicom(path, title, head)
    if _is_nifti(path, head):
        return _nifti(path, title, head)
    try:
        return images.read_file(path, title)
    except ValueError as error:
        if not str(error).startswith((images.NO_PICTURE, "a video", "not a picture")):
            raise
        if path.suffix.lower() == ".svg" or _SVG.match(head):
            raise ValueError("an SVG is a drawing, which has no pixels: convert it to a PNG first") from None
        if str(error).startswith("not a picture"):
            raise
    if (_mime(path).startswith(TEXTS) and not _is_transport_stream(head)) or _looks_like_html(head):
        return _text(path, title, head)
    return _stream(path, title, head)


def _image(path: Path, title: str, head: bytes) -> NewUnit:
    return images.read_file(path, title)


def _stream(path: Path, title: str, head: bytes, wanted: str | None = None) -> NewUnit:
    """Read a video or audio file."""
    guess = _mime(path)
    try:
        import av
    except ImportError:
        if guess.startswith(("video/", "audio/")):
            raise ValueError("it is read with `av`, which is missing: pip install 'encord-agents[local]'") from None
        raise ValueError(UNKNOWN) from None
    try:
        with open_film(path) as container:
            moving = main_stream(container)
            if moving is not None and moving.codec_context and wanted != "audio":  # no size without a decoder
                return _video(container, moving, path, title)
            audio: Any = container.streams.audio
            sounds = [one for one in audio if one.codec_context]  # which is missing without a decoder
            if sounds and wanted != "video":
                return _audio(container, sounds[0], path, title)
    except (av.error.FFmpegError, ValueError) as error:
        if guess.startswith(("video/", "audio/")) or wanted:
            raise ValueError(f"it cannot be read as a video or sound: {_said(error)}") from None
    raise ValueError(UNKNOWN if wanted is None else f"there is no {wanted} in it")


def _said(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _video(container: Any, stream: Any, path: Path, title: str) -> NewUnit:
    size = path.stat().st_size
    _possible(stream.frames, size)
    with contextlib.closing(Film(path)) as film:  # what the file states is more if an edit list cuts frames off
        frames, is_turned = film.frames, film.is_turned
    fps = float(stream.average_rate or stream.guessed_rate or 0) or None
    duration = _seconds(container, stream) or (frames / fps if fps else None)
    name = {"matroska,webm": "video/webm", "avi": "video/x-msvideo", "mpegts": "video/mp2t"}.get(container.format.name)
    guess = _mime(path)
    mime = guess if guess.startswith("video/") else name or "video/mp4"
    width, height = (stream.height, stream.width) if is_turned else (stream.width, stream.height)
    return NewUnit(title, "video", mime, None, size, width, height, frames, fps, duration)


def _audio(container: Any, stream: Any, path: Path, title: str) -> NewUnit:
    guess = _mime(path)
    mime = guess if guess.startswith("audio/") else f"audio/{container.format.name.partition(',')[0]}"
    bits = stream.codec_context.format.bits if stream.codec_context.format else 0
    return NewUnit(
        title, "audio", mime, None, path.stat().st_size, duration=_seconds(container, stream), sample_rate=stream.rate,
        bit_depth=bits or 16, codec=stream.codec_context.name, channels=stream.channels,
    )  # fmt: skip


def _seconds(container: Any, stream: Any) -> float | None:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return container.duration / 1_000_000 if container.duration else None


def _text(path: Path, title: str, head: bytes) -> NewUnit:
    size = path.stat().st_size
    if size > LARGEST_TEXT:
        raise ValueError(f"it is a text of {size} bytes, and at most {LARGEST_TEXT} are taken")
    try:
        content = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("it is a text that is not UTF-8: convert it first") from None
    if "\0" in content:
        raise ValueError("it is not text: there are zero bytes in it")
    guess = _mime(path)
    mime = "text/html" if _looks_like_html(head) else guess if guess.startswith(TEXTS) else "text/plain"
    return NewUnit(title, "plainText", mime, None, size)


def _pdf(path: Path, title: str, head: bytes) -> NewUnit:
    content = path.read_bytes()
    if content[:1024].find(b"%PDF-") < 0:
        raise ValueError("it is no PDF")
    pages = _pages_of(content)
    if not pages:
        raise ValueError("it is a PDF in which no page is found")
    return NewUnit(title, "pdf", "application/pdf", None, len(content), frames=pages)


def _pages_of(content: bytes) -> int:
    """Count the pages of a PDF, also if its objects are in compressed streams."""
    count, totals = 0, [0]
    for part in itertools.chain((content,), _object_streams(content)):
        count += len(_PAGE.findall(part))
        totals += [int(found) for found in _PAGES.findall(part)]
    # The root of the page tree has the total; a PDF that was saved incrementally still has old pages in the file.
    return min(count, max(totals)) or count or max(totals)


def _object_streams(content: bytes) -> Iterator[bytes]:
    """Yield the compressed objects of a PDF, as far as the bounds allow. Each byte of the file is looked at once."""
    position, left = 0, _LARGEST_STREAMS
    while left > 0 and (found := content.find(b"/ObjStm", position)) >= 0:
        start = content.find(b"stream", found)
        position = content.find(b"endstream", start)
        if start < 0 or position < 0:
            return
        most = min(left, _LARGEST_STREAM)
        try:
            inner = zlib.decompressobj().decompress(content[start + 6 : position].lstrip(b"\r\n"), most)
        except zlib.error:  # after any number of bytes
            left -= most
            continue
        left -= len(inner)
        yield inner


def _dicom(path: Path, title: str, head: bytes) -> NewUnit:
    content = path.read_bytes()
    if content[128:132] != b"DICM":
        raise ValueError("it is not a DICOM file")
    tags = _dicom_tags(content)
    width, height = tags.get((0x28, 0x11)), tags.get((0x28, 0x10))
    frames = max(_possible(tags.get((0x28, 0x08), 1), len(content)), 1)
    return NewUnit(title, "dicomFile", "application/dicom", None, len(content), width or None, height or None, frames)


def _possible(frames: int, size: int) -> int:
    """Return a number of frames that a file states.

    Raises:
        ValueError: It is more than the file has bytes.
    """
    if frames > size:
        raise ValueError("it states more frames than it has bytes")
    return frames


def _dicom_tags(content: bytes) -> dict[tuple[int, int], int]:
    """Read rows, columns and number of frames, as far as the elements before the pixels can be parsed."""
    found: dict[tuple[int, int], int] = {}
    position, implicit = 132, False
    while position + 8 <= len(content):
        group, element = struct.unpack_from("<HH", content, position)
        kind = content[position + 4 : position + 6]
        explicit = group == 2 or not implicit
        if explicit and kind.isalpha() and kind.isupper():
            if kind in _DICOM_LONG:
                if position + 12 > len(content):
                    break
                (length,) = struct.unpack_from("<I", content, position + 8)
                position += 12
            else:
                (length,) = struct.unpack_from("<H", content, position + 6)
                position += 8
        else:
            (length,) = struct.unpack_from("<I", content, position + 4)
            position += 8
        if (group, element) == (2, 0x10):
            syntax = content[position : position + length].rstrip(b"\0 ")
            implicit = syntax == b"1.2.840.10008.1.2"
            if syntax == b"1.2.840.10008.1.2.2":  # big endian, retired by the standard
                break
        if length == 0xFFFFFFFF or (group, element) >= (0x7FE0, 0x10):
            break
        value = content[position : position + length]
        if (group, element) in ((0x28, 0x10), (0x28, 0x11)) and len(value) >= 2:
            found[group, element] = struct.unpack_from("<H", value)[0]
        elif (group, element) == (0x28, 0x08) and value.strip(b"\0 ").isdigit():
            found[group, element] = int(value.strip(b"\0 ")[:12])  # the longest that the standard allows
        position += length
    return found


def _is_nifti(path: Path, head: bytes) -> bool:
    return head[344:348] in (b"n+1\0", b"ni1\0") or (head[:2] == b"\x1f\x8b" and path.name.lower().endswith(".nii.gz"))


def _nifti(path: Path, title: str, head: bytes) -> NewUnit:
    if head[:2] == b"\x1f\x8b":
        try:
            with gzip.open(path) as file:
                head = file.read(352)
        except (OSError, EOFError, zlib.error):
            raise ValueError("it is a NIfTI volume that cannot be unpacked") from None
    if head[344:348] not in (b"n+1\0", b"ni1\0"):
        raise ValueError("it is not a NIfTI volume")
    order = "<" if struct.unpack_from("<i", head)[0] == 348 else ">"
    dimensions = struct.unpack_from(f"{order}8h", head, 40)
    width, height, depth = (max(size, 1) for size in dimensions[1:4])
    return NewUnit(title, "nifti", "application/nifti", None, path.stat().st_size, width, height, depth)


def _is_transport_stream(head: bytes) -> bool:
    """Return True for MPEG-TS, whose packets begin with a fixed byte. Its suffix is also that of Qt's texts."""
    return len(head) > 188 and set(head[::188]) == {0x47}


def _looks_like_html(head: bytes) -> bool:
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return start.startswith((b"<!doctype html", b"<html"))


def _mime(path: Path) -> str:
    return mimetypes.guess_type(path.name)[0] or ""


_MUST_BE: Mapping[str, Callable[[Path, str, bytes], NewUnit]] = {
    "image": _image,
    "video": lambda path, title, head: _stream(path, title, head, "video"),
    "audio": lambda path, title, head: _stream(path, title, head, "audio"),
    "plainText": _text,
    "pdf": _pdf,
    "dicomFile": _dicom,
    "nifti": _nifti,
}


def named(unit: NewUnit, title: str) -> NewUnit:
    """Return the same file under another name, whose suffix may say more about its type."""
    guess = mimetypes.guess_type(title)[0] or ""
    prefix = {"video": "video/", "audio": "audio/", "plainText": "text/"}.get(unit.item_type)
    if prefix and unit.mime_type != "text/html" and guess.startswith(prefix if prefix != "text/" else TEXTS):
        return replace(unit, title=title, mime_type=guess)
    return replace(unit, title=title)
