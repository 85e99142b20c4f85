"""A storage item's file: signed URL -> file on disk. Streamed, bounded, retried, and shared within a task."""

from __future__ import annotations

import logging
import random
import socket
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Protocol, Self, TypeVar

from encord.orm.storage import StorageItemType
from encord.storage import StorageItem

from encord_agents.core.data_model import ImageArray
from encord_agents.core.downloads import Bounds, Interrupted, Progress, receive
from encord_agents.core.room import (
    NewFile,
    any_kept,
    discard,
    evict,
    make_directory,
    not_used_yet,
    reading,
    remove,
    used,
)
from encord_agents.core.suffixes import suffix_for
from encord_agents.core.transport import TransportError, hang_up, open_url
from encord_agents.exceptions import (
    AssetDownloadError,
    CertificateError,
    NoRoomError,
    PrintableError,
    UnsupportedAssetError,
)

if TYPE_CHECKING:
    from tempfile import TemporaryDirectory

__all__ = ["Asset", "Tries", "children_of", "image_of_group"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

CONNECT_TIMEOUT: Final = 10.0  # seconds
READ_TIMEOUT: Final = 60.0  # seconds without a byte
TRIES: Final = 4
BACKOFF: Final = 0.5  # seconds before the second try; doubled each time
LONGEST_WAIT: Final = 30.0  # seconds, also where the server asks for more

# What storage hosts answer where a signed URL has expired, was signed for an older key, or names an older copy.
_STALE_URL: Final = frozenset({400, 401, 403, 404, 410})

_ADVICE: Final = {
    StorageItemType.IMAGE_GROUP: (
        "Ask for one of its images: dep_single_frame is the first, download_asset(storage_item, frame=1) of "
        "encord_agents.core.utils the second. dep_video_iterator gives all of them, dep_asset a folder of their files."
    ),
    StorageItemType.GROUP: "Ask for one of its members: of_child(0, dep_single_frame) of "
    "encord_agents.tasks.dependencies. dep_asset gives a folder of their files.",
    StorageItemType.DICOM_SERIES: "Ask for the StorageItem, and download its files: storage_item.get_child_items().",
    StorageItemType.SCENE: "Ask for the StorageItem, and read it with the SDK's encord.beta.scene.SceneReader.",
}


def _directly(request: Callable[[], T]) -> T:
    return request()


def children_of(item: StorageItem) -> list[StorageItem]:
    """Return the items that a group consists of, in its order, with their addresses. Costs a request."""
    return list(item.get_child_items(get_signed_urls=True))


def image_of_group(item: StorageItem, frame: int) -> StorageItem:
    """The item of one image of an image group. Costs a request.

    Raises:
        PrintableError: The group has no such image.
    """
    images = children_of(item)
    if not 0 <= frame < len(images):
        raise PrintableError(
            f"The group {item.name!r} has {len(images)} images (0 to {len(images) - 1}), so there is no frame {frame}."
        )
    return images[frame]


class Tries(Protocol):
    """How one download deals with its storage host: how many at once, what is tried again, and how long.

    A context manager, around the whole download.
    """

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def slot(self) -> AbstractContextManager[None]:
        """Held for one try."""
        ...

    def again(self, error: AssetDownloadError, retry_after: float) -> bool:
        """After a try that failed for the moment: wait, and say whether there is to be another."""
        ...

    def answered(self) -> None:
        """The host is there, whatever it said."""
        ...


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


class Asset:
    """The file of a storage item: fetched when first needed, kept until closed, and safe to use from many threads.

    Args:
        item: The storage item.
        directory: Where to put the file. Default: a private temporary directory, removed by :meth:`close`.
        timeout: Seconds to connect, and seconds to wait for the next bytes.
        max_seconds: The longest that one :meth:`path` may take, waits included. Looked at after each read, so a host
            that sends nothing ends it by ``timeout`` instead. Default: for each try ten minutes, or the time that the
            file's size takes at 100 kB a second. Less than 60 kB in a minute is taken for no answer.
        tries: How often a download that was cut short, refused for the moment, or never answered is tried in all.
        begin: In place of `tries`: makes what deals with the storage host for one download, see `Tries`.
        call: Makes the one request of the SDK that may be needed, for a fresh URL. A caller who counts, limits or
            repeats requests passes a function that does.
        sleep: How to wait between tries.
        clock: Monotonic seconds.

    Use it as a context manager, or call :meth:`close`.
    """

    def __init__(
        self,
        item: StorageItem,
        *,
        directory: Path | None = None,
        timeout: tuple[float, float] = (CONNECT_TIMEOUT, READ_TIMEOUT),
        max_seconds: float | None = None,
        tries: int = TRIES,
        begin: Callable[[], Tries] | None = None,
        call: Callable[[Callable[[], str | None]], str | None] = _directly,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.item = item
        self._directory = directory
        self._timeout = timeout
        self._max_seconds = max_seconds
        self._tries = tries
        self._begin = begin
        self._call = call
        self._sleep = sleep
        self._clock = clock

        self._lock = threading.RLock()  # held while downloading: a second caller waits for the file instead
        self._own_directory: TemporaryDirectory[str] | None = None
        self._path: Path | None = None
        self._frame: ImageArray | None = None
        self._needs_fresh_url = False
        self._is_used = False  # the file was given to somebody, who may be reading it
        self._closed = False
        self._sock: socket.socket | None = None  # of the download that is under way
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
        """Whether items of this type have a file of their own: groups, series and scenes consist of others' files."""
        return item.item_type not in _ADVICE

    def path(self) -> Path:
        """The file, downloaded by the first call. Read it; do not move, change or delete it.

        Callers at the same time share one download, and its failure. Later calls try again. Where there is no room for
        the file, others that were fetched ahead and are not used yet are removed for it.

        Raises:
            UnsupportedAssetError: The item has no file of its own.
            AssetDownloadError: The file could not be fetched.
            NoRoomError: This machine cannot keep the file.
            RuntimeError: The asset is closed.
        """
        return self._have(ahead=False)

    def _have(self, *, ahead: bool) -> Path:
        begun = self._downloads  # before the lock: who waits for it is answered by a download that ends meanwhile
        with self._lock:
            self._check_open()
            if not ahead:
                self._is_used = True
                used(self)
            if self._path is not None:
                return self._path
            # Where there was no room ahead, there may be now: what is needed at once takes the place of others.
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
        """Download now what :meth:`path` would download later. Raises what it raises; nothing makes room for it."""
        self._have(ahead=True)

    def prepare(self, *, first_frame: bool = False) -> None:
        """Do ahead what will be asked for: download and, if asked to, decode the first frame.

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
        """An image's pixels, or those of a video's first frame: RGB, uint8, ``[height, width, 3]``.

        Each caller gets an array of its own, free to draw on; what :meth:`prepare` decoded goes to the first of them.

        Raises:
            UnsupportedAssetError: The item has no file of its own, or its file has no frames.
            AssetDownloadError: The file could not be fetched.
            NoRoomError: This machine cannot keep the file.
        """
        with self._lock:
            self._check_open()
            frame, self._frame = self._frame, None
        return self._decode_first_frame(self.path()) if frame is None else frame

    def evict(self) -> int | None:
        """Remove a file that was fetched ahead, to be downloaded again when it is needed; called by who needs room.

        Returns:
            Its size; ``None`` if it is in use just now, or there is none.
        """
        if not self._lock.acquire(blocking=False):
            return None
        try:
            if self._path is None or self._is_used:
                return None
            used(self)  # it is not to be found a second time
            remove(self._path)
            size, self._bytes, self._path = self._bytes, 0, None
            return size
        finally:
            self._lock.release()

    def forget(self) -> None:
        """Drop the file, the prepared frame and the URL: the next use fetches everything anew."""
        with self._lock:
            used(self)
            if self._path is not None:
                remove(self._path)
            self._path = self._frame = self._failed = None
            self._bytes = 0
            self._is_used = False
            self._needs_fresh_url = True

    def cancel(self) -> None:
        """Give up a download that is under way in another thread, without waiting for its end."""
        self._closed = True
        if (sock := self._sock) is not None:
            hang_up(sock)

    def close(self) -> None:
        """Remove the file. The asset cannot be used afterwards; a download under way in another thread is given up."""
        self.cancel()  # before the lock, so that a download that holds it sees this and ends
        with self._lock:
            self.forget()
            if self._own_directory is not None:
                discard(self._own_directory)
                self._own_directory = None

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError(f"The file of {self.item.name!r} was asked for after its task had ended.")

    def _decode_first_frame(self, path: Path) -> ImageArray:
        from encord_agents.core.vision import read_first_frame

        with reading(self.item.name):
            return read_first_frame(path, mime_type=self.item.mime_type, name=self.item.name)

    # Downloading

    def _download_ahead(self) -> Path:
        return self._download(reserve=self.item.file_size or 0)

    def _download_now(self) -> Path:
        """The file is needed: whatever can be removed makes room for it."""
        reserve = size = self.item.file_size or 0
        while True:
            try:
                return self._download(reserve=reserve)
            except NoRoomError as error:
                problem = error
            if problem.may_pass and evict(size or None):
                continue
            if not (reserve and problem.about_size) or (problem.may_pass and any_kept()):
                raise problem
            reserve = 0  # once without: the file may be smaller than the platform says

    def _download(self, *, reserve: int = 0) -> Path:
        if self._begin is None:
            return self._try_again_and_again(None, reserve)
        with self._begin() as tries:
            return self._try_again_and_again(tries, reserve)

    def _try_again_and_again(self, tries: Tries | None, reserve: int) -> Path:
        partial = _Partial()  # what one try has received, the next one need not ask for
        try:
            return self._with(partial, tries, reserve)
        finally:
            partial.drop()

    def _with(self, partial: _Partial, tries: Tries | None, reserve: int) -> Path:
        deadline = None if self._max_seconds is None else self._clock() + self._max_seconds
        url = self._signed_url()
        may_refresh, tried = True, 0
        while True:
            try:
                with nullcontext() if tries is None else tries.slot():
                    path = self._stream(url, deadline, reserve, partial)
            except Interrupted as interruption:
                problem = interruption
            else:
                if tries is not None:
                    tries.answered()
                return path
            if tries is not None and not problem.may_pass:
                tries.answered()
            # Outside the `except`, so that no error that leaves here has what was raised below it for its context:
            # that may quote the URL, and who reads a signed URL in a log may read the file.
            if problem.status in _STALE_URL and may_refresh:
                may_refresh = False
                self._needs_fresh_url = True
                url = self._signed_url()
                continue
            if problem.certificate:
                raise CertificateError(f"The file of {self.item.name!r} could not be fetched: {problem.reason}")
            if not problem.may_pass:
                raise self._failure(problem.reason, problem.status)
            if tries is not None:
                if not tries.again(self._failure(problem.reason, problem.status), problem.retry_after):
                    raise self._failure(f"{problem.reason} (it was tried again and again)", problem.status)
                self._check_open()
                continue
            tried += 1
            wait = min(max(BACKOFF * 2 ** (tried - 1) * random.uniform(0.5, 1.0), problem.retry_after), LONGEST_WAIT)
            if tried >= self._tries or (deadline is not None and self._clock() + wait > deadline):
                times = "once" if tried == 1 else f"{tried} times"
                raise self._failure(f"{problem.reason} (tried {times})", problem.status)
            logger.debug("Downloading %r: %s. Trying again in %.1f s.", self.item.name, problem.reason, wait)
            self._sleep(wait)
            self._check_open()

    def _signed_url(self) -> str:
        if advice := _ADVICE.get(self.item.item_type):
            raise UnsupportedAssetError(
                f"{self.item.name!r} is of type {self.item.item_type.value}, which has no file of its own.\n{advice}",
                item=self.item.name,
                mime_type=self.item.mime_type,
            )
        refetch = self._needs_fresh_url
        url = self._call(lambda: self.item.get_signed_url(refetch=refetch))
        self._needs_fresh_url = False
        if not url:
            raise UnsupportedAssetError(
                f"The platform has no file for {self.item.name!r} (type {self.item.item_type.value}).",
                item=self.item.name,
                mime_type=self.item.mime_type,
            )
        return url

    def _stream(self, url: str, deadline: float | None, reserve: int, partial: _Partial) -> Path:
        """One try: the body of ``url``, in a new file, or its rest in the file of the try before."""
        suffix = suffix_for(self.item.mime_type, self.item.name, url)
        try:
            if partial.file is None:
                partial.file = NewFile(
                    self.item.name, self._folder(), prefix=f"{self.item.uuid}-", suffix=suffix, reserve=reserve
                )
            file, progress = partial.file, partial.progress
            with open_url(url, self._timeout, begun=self._begins, headers=progress.headers) as response:
                self._check_open()
                bounds = Bounds(self.item.file_size, deadline, self._clock)
                self._bytes = receive(response, file, bounds, check=self._check_open, progress=progress)
            return file.finish()
        except Interrupted:
            if not progress.headers:
                partial.drop()
            raise
        except TransportError as error:
            if not partial.progress.headers:
                partial.drop()
            if error.ran_out is not None:
                raise NoRoomError(f"The file of {self.item.name!r} cannot be fetched", error.ran_out) from None
            raise Interrupted(str(error), may_pass=error.may_pass, certificate=error.certificate) from None
        finally:
            self._sock = None

    def _begins(self, sock: socket.socket) -> None:
        self._sock = sock
        if self._closed:
            hang_up(sock)

    def _folder(self) -> Path:
        if self._directory is not None:
            return self._directory
        if self._own_directory is None:
            self._own_directory = make_directory()
        return Path(self._own_directory.name)

    def _failure(self, reason: str, status: int | None = None) -> AssetDownloadError:
        return AssetDownloadError(self.item.name, str(self.item.uuid), reason, status=status)
