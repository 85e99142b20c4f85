"""Locks on label rows between the processes of one user on one machine, such as the workers of a server.

They are locks on bytes of one file, which the system takes away from a process that ends. Where there are none
(Windows, no directory for temporary files), processes do without, as they do on different machines.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows
    fcntl = None  # type: ignore[assignment]
from encord_agents.core.logs import get_logger
from encord_agents.core.regular_files import open_regular

__all__ = ["RowLocks"]

logger = get_logger("encord_agents.editor")

TRIES: Final = 3
"""The number of times that the file is opened for one lock, if it is removed each time."""
OFFSETS: Final = 2**62
"""Bytes that may be locked: offsets are signed 64-bit numbers."""


class RowLocks:
    """Locks by key. A process has to see to it that only one of its threads asks for a key at a time.

    Args:
        path: The file. Default: one of this user's in the directory for temporary files.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._file: int | None = None
        self._held: dict[int, int] = {}  # the file of each lock
        self._is_usable = fcntl is not None

    def take(self, key: int) -> bool:
        """Take a lock, if no other process has it. Returns True if nobody else has it now."""
        for _ in range(TRIES):
            if (file := self._opened()) is None:
                return True
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, key % OFFSETS)
            except BlockingIOError:
                return False
            except OSError as error:  # a file system without locks
                self._do_without(error)
                return True
            self._held[key] = file
            if self._is_in_place(file):
                return True
            # It was removed meanwhile: processes that start now use another file, so this one does, too.
            self.release(key)
            if self._file == file:
                self._file = None
        self._do_without(OSError(f"{self._where()} is replaced again and again"))
        return True

    def release(self, key: int) -> None:
        """Let go of a lock."""
        if (file := self._held.pop(key, None)) is not None:
            fcntl.lockf(file, fcntl.LOCK_UN, 1, key % OFFSETS)

    def _opened(self) -> int | None:
        # Never closed, even once it was removed: closing any handle of a file ends all of a process's locks on it.
        file = self._file  # read once: other threads may replace it
        if file is None and self._is_usable:
            try:
                file = self._file = self._open()
            except OSError as error:
                self._do_without(error)
        return file if self._is_usable else None

    def _open(self) -> int:
        path = self._where()
        file = open_regular(path, os.O_RDWR | os.O_CREAT)
        if os.fstat(file).st_uid != os.getuid():
            os.close(file)
            raise OSError(f"{path} is another user's")
        return file

    def _where(self) -> Path:
        return self._path or Path(tempfile.gettempdir()) / f"encord-agents-rows-{os.getuid()}.lock"

    def _is_in_place(self, file: int) -> bool:
        """Return True if an open file is still the one that other processes open, and make it look recently used."""
        with suppress(OSError):
            os.utime(file)  # cleaners of such directories remove files that nobody has changed for days
        try:
            return os.path.samestat(os.stat(self._where(), follow_symlinks=False), os.fstat(file))
        except OSError:
            return False

    def _do_without(self, error: OSError) -> None:
        self._is_usable = False
        logger.warning("Processes of this machine do not wait for each other's label rows: %s.", error)
