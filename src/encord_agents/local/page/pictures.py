"""Pictures for the page: makes thumbnails, converts pictures to formats that browsers show, and caches them."""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from threading import Lock, Semaphore
from typing import TYPE_CHECKING

from encord_agents.pictures import TURNS, Picture

if TYPE_CHECKING:
    from PIL.Image import Image

SHOWN = ("image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "image/bmp", "image/svg+xml")
"""Media types that browsers show as they are; all but WebP upright, if Exif data turn the picture."""
THUMBNAIL = 480
"""The longer side of a thumbnail, in pixels: sharp on screens with a device pixel ratio of 2."""
_MOST_KEPT = 64 * 2**20


class Kept:
    """A cache of generated pictures with a limit on their total size; the least recently used are evicted first."""

    def __init__(self, most: int = _MOST_KEPT) -> None:
        self._most = most
        self._size = 0
        self._made: OrderedDict[object, bytes] = OrderedDict()
        self._lock = Lock()
        # At most two cores are used, so that other work on this machine is not slowed down.
        self._working = Semaphore(2)

    def get(self, key: object, make: Callable[[], bytes]) -> bytes:
        """Return a picture, calling ``make`` on a cache miss."""
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
    """Return a small JPEG of a picture, upright.

    Raises:
        ValueError: The picture cannot be read.
        OSError: The file cannot be read.
    """
    return _quick_thumbnail(source) or _thumbnail(source)


def _quick_thumbnail(source: Path | bytes) -> bytes | None:
    """Return a thumbnail of a valid JPEG, decoded at a fraction of its size."""
    from PIL import Image, ImageOps

    try:
        with Image.open(source if isinstance(source, Path) else io.BytesIO(source)) as image:
            if image.format != "JPEG" or image.mode not in ("RGB", "L"):
                return None
            image.info.pop("xmp", None)  # from which Pillow would take an orientation that browsers do not know
            image.draft(image.mode, (THUMBNAIL, THUMBNAIL))
            return jpeg(ImageOps.exif_transpose(image).convert("RGB"), THUMBNAIL)
    except Exception:  # noqa: BLE001 - whatever fails, the careful way gives a better message
        return None


def _thumbnail(source: Path | bytes) -> bytes:
    with Picture(source) as picture:
        return jpeg(_upright(picture), THUMBNAIL)


def is_turned(source: Path | bytes) -> bool:
    """Return True if a picture is stored otherwise than upright; False also if it cannot be read."""
    try:
        with Picture(source) as picture:
            return picture.orientation != 1
    except (ImportError, ValueError, OSError):
        return False


def shown(source: Path | bytes) -> bytes:
    """Return a picture as a PNG, upright, for formats that browsers do not show, or not upright.

    Raises:
        ValueError: The picture cannot be read.
        OSError: The file cannot be read.
    """
    with Picture(source) as picture:
        return png(_upright(picture))


def png(image: Image) -> bytes:
    """Return an image as a PNG, with fast compression."""
    packed = io.BytesIO()
    image.save(packed, "PNG", compress_level=1)
    return packed.getvalue()


def upright(source: Path | bytes) -> Image:
    """Return a picture as viewers show it, upright and in RGB.

    Raises:
        ValueError: The picture cannot be read.
        OSError: The file cannot be read.
    """
    with Picture(source) as picture:
        return _upright(picture).copy()


def jpeg(image: Image, longest: int | None = None, quality: int = 82) -> bytes:
    """Return an image as a JPEG, scaled down to at most ``longest`` pixels."""
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
        except ImportError:  # without numpy, pictures of high bit depth are shown as Pillow converts them
            pass
    turns, mirrored = TURNS[picture.orientation]
    image = (ImageOps.mirror(picture.image) if mirrored else picture.image).rotate(90 * turns, expand=True)
    if image.mode in ("RGBA", "LA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return image.convert("RGB")
