"""Advisory locks on open files, which are released when the process that holds them ends."""

from __future__ import annotations

import sys
from typing import TypeVar

__all__ = ["try_lock"]

T = TypeVar("T")

if sys.platform == "win32":

    def try_lock(descriptor: int, *, otherwise: T | bool = True) -> T | bool:
        """Return ``otherwise``, since Windows has no locks of this kind; see below."""
        return otherwise

else:
    import fcntl

    def try_lock(descriptor: int, *, otherwise: T | bool = True) -> T | bool:
        """Lock an open file, until it is closed, and return True; return False if another holder has the lock.

        Args:
            descriptor: The file. Each open file description has a lock of its own, so threads exclude each other, too.
            otherwise: The return value where there are no such locks: on Windows, and on some network file systems.
        """
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return otherwise
        return True
