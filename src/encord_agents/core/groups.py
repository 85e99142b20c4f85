"""Image groups: the images of a storage item that consists of other items, fetched one at a time."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from encord.storage import StorageItem

from encord_agents.core.assets import Asset, children_of
from encord_agents.core.data_model import Frame, ImageArray
from encord_agents.core.logs import get_logger
from encord_agents.core.room import temporary_directory
from encord_agents.core.sampling import checked_number
from encord_agents.exceptions import PrintableError

__all__ = ["ImageGroup", "folder_of"]

logger = get_logger(__name__)

LONGEST_STEM = 200
"""Bytes of a title that are kept in a file name, of which most file systems allow 255 with number and suffix."""


class ImageGroup:
    """The images of a group by their numbers, in the group's order. Listing them costs one request.

    Args:
        item: The group.
    """

    def __init__(self, item: StorageItem) -> None:
        self._item = item
        self._images = children_of(item)

    def __len__(self) -> int:
        return len(self._images)

    def image(self, number: int) -> ImageArray:
        """Return the pixels of one image: RGB, uint8, ``[height, width, 3]``.

        Raises:
            UnsupportedAssetError: Its file is not an image, or is damaged.
            AssetDownloadError: Its file could not be fetched.
        """
        with Asset(self._images[number]) as asset:
            return asset.first_frame()

    def frames(self, numbers: Iterable[int] | None = None) -> Iterator[Frame]:
        """Yield the images with these numbers, in the given order, repeats included. Default: all images.

        Numbers beyond the last image are left out, with a warning in the log.

        Raises:
            PrintableError: A number is negative or not whole. Raised before the first image is fetched.
        """
        wanted = range(len(self)) if numbers is None else numbers
        return self._frames([checked_number(number, "image") for number in wanted])

    def _frames(self, wanted: list[int]) -> Iterator[Frame]:
        beyond = [number for number in wanted if number >= len(self)]
        for number in wanted:
            if number < len(self):
                yield Frame(number, self.image(number))
        if beyond:
            logger.warning(
                "The group %r has %d images, so there is no image %d. It was left out.",
                self._item.name,
                len(self),
                beyond[0],
            )

    def share(self, share: float) -> Iterator[Frame]:
        """Yield this share of the images, evenly spaced from the first.

        Raises:
            PrintableError: The share is out of range.
        """
        if not 0.0 < share <= 1.0:
            raise PrintableError(f"The share of images to sample must be above 0 and at most 1, not {share!r}.")
        return self.frames(int(n / share + 1e-9) for n in range(len(self)) if int(n / share + 1e-9) < len(self))


def folder_of(item: StorageItem) -> Iterator[Path]:
    """Yield a directory with the files of a group, named so that they sort in its order. It is removed afterwards.

    Raises:
        AssetDownloadError: A file could not be fetched.
        UnsupportedAssetError: A member has no file of its own.
    """
    with temporary_directory() as directory:
        for number, child in enumerate(children_of(item)):
            with Asset(child) as asset:
                path = asset.path()
                name = Path(child.name).name
                has_suffix = name.lower().endswith(path.suffix)
                stem = _file_name(name[: len(name) - len(path.suffix)] if has_suffix else name) or "file"
                shutil.move(path, directory / f"{number:05d}-{stem}{path.suffix}")
        yield directory


def _file_name(title: str) -> str:
    """Return a title as a file name: printable, and short enough for every file system."""
    printable = "".join(character if character.isprintable() else "_" for character in title)
    return printable.encode()[:LONGEST_STEM].decode(errors="ignore")
