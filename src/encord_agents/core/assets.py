"""A storage item's file: fetched when it is needed, kept until its task ends, and shared within the task."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, TypeVar

from encord.orm.storage import StorageItemType
from encord.storage import StorageItem

from encord_agents.core.cache import AssetCache, cache_in_use
from encord_agents.core.data_model import ImageArray
from encord_agents.core.downloads import DownloadLimits
from encord_agents.core.fetching import WITHOUT_FILE, Fetcher, Tries
from encord_agents.core.room import any_kept, discard, evict, make_directory, not_used_yet, reading, remove, used
from encord_agents.exceptions import NoRoomError, PrintableError

if TYPE_CHECKING:
    from tempfile import TemporaryDirectory

__all__ = ["FROM_CONTEXT", "VIDEOS", "Asset", "children_of", "image_of_group"]

T = TypeVar("T")

VIDEOS: Final = frozenset({StorageItemType.VIDEO, StorageItemType.IMAGE_SEQUENCE})
"""The types of items whose file is a video. MIME types do not decide, since they may be missing or say nothing."""


class _FromContext:
    """The default for an asset's cache: the one in use in the context in which the asset is created."""


FROM_CONTEXT: Final = _FromContext()


def _directly(request: Callable[[], T]) -> T:
    return request()


def children_of(item: StorageItem) -> list[StorageItem]:
    """Return the items of a group, in its order, with their signed URLs. Costs one request."""
    return list(item.get_child_items(get_signed_urls=True))


def image_of_group(item: StorageItem, frame: int) -> StorageItem:
    """Return the storage item of one image in an image group. Costs one request.

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
        limits: The timeouts, retry counts and sizes of a download.
        max_seconds: The longest that one :meth:`path` may take, waits included. Checked after each read, so the read
            timeout ends a download whose host sends nothing. Default: for each attempt, ten minutes or the time that
            the file's size takes at 100 kB a second, whichever is longer. A host that sends less than 60 kB in a minute
            counts as not responding.
        begin: Creates the `Tries` of one download. Default: the number of attempts in the limits.
        call: Makes the one SDK request that may be needed, for a fresh URL. Pass a function to count, rate limit or
            retry it.
        cache: The files kept from run to run. Default: the cache in use in this context, see
            `encord_agents.core.cache`. Each asset gets its own copy of a file.
        sleep: Waits between attempts, given the seconds.
        clock: Returns monotonic seconds.

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

        self._lock = threading.RLock()  # held while downloading, so that concurrent callers wait for the file
        self._own_directory: TemporaryDirectory[str] | None = None
        self._path: Path | None = None
        self._frame: ImageArray | None = None
        self._is_used = False  # a caller has the path and may be reading the file
        self._bytes = 0
        self._downloads = 0  # started so far
        self._failed: Exception | None = None  # the error of the latest download

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
        """The bytes held: the file on disk and the prepared frame in memory."""
        with self._lock:
            return self._bytes + (0 if self._frame is None else int(self._frame.nbytes))

    @staticmethod
    def exists_for(item: StorageItem) -> bool:
        """Return True if items of this type have their own file. Groups, series and scenes consist of other items."""
        return item.item_type not in WITHOUT_FILE

    def path(self) -> Path:
        """Return the path of the file, downloading it on the first call. Do not move, change or delete the file.

        Concurrent callers share one download, and its failure. Later calls try again. If there is no room for the
        file, prefetched files that are not in use yet are evicted, and then cached ones.

        Raises:
            UnsupportedAssetError: The item has no file of its own.
            AssetDownloadError: The file could not be fetched.
            NoRoomError: This machine cannot keep the file.
            RuntimeError: The asset is closed.
        """
        return self._have(ahead=False)

    def _have(self, *, ahead: bool) -> Path:
        begun = self._downloads  # read before locking: threads that wait for the lock share a download's failure
        with self._lock:
            self._fetcher.check()
            if not ahead:
                self._is_used = True
                used(self)
            if self._path is not None and self._path.exists():  # cleaners remove what nobody has used for days
                return self._path
            # A prefetch that failed for lack of room is retried: a file that is needed now may evict others.
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
        """Prefetch the file. Raises the same errors as :meth:`path`, but evicts nothing to make room."""
        self._have(ahead=True)

    def prepare(self, *, first_frame: bool = False) -> None:
        """Prefetch the file and, with ``first_frame``, decode its first frame.

        Raises:
            UnsupportedAssetError: The item has no file of its own or, with ``first_frame``, no frames.
            AssetDownloadError: The file could not be fetched.
            NoRoomError: This machine cannot keep the file. Nothing is evicted to make room.
        """
        with self._lock:
            path = self._have(ahead=True)
            if first_frame and self._frame is None:
                self._frame = self._decode_first_frame(path)

    def first_frame(self) -> ImageArray:
        """Return an image's pixels, or those of a video's first frame: RGB, uint8, ``[height, width, 3]``.

        Each caller gets its own array and may draw on it. The first caller gets the one that :meth:`prepare` decoded.

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
        """Remove a prefetched file to make room. It is downloaded again when it is needed.

        Returns:
            The file's size, or ``None`` if there is no file or it is in use.
        """
        # Not blocking: the caller may hold another asset's lock, so two assets that evict each other would deadlock.
        if not self._lock.acquire(blocking=False):
            return None
        try:
            if self._path is None or self._is_used:
                return None
            used(self)  # so that it is not evicted a second time
            remove(self._path)
            size, self._bytes, self._path = self._bytes, 0, None
            return size
        finally:
            self._lock.release()

    def forget(self) -> None:
        """Drop the file, the prepared frame and the URL: the next use fetches everything again.

        If there was a file, or a failed attempt to get it, the next use bypasses the cache: the file may be damaged.
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
        """Cancel a download in flight in another thread, without waiting for it to end."""
        self._fetcher.cancel()

    def close(self) -> None:
        """Remove the file. The asset cannot be used afterwards; a download in flight in another thread is cancelled."""
        self.cancel()  # before the lock, so that a download that holds it sees this and ends
        with self._lock:
            self.forget()
            if self._own_directory is not None:
                discard(self._own_directory)
                self._own_directory = None

    def _decode_first_frame(self, path: Path) -> ImageArray:
        from encord_agents.core.vision import read_first_frame

        with reading(self.item.name):
            return read_first_frame(path, item_type=self.item.item_type, name=self.item.name)

    def _download_ahead(self) -> Path:
        return self._download(self.item.file_size or 0)

    def _download_now(self) -> Path:
        """Download a file that is needed now, evicting other files if there is no room for it."""
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
            reserve = 0  # retry once without reserving: the file may be smaller than the platform says

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
