"""The report file: one JSON line per task, during the run. Errors of the file fail no task."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import stat
import time
from collections.abc import Callable
from pathlib import Path

from encord_agents.core.legible import literally
from encord_agents.core.logs import get_logger
from encord_agents.exceptions import PrintableError
from encord_agents.tasks.engine.events import Event, TaskFinished
from encord_agents.tasks.engine.record import TaskRecord
from encord_agents.tasks.engine.stop import Stop

__all__ = ["ReportFile"]

logger = get_logger("encord_agents.tasks")

APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
AT_ONCE = getattr(os, "O_NONBLOCK", 0)
"""Makes opening a named pipe without a reader fail, and writing to a full one, instead of waiting without a limit."""
PATIENCE = 5.0
"""The longest wait for a pipe's reader, in seconds. Meanwhile the run stands still."""


class ReportFile:
    """Writes one JSON line per task as soon as the task has its outcome, so that it survives a crash of the run.

    A line that cannot be written is missing, but the next one is still tried. The first missing line is logged as a
    warning, and `problem` counts all of them at the end. If another program moves or removes the file, as logrotate
    does, the next line goes to a new one.

    Args:
        path: The file, to which lines are appended.
        stop: Once it is requested, all lines together wait for a pipe's reader as long as one line did before.
        dry_run: Say in each line that it is of a dry run.
    """

    shown_as = "The report file"
    hears_starts = False

    def __init__(
        self,
        path: str | Path,
        stop: Stop,
        *,
        dry_run: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = Path(path)
        self._shown = literally(self._path)
        self._stop = stop
        self._dry_run = dry_run
        self._clock = clock
        self._descriptor: int | None = None
        self._first = b""  # to be written before the next line
        self._patience = PATIENCE
        self._lines = self._missing = 0
        self._error: OSError | None = None

    def __enter__(self) -> ReportFile:
        try:
            self._open()
        except (OSError, ValueError) as error:  # ValueError: no file can have this name
            raise PrintableError(f"The report file {self._shown} cannot be written: {_words(error)}.") from error
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def __call__(self, event: Event) -> None:
        if not isinstance(event, TaskFinished) or self._descriptor is None:
            return
        self._lines += 1
        entry = TaskRecord.of(event, keep_traceback=True).to_dict()
        if self._dry_run:
            entry["dry_run"] = True
        try:
            if self._is_replaced(self._descriptor):
                self._open()
        except OSError as error:
            self._fails(error, missing=True)
        else:
            self._write(self._descriptor, (json.dumps(entry) + "\n").encode())

    @property
    def problem(self) -> str | None:
        """A sentence about the file's errors, or ``None`` if there were none."""
        if self._error is None:
            return None
        missing = f"{self._missing} of {self._lines} lines are" if self._lines != 1 else "its only line is"
        what = f"{missing} missing" if self._missing else "its last lines may be missing"
        return f"The report file {self._shown} is incomplete: {what} ({_words(self._error)})."

    def _open(self) -> None:
        """Open the path, and close the file that it led to before. If it cannot be opened, that one stays open."""
        try:
            descriptor = os.open(self._path, APPEND | AT_ONCE, 0o666)
        except OSError as error:
            if error.errno == errno.ENXIO and self._path.is_fifo():
                error.strerror = "it is a named pipe, and nobody reads from it. Start its reader first"
            elif error.errno == errno.ENXIO and self._path.is_socket():
                error.strerror = "it is a socket, as /dev/stdout may be in a service. Name a file or a named pipe"
            raise
        self._close()
        self._descriptor = descriptor
        self._first = b"\n" if _lacks_end(self._path, descriptor) else b""

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        if self._lines and self._first:
            self._write(descriptor, b"")
        try:
            os.close(descriptor)
        except OSError as error:
            self._fails(error)

    def _is_replaced(self, descriptor: int) -> bool:
        """Return True if the path no longer leads to the file that is open. A pipe's name may go once it is open."""
        try:
            about = os.fstat(descriptor)
            return stat.S_ISREG(about.st_mode) and not os.path.samestat(about, os.stat(self._path))
        except OSError:  # opening it says why
            return True

    def _write(self, descriptor: int, line: bytes) -> None:
        """Write a line after what is left of the one before, or only that if the line is empty."""
        left = memoryview(self._first + line)
        begun = len(self._first)
        try:
            while left:
                try:
                    written = os.write(descriptor, left)
                except BlockingIOError:
                    self._wait_for_reader(descriptor)
                else:
                    left = left[written:]
        except OSError as error:
            # The rest of a line that was begun is written first once there is room again; other lines are missing.
            done = begun + len(line) - len(left)
            self._first = self._first[done:] if done <= begun else bytes(left)
            self._fails(error, missing=done <= begun if line else self._first != b"\n")
            return
        self._first = b""
        if not self._stop.requested:
            self._patience = PATIENCE

    def _wait_for_reader(self, descriptor: int) -> None:
        """Wait until a pipe has room. After a wait in vain the next lines do not wait, until one can be written.

        Raises:
            TimeoutError: It has none for too long.
        """
        started = self._clock()
        poll = select.poll()  # unlike `select.select`, for descriptors of any number
        poll.register(descriptor, select.POLLOUT)
        has_room = poll.poll(1000 * self._patience)
        self._patience = max(0.0, self._patience - (self._clock() - started))
        if not has_room:
            raise TimeoutError(errno.ETIMEDOUT, "its reader does not read, or too slowly")

    def _fails(self, error: OSError, *, missing: bool = False) -> None:
        self._missing += missing
        if self._error is None:
            logger.warning(
                "The report file %s cannot be written: %s. The run continues, and tries again with each task.",
                *(self._shown, _words(error)),
            )
        self._error = self._error or error


def _lacks_end(path: Path, descriptor: int) -> bool:
    """Return True if a file ends in the middle of a line, as a killed run leaves it."""
    about = os.fstat(descriptor)
    if not stat.S_ISREG(about.st_mode) or not about.st_size:
        return False
    with contextlib.suppress(OSError), path.open("rb") as file:  # the file may be write-only
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
    return False


def _words(error: OSError | ValueError) -> str:
    return getattr(error, "strerror", None) or str(error)
