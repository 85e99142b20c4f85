"""Names that existing code imports from here, also useful on their own in scripts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from encord.objects import LabelRowV2
from encord.orm.storage import StorageItemType
from encord.storage import StorageItem
from encord.user_client import EncordUserClient

from encord_agents.core.assets import VIDEOS, Asset, image_of_group
from encord_agents.core.client import get_user_client, traced
from encord_agents.core.data_model import FrameData, LabelRowInitialiseLabelsArgs, LabelRowMetadataIncludeArgs
from encord_agents.exceptions import PrintableError

if TYPE_CHECKING:
    from encord_agents.core.settings import Settings

__all__ = [
    "DOWNLOAD_GROUP_ERROR_MESSAGE",
    "DOWNLOAD_NATIVE_IMAGE_GROUP_WO_FRAME_ERROR_MESSAGE",
    "batch_iterator",
    "download_asset",
    "get_frame_count",
    "get_initialised_label_row",
    "get_user_client",
    "get_user_client_from_settings",
    "trace_provider",
    "translate_suffixes_to_filesystem_suffixes",
]

T = TypeVar("T")

DOWNLOAD_NATIVE_IMAGE_GROUP_WO_FRAME_ERROR_MESSAGE = (
    "An image group has no file of its own. Give the number of an image: download_asset(item, frame=0)."
)
"""The advice for an image group's item without a frame. The text differs from that of 0.2.10."""
DOWNLOAD_GROUP_ERROR_MESSAGE = "A data group has no file of its own: download the items of its members."
"""The advice for a data group's item. The text differs from that of 0.2.10."""


@contextmanager
def download_asset(storage_item: StorageItem, frame: int | None = None) -> Iterator[Path]:
    """Yield the path of the item's file, which exists while the ``with`` block runs.

    Args:
        storage_item: The item.
        frame: Instead of the whole file, yield this frame of a video as a PNG file, or this image of a group as it
            is. The file of any other item, such as an image or a PDF, is yielded whole. Default: the whole file.

    Raises:
        UnsupportedAssetError: The item has no file of its own, like an image group; or the video is damaged.
        AssetDownloadError: The file could not be fetched.
        PrintableError: The video or the group has no such frame.
    """
    if frame is not None and storage_item.item_type == StorageItemType.IMAGE_GROUP:
        storage_item, frame = image_of_group(storage_item, frame), None
    with Asset(storage_item) as asset:
        path = asset.path()
        if frame is None or storage_item.item_type not in VIDEOS:
            yield path
            return

        from encord_agents.core.video import read_video_frame
        from encord_agents.core.vision import encode_image

        pixels = read_video_frame(path, frame, name=storage_item.name)
        still = path.with_name(f"{path.stem}_{frame}.png")
        try:
            still.write_bytes(encode_image(pixels, ".png"))
            yield still
        finally:
            still.unlink(missing_ok=True)


def batch_iterator(iterator: Iterable[T], batch_size: int) -> Iterator[list[T]]:
    """Yield elements in lists of ``batch_size``; the last may be shorter. Takes no more elements than it yields.

    Raises:
        ValueError: ``batch_size`` is below 1.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, not {batch_size}.")

    def batches() -> Iterator[list[T]]:
        source = iter(iterator)
        while batch := list(islice(source, batch_size)):
            yield batch

    return batches()


@lru_cache(maxsize=1)
def get_user_client_from_settings(settings: Settings) -> EncordUserClient:
    """Return a client with these settings, and the same one if it is called again with equal ones."""
    return get_user_client(settings)


def trace_provider(trace_id: str) -> Callable[[], str]:
    """Return a function that gives every request of a client the same trace id."""
    return partial(str, traced(trace_id))


def get_initialised_label_row(
    frame_data: FrameData,
    include_args: LabelRowMetadataIncludeArgs | None = None,
    init_args: LabelRowInitialiseLabelsArgs | None = None,
) -> LabelRowV2:
    """Return the label row, with its labels, of the data unit that a person is looking at. Uses the environment's key.

    Raises:
        CredentialsError: There is no key, or it cannot be used.
        PrintableError: The project has no such data unit, or has it several times.
        encord.exceptions.EncordException: The platform refuses.
    """
    project = get_user_client().get_project(str(frame_data.project_hash))
    listed = (include_args or LabelRowMetadataIncludeArgs()).model_dump()
    rows = project.list_label_rows_v2(data_hashes=[frame_data.data_hash], **listed)
    if len(rows) != 1:
        raise PrintableError(
            f"Project {frame_data.project_hash} has {len(rows) or 'no'} label rows for data unit "
            f"{frame_data.data_hash}, where there should be one."
        )
    (row,) = rows
    row.initialise_labels(**(init_args or LabelRowInitialiseLabelsArgs()).model_dump())
    return row


def get_frame_count(storage_item: StorageItem) -> int:
    """Return a video's number of frames as the platform knows it. `core.video.count_frames` counts those of a file.

    Raises:
        PrintableError: The item is not a video, or the platform does not know the number.
    """
    if storage_item.item_type != StorageItemType.VIDEO:
        raise PrintableError(f"{storage_item.name!r} is of type {storage_item.item_type.value}, not a video.")
    if storage_item.frame_count is not None:
        return storage_item.frame_count
    if storage_item.duration is None or storage_item.fps is None:
        raise PrintableError(
            f"The platform knows neither how many frames {storage_item.name!r} has, nor how long it is."
        )
    # Not less by one where the product of two floating-point numbers falls just short of a whole number.
    return int(storage_item.duration * storage_item.fps + 1e-6)


def translate_suffixes_to_filesystem_suffixes(suffix: str) -> str:
    """Return the usual suffix of files for one made from a MIME type: ``txt`` for ``plain``, ``mp3`` for ``mpeg``."""
    name = suffix.removeprefix(".")
    return suffix.removesuffix(name) + {"plain": "txt", "mpeg": "mp3"}.get(name, name)
