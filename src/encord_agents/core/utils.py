"""Names that existing code imports from here, and that are useful on their own in scripts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TypeVar

from encord.orm.storage import StorageItemType
from encord.storage import StorageItem

from encord_agents.core.assets import Asset, image_of_group
from encord_agents.core.client import get_user_client

__all__ = ["batch_iterator", "download_asset", "get_user_client"]

T = TypeVar("T")


@contextmanager
def download_asset(storage_item: StorageItem, frame: int | None = None) -> Iterator[Path]:
    """The item's file, for as long as the ``with`` block runs.

    Args:
        storage_item: The item.
        frame: Give this one frame of a video, as a PNG file, or this one image of a group, as it is, instead of the
            whole file. Frame 0 of an image is the image. Default: the file as it is.

    Raises:
        UnsupportedAssetError: The item has no file of its own, as an image group has not, or, where a frame is asked
            for, no frames.
        AssetDownloadError: The file could not be fetched.
        PrintableError: There is no such frame.
    """
    if frame is not None and storage_item.item_type == StorageItemType.IMAGE_GROUP:
        storage_item, frame = image_of_group(storage_item, frame), None
    with Asset(storage_item) as asset:
        path = asset.path()
        if frame is None:
            yield path
            return

        from encord_agents.core.video import read_video_frame
        from encord_agents.core.vision import encode_image

        is_video = (storage_item.mime_type or "").startswith("video/")
        pixels = (
            read_video_frame(path, frame, name=storage_item.name) if is_video or frame != 0 else asset.first_frame()
        )
        still = path.with_name(f"{path.stem}_{frame}.png")
        try:
            still.write_bytes(encode_image(pixels, ".png"))
            yield still
        finally:
            still.unlink(missing_ok=True)


def batch_iterator(iterable: Iterable[T], batch_size: int) -> Iterator[list[T]]:
    """The iterable's elements in lists of ``batch_size``; the last one may be shorter. Takes no more than it gives.

    Raises:
        ValueError: ``batch_size`` is below 1.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, not {batch_size}.")

    def batches() -> Iterator[list[T]]:
        iterator = iter(iterable)
        while batch := list(islice(iterator, batch_size)):
            yield batch

    return batches()
