"""Still images: file -> pixels, pixels -> base64, and the part of a frame that a labelled object covers.

Pixels are RGB, uint8, ``[height, width, 3]``, everywhere.
"""

from __future__ import annotations

import base64
import io
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from encord.objects.coordinates import BoundingBoxCoordinates
from encord.objects.ontology_object_instance import ObjectInstance
from encord.orm.storage import StorageItemType

from encord_agents.core.assets import VIDEOS
from encord_agents.core.coordinates import (
    CroppableCoordinates,
    mask_to_bbox,
    poly_to_bbox,
    rbb_to_poly,
    rbbox_to_surrounding_bbox,
    surrounding_bbox,
)
from encord_agents.core.data_model import Base64Formats as Base64Formats  # existing code imports it from here
from encord_agents.core.data_model import Frame, ImageArray, ImageFormat, InstanceCrop, OutputFormat
from encord_agents.core.logs import get_logger
from encord_agents.core.messages import file_part
from encord_agents.exceptions import PrintableError, UnsupportedAssetError
from encord_agents.extras import needing, require
from encord_agents.pictures import NoPictureError, Picture

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = [
    "DATA_TYPES",
    "CroppableCoordinates",
    "b64_encode_image",
    "crop_to_bbox",
    "crop_to_instance",
    "crop_to_object",
    "encode_image",
    "mask_to_bbox",
    "picture_of",
    "poly_to_bbox",
    "rbb_to_poly",
    "rbbox_to_surrounding_bbox",
    "read_first_frame",
    "read_image",
]

logger = get_logger(__name__)

DATA_TYPES = {".jpeg": "image/jpeg", ".jpg": "image/jpeg", ".png": "image/png", ".webp": "image/webp"}
"""The formats that images can be encoded in, and their MIME types."""


def make_ready() -> None:
    """Import the modules for reading images. This takes a twentieth of a second, better spent before the first.

    Raises:
        ImportError: Pillow is not installed.
    """
    from PIL import Image

    Image.preinit()


def read_image(path: Path, *, name: str | None = None) -> ImageArray:
    """Return the pixels of an image file, upright.

    The Exif orientation tag is applied, as browsers do when people draw labels, so agents and people see the same.
    The conversion of each kind of pixel is described at `encord_agents.pictures.Picture.pixels`; of several images in a
    file, the first is read. If a file is truncated or damaged, the part that can be decoded is read, and a warning is
    logged.

    The decoded image and the array are in memory at once: at most 7 bytes a pixel.

    Args:
        path: The file.
        name: The name of the file in errors. Default: its own.

    Raises:
        UnsupportedAssetError: It is not an image, cannot be decoded at all, or has more pixels than Pillow opens.
        FileNotFoundError: There is no such file.
    """
    called = name or path.name
    try:
        with Picture(path) as picture:
            pixels: ImageArray = picture.pixels()
    except ImportError:
        require("vision", "Reading an image")
        raise
    except ValueError as error:
        raise UnsupportedAssetError(f"{called!r} cannot be read as an image: {error}.", item=called) from error
    if picture.loss is not None:
        logger.warning("The image %r %s. What can be decoded is read.", called, picture.loss)
    return pixels


def read_first_frame(path: Path, *, item_type: StorageItemType | None = None, name: str | None = None) -> ImageArray:
    """Return an image's pixels, or those of a video's first frame.

    Args:
        path: The file.
        item_type: The type of its storage item. Default: detected from the file.
        name: The name of the file in errors. Default: its own.

    Raises:
        UnsupportedAssetError: The file is neither, or is damaged.
    """
    if item_type in VIDEOS:
        return _first_of_video(path, name)
    if item_type not in (None, StorageItemType.IMAGE):
        raise UnsupportedAssetError(
            f"{name or path.name!r} is of type {item_type.value}, which has no frames.\n"
            "Ask for the file instead: Annotated[Path, Depends(dep_asset)].",
            item=name or path.name,
        )
    try:
        return read_image(path, name=name)
    except UnsupportedAssetError as error:
        if item_type is not None or not isinstance(error.__cause__, NoPictureError):
            raise
        return _first_of_video(path, name)


def _first_of_video(path: Path, name: str | None) -> ImageArray:
    from encord_agents.core.video import read_video_frame

    with needing("vision", "Reading a video"):
        return read_video_frame(path, 0, name=name)


# Encoding


def encode_image(image: ImageArray, image_format: ImageFormat = ".jpeg") -> bytes:
    """Return the bytes of an image file.

    Args:
        image: RGB, uint8, ``[height, width, 3]``. Grey works too, with or without an axis for its channel, and so does
            a fourth channel for transparency, which JPEG leaves out.
        image_format: ``.jpeg`` (quality 90), ``.png`` or ``.webp`` (quality 90).

    Raises:
        ValueError: An unknown format.
        PrintableError: Pixels of another kind.
    """
    kind = _mime_type(image_format).removeprefix("image/")
    picture = picture_of(image)
    buffer = io.BytesIO()
    try:
        if kind == "jpeg" and picture.mode == "RGBA":
            picture = picture.convert("RGB")
        picture.save(buffer, format=kind, **({"compress_level": 3} if kind == "png" else {"quality": 90}))
    except OSError as error:
        raise _not_pixels(image) from error
    return buffer.getvalue()


def picture_of(image: ImageArray) -> Image:
    """Return pixels as an image of Pillow, see `encode_image`.

    Raises:
        PrintableError: Pillow has no mode for them.
    """
    with needing("vision", "Encoding an image"):
        from PIL.Image import fromarray

    try:
        return fromarray(image[:, :, 0] if image.shape[2:] == (1,) else image)
    except (TypeError, ValueError) as error:
        raise _not_pixels(image) from error


def _not_pixels(image: ImageArray) -> PrintableError:
    return PrintableError(
        f"An image cannot be made of an array of {image.dtype}, {list(image.shape)}: give it as uint8, "
        "[height, width, 3] or [height, width]."
    )


@overload
def b64_encode_image(img: ImageArray, format: ImageFormat = ..., output_format: Literal["raw", "url"] = ...) -> str: ...


@overload
def b64_encode_image(
    img: ImageArray, format: ImageFormat = ..., output_format: OutputFormat = ...
) -> str | dict[str, Any]: ...


def b64_encode_image(
    img: ImageArray, format: ImageFormat = ".jpg", output_format: OutputFormat = "raw"
) -> str | dict[str, Any]:
    """Return an image as base64 text, alone, as a ``data:`` URL, or as the part of a chat message that holds it.

    See :meth:`encord_agents.core.data_model.Frame.b64_encoding`, whose default is the URL.
    """
    mime_type = _mime_type(format)
    content = encode_image(img, format)
    if output_format == "raw" or output_format == "url":
        text = base64.b64encode(content).decode("ascii")
        return text if output_format == "raw" else f"data:{mime_type};base64,{text}"
    return file_part(content, mime_type, output_format)


def _mime_type(image_format: str) -> str:
    suffix = "." + image_format.lower().removeprefix(".")
    if suffix not in DATA_TYPES:
        raise ValueError(f"Unknown image format {image_format!r}: use '.jpeg', '.png' or '.webp'.")
    return DATA_TYPES[suffix]


# Crops


def crop_to_bbox(image: ImageArray, bbox: BoundingBoxCoordinates) -> ImageArray:
    """Return a copy of the pixels that a box touches, clipped to the image; at least one pixel.

    Raises:
        PrintableError: The box lies outside the image.
    """
    height, width = image.shape[:2]
    left, top = bbox.top_left_x * width, bbox.top_left_y * height
    right, bottom = left + bbox.width * width, top + bbox.height * height
    # A fraction times a width may miss a whole number by a rounding error, which must not add or drop a row.
    x0, y0 = max(0, math.floor(left + 1e-6)), max(0, math.floor(top + 1e-6))
    x1, y1 = min(width, math.ceil(right - 1e-6)), min(height, math.ceil(bottom - 1e-6))
    if x0 >= width or y0 >= height or x1 <= 0 or y1 <= 0:
        raise PrintableError("It lies outside the image: there is nothing to cut out.")
    return image[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)].copy()


def crop_to_object(image: ImageArray, coordinates: CroppableCoordinates) -> ImageArray:
    """Return a copy of the smallest upright rectangle that holds an object, at least one pixel large.

    Works for boxes, rotatable boxes, polygons, bitmasks, circles, ellipses and prisms. Pixels of the rectangle outside
    a polygon or mask stay as they are.

    Args:
        image: ``[height, width, channels]``, or grey.
        coordinates: The object's, as in ``instance.get_annotation(frame).coordinates``.

    Raises:
        PrintableError: The object has no area (a point, a line, a skeleton), or lies outside the image.
    """
    height, width = image.shape[:2]
    return crop_to_bbox(image, surrounding_bbox(coordinates, width, height))


def crop_to_instance(frame: Frame, instance: ObjectInstance) -> InstanceCrop:
    """Return the crop of an object from a frame, see `crop_to_object`, with the frame's number and the object.

    Args:
        frame: The frame that the object is on. Its number selects the object's coordinates.
        instance: The object.

    Raises:
        PrintableError: The object has no area, or lies outside the frame.
    """
    coordinates: Any = instance.get_annotation(frame.frame).coordinates
    try:
        content = crop_to_object(frame.content, coordinates)
    except PrintableError as error:
        raise PrintableError(f"The object {instance.object_hash} on frame {frame.frame}: {error}") from None
    return InstanceCrop(frame.frame, content, instance)
