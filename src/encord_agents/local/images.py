"""Pictures: reads their facts from their content, and makes small placeholders."""

from __future__ import annotations

import logging
import os
import stat
import struct
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from encord_agents.local.items import NewUnit
from encord_agents.pictures import NoPictureError, Picture

logger = logging.getLogger(__name__)

NO_PICTURE = "no picture"
"""The reason for skipping a file that is not like a picture at all."""

PICTURE_LIKE = frozenset({
    ".ai", ".arw", ".avif", ".bmp", ".cr2", ".cr3", ".dcm", ".dng", ".emf", ".eps", ".gif", ".heic", ".heics", ".heif",
    ".hif", ".ico", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".jxl", ".nef", ".orf", ".pbm", ".pcx", ".pgm",
    ".png", ".pnm", ".ppm", ".psd", ".raf", ".raw", ".rw2", ".svg", ".tga", ".tif", ".tiff", ".webp", ".wmf", ".xcf",
})  # fmt: skip
VIDEOS = frozenset({
    ".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".vob",
    ".webm", ".wmv",
})  # fmt: skip

BY_THE_WAY = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", ".ds_store"})
"""Files that file managers leave behind, in lower case; they are ignored silently."""

SYSTEM_FOLDERS = frozenset({
    "#recycle", "#snapshot", "$recycle.bin", "@eadir", "@recently-snapshot", "@recycle", "__macosx", "lost+found",
    "system volume information",
})  # fmt: skip
"""Folders of systems and storage devices (thumbnails, bins, snapshots), in lower case; they are ignored silently."""

NAMED = 20
"""The most skipped files that are listed by name."""


def png(width: int, height: int, grey: int = 128) -> bytes:
    """Return a PNG of one grey. Encoded by hand for speed, since tests may need tens of thousands."""
    rows = (b"\0" + bytes([grey]) * width) * height
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


def found_in(directory: Path, unreadable: Callable[[OSError], object]) -> list[Path]:
    """Return the files below a directory, sorted, without system files, hidden folders and a platform's data.

    Linked folders are searched as well, each folder once.

    Args:
        unreadable: Called with the error of a folder that cannot be read.
    """
    found: list[Path] = []
    # Links to folders above the directory lead back into it.
    seen = {str(above) for above in Path(os.path.realpath(directory)).parents}
    roots = [directory]
    for root in roots:  # it grows: links come last, so that a file below the directory has the name that it has there
        for folder, below, names in os.walk(root, onerror=unreadable):
            real = os.path.realpath(folder)
            if "platform.sqlite3" in names or real in seen:
                below.clear()
                continue
            seen.add(real)
            below[:] = [name for name in below if not name.startswith(".") and name.lower() not in SYSTEM_FOLDERS]
            roots += [path for name in sorted(below) if (path := Path(folder, name)).is_symlink()]
            found += [
                Path(folder, name)
                for name in names
                if not name.startswith("._") and name.lower() not in BY_THE_WAY and _may_be_file(Path(folder, name))
            ]
    return sorted(found)


def _may_be_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:  # a link to nothing, or a folder that may be listed only: the attempt to read it says why
        return True


def readable(name: str | Path) -> str:
    """Return a file's name as text that can be stored and sent: bytes that are not UTF-8 are replaced."""
    return str(name).encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def told(skipped: Sequence[str], unknown: str = NO_PICTURE) -> list[str]:
    """Return lines for people about skipped files: those with a specific reason by name, others counted by suffix.

    Args:
        unknown: The unspecific reason, that of the counted files.
    """
    named = [line for line in skipped if not line.endswith(f": {unknown}")]
    lines = [f"left out: {line}" for line in named[:NAMED]]
    if len(named) > NAMED:
        lines.append(f"left out: {len(named) - NAMED} more like these")
    others = Counter(
        Path(line.removesuffix(f": {unknown}")).suffix.lower() or "without a suffix"
        for line in skipped
        if line.endswith(f": {unknown}")
    )
    if others:
        count = sum(others.values())
        kinds = ", ".join(f"{number} {kind}" for kind, number in others.most_common(10))
        lines.append(f"left out: {count} {'file that is' if count == 1 else 'files that are'} {unknown}: {kinds}")
    return lines


def reason(error: OSError | ValueError) -> str:
    """Return the reason why a file is skipped, without its name."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def read_file(path: Path, title: str) -> NewUnit:
    """Read the facts of a picture file from its content; the digest is still missing.

    Raises:
        ValueError: The file is broken or not a picture.
        OSError: The file cannot be read.
    """
    suffix = path.suffix.lower()
    try:
        unit, format_ = _read(path, title, path.stat().st_size)
    except NoPictureError:
        raise ValueError(_no_picture(suffix)) from None
    if format_ == "TGA" and suffix not in (".tga", ".icb", ".vda", ".vst"):  # it has no signature: any file may match
        raise ValueError(_no_picture(suffix))
    return unit


def _no_picture(suffix: str) -> str:
    if suffix in VIDEOS:
        return 'a video: project.add_file(..., item_type="video") adds it from Python'
    if suffix in PICTURE_LIKE:
        return f"not a picture that Pillow can read: convert it first, if {suffix} is what it is"
    return NO_PICTURE


def read(content: bytes, title: str) -> NewUnit:
    """Read the facts of a picture; the digest is still missing.

    Raises:
        ValueError: It is broken or not a picture.
    """
    return _read(content, title, len(content))[0]


def _read(source: Path | bytes, title: str, size: int) -> tuple[NewUnit, str | None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about oddities that a readable picture may have
        with Picture(source) as picture:
            width, height = picture.size
            unit = NewUnit(title, "image", picture.mime_type, None, size, width, height, 1)
            if picture.loss is not None:
                logger.warning("%s %s. It is taken nevertheless.", title, picture.loss)
            return unit, picture.image.format
