"""Room on this machine for the files of storage items: a directory, a new file in it, and what is in the way of both.

A full disk, a quota, too few file handles, a directory that is read-only: each concerns all tasks alike, so it becomes
a `NoRoomError`, never an error of the task that met it first.
"""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Protocol

from encord_agents.core.tracebacks import chain, is_a
from encord_agents.exceptions import NoRoomError, PrintableError

__all__ = [
    "NewFile",
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
"""What is there again as soon as somebody gives it back."""

NO_DIRECTORY = """\
There is no directory for temporary files on this machine, and agents that ask for files need one: {reason}.
Set the environment variable TMPDIR to a directory that can be written to, with room for some of the files."""


# What an exception says about this machine


def ran_out(exception: BaseException) -> OSError | None:
    """Return what says that the machine has run out of room, handles or memory, if that is what is behind an exception.

    Libraries turn such an error into one of their own: that a connection could not be opened, or an image not be read.
    """
    for one in chain(exception):
        number = _number(one)
        if number in SCARCE:
            return OSError(number, os.strerror(number))  # the original's traceback may show a signed URL
    return None


def _number(exception: BaseException) -> int:
    try:
        number = getattr(exception, "errno", 0)  # PyAV's exceptions have one, too
    except Exception:  # noqa: BLE001 - the exception's own code raises whatever it likes
        return 0
    return number if type(number) is int else 0


def no_room(exception: BaseException) -> NoRoomError | None:
    """Return the trouble of this machine that is behind an exception, if it was met while a file of ours was handled.

    An `OSError` that an agent raised over files of its own is not among them.
    """
    for one in chain(exception):
        if is_a(one, NoRoomError):
            return one
    if is_a(exception, PrintableError) and (error := ran_out(exception)) is not None:
        return NoRoomError(str(exception).splitlines()[0].rstrip("."), error)
    return None


@contextlib.contextmanager
def _ours(what: str, directory: str | Path | None) -> Iterator[None]:
    """Inside, whatever the machine says is about a file of ours."""
    try:
        yield
    except OSError as error:
        problem = NoRoomError(what, error, directory=directory, may_pass=error.errno in SCARCE)
    else:
        return
    raise problem


@contextlib.contextmanager
def reading(name: str) -> Iterator[None]:
    """Inside, a file of ours is read: that there is no handle, or no memory, for that says nothing against the file.

    Raises:
        NoRoomError: There is none.
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
    """Make a directory for files, private to this user, and remove it at the end with all that is in it.

    Raises:
        PrintableError: There is no place for one.
        NoRoomError: There is a place, but no room.
    """
    directory = make_directory()
    try:
        yield Path(directory.name)
    finally:
        discard(directory)


def make_directory() -> tempfile.TemporaryDirectory[str]:
    """Return a directory as `temporary_directory` makes it; the caller removes it."""
    try:
        # A download that was given up, and whose host keeps silent, may still have its file open at the end.
        return tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True)
    except OSError as error:
        if error.errno in SCARCE:
            raise NoRoomError("No temporary directory can be made", error, directory=_place()) from None
        reason = f"{error.strerror or error}" + (f" ({error.filename})" if error.filename else "")
        raise PrintableError(NO_DIRECTORY.format(reason=reason)) from None


def check_directory() -> None:
    """See whether there is a place for temporary files.

    Raises:
        PrintableError: There is none.
        NoRoomError: There is a place, but no room.
    """
    with temporary_directory():
        pass


def discard(directory: tempfile.TemporaryDirectory[str]) -> None:
    """Remove a directory. What cannot be removed stays: that is no reason to lose a run's result."""
    with contextlib.suppress(OSError):
        directory.cleanup()


def remove(path: Path) -> None:
    """Remove a file; one that cannot be removed goes with its directory."""
    _kept.get(os.getpid(), {}).pop(path, None)
    with contextlib.suppress(OSError):
        path.unlink()


def _place() -> str | None:
    with contextlib.suppress(OSError):
        return tempfile.gettempdir()
    return None


# One file


class NewFile:
    """A file that is being written, and is removed unless `finish` is reached.

    Args:
        name: What it is of, for people.
        reserve: Bytes to take hold of on the disk before anything is written, so that a file for which there is no
            room is not asked for. Where the file system cannot do that, nothing is done.

    Raises:
        NoRoomError: Here, and by all methods: the machine is in the way.
    """

    def __init__(self, name: str, directory: Path, *, prefix: str, suffix: str, reserve: int = 0) -> None:
        self._what = f"The file of {name!r} cannot be kept on this machine"
        self._directory = directory
        self._file: BinaryIO | None = None
        with _ours(self._what, directory):
            descriptor, path = tempfile.mkstemp(prefix=prefix, suffix=suffix, dir=directory)
        self.path = Path(path)
        try:
            with _ours(self._what, directory):
                self._file = os.fdopen(descriptor, "wb")
                if reserve:
                    _reserve(descriptor, reserve)
        except BaseException:
            self._abandon()
            raise

    def __enter__(self) -> NewFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._abandon()

    def write(self, block: bytes) -> int:
        """Write the next bytes."""
        assert self._file is not None
        with _ours(self._what, self._directory):
            return self._file.write(block)

    def finish(self) -> Path:
        """Return the file's path, now that all of it is written."""
        assert self._file is not None
        with _ours(self._what, self._directory):
            self._file.truncate()  # what was reserved may have been more
            self._file.close()
        self._file = None
        _kept.setdefault(os.getpid(), {})[self.path] = None
        return self.path

    def _abandon(self) -> None:
        file, self._file = self._file, None
        with contextlib.suppress(OSError):
            if file is not None:
                file.close()  # it may have bytes for which there is no room
        remove(self.path)


# By process: what a forked one inherits is its parent's. No lock, which a fork might find taken, or an interrupt leave
# taken: each step is a single operation on a dictionary.
_kept: dict[int, dict[Path, None]] = {}


def any_kept() -> bool:
    """Whether any file is there that this process keeps."""
    kept = _kept.setdefault(os.getpid(), {})
    for path in list(kept):
        if path.exists():
            return True
        kept.pop(path, None)
    return False


def _reserve(descriptor: int, size: int) -> None:
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno in SPACE or error.errno == errno.EFBIG:
            raise


# Files that were fetched ahead, and that nobody has used yet: they can be fetched again


class Evictable(Protocol):
    """Holds a file."""

    def evict(self) -> int | None:
        """Remove the file, unless it is in use by now, and return its size; ``None`` if it was not removed."""


_unused: dict[int, dict[Evictable, None]] = {}


def _of_this_process() -> dict[Evictable, None]:
    return _unused.setdefault(os.getpid(), {})


def not_used_yet(holder: Evictable) -> None:
    """Note that a file is there which nobody has asked for."""
    _of_this_process()[holder] = None


def used(holder: Evictable) -> None:
    """Note that a file is in use, or gone."""
    _of_this_process().pop(holder, None)


def evict(size: int | None) -> bool:
    """Remove files that nobody has used yet, those that were fetched last first.

    Args:
        size: Bytes that are needed; ``None``: nobody knows.

    Returns:
        Whether there was one.
    """
    freed, found = 0, False
    for holder in reversed(list(_of_this_process())):
        if size is not None and freed >= size:
            break
        if (bytes_ := holder.evict()) is not None:
            freed, found = freed + bytes_, True
    return found
