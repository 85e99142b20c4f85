"""Reading of picture files, with the same rules for the runner and the local platform.

The content determines the type of a file, not its name. If a file has several pictures, the first is read. Damaged
metadata does not affect the pixels; if the orientation cannot be read, the picture counts as upright. If a file is
truncated, or damaged inside, the decodable part is read. None of Pillow's settings is changed, since they belong to the
whole process.
"""

from __future__ import annotations

import contextlib
import io
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from encord_agents.picture_metadata import STRIPPED, without_metadata

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["BrokenPictureError", "NoPictureError", "Picture", "TooManyPixelsError"]

PHOTOMETRIC: Final = 0x0106
ORIENTATION: Final = 0x0112
TURNS: Final = {
    1: (0, False), 2: (0, True), 3: (2, False), 4: (2, True), 5: (1, True), 6: (3, False), 7: (3, True), 8: (1, False),
}  # fmt: skip
"""Exif orientations: the number of quarter turns counter-clockwise, and True to mirror left to right before."""

OTHER_PROGRAMS: Final = frozenset({"EPS", "MPEG"})
"""Formats that Pillow claims, but leaves to Ghostscript or cannot read."""

STRIP: Final = 1 << 20
"""Pixels converted at a time, so that little is in memory apart from the picture and its copy."""

SMALL: Final = 256 * 1024
"""The size in bytes up to which a file is read as a whole, so that Pillow does not go back to it."""


class NoPictureError(ValueError):
    """The file is no picture, or of a kind that Pillow does not know."""


class BrokenPictureError(ValueError):
    """The file is a picture that cannot be read. The message is the reason: ``it is truncated ...``."""


class TooManyPixelsError(BrokenPictureError):
    """The picture has more pixels than Pillow opens. The message names the limit, and says how to raise it."""


class Picture:
    """A decoded picture file. It is a context manager, since some formats keep their file open.

    Args:
        source: The file, or its content.

    Raises:
        NoPictureError: It is no picture.
        BrokenPictureError: No part of it can be read.
        FileNotFoundError: There is no such file.

    Attributes:
        image: Pillow's image, as it is stored.
        orientation: The Exif orientation, 1 to 8; 1 if there is none that can be read.
        loss: A description of the missing part, or `None`.
    """

    image: Image
    orientation: int
    loss: str | None

    def __init__(self, source: Path | bytes) -> None:
        from PIL import Image, UnidentifiedImageError

        try:
            self._read(_in_memory(source))
        except (MemoryError, NoPictureError):
            raise
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise TooManyPixelsError(_limit(error)) from error
        except UnidentifiedImageError as error:
            raise NoPictureError("it is damaged, or of a kind that Pillow does not know") from error
        except Exception as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise BrokenPictureError(_reason(error, source)) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.image.close()

    @property
    def size(self) -> tuple[int, int]:
        """The width and height, upright."""
        width, height = self.image.size
        return (height, width) if TURNS[self.orientation][0] % 2 else (width, height)

    @property
    def mime_type(self) -> str | None:
        """The MIME type, determined by the content."""
        from PIL import Image

        if self.image.format == "MPO":  # JPEG with more pictures after the first
            return "image/jpeg"
        return Image.MIME.get(self.image.format or "")

    def pixels(self) -> Any:
        """Return the upright pixels as an array of their own: RGB, uint8, ``[height, width, 3]``.

        - Eight bits or less, grey, palette, YCbCr, HSV, LAB: as Pillow converts them. Colour profiles are not applied.
        - Transparency, of all pixels or of one colour, with a palette, or premultiplied: composited onto white.
        - CMYK: by the plain formula ``255 - (c + k)``. In JPEG files values are inverted, as Adobe writes them, with or
          without an Adobe marker, as browsers show them.
        - Integers deeper than eight bits are scaled from sixteen bits, or from their largest value if that is more.
          Negative ones become 0. For RGB with sixteen bits, the upper eight are used, of a transparent colour too.
        - Floats are scaled from 0..1, or from 0..255, or from their largest finite value, whichever holds them.
        - Zero is white if a TIFF says so.

        Raises:
            BrokenPictureError: They cannot be converted.
            ImportError: numpy is not installed.
        """
        try:
            return self._upright()
        except (MemoryError, ImportError):
            raise
        except Exception as error:
            raise BrokenPictureError(f"its pixels cannot be converted to RGB ({type(error).__name__})") from error

    def _upright(self) -> Any:
        import numpy as np

        width, height = self.size
        upright = np.empty((height, width, 3), np.uint8)
        turns, mirrored = TURNS[self.orientation]
        stored = np.rot90(upright, -turns)  # a view, so that writing to it turns the pixels
        if mirrored:
            stored = stored[:, ::-1]
        deep = self.image.mode.startswith("I") or self.image.mode == "F"
        top = _brightest(self.image) if deep else 0.0
        for first, strip in _strips(self.image):
            stored[first : first + strip.height] = _scaled(strip, top) if deep else _rgb(strip)
        if deep and getattr(self.image, "tag_v2", {}).get(PHOTOMETRIC) == 0:  # zero is white
            np.invert(upright, out=upright)  # Pillow does so for up to eight bits only
        return upright

    def _read(self, source: Path | bytes) -> None:
        """Decode it as it is; if that fails, without its metadata; if that fails too, in part."""
        self.loss = None
        try:
            self.image = _loaded(source)
        except Exception as error:
            if _is_final(error):
                raise
            bare = without_metadata(_content(source)) if _start(source).startswith(STRIPPED) else None
            if bare is None:
                self.image, self.loss = _in_part(source, error)
            else:
                self.image, self.loss = _loaded_or_in_part(bare.content, error)
                self.image.info["exif"] = bare.exif
        self.orientation = _orientation(self.image)


def _is_final(error: Exception) -> bool:
    """Return True if an error is not about the file's content, or is a deliberate refusal."""
    from PIL import Image

    decided = (MemoryError, NoPictureError, Image.DecompressionBombError, Image.DecompressionBombWarning)
    return isinstance(error, decided) or (isinstance(error, OSError) and error.errno is not None)


def _opened(source: Path | bytes) -> Image:
    from PIL import Image

    image = Image.open(source if isinstance(source, Path) else io.BytesIO(source))
    if image.format in OTHER_PROGRAMS:
        image.close()
        raise NoPictureError(f"it is {image.format}, which is not read as a picture")
    image.info.pop("xmp", None)  # from which Pillow would take the orientation of a TIFF
    if image.format == "PNG" and isinstance(key := image.info.get("transparency"), int | tuple):
        image.info["transparency"] = _as_decoded(key, image.tile[0][3])
    return image


def _as_decoded(key: Any, mode: Any) -> Any:
    """Return the transparent colour of a PNG, which has the file's depth, in the depth that pixels are decoded to."""
    if mode == "RGB;16B":
        return tuple(part >> 8 for part in key)
    most = {"L;2": 3, "L;4": 15}.get(mode)
    return key if most is None else (key & most) * 255 // most


def _loaded(source: Path | bytes) -> Image:
    image = _opened(source)
    try:
        image.load()
    except BaseException:
        image.close()
        raise
    return image


def _loaded_or_none(content: bytes) -> Image | None:
    try:
        return _loaded(content)
    except Exception as error:
        if _is_final(error):
            raise
        return None


def _loaded_or_in_part(bare: bytes, error: Exception) -> tuple[Image, str | None]:
    """Do so with a file without its metadata. Raise the error of the whole file if nothing is left of the picture."""
    from PIL import UnidentifiedImageError

    try:
        return _loaded(bare), None
    except UnidentifiedImageError:
        raise error from None
    except Exception as still:
        if _is_final(still):
            raise
        return _in_part(bare, still)


def _in_part(source: Path | bytes, error: Exception) -> tuple[Image, str]:
    """Return the decodable part and a description of the missing part. Raise the error if nothing can be decoded."""
    image = _opened(source)
    with contextlib.suppress(Exception):  # the same error as before; the rows up to it are decoded
        image.load()
    image.tile = []  # type: ignore[attr-defined]
    rows = 0  # rows that are not all black
    with contextlib.suppress(Exception):  # raised if no memory was allocated for them
        if box := image.getbbox(alpha_only=False):  # BMP begins with the last row
            rows = box[3] - box[1]
    what = "ends too early" if _is_short(error) else f"is damaged ({type(error).__name__})"
    missing = f"up to {image.height - rows} of its {image.height} rows" if rows < image.height else "no row"
    if image.format == "JPEG" and _is_short(error):
        # With an end-of-image marker, all data present is decoded; missing rows are then grey, as in browsers.
        ended = _loaded_or_none(_content(source) + b"\xff\xd9")
        if ended is not None:
            image.close()
            return ended, f"{what}: as far as can be seen, {missing if rows else 'detail'} is missing"
    if not rows:
        image.close()
        raise error
    return image, f"{what}: as far as can be seen, {missing} is missing"


def _is_short(error: Exception) -> bool:
    return "truncated" in str(error).lower()


def _orientation(image: Image) -> int:
    from PIL.Image import Exif

    try:
        exif = image.getexif() if image.format == "TIFF" else Exif()
        if "exif" in image.info:  # not left to `getexif`, which looks into XMP too
            exif.load(image.info["exif"])
        value = exif.get(ORIENTATION, 1)
        return value if value in TURNS else 1
    except Exception:  # noqa: BLE001 - of a damaged block, whose other content is not needed
        return 1


def _limit(error: Exception) -> str:
    from PIL import Image

    pixels, *_ = [int(number) for number in re.findall(r"\d+", str(error))] or [0]
    allowed = Image.MAX_IMAGE_PIXELS or 0
    return (
        f"it has {pixels:,} pixels, and Pillow opens {2 * allowed:,} at most.\n"
        "If you trust your files, raise the limit before the run; Pillow opens twice the number: "
        f"PIL.Image.MAX_IMAGE_PIXELS = {max(1_000_000_000, pixels):_}"
    )


def _reason(error: Exception, source: Path | bytes) -> str:
    start = _start(source)
    size = len(source) if isinstance(source, bytes) else source.stat().st_size
    short = start[:4] == b"RIFF" and len(start) == 12 and struct.unpack("<I", start[4:8])[0] + 8 > size
    if short or _is_short(error):
        return "it is truncated, and nothing of it can be decoded"
    # Pillow's message may quote a temporary path, which helps nobody.
    return f"it is damaged ({type(error).__name__})"


def _in_memory(source: Path | bytes) -> Path | bytes:
    """Return the content of a small file, or the path of a large one. Pillow asks a file for its position at each step,
    and each time the GIL goes to other threads first."""
    if isinstance(source, bytes):
        return source
    with source.open("rb", buffering=0) as file:
        content = file.read(SMALL + 1)
    return content if len(content) <= SMALL else source


def _content(source: Path | bytes) -> bytes:
    return source if isinstance(source, bytes) else source.read_bytes()


def _start(source: Path | bytes) -> bytes:
    if isinstance(source, bytes):
        return source[:12]
    with source.open("rb") as file:
        return file.read(12)


def _strips(image: Image) -> Iterator[tuple[int, Image]]:
    """Yield the image in horizontal strips, each with the number of its first row."""
    rows = max(1, STRIP // max(1, image.width))
    if rows >= image.height:
        yield 0, image
        return
    for first in range(0, image.height, rows):
        yield first, image.crop((0, first, image.width, min(first + rows, image.height)))


def _rgb(image: Image) -> Any:
    import numpy as np
    from PIL import Image as ImageModule

    if image.mode in {"RGBA", "RGBa", "LA", "La", "PA"} or "transparency" in image.info:
        if image.mode in {"La", "PA"}:
            image = image.convert("LA" if image.mode == "La" else "RGBA")
        rgba = image.convert("RGBA")
        image = ImageModule.alpha_composite(ImageModule.new("RGBA", rgba.size, "white"), rgba)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _numbers(image: Image) -> Any:
    import numpy as np

    return np.nan_to_num(np.asarray(image, dtype=np.float64), posinf=np.inf, neginf=-np.inf)


def _brightest(image: Image) -> float:
    """Return the value that becomes white: not the picture's own maximum alone, so that dark pictures stay darker."""
    strips = (_numbers(strip) for _, strip in _strips(image))
    high = max(float(strip.max(initial=0.0, where=strip < float("inf"))) for strip in strips)
    if image.mode != "F":
        return max(65535.0, high)
    return 1.0 if high <= 1.0 else max(255.0, high)


def _scaled(image: Image, top: float) -> Any:
    import numpy as np

    numbers = _numbers(image)
    scaled = np.clip(numbers / top * 255.0, 0, 255).round().astype(np.uint8)
    scaled[numbers == image.info.get("transparency", np.nan)] = 255
    return scaled[:, :, None]
