"""A storage item's file: fetched when it is needed, kept until its task ends, and shared within the task."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, TypeVar

from encord.storage import StorageItem

from encord_agents.core.cache import AssetCache, cache_in_use
from encord_agents.core.data_model import ImageArray
from encord_agents.core.downloads import DownloadLimits
from encord_agents.core.fetching import WITHOUT_FILE, Fetcher, Tries
from encord_agents.core.room import any_kept, discard, evict, make_directory, not_used_yet, reading, remove, used
from encord_agents.exceptions import NoRoomError, PrintableError

if TYPE_CHECKING:
    from tempfile import TemporaryDirectory

__all__ = ["FROM_CONTEXT", "Asset", "children_of", "image_of_group"]

T = TypeVar("T")


class _FromContext:
    """The default of an asset's cache: the one that is in use where the asset is made."""


FROM_CONTEXT: Final = _FromContext()


def _directly(request: Callable[[], T]) -> T:
    return request()


def children_of(item: StorageItem) -> list[StorageItem]:
    """Return the items that a group consists of, in its order, with their addresses. Costs a request."""
    return list(item.get_child_items(get_signed_urls=True))


def image_of_group(item: StorageItem, frame: int) -> StorageItem:
    """Return the item of one image of an image group. Costs a request.

    Raises:
        PrintableError: The group has no such image.
    """
    images = children_of(item)
    if not 0 <= frame < len(images):
        raise PrintableError(
            f"The group {item.name!r} has {len(images)} images (0 to {len(images) - 1}), so there is no frame {frame}."
        )
    return images[frame]


class Asset:
    """The file of a storage item: fetched when first needed, kept until closed, and safe to use from many threads.

    Args:
        item: The storage item.
        directory: The directory for the file. Default: a private temporary directory, removed by :meth:`close`.
        limits: The seconds, counts and sizes of a download.
        max_seconds: The longest that one :meth:`path` may take, waits included. Looked at after each read, so a host
            that sends nothing ends it by the limit of silence instead. Default: for each try ten minutes, or the time
            that the file's size takes at 100 kB a second. Less than 60 kB in a minute is taken for no answer.
        begin: Makes the `Tries` of one download. Default: as many as the limits say.
        call: Makes the one request of the SDK that may be needed, for a fresh URL. A caller that counts, limits or
            repeats requests passes a function that does.
        cache: Files kept from run to run. Default: the one in use in this context, see
            `encord_agents.core.cache`. Each asset has a copy of its own.
        sleep: The wait between tries.
        clock: Monotonic seconds.

    Use it as a context manager, or call :meth:`close`.
    """

    def __init__(
        self,
        item: StorageItem,
        *,
        directory: Path | None = None,
        limits: DownloadLimits | None = None,
        max_seconds: float | None = None,
        begin: Callable[[], Tries] | None = None,
        call: Callable[[Callable[[], str | None]], str | None] = _directly,
        cache: AssetCache | _FromContext | None = FROM_CONTEXT,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.item = item
        self._directory = directory
        self._fetcher = Fetcher(
            item,
            limits=limits or DownloadLimits(),
            max_seconds=max_seconds,
            begin=begin,
            call=call,
            cache=cache_in_use() if isinstance(cache, _FromContext) else cache,
            sleep=sleep,
            clock=clock,
        )

        self._lock = threading.RLock()  # held while downloading: a second caller waits for the file instead
        self._own_directory: TemporaryDirectory[str] | None = None
        self._path: Path | None = None
        self._frame: ImageArray | None = None
        self._is_used = False  # the file was given to a caller, who may be reading it
        self._bytes = 0
        self._downloads = 0  # begun so far
        self._failed: Exception | None = None  # what the latest of them ended with

    def __repr__(self) -> str:
        return f"Asset({self.item.name!r})"

    def __enter__(self) -> Asset:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def nbytes(self) -> int:
        """Bytes held: the file's on disk and the prepared frame's in memory."""
        with self._lock:
            return self._bytes + (0 if self._frame is None else int(self._frame.nbytes))

    @staticmethod
    def exists_for(item: StorageItem) -> bool:
        """Return True if items of this type have a file of their own: groups, series and scenes have others' files."""
        return item.item_type not in WITHOUT_FILE

    def path(self) -> Path:
        """Return the path of the file, which the first call downloads. Read it; do not move, change or delete it.

        Callers at the same time share one download, and its failure. Later calls try again. If there is no room for
        the file, others that were fetched ahead and are not used yet are removed for it, and then cached ones.

        Raises:
            UnsupportedAssetError: The item has no file of its own.
            AssetDownloadError: The file could not be fetched.
            NoRoomError: This machine cannot keep the file.
            RuntimeError: The asset is closed.
        """
        return self._have(ahead=False)

    def _have(self, *, ahead: bool) -> Path:
        begun = self._downloads  # before the lock: a download that ends meanwhile answers those who wait for the lock
        with self._lock:
            self._fetcher.check()
            if not ahead:
                self._is_used = True
                used(self)
            if self._path is not None:
                return self._path
            # If there was no room ahead, there may be now: a file that is needed at once takes the place of others.
            if self._failed is not None and self._downloads != begun and not isinstance(self._failed, NoRoomError):
                raise self._failed
            self._downloads += 1
            self._failed = None
            try:
                self._path = self._download_ahead() if ahead else self._download_now()
            except Exception as error:
                self._failed = error
                raise
            if ahead and not self._is_used:
                not_used_yet(self)
            return self._path

    def fetch(self) -> None:
        """Download the file ahead. Raises the same as :meth:`path`; nothing makes room for it."""
        self._have(ahead=True)

    def prepare(self, *, first_frame: bool = False) -> None:
        """Download the file ahead and, if asked to, decode the first frame.

        Raises:
            UnsupportedAssetError: The item has no file of its own or, with ``first_frame``, no frames.
            AssetDownloadError: The file could not be fetched.
            NoRoomError: This machine cannot keep the file. Nothing makes room for it.
        """
        with self._lock:
            path = self._have(ahead=True)
            if first_frame and self._frame is None:
                self._frame = self._decode_first_frame(path)

    def first_frame(self) -> ImageArray:
        """Return an image's pixels, or those of a video's first frame: RGB, uint8, ``[height, width, 3]``.

        Each caller gets an array of its own to draw on. The first of them gets the one that :meth:`prepare` decoded.

        Raises:
            UnsupportedAssetError: The item has no file of its own, or its file has no frames.
            AssetDownloadError: The file could not be fetched.
            NoRoomError: This machine cannot keep the file.
        """
        with self._lock:
            self._fetcher.check()
            frame, self._frame = self._frame, None
        return self._decode_first_frame(self.path()) if frame is None else frame

    def evict(self) -> int | None:
        """Remove a file that was fetched ahead, to make room. It is downloaded again when it is needed.

        Returns:
            Its size; ``None`` if it is in use just now, or there is none.
        """
        if not self._lock.acquire(blocking=False):
            return None
        try:
            if self._path is None or self._is_used:
                return None
            used(self)  # so that it is not found a second time
            remove(self._path)
            size, self._bytes, self._path = self._bytes, 0, None
            return size
        finally:
            self._lock.release()

    def forget(self) -> None:
        """Drop the file, the prepared frame and the URL: the next use fetches everything anew.

        After a file, or the attempt to get it, the storage host is asked for all of it again: it may have been damaged.
        """
        with self._lock:
            used(self)
            self._fetcher.renew(file=self._path is not None or self._failed is not None)
            if self._path is not None:
                remove(self._path)
            self._path = self._frame = self._failed = None
            self._bytes = 0
            self._is_used = False

    def cancel(self) -> None:
        """Give up a download that is under way in another thread, without waiting for its end."""
        self._fetcher.cancel()

    def close(self) -> None:
        """Remove the file. The asset cannot be used afterwards; a download under way in another thread is given up."""
        self.cancel()  # before the lock, so that a download that holds it sees this and ends
        with self._lock:
            self.forget()
            if self._own_directory is not None:
                discard(self._own_directory)
                self._own_directory = None

    def _decode_first_frame(self, path: Path) -> ImageArray:
        from encord_agents.core.vision import read_first_frame

        with reading(self.item.name):
            return read_first_frame(path, mime_type=self.item.mime_type, name=self.item.name)

    def _download_ahead(self) -> Path:
        return self._download(self.item.file_size or 0)

    def _download_now(self) -> Path:
        """Download a file that is needed at once: everything that can be removed makes room for it."""
        reserve = size = self.item.file_size or 0
        while True:
            try:
                return self._download(reserve)
            except NoRoomError as error:
                problem = error
            if problem.may_pass and (evict(size or None) or self._fetcher.give_way(problem)):
                continue
            if not (reserve and problem.about_size) or (problem.may_pass and any_kept()):
                raise problem
            reserve = 0  # once without: the file may be smaller than the platform says

    def _download(self, reserve: int) -> Path:
        fetched = self._fetcher.fetch(self._folder(), reserve=reserve)
        self._bytes = fetched.size
        return fetched.path

    def _folder(self) -> Path:
        if self._directory is not None:
            return self._directory
        if self._own_directory is None:
            self._own_directory = make_directory()
        return Path(self._own_directory.name)
