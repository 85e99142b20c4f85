"""A directory of bounded size that several processes add files to, with LRU (least recently used) eviction.

The total size is kept in a lock file. It includes files that are still being written: each is locked by its writer, so
files left behind by a killed process are recognised and removed.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from encord_agents.core.cache.locks import try_lock
from encord_agents.core.regular_files import open_regular
from encord_agents.core.room import allocate

__all__ = ["BoundedDirectory", "Part"]

LOCK_SECONDS: Final = 5.0
"""The timeout for the lock, in seconds: the cache is optional, so a run never hangs because of it."""

LEFT_AFTER: Final = 86_400.0
"""Seconds after which a partial file counts as left behind, on systems without file locks."""

_PREFIX, _SUFFIX = ".encord-agents-", ".part"


@dataclass(slots=True)
class Part:
    """A file that is being written, under a temporary name.

    Attributes:
        file: The file.
        path: Its path until it is complete.
        size: Its size in bytes.
        is_done: True once it is complete.
    """

    file: BinaryIO
    path: Path
    size: int
    is_done: bool = False


@dataclass(frozen=True, slots=True, order=True)
class _Found:
    """A file in the directory. Partial files come last in the order of eviction."""

    is_part: bool
    used_at: int
    size: int
    path: str


class BoundedDirectory:
    """A directory of bounded size.

    Args:
        path: Its path. It is created when the first file is added.
        size: The maximum number of bytes in it, partial files included.
        names: A pattern of the names of files that are counted and evicted. Other files are left alone.
    """

    def __init__(self, path: Path, size: int, names: re.Pattern[str]) -> None:
        self.path = path
        self.size = size
        self._names = names
        self._counted_by: int | None = None  # the process that has counted the files; a forked child counts again

    @contextmanager
    def new(self, name: str, size: int) -> Iterator[Part | None]:
        """Make room for a file, and yield it to be written; yield ``None`` if other writers leave too little room.

        If `Part.is_done` is set at the end, the file gets its name, in place of an older one; otherwise it is removed.

        Raises:
            OSError: It cannot be written.
        """
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        if (part := self._begin(size)) is None:
            yield None
            return
        try:
            yield part
            if part.is_done:
                part.is_done = False  # not before it has its name
                part.file.flush()
                self._complete(part, self.path / name)
        finally:
            with contextlib.suppress(OSError):  # there may be no room to flush its buffer
                part.file.close()
            if not part.is_done:
                self._abandon(part)

    def shrink(self, size: int) -> int:
        """Evict files, the least recently used first, until ``size`` bytes are freed; return the number of bytes freed.

        Raises:
            OSError: Other processes do not release the lock in time.
        """
        with self._locked() as total:
            files = self._scan()
            before = sum(one.size for one in files)
            after = self._evict(files, max(0, before - size))
            total.write(after)
        return before - after

    def _begin(self, size: int) -> Part | None:
        with self._locked() as total:
            counted = total.read() if self._counted_by == os.getpid() else None
            if counted is None or counted + size > self.size:
                files = self._scan()
                counted = sum(one.size for one in files)
                if counted + size > self.size:
                    # Of many files, evict more than necessary, since each eviction scans the whole directory.
                    counted = self._evict(files, max(0, self.size - size), at_least=len(files) // 20)
                self._counted_by = os.getpid()
                if counted + size > self.size:
                    total.write(counted)
                    return None
            descriptor, path = tempfile.mkstemp(prefix=_PREFIX, suffix=_SUFFIX, dir=self.path)
            part = Part(os.fdopen(descriptor, "wb"), Path(path), size)
            try:
                try_lock(descriptor)
                allocate(descriptor, size)
                os.truncate(descriptor, size)  # so that its full size counts even if nothing could be allocated
            except BaseException:
                part.file.close()
                _remove(part.path)
                raise
            total.write(counted + size)
            return part

    def _complete(self, part: Part, path: Path) -> None:
        with self._locked() as total:
            older = _size_of(path)
            part.file.close()  # Windows renames no open file. Under the lock no scan takes this one for a leftover.
            part.path.replace(path)
            part.is_done = True
            if (counted := total.read()) is not None:
                total.write(counted - older)

    def _abandon(self, part: Part) -> None:
        try:
            with self._locked() as total:
                # Under the lock: otherwise a process that counts the files in between would leave it out of its total,
                # from which it would then be subtracted. If such a process has removed it, it is not there.
                part.path.unlink()
                if (counted := total.read()) is not None:
                    total.write(counted - part.size)
        except OSError:
            _remove(part.path)

    @contextmanager
    def _locked(self) -> Iterator[_Total]:
        """Hold the directory's lock, which excludes other processes and threads.

        Raises:
            OSError: They do not release it in time.
        """
        descriptor = open_regular(self.path / ".lock", os.O_RDWR | os.O_CREAT)
        try:
            until = time.monotonic() + LOCK_SECONDS
            while not try_lock(descriptor):
                if time.monotonic() > until:
                    raise OSError("another process keeps it locked")
                time.sleep(0.005)
            yield _Total(descriptor)
        finally:
            os.close(descriptor)

    def _scan(self) -> list[_Found]:
        """Return the files in order of eviction, and remove those that killed processes left behind."""
        found = []
        with os.scandir(self.path) as listed:
            for one in listed:
                is_part = one.name.startswith(_PREFIX) and one.name.endswith(_SUFFIX)
                if not is_part and not self._names.fullmatch(one.name):
                    continue
                try:
                    if not one.is_file(follow_symlinks=False):
                        continue
                    if is_part and _is_left(one.path):
                        os.unlink(one.path)
                        continue
                    stat = one.stat(follow_symlinks=False)
                except OSError:  # it was removed meanwhile
                    continue
                found.append(_Found(is_part, stat.st_mtime_ns, stat.st_size, one.path))
        return sorted(found)

    def _evict(self, files: list[_Found], size: int, *, at_least: int = 0) -> int:
        """Evict files until no more than ``size`` bytes are left, and return the number of bytes left."""
        left = sum(one.size for one in files)
        for number, one in enumerate(files):
            if (left <= size and number >= at_least) or one.is_part:
                break
            try:
                os.unlink(one.path)  # a process that has it open can still read it
            except FileNotFoundError:
                pass
            except OSError:  # some systems cannot remove an open file
                continue
            left -= one.size
        return left


class _Total:
    """The total size, stored in the lock file."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read(self) -> int | None:
        """Return the total, or ``None`` if the files have to be counted."""
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        text = os.read(self._descriptor, 32).strip()
        return int(text) if text.isdigit() and len(text) < 20 else None

    def write(self, total: int) -> None:
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        os.write(self._descriptor, b"%-31d\n" % max(0, total))


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _is_left(path: str) -> bool:
    """Return True if no process is writing a partial file any more."""
    descriptor = open_regular(path, os.O_RDWR)
    try:
        locked = try_lock(descriptor, otherwise=None)
        if locked is None:
            return time.time() - os.fstat(descriptor).st_mtime > LEFT_AFTER
        return locked
    finally:
        os.close(descriptor)
