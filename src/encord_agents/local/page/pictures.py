"""Pictures for the page: thumbnails, files as browsers can show them, single frames of videos."""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from threading import Lock, Semaphore
from typing import TYPE_CHECKING

from encord_agents.pictures import Picture

if TYPE_CHECKING:
    from PIL.Image import Image

SHOWN = ("image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "image/bmp", "image/svg+xml")
"""Media types that browsers show as they are."""
THUMBNAIL = 480
"""The longer side of a thumbnail, in pixels: sharp on screens with two pixels for one."""
_MOST_KEPT = 64 * 2**20


class Kept:
    """Pictures that were made, up to a size of all together; those that were not asked for in a while go first."""

    def __init__(self, most: int = _MOST_KEPT) -> None:
        self._most = most
        self._size = 0
        self._made: OrderedDict[object, bytes] = OrderedDict()
        self._lock = Lock()
        # Two cores at most are taken from whoever is at work on this machine.
        self._working = Semaphore(2)

    def get(self, key: object, make: Callable[[], bytes]) -> bytes:
        """A picture, made if it is not kept."""
        with self._lock:
            if key in self._made:
                self._made.move_to_end(key)
                return self._made[key]
        with self._working:
            made = make()
        with self._lock:
            if key not in self._made:
                self._made[key] = made
                self._size += len(made)
            while self._size > self._most and len(self._made) > 1:
                _, gone = self._made.popitem(last=False)
                self._size -= len(gone)
        return made


def thumbnail(source: Path | bytes) -> bytes:
    """A small JPEG of a picture, upright.

    Raises:
        ValueError: It cannot be read.
        OSError: Neither can the file.
    """
    return _quick_thumbnail(source) or _thumbnail(source)


def _quick_thumbnail(source: Path | bytes) -> bytes | None:
    """A thumbnail of a JPEG that is in order, decoded at a fraction of its size."""
    from PIL import Image, ImageOps

    try:
        with Image.open(source if isinstance(source, Path) else io.BytesIO(source)) as image:
            if image.format != "JPEG" or image.mode not in ("RGB", "L"):
                return None
            image.draft(image.mode, (THUMBNAIL, THUMBNAIL))
            return jpeg(ImageOps.exif_transpose(image).convert("RGB"), THUMBNAIL)
    except Exception:  # noqa: BLE001 - whatever it is, the careful way says it better
        return None


def _thumbnail(source: Path | bytes) -> bytes:
    with Picture(source) as picture:
        return jpeg(_upright(picture), THUMBNAIL)


def shown(source: Path | bytes) -> bytes:
    """A picture as a PNG, for formats that browsers do not show.

    Raises:
        ValueError: It cannot be read.
        OSError: Neither can the file.
    """
    with Picture(source) as picture:
        return png(_upright(picture))


def png(image: Image) -> bytes:
    """An image as a PNG, packed quickly."""
    packed = io.BytesIO()
    image.save(packed, "PNG", compress_level=1)
    return packed.getvalue()


def upright(source: Path | bytes) -> Image:
    """A picture as it is seen, in RGB.

    Raises:
        ValueError: It cannot be read.
        OSError: Neither can the file.
    """
    with Picture(source) as picture:
        return _upright(picture).copy()


def jpeg(image: Image, longest: int | None = None, quality: int = 82) -> bytes:
    """An image as a JPEG, no larger than asked for."""
    if longest is not None and max(image.size) > longest:
        image.thumbnail((longest, longest), reducing_gap=2.0)
    packed = io.BytesIO()
    image.save(packed, "JPEG", quality=quality)
    return packed.getvalue()


def _upright(picture: Picture) -> Image:
    from PIL import Image, ImageOps

    if picture.image.mode not in ("RGB", "L", "P", "RGBA", "LA", "1"):
        try:
            return Image.fromarray(picture.pixels())
        except ImportError:  # without numpy, deep pictures are shown as Pillow sees them
            pass
    image = ImageOps.exif_transpose(picture.image)
    if image.mode in ("RGBA", "LA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return image.convert("RGB")
