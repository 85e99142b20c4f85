"""Files of storage items in a bounded directory, by item, size and version."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from pathlib import Path
from uuid import UUID

from encord_agents.core.cache.directory import BoundedDirectory
from encord_agents.core.cache.entry import BLOCK, HEADER, Entry, write_entry
from encord_agents.core.logs import get_logger
from encord_agents.core.room import HANDLES, SPACE
from encord_agents.exceptions import NoRoomError

__all__ = ["AssetCache"]

logger = get_logger(__name__)

_NAMES = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.asset")


class AssetCache:
    """A directory with files of storage items.

    Args:
        directory: The directory. It is created when the first file is added.
        size: The maximum number of bytes in it.
    """

    def __init__(self, directory: Path, size: int) -> None:
        self._files = BoundedDirectory(directory, size, _NAMES)
        self._gave_up = False
        self._failures = itertools.count()

    def __repr__(self) -> str:
        return f"AssetCache({str(self.directory)!r}, {self.size})"

    @property
    def directory(self) -> Path:
        """The directory."""
        return self._files.path

    @property
    def size(self) -> int:
        """The maximum number of bytes."""
        return self._files.size

    def find(self, uuid: UUID, size: int | None) -> Entry | None:
        """Return the open entry of an item, or ``None`` if there is no entry that may be current.

        Args:
            uuid: The item's uuid.
            size: The size of its file on the platform; ``None`` if the platform does not say. Then only an entry with a
                tag may be current.
        """
        try:
            entry = Entry.open(self._path(uuid))
        except OSError:
            return None
        if entry is None:
            self.drop(uuid)
            return None
        is_others = entry.uuid != str(uuid)
        if is_others or (entry.size != size if size is not None else entry.tag is None):
            entry.close()
            if is_others:
                self.drop(uuid)
            return None
        return entry

    def drop(self, uuid: UUID) -> None:
        """Remove an item's file, if there is one."""
        with contextlib.suppress(OSError):
            self._path(uuid).unlink()

    def add(self, uuid: UUID, content: Path, *, tag: str | None, suffix: str) -> None:
        """Add a copy of an item's file, in place of an older one, if it can be kept.

        Args:
            uuid: The item's uuid.
            content: The file.
            tag: The storage host's strong ETag of this version.
            suffix: The suffix of the file's name.
        """
        if self._gave_up:
            return
        try:
            size = content.stat().st_size
            if HEADER + size > self.size:
                return
            with self._files.new(self._path(uuid).name, HEADER + size) as part:
                if part is not None:
                    part.is_done = write_entry(part.file, content, uuid=str(uuid), size=size, tag=tag, suffix=suffix)
        except OSError as error:
            if error.errno in HANDLES:
                return
            self._gave_up = True
            if next(self._failures):  # one warning, even if several threads fail at once
                return
            logger.warning(
                "The asset cache in %s cannot be written to (%s). The run goes on without adding to it.",
                self.directory,
                error.strerror or error,
            )

    def give_way(self, lack: NoRoomError, size: int | None) -> bool:
        """Evict entries if a task's file does not fit on its disk, and the cache is on the same disk.

        Args:
            lack: The error of that file.
            size: The number of bytes needed; ``None`` if it is unknown.

        Returns:
            True if an entry was evicted.
        """
        if lack.errno not in SPACE or lack.directory is None:
            return False
        try:
            same_disk = os.stat(lack.directory).st_dev == os.stat(self.directory).st_dev
            return same_disk and self._files.shrink(size or BLOCK) > 0
        except OSError:
            return False

    def _path(self, uuid: UUID) -> Path:
        return self.directory / f"{uuid}.asset"
