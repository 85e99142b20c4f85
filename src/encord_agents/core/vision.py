"""Still images: file -> pixels, pixels -> base64, and the part of a frame that a labelled object covers.

Pixels are RGB, uint8, ``[height, width, 3]``, everywhere.
"""

from __future__ import annotations

import base64
import io
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from encord.objects.bitmask import BitmaskCoordinates
from encord.objects.coordinates import (
    BoundingBoxCoordinates,
    PolygonCoordinates,
    RotatableBoundingBoxCoordinates,
)
from encord.objects.ontology_object_instance import ObjectInstance

from encord_agents.core.data_model import Frame, ImageArray, ImageFormat, InstanceCrop, OutputFormat
from encord_agents.exceptions import PrintableError, UnsupportedAssetError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["b64_encode_image", "crop_to_object", "encode_image", "read_first_frame", "read_image"]


def read_image(path: Path, *, name: str | None = None) -> ImageArray:
    """The pixels of an image file, as they are stored.

    The Exif orientation tag is *not* applied. That is a decision: the platform records one width and one height for an
    image, and whether those (and with them the coordinates of labels) are meant before or after turning is not
    documented where we could read it; stored pixels are at least the same for every reader. Where you want the image
    upright, apply ``PIL.ImageOps.exif_transpose`` to the file yourself, and check a label against it first.

    Grey, palette and CMYK images become RGB; transparency is laid on white. Deep grey is scaled to eight bits: integers
    from sixteen bits (or their largest value, if that is more), floats from 0..1 (or 0..255, or their largest value).

    Args:
        path: The file.
        name: What to call it in an error. Default: the file's name.

    Raises:
        UnsupportedAssetError: It is not an image, or a damaged one.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            return _to_rgb(image)
    except FileNotFoundError:
        raise
    except Image.DecompressionBombError as error:
        raise UnsupportedAssetError(
            f"{name or path.name!r} has more pixels than Pillow opens by default.\n"
            "If you trust your files, raise the limit before the run: PIL.Image.MAX_IMAGE_PIXELS = 1_000_000_000.",
            item=name or path.name,
        ) from error
    except (OSError, SyntaxError, ValueError) as error:
        # Pillow's message may quote the temporary path, which says nothing to anybody.
        raise UnsupportedAssetError(
            f"{name or path.name!r} cannot be read as an image ({type(error).__name__}): "
            "it is damaged, or of a kind that Pillow does not know.",
            item=name or path.name,
        ) from error


def _to_rgb(image: Image) -> ImageArray:
    import numpy as np
    from PIL import Image as ImageModule

    if image.mode.startswith("I") or image.mode == "F":
        return _eight_bits(np.asarray(image), sixteen=image.mode != "F")
    if image.mode in {"RGBA", "LA", "PA"} or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = ImageModule.new("RGBA", rgba.size, "white")
        image = ImageModule.alpha_composite(white, rgba)
    # A copy: Pillow's own buffer is read-only, and users draw on frames.
    return np.array(image if image.mode == "RGB" else image.convert("RGB"), dtype=np.uint8)


def _eight_bits(grey: Any, *, sixteen: bool) -> ImageArray:
    """Deep grey pixels, scaled to 0..255 as :func:`read_image` says.

    Integers are never scaled by their own range alone: a dark picture must stay darker than a bright one.
    """
    import numpy as np

    values = np.nan_to_num(np.asarray(grey, dtype=np.float64))
    high = float(values.max(initial=0.0))
    if sixteen:
        top = max(65535.0, high)
    else:
        top = 1.0 if high <= 1.0 else max(255.0, high)
    scaled = np.clip(values / top * 255.0, 0, 255).round().astype(np.uint8)
    return np.repeat(scaled[:, :, None], 3, axis=2)


def read_first_frame(path: Path, *, mime_type: str | None = None, name: str | None = None) -> ImageArray:
    """An image's pixels, or those of a video's first frame.

    Args:
        path: The file.
        mime_type: Its MIME type. Default: whatever the file turns out to be.
        name: What to call it in an error. Default: the file's name.

    Raises:
        UnsupportedAssetError: It is neither, or damaged.
    """
    from encord_agents.core.video import read_video_frame

    kind = (mime_type or "").partition("/")[0]
    if kind == "video":
        return read_video_frame(path, 0, name=name)
    if kind in {"audio", "text"} or mime_type == "application/pdf":
        raise UnsupportedAssetError(
            f"{name or path.name!r} is {mime_type}, which has no frames.\n"
            "Ask for the file instead: Annotated[Path, Depends(dep_asset)].",
            item=name or path.name,
            mime_type=mime_type,
        )
    try:
        return read_image(path, name=name)
    except UnsupportedAssetError:
        if kind == "image":
            raise
        return read_video_frame(path, 0, name=name)


# Encoding


def encode_image(image: ImageArray, image_format: ImageFormat = ".jpeg") -> bytes:
    """The image as the bytes of a file.

    Args:
        image: RGB, uint8, ``[height, width, 3]``.
        image_format: ``.jpeg`` (quality 90) or ``.png``.

    Raises:
        ValueError: An unknown format.
    """
    from PIL import Image

    buffer = io.BytesIO()
    if _kind(image_format) == "jpeg":
        Image.fromarray(image).save(buffer, format="JPEG", quality=90)
    else:
        Image.fromarray(image).save(buffer, format="PNG", compress_level=3)
    return buffer.getvalue()


@overload
def b64_encode_image(
    image: ImageArray, image_format: ImageFormat = ..., output_format: Literal["raw", "url"] = ...
) -> str: ...


@overload
def b64_encode_image(
    image: ImageArray, image_format: ImageFormat = ..., output_format: OutputFormat = ...
) -> str | dict[str, Any]: ...


def b64_encode_image(
    image: ImageArray, image_format: ImageFormat = ".jpeg", output_format: OutputFormat = "raw"
) -> str | dict[str, Any]:
    """The image as base64 text, alone, as a ``data:`` URL, or as the part of a chat message that holds it.

    See :meth:`encord_agents.core.data_model.Frame.b64_encoding`.
    """
    mime_type = f"image/{_kind(image_format)}"
    if output_format not in {"raw", "url", "openai", "anthropic"}:
        raise ValueError(f"Unknown output format {output_format!r}: use 'raw', 'url', 'openai' or 'anthropic'.")
    text = base64.b64encode(encode_image(image, image_format)).decode("ascii")
    if output_format == "raw":
        return text
    if output_format == "anthropic":
        return {"type": "image", "source": {"type": "base64", "media_type": mime_type, "data": text}}
    url = f"data:{mime_type};base64,{text}"
    return url if output_format == "url" else {"type": "image_url", "image_url": {"url": url}}


def _kind(image_format: str) -> Literal["jpeg", "png"]:
    match image_format.lower().removeprefix("."):
        case "jpeg" | "jpg":
            return "jpeg"
        case "png":
            return "png"
    raise ValueError(f"Unknown image format {image_format!r}: use '.jpeg' or '.png'.")


# Crops


def crop_to_object(frame: Frame, instance: ObjectInstance) -> InstanceCrop:
    """The smallest upright rectangle of ``frame`` that holds the object, at least one pixel large.

    Boxes, rotatable boxes, polygons and bitmasks. Pixels of the rectangle outside a polygon or mask stay as they are.

    Args:
        frame: The frame that the object is on; ``frame.frame`` says which of the object's places is meant.
        instance: The object.

    Raises:
        PrintableError: The object has no area (a point, a line, a skeleton), or lies outside the frame.
    """
    height, width = frame.content.shape[:2]
    left, top, right, bottom = _extent(instance, frame.frame, width, height)
    # A fraction times a width may miss a whole number by a hair, which must not cost or cut a row of pixels.
    x0, y0 = max(0, math.floor(left + 1e-6)), max(0, math.floor(top + 1e-6))
    x1, y1 = min(width, math.ceil(right - 1e-6)), min(height, math.ceil(bottom - 1e-6))
    if x0 >= width or y0 >= height or x1 <= 0 or y1 <= 0:
        raise PrintableError(f"The object {instance.object_hash} lies outside frame {frame.frame}.")
    crop = frame.content[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)].copy()
    return InstanceCrop(frame=frame.frame, content=crop, instance=instance)


def _extent(instance: ObjectInstance, frame: int, width: int, height: int) -> tuple[float, float, float, float]:
    """Left, top, right and bottom, in pixels."""
    coordinates = instance.get_annotation(frame).coordinates
    if isinstance(coordinates, BoundingBoxCoordinates):
        x, y = coordinates.top_left_x * width, coordinates.top_left_y * height
        return x, y, x + coordinates.width * width, y + coordinates.height * height
    if isinstance(coordinates, RotatableBoundingBoxCoordinates):
        # Turned about its centre by theta degrees, in pixels: fractions of unequal sides would shear it.
        w, h = coordinates.width * width, coordinates.height * height
        centre_x, centre_y = coordinates.top_left_x * width + w / 2, coordinates.top_left_y * height + h / 2
        cos, sin = abs(math.cos(math.radians(coordinates.theta))), abs(math.sin(math.radians(coordinates.theta)))
        half_w, half_h = (w * cos + h * sin) / 2, (w * sin + h * cos) / 2
        return centre_x - half_w, centre_y - half_h, centre_x + half_w, centre_y + half_h
    if isinstance(coordinates, PolygonCoordinates):
        points = [point for polygon in coordinates.polygons for ring in polygon for point in ring]
        xs, ys = [point.x * width for point in points], [point.y * height for point in points]
        return min(xs), min(ys), max(xs), max(ys)
    if isinstance(coordinates, BitmaskCoordinates):
        import numpy as np

        mask = np.asarray(coordinates)
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if not rows.size:
            raise PrintableError(f"The mask of the object {instance.object_hash} is empty.")
        scale_x, scale_y = width / mask.shape[1], height / mask.shape[0]
        return (
            float(columns[0] * scale_x),
            float(rows[0] * scale_y),
            float((columns[-1] + 1) * scale_x),
            float((rows[-1] + 1) * scale_y),
        )
    raise PrintableError(
        f"The object {instance.object_hash} is a {instance.ontology_item.shape.value}, which has no area to cut out."
    )
