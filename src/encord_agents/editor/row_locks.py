"""Locks on label rows between the processes of one user on one machine, such as the workers of a server.

They are locks on bytes of one file, which the system takes away from a process that ends. Where there are none
(Windows, no directory for temporary files), processes do without, as they do on different machines.
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path
from typing import Final

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows
    fcntl = None  # type: ignore[assignment]
from encord_agents.core.logs import get_logger

__all__ = ["RowLocks"]

logger = get_logger("encord_agents.editor")

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
        self._is_usable = fcntl is not None

    def take(self, key: int) -> bool:
        """Take a lock, if no other process has it. Returns True if nobody else has it now."""
        file = self._opened()
        if file is None:
            return True
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, key % OFFSETS)
        except BlockingIOError:
            return False
        except OSError as error:  # a file system without locks
            self._do_without(error)
        return True

    def release(self, key: int) -> None:
        """Let go of a lock."""
        if self._file is not None and self._is_usable:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, key % OFFSETS)

    def _opened(self) -> int | None:
        # Opened once and never closed: closing any handle of the file ends all of a process's locks on it.
        if self._file is None and self._is_usable:
            try:
                self._file = self._open()
            except OSError as error:
                self._do_without(error)
        return self._file if self._is_usable else None

    def _open(self) -> int:
        user = os.getuid()
        path = self._path or Path(tempfile.gettempdir()) / f"encord-agents-rows-{user}.lock"
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        found = os.fstat(file)
        if found.st_uid != user or not stat.S_ISREG(found.st_mode):
            os.close(file)
            raise OSError(f"{path} is another user's")
        return file

    def _do_without(self, error: OSError) -> None:
        self._is_usable = False
        logger.warning("Processes of this machine do not wait for each other's label rows: %s.", error)
