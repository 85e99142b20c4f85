"""Fetching a storage item's file: the signed URL, retries, and the cache."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, Self

from encord.orm.storage import StorageItemType
from encord.storage import StorageItem

from encord_agents.core.cache import AssetCache, Entry
from encord_agents.core.downloads import Bounds, DownloadLimits, Interrupted, Progress, receive
from encord_agents.core.logs import get_logger
from encord_agents.core.room import NewFile
from encord_agents.core.suffixes import SUFFIXES, suffix_for
from encord_agents.core.transport import TransportError, hang_up, open_url
from encord_agents.exceptions import (
    AssetDownloadError,
    CertificateError,
    NoRoomError,
    UnsupportedAssetError,
)

if TYPE_CHECKING:
    from urllib3 import HTTPResponse

__all__ = ["WITHOUT_FILE", "Fetched", "Fetcher", "Tries"]

logger = get_logger(__name__)

# The statuses of responses to a signed URL that has expired, was signed with an older key, or names an older copy.
_STALE_URL: Final = frozenset({400, 401, 403, 404, 410})

WITHOUT_FILE: Final = {
    StorageItemType.IMAGE_GROUP: (
        "Ask for one of its images: dep_single_frame is the first, download_asset(storage_item, frame=1) of "
        "encord_agents.core.utils the second. dep_video_iterator gives all of them, dep_asset a folder of their files."
    ),
    StorageItemType.GROUP: "Ask for one of its members: of_child(0, dep_single_frame) of "
    "encord_agents.tasks.dependencies. dep_asset gives a folder of their files.",
    StorageItemType.DICOM_SERIES: "Ask for the StorageItem, and download its files: storage_item.get_child_items().",
    StorageItemType.SCENE: "Ask for the StorageItem, and read it with the SDK's encord.beta.scene.SceneReader.",
}
"""The types of items that have no file of their own, and the advice for each."""


class Tries(Protocol):
    """The policy for a storage host during one download: concurrency, what is retried, and for how long.

    A context manager, entered for the whole download.
    """

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def slot(self) -> AbstractContextManager[None]:
        """Return a context manager to hold during one attempt."""
        ...

    def again(self, error: AssetDownloadError, retry_after: float) -> bool:
        """Wait after a transient failure, and return True if the download should be retried."""
        ...

    def answered(self) -> None:
        """Record that the host responded, whatever the response."""
        ...


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file on this machine."""

    path: Path
    size: int


class _Partial:
    """A partly downloaded file, kept across attempts."""

    def __init__(self) -> None:
        self.file: NewFile | None = None
        self.progress = Progress()

    def drop(self) -> None:
        """Remove the file, unless all of it arrived."""
        if self.file is not None:
            self.file.abandon()
        self.file, self.progress = None, Progress()


class Fetcher:
    """Fetches the file of one storage item, any number of times.

    Not thread-safe: callers use it from one thread at a time, except for `cancel`.

    Args:
        item: The storage item.
        limits: The timeouts and retry counts of a download.
        max_seconds: The longest that one `fetch` may take; ``None``: see `encord_agents.core.assets.Asset`.
        begin: Creates the `Tries` of one download. ``None``: those of the limits.
        call: Makes the one SDK request that may be needed, for a fresh URL.
        cache: The cache, if there is one.
        sleep: Waits between attempts, given the seconds.
        clock: Returns monotonic seconds.

    Attributes:
        cancelled: True after `cancel`.
    """

    def __init__(
        self,
        item: StorageItem,
        *,
        limits: DownloadLimits,
        max_seconds: float | None,
        begin: Callable[[], Tries] | None,
        call: Callable[[Callable[[], str | None]], str | None],
        cache: AssetCache | None,
        sleep: Callable[[float], None],
        clock: Callable[[], float],
    ) -> None:
        self._item = item
        self._limits = limits
        self._max_seconds = max_seconds
        self._begin = begin
        self._call = call
        self._cache = cache
        self._sleep = sleep
        self._clock = clock
        self._needs_fresh_url = False
        self._skips_cache = False
        self._sock: socket.socket | None = None  # of the download in flight
        self.cancelled = False

    def renew(self, *, file: bool) -> None:
        """Make the next `fetch` request a fresh URL and, with ``file``, bypass the cache."""
        self._needs_fresh_url = True
        self._skips_cache = self._skips_cache or file

    def cancel(self) -> None:
        """Cancel a download in flight in another thread, without waiting for it to end."""
        self.cancelled = True
        if (sock := self._sock) is not None:
            hang_up(sock)

    def check(self) -> None:
        """Check that the file is still wanted.

        Raises:
            RuntimeError: The download was cancelled.
        """
        if self.cancelled:
            raise RuntimeError(f"The file of {self._item.name!r} was asked for after its task had ended.")

    def fetch(self, directory: Path, *, reserve: int) -> Fetched:
        """Fetch the file into a directory.

        Args:
            reserve: Bytes to reserve on the disk before anything is requested.

        Raises:
            UnsupportedAssetError: The item has no file of its own.
            AssetDownloadError: The file could not be fetched.
            CertificateError: The storage host's certificate is not trusted.
            NoRoomError: This machine cannot keep the file.
            RuntimeError: The download was cancelled.
        """
        with ExitStack() as stack:
            entry = self._cached(stack)
            if entry is not None and entry.tag is None and (found := self._copied(entry, directory)) is not None:
                return found
            tries = None if self._begin is None else stack.enter_context(self._begin())
            partial = _Partial()  # kept across attempts, so that a retry can resume
            stack.callback(partial.drop)
            fetched = self._try_again_and_again(partial, tries, directory, reserve, entry)
        self._skips_cache = False
        return fetched

    def give_way(self, lack: NoRoomError) -> bool:
        """Evict files from the cache if they take up the room that this file lacks. Return True if any were evicted."""
        return self._cache is not None and self._cache.give_way(lack, self._item.file_size)

    def _cached(self, stack: ExitStack) -> Entry | None:
        if self._cache is None or self._skips_cache:
            return None
        entry = self._cache.find(self._item.uuid, self._item.file_size)
        return None if entry is None else stack.enter_context(entry)

    def _copied(self, entry: Entry, directory: Path, file: NewFile | None = None) -> Fetched | None:
        """Copy a cache entry to a new file, or to the given one; return ``None`` if the entry is damaged."""
        if file is None:
            with self._new_file(directory, entry.suffix, entry.size) as own:
                return self._copied(entry, directory, own)
        assert self._cache is not None
        if entry.copy_to(file, check=self.check):
            return Fetched(file.finish(), entry.size)
        file.restart()
        self._cache.drop(self._item.uuid)
        return None

    def _new_file(self, directory: Path, suffix: str, reserve: int) -> NewFile:
        return NewFile(self._item.name, directory, prefix=f"{self._item.uuid}-", suffix=suffix, reserve=reserve)

    def _try_again_and_again(
        self, partial: _Partial, tries: Tries | None, directory: Path, reserve: int, entry: Entry | None
    ) -> Fetched:
        deadline = None if self._max_seconds is None else self._clock() + self._max_seconds
        url = self._signed_url()
        refreshed_at, tried = -1, 0  # the bytes that had come when the URL was last refreshed
        while True:
            try:
                with nullcontext() if tries is None else tries.slot():
                    fetched = self._try(url, deadline, directory, reserve, partial, entry)
            except Interrupted as interruption:
                problem = interruption
            else:
                if tries is not None:
                    tries.answered()
                return fetched
            if tries is not None and not problem.may_pass:
                tries.answered()
            # Outside the `except`, so that no exception raised here has the one above as its context, which may quote
            # the signed URL: anyone who reads that in a log may read the file.
            # Again only if bytes have come since, which they can do as often as a long file outlasts its URL.
            if problem.status in _STALE_URL and partial.progress.size > refreshed_at:
                refreshed_at = partial.progress.size
                self._needs_fresh_url = True
                url = self._signed_url()
                continue
            if problem.certificate:
                raise CertificateError(f"The file of {self._item.name!r} could not be fetched: {problem.reason}")
            if not problem.may_pass:
                raise self._failure(problem.reason, problem.status)
            if tries is not None:
                if not tries.again(self._failure(problem.reason, problem.status), problem.retry_after):
                    raise self._failure(f"{problem.reason} (it was tried again and again)", problem.status)
                self.check()
                continue
            tried += 1
            wait = self._limits.wait_after(tried, problem.retry_after, jitter=random.uniform(0.5, 1.0))
            if tried >= self._limits.tries or (deadline is not None and self._clock() + wait > deadline):
                times = "once" if tried == 1 else f"{tried} times"
                raise self._failure(f"{problem.reason} (tried {times})", problem.status)
            logger.debug("Downloading %r: %s. Trying again in %.1f s.", self._item.name, problem.reason, wait)
            self._sleep(wait)
            self.check()

    def _signed_url(self) -> str:
        item = self._item
        if advice := WITHOUT_FILE.get(item.item_type):
            raise UnsupportedAssetError(
                f"{item.name!r} is of type {item.item_type.value}, which has no file of its own.\n{advice}",
                item=item.name,
                mime_type=item.mime_type,
            )
        refetch = self._needs_fresh_url
        url = self._call(lambda: item.get_signed_url(refetch=refetch))
        self._needs_fresh_url = False
        if not url:
            raise UnsupportedAssetError(
                f"The platform has no file for {item.name!r} (type {item.item_type.value}).",
                item=item.name,
                mime_type=item.mime_type,
            )
        return url

    def _try(
        self, url: str, deadline: float | None, directory: Path, reserve: int, partial: _Partial, entry: Entry | None
    ) -> Fetched:
        """Make one attempt: download the file or the rest of it, or copy it from the cache if it has not changed."""
        suffix = suffix_for(self._item.mime_type, self._item.name, url)
        try:
            if partial.file is None:
                partial.file = self._new_file(directory, suffix, reserve)
            file, progress = partial.file, partial.progress
            headers = progress.headers
            if entry is not None and entry.tag is not None and not progress.size:
                headers = {"If-None-Match": entry.tag}
            with open_url(url, self._limits.timeout, begun=self._begins, headers=headers) as response:
                self.check()
                if response.status == 304 and "If-None-Match" in headers and entry is not None:
                    response.drain_conn()  # so that the connection is reused
                    if (found := self._copied(entry, directory, file)) is not None:
                        return found
                else:
                    return self._received(response, deadline, file, progress, suffix)
            return self._try(url, deadline, directory, reserve, partial, None)  # the entry was damaged
        except Interrupted:
            if not partial.progress.headers:
                partial.drop()
            raise
        except TransportError as error:
            if not partial.progress.headers:
                partial.drop()
            if error.ran_out is not None:
                raise NoRoomError(f"The file of {self._item.name!r} cannot be fetched", error.ran_out) from None
            raise Interrupted(str(error), may_pass=error.may_pass, certificate=error.certificate) from None
        finally:
            self._sock = None

    def _received(
        self, response: HTTPResponse, deadline: float | None, file: NewFile, progress: Progress, suffix: str
    ) -> Fetched:
        bounds = Bounds(self._item.file_size, deadline, self._clock, self._limits, file.disk)
        size = receive(
            response,
            file,
            bounds,
            check=self.check,
            progress=progress,
            is_compressed=suffix.endswith(SUFFIXES["application/gzip"]),
        )
        path = file.finish()
        if self._cache is not None:
            tag = response.headers.get("ETag", "")
            tag = tag if tag.startswith('"') else ""
            stated = self._item.file_size
            if tag if stated is None else size == stated:  # others would not be found again
                self._cache.add(self._item.uuid, path, tag=tag or None, suffix=suffix)
        return Fetched(path, size)

    def _begins(self, sock: socket.socket) -> None:
        # First the socket, then the flag; `cancel` uses the opposite order, so one of the two threads hangs up.
        self._sock = sock
        if self.cancelled:
            hang_up(sock)

    def _failure(self, reason: str, status: int | None = None) -> AssetDownloadError:
        return AssetDownloadError(self._item.name, str(self._item.uuid), reason, status=status)
