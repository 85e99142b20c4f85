"""Disk space for the files of storage items: a directory, new files in it, and the errors of both.

A full disk, an exhausted quota, too few file handles or a read-only directory affects all tasks alike, so it becomes a
`NoRoomError`, never an error of the task that ran into it first.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Protocol

from encord_agents.core.tracebacks import chain, is_a
from encord_agents.exceptions import NoRoomError, PrintableError

__all__ = [
    "HANDLES",
    "SPACE",
    "NewFile",
    "allocate",
    "any_kept",
    "check_directory",
    "discard",
    "evict",
    "no_room",
    "not_used_yet",
    "ran_out",
    "reading",
    "remove",
    "temporary_directory",
    "used",
]

PREFIX: Final = "encord-agents-"

SPACE: Final = frozenset({errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)})
HANDLES: Final = frozenset({errno.EMFILE, errno.ENFILE})
SCARCE: Final = SPACE | HANDLES | {errno.ENOMEM}
"""Errors of scarce resources, which become available again once others release theirs."""

NO_DIRECTORY = """\
There is no directory for temporary files on this machine, and agents that ask for files need one: {reason}.
Set the environment variable TMPDIR to a directory that can be written to, with room for some of the files."""


# Errors of this machine behind an exception


def ran_out(exception: BaseException) -> OSError | None:
    """Return the system's error if the cause of an exception is that this machine ran out of room, handles or memory.

    Libraries replace such an error with one of their own, for instance that a connection could not be opened or an
    image could not be read.
    """
    for one in chain(exception):
        number = _number(one)
        if number in SCARCE:
            return OSError(number, os.strerror(number))  # the original's traceback may show a signed URL
    return None


def _number(exception: BaseException) -> int:
    try:
        number = getattr(exception, "errno", 0)  # PyAV's exceptions have one too
    except Exception:  # noqa: BLE001 - the exception's own code raises whatever it likes
        return 0
    return number if type(number) is int else 0


def no_room(exception: BaseException) -> NoRoomError | None:
    """Return the `NoRoomError` behind an exception, if this library was handling one of its own files.

    An `OSError` that an agent raises over its own files does not count.
    """
    for one in chain(exception):
        if is_a(one, NoRoomError):
            return one
    if is_a(exception, PrintableError) and (error := ran_out(exception)) is not None:
        return NoRoomError(str(exception).splitlines()[0].rstrip("."), error)
    return None


@contextlib.contextmanager
def _ours(what: str, directory: str | Path | None) -> Iterator[None]:
    """Turn any `OSError` raised inside into a `NoRoomError`: it is about one of this library's files."""
    try:
        yield
    except OSError as error:
        problem = NoRoomError(what, error, directory=directory, may_pass=error.errno in SCARCE)
    else:
        return
    raise problem


@contextlib.contextmanager
def reading(name: str) -> Iterator[None]:
    """Turn a lack of handles or memory while reading a file into a `NoRoomError`: the file itself may be fine.

    Raises:
        NoRoomError: There is no handle or no memory.
    """
    try:
        yield
    except Exception as error:
        if (lack := ran_out(error)) is None:
            raise
        problem = NoRoomError(f"The file of {name!r} cannot be read", lack)
    else:
        return
    raise problem


# Directories


@contextlib.contextmanager
def temporary_directory() -> Iterator[Path]:
    """Make a directory for files, private to this user, and remove it with its contents at the end.

    Raises:
        PrintableError: There is no location for one.
        NoRoomError: There is a location, but no room.
    """
    directory = make_directory()
    try:
        yield Path(directory.name)
    finally:
        discard(directory)


def make_directory() -> tempfile.TemporaryDirectory[str]:
    """Make a directory like `temporary_directory`; the caller removes it."""
    try:
        # A download that was cancelled while its host was silent may still have its file open at the end.
        return tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True)
    except OSError as error:
        if error.errno in SCARCE:
            raise NoRoomError("No temporary directory can be made", error, directory=_place()) from None
        reason = f"{error.strerror or error}" + (f" ({error.filename})" if error.filename else "")
        raise PrintableError(NO_DIRECTORY.format(reason=reason)) from None


def check_directory() -> None:
    """Check that temporary files can be made.

    Raises:
        PrintableError: There is no location for them.
        NoRoomError: There is a location, but no room.
    """
    with temporary_directory():
        pass


def discard(directory: tempfile.TemporaryDirectory[str]) -> None:
    """Remove a directory. Files that cannot be removed are left, rather than losing a run's result."""
    with contextlib.suppress(OSError):
        directory.cleanup()


def remove(path: Path) -> None:
    """Remove a file. If that fails, it is removed later, with its directory."""
    _kept.get(os.getpid(), {}).pop(path, None)
    with contextlib.suppress(OSError):
        path.unlink()


def _place() -> str | None:
    with contextlib.suppress(OSError):
        return tempfile.gettempdir()
    return None


# One file

WORTH_RESERVING: Final = 1 << 20
"""Bytes. Reserving a smaller file takes a tenth of a millisecond of CPU time, a fifth of the whole fetch; requesting
it in vain costs no more."""


class NewFile:
    """A file that is being written, and is removed unless `finish` is reached.

    Args:
        name: The name of its storage item, for messages.
        directory: The directory for it, which is made again if it was removed.
        reserve: Bytes to reserve on the disk before anything is written, so that no large file is requested without
            room for it. Ignored for small files, on file systems that cannot reserve, and if there is no such disk.

    Attributes:
        path: The path of the file.
        disk: The bytes of its whole file system, used ones included.

    Raises:
        NoRoomError: Here and in all methods, if this machine cannot keep the file.
    """

    def __init__(self, name: str, directory: Path, *, prefix: str, suffix: str, reserve: int = 0) -> None:
        self._what = f"The file of {name!r} cannot be kept on this machine"
        self._directory = directory
        self._file: BinaryIO | None = None
        self._may_be_longer = False  # than the bytes written to it, so that `finish` truncates it
        with _ours(self._what, directory):
            try:
                descriptor, path = tempfile.mkstemp(prefix=prefix, suffix=suffix, dir=directory)
            except FileNotFoundError:  # cleaners remove directories that nobody has used for days
                directory.mkdir(mode=0o700, exist_ok=True)
                descriptor, path = tempfile.mkstemp(prefix=prefix, suffix=suffix, dir=directory)
        self.path = Path(path)
        try:
            with _ours(self._what, directory):
                # Unbuffered: blocks are large, or the only one. A buffer would make four more system calls per file,
                # each of which releases the GIL to other threads.
                self._file = os.fdopen(descriptor, "wb", buffering=0)
                self.disk = shutil.disk_usage(directory).total or sys.maxsize  # some file systems say 0
                if WORTH_RESERVING <= reserve <= self.disk:
                    self._may_be_longer = True
                    allocate(descriptor, reserve)
        except BaseException:
            self._abandon()
            raise

    def __enter__(self) -> NewFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.abandon()

    def write(self, block: bytes) -> int:
        """Write the next bytes, and return their number."""
        assert self._file is not None
        with _ours(self._what, self._directory):
            written = self._file.write(block)
            while written < len(block):  # a disk that fills up raises only at the next write
                written += self._file.write(memoryview(block)[written:])
        return written

    def restart(self) -> None:
        """Discard the bytes written so far."""
        assert self._file is not None
        self._may_be_longer = True
        with _ours(self._what, self._directory):
            self._file.seek(0)

    def abandon(self) -> None:
        """Remove the file, unless it is finished."""
        if self._file is not None:
            self._abandon()

    def finish(self) -> Path:
        """Close the completely written file, and return its path."""
        assert self._file is not None
        with _ours(self._what, self._directory):
            if self._may_be_longer:
                self._file.truncate()
            self._file.close()
        self._file = None
        _kept.setdefault(os.getpid(), {})[self.path] = None
        return self.path

    def _abandon(self) -> None:
        file, self._file = self._file, None
        with contextlib.suppress(OSError):
            if file is not None:
                file.close()
        remove(self.path)


# By process id: a forked child's inherited entries belong to its parent. There is no lock, since a fork might copy it
# while it is held, or an interrupt leave it held; each step is a single atomic operation on a dictionary instead.
_kept: dict[int, dict[Path, None]] = {}


def any_kept() -> bool:
    """Return True if this process keeps any files."""
    kept = _kept.setdefault(os.getpid(), {})
    for path in list(kept):
        if path.exists():
            return True
        kept.pop(path, None)
    return False


def allocate(descriptor: int, size: int) -> None:
    """Reserve bytes on the disk for an open file, on file systems that support it.

    Raises:
        OSError: There is not enough room.
    """
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno in SPACE or error.errno == errno.EFBIG:
            raise


# Prefetched files that are not in use yet: they can be evicted, since they can be fetched again


class Evictable(Protocol):
    """A holder of a file that may be evicted."""

    def evict(self) -> int | None:
        """Remove the file unless it is in use by now. Return its size, or ``None`` if it was not removed."""


_unused: dict[int, dict[Evictable, None]] = {}


def _of_this_process() -> dict[Evictable, None]:
    return _unused.setdefault(os.getpid(), {})


def not_used_yet(holder: Evictable) -> None:
    """Record that a file exists but is not in use yet."""
    _of_this_process()[holder] = None


def used(holder: Evictable) -> None:
    """Record that a file is in use, or gone."""
    _of_this_process().pop(holder, None)


def evict(size: int | None) -> bool:
    """Remove files that are not in use yet, the most recently fetched first.

    Args:
        size: The number of bytes needed, or ``None`` if it is unknown.

    Returns:
        True if a file was removed.
    """
    freed, found = 0, False
    for holder in reversed(list(_of_this_process())):
        if size is not None and freed >= size:
            break
        if (bytes_ := holder.evict()) is not None:
            freed, found = freed + bytes_, True
    return found
