"""Fetching of a storage item's file: its signed URL, the tries, and the cache."""

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
from encord_agents.core.suffixes import suffix_for
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

# The answers of storage hosts to a signed URL that has expired, was signed for an older key, or names an older copy.
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
    """The treatment of a storage host during one download: how many at once, what is tried again, and how long.

    A context manager, around the whole download.
    """

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def slot(self) -> AbstractContextManager[None]:
        """Held for one try."""
        ...

    def again(self, error: AssetDownloadError, retry_after: float) -> bool:
        """Wait after a try that failed for the moment, and return True if there is to be another."""
        ...

    def answered(self) -> None:
        """Record that the host is there, whatever its answer."""
        ...


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file on this machine."""

    path: Path
    size: int


class _Partial:
    """The file that a download has begun, over its tries."""

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

    Its caller lets only one thread in at a time, except to `cancel`.

    Args:
        item: The storage item.
        limits: The seconds and counts of a download.
        max_seconds: The longest that one `fetch` may take; ``None``: see `encord_agents.core.assets.Asset`.
        begin: Makes the `Tries` of one download. ``None``: those of the limits.
        call: Makes the one request of the SDK that may be needed, for a fresh URL.
        cache: The cache, if there is one.
        sleep: The wait between tries.
        clock: Monotonic seconds.

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
        self._sock: socket.socket | None = None  # of the download that is under way
        self.cancelled = False

    def renew(self, *, file: bool) -> None:
        """Have the next `fetch` ask for a fresh URL and, with ``file``, ask the storage host even for a cached file."""
        self._needs_fresh_url = True
        self._skips_cache = self._skips_cache or file

    def cancel(self) -> None:
        """Give up a download that is under way in another thread, without waiting for its end."""
        self.cancelled = True
        if (sock := self._sock) is not None:
            hang_up(sock)

    def check(self) -> None:
        """Check that the file is still wanted.

        Raises:
            RuntimeError: It is not.
        """
        if self.cancelled:
            raise RuntimeError(f"The file of {self._item.name!r} was asked for after its task had ended.")

    def fetch(self, directory: Path, *, reserve: int) -> Fetched:
        """Fetch the file into a directory.

        Args:
            reserve: Bytes to reserve on the disk before anything is asked for.

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
            partial = _Partial()  # the next try need not ask for what one has received
            stack.callback(partial.drop)
            fetched = self._try_again_and_again(partial, tries, directory, reserve, entry)
        self._skips_cache = False
        return fetched

    def give_way(self, lack: NoRoomError) -> bool:
        """Remove files from the cache if they take the room that this one lacks. Return True if there were any."""
        return self._cache is not None and self._cache.give_way(lack, self._item.file_size)

    def _cached(self, stack: ExitStack) -> Entry | None:
        if self._cache is None or self._skips_cache:
            return None
        entry = self._cache.find(self._item.uuid, self._item.file_size)
        return None if entry is None else stack.enter_context(entry)

    def _copied(self, entry: Entry, directory: Path, file: NewFile | None = None) -> Fetched | None:
        """Copy an entry of the cache to a new file, or to one that is begun; return ``None`` if it is damaged."""
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
        may_refresh, tried = True, 0
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
            # Outside the `except`, so that no exception that leaves here has the one above for its context: it may
            # quote the URL, and whoever reads a signed URL in a log may read the file.
            if problem.status in _STALE_URL and may_refresh:
                may_refresh = False
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
        """Make one try: download the file, or its rest, or learn that the cache has it."""
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
                    response.drain_conn()  # so that the connection is kept
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
        bounds = Bounds(self._item.file_size, deadline, self._clock, self._limits)
        size = receive(response, file, bounds, check=self.check, progress=progress)
        path = file.finish()
        if self._cache is not None:
            tag = response.headers.get("ETag", "")
            tag = tag if tag.startswith('"') else ""
            if tag or self._item.file_size is not None:
                self._cache.add(self._item.uuid, path, tag=tag or None, suffix=suffix)
        return Fetched(path, size)

    def _begins(self, sock: socket.socket) -> None:
        self._sock = sock
        if self.cancelled:
            hang_up(sock)

    def _failure(self, reason: str, status: int | None = None) -> AssetDownloadError:
        return AssetDownloadError(self._item.name, str(self._item.uuid), reason, status=status)
