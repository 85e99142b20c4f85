"""Pictures: those of a directory, what a file is, and small ones made on the spot."""

from __future__ import annotations

import io
import logging
import struct
import warnings
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from encord_agents.local.assets import AssetStore
from encord_agents.local.items import NewUnit
from encord_agents.local.trouble import LocalPlatformError

logger = logging.getLogger(__name__)

LYING = frozenset({5, 6, 7, 8})
"""Exif orientations of pictures that are stored on their side."""

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


def readable(name: str | Path) -> str:
    """A file's name as text that can be stored and sent: what is not UTF-8 in it becomes a question mark."""
    return str(name).encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def collect(paths: str | Path | Iterable[str | Path], assets: AssetStore) -> tuple[list[NewUnit], list[str]]:
    """Read picture files, or all pictures below a directory, and keep them.

    Returns:
        What can be added to a project; and the files that are left out, each with its reason.

    Raises:
        LocalPlatformError: The one path that is given does not exist.
    """
    if isinstance(paths, (str, Path)):
        given = Path(paths)
        if not given.exists():
            raise LocalPlatformError(f"{readable(given)} does not exist.")
        files = found_in(given) if given.is_dir() else [given]
        root = given if given.is_dir() else given.parent
    else:
        files, root = [Path(path) for path in paths], None
    units, skipped = [], []
    for path in files:
        title = readable(path.relative_to(root) if root is not None else path.name)
        try:
            content = path.read_bytes()
            unit = read(content, title)
        except (OSError, ValueError) as error:
            skipped.append(f"{readable(path)}: {reason(error)}")
            logger.warning("%s is left out: %s", readable(path), reason(error))
            continue
        units.append(replace(unit, digest=assets.put(content)))
    return units, skipped


def reason(error: OSError | ValueError) -> str:
    """Why a file is left out, for somebody who knows which one it is."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def none_readable(where: str, skipped: Sequence[str]) -> LocalPlatformError:
    """What to say where no picture is left."""
    if not skipped:
        return LocalPlatformError(f"There is no picture in {where}, so no project was made.")
    broken = "".join(f"\n  - {line}" for line in skipped)
    return LocalPlatformError(f"No picture in {where} could be read, so no project was made:{broken}")


def read(content: bytes, title: str) -> NewUnit:
    """What a picture is, without a digest yet.

    Raises:
        ValueError: It is broken, or no picture.
    """
    from PIL import ExifTags, Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of oddities that a readable picture may have
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content)) as image:
                image.load()  # the header of a cut-off file is fine
                width, height = image.size
                if image.getexif().get(ExifTags.Base.Orientation, 1) in LYING:  # as browsers show it
                    width, height = height, width
                mime = Image.MIME.get(image.format or "")
    except UnidentifiedImageError:
        raise ValueError("not a picture") from None
    except Exception as error:  # decoders of broken files raise whatever they stumble over
        raise ValueError(str(error) or type(error).__name__) from error
    return NewUnit(title, "image", mime, None, len(content), width, height, 1)
