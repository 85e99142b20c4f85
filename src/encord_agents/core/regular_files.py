"""Regular files in directories that others may write to: neither links to other files, nor FIFOs that never answer."""

from __future__ import annotations

import os
import stat

__all__ = ["open_regular"]


def open_regular(path: str | os.PathLike[str], flags: int) -> int:
    """Open a regular file, and return its descriptor. It may be passed to `open` as its ``opener``.

    Args:
        path: The path. If it is a link, nothing is opened (Windows aside).
        flags: As of `os.open`. A file that is created is readable by its owner only.

    Raises:
        OSError: It cannot be opened, or is no regular file.
    """
    safely = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    descriptor = os.open(path, flags | safely, 0o600)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{os.fspath(path)} is not a regular file")
    return descriptor
