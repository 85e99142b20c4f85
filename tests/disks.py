"""A machine that says no: to a new file, to room for it, to a write, to its end."""

from __future__ import annotations

import errno
import os
import tempfile
import threading
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from encord_agents.core import room

__all__ = ["PLACES", "Disk"]

PLACES = ("make", "open", "reserve", "write", "end")
"""Where files of ours meet the machine."""


class Disk:
    """What `encord_agents.core.room` takes for the machine's disk, in this process.

    Args:
        capacity: Bytes that all files of ours may have together; ``None``: as many as they like.
        fails_at: One of `PLACES`, or ``None``.
        number: The `errno` that it fails with there.
        reserves: Whether the file system can keep room for a file before it is written.
    """

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        *,
        capacity: int | None = None,
        fails_at: str | None = None,
        number: int = errno.ENOSPC,
        reserves: bool = True,
    ) -> None:
        self.capacity = capacity
        self.fails_at = fails_at
        self.number = number
        self.most = 0  # bytes that were there together
        self._lock = threading.Lock()
        self._sizes: dict[str, int] = {}
        self._paths: dict[int, str] = {}
        self._reserves = reserves
        monkeypatch.setattr(room, "WORTH_RESERVING", 1)  # files of tests are small
        monkeypatch.setattr(room, "_kept", {})  # files that other tests have left are on no disk of this one's
        monkeypatch.setattr(room, "os", self)
        monkeypatch.setattr(room, "tempfile", self)

    def __getattr__(self, name: str) -> Any:
        if name == "posix_fallocate":
            if not self._reserves:
                raise AttributeError(name)
            return self._reserve
        return getattr(os, name) if hasattr(os, name) else getattr(tempfile, name)

    def fail(self, place: str) -> None:
        if self.fails_at == place:
            raise OSError(self.number, os.strerror(self.number))

    def mkstemp(self, **options: Any) -> tuple[int, str]:
        self.fail("make")
        descriptor, path = tempfile.mkstemp(**options)
        self._paths[descriptor] = path
        return descriptor, path

    def fdopen(self, descriptor: int, mode: str, **options: Any) -> BinaryIO:
        if self.fails_at == "open":
            os.close(descriptor)
            self.fail("open")
        return _File(self, os.fdopen(descriptor, mode, **options), self._paths[descriptor])  # type: ignore[return-value]

    def _reserve(self, descriptor: int, offset: int, size: int) -> None:
        self.fail("reserve")
        self.take(self._paths[descriptor], size)

    def take(self, path: str, size: int) -> None:
        """Have a file be of a size, if there is room for that."""
        with self._lock:
            self._sizes = {name: bytes_ for name, bytes_ in self._sizes.items() if Path(name).exists()}
            others = sum(bytes_ for name, bytes_ in self._sizes.items() if name != path)
            if self.capacity is not None and others + size > self.capacity:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._sizes[path] = max(size, self._sizes.get(path, 0))
            self.most = max(self.most, others + size)


class _File:
    def __init__(self, disk: Disk, file: Any, path: str) -> None:
        self._disk = disk
        self._file = file
        self._path = path

    def write(self, block: bytes) -> int:
        self._disk.fail("write")
        self._disk.take(self._path, self._file.tell() + len(block))
        written: int = self._file.write(block)
        return written

    def truncate(self) -> None:
        self._file.truncate()

    def close(self) -> None:
        self._file.close()
        self._disk.fail("end")
