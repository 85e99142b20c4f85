"""The report file: one JSON line per task, during the run. Errors of the file fail no task."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
from pathlib import Path

from encord_agents.core.logs import get_logger
from encord_agents.exceptions import PrintableError
from encord_agents.tasks.engine.events import Event, TaskFinished
from encord_agents.tasks.engine.record import TaskRecord

__all__ = ["ReportFile"]

logger = get_logger("encord_agents.tasks")

APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
AT_ONCE = getattr(os, "O_NONBLOCK", 0)
"""Makes opening a named pipe without a reader fail, instead of waiting for one."""


class ReportFile:
    """Writes one JSON line per task as soon as the task has its outcome, so that it survives a crash of the run.

    A line that cannot be written is missing, but the next one is still tried. The first missing line is logged as a
    warning, and `problem` counts all of them at the end.

    Args:
        path: The file, to which lines are appended.
    """

    shown_as = "The report file"
    hears_starts = False

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._descriptor: int | None = None
        self._has_name = True
        self._first = b""  # to be written before the next line
        self._lines = self._missing = 0
        self._error: OSError | None = None

    def __enter__(self) -> ReportFile:
        try:
            self._descriptor = os.open(self._path, APPEND | AT_ONCE, 0o666)
            if AT_ONCE:
                os.set_blocking(self._descriptor, True)  # wait for slow readers, as other programs do
            self._has_name = os.fstat(self._descriptor).st_nlink > 0
            if _lacks_end(self._path, self._descriptor):
                self._first = b"\n"
        except OSError as error:
            reason = error.strerror or str(error)
            if error.errno == errno.ENXIO:
                reason = "it is a named pipe, and nobody reads from it. Start its reader first"
            raise PrintableError(f"The report file {self._path} cannot be written: {reason}.") from error
        return self

    def __exit__(self, *_: object) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        try:
            if self._lines and self._first:
                self._write(descriptor, b"")
        except OSError as problem:
            self._missing += self._first != b"\n"
            self._fails(problem)
        try:
            os.close(descriptor)
        except OSError as problem:
            self._fails(problem)

    def __call__(self, event: Event) -> None:
        if not isinstance(event, TaskFinished) or self._descriptor is None:
            return
        self._lines += 1
        line = json.dumps(TaskRecord.of(event, keep_traceback=True).to_dict()) + "\n"
        try:
            self._write(self._descriptor, line.encode())
        except OSError as error:
            self._fails(error)

    @property
    def problem(self) -> str | None:
        """A sentence about the file's errors, or ``None`` if there were none."""
        if self._error is None:
            return None
        missing = f"{self._missing} of {self._lines} lines are" if self._lines != 1 else "its only line is"
        what = f"{missing} missing" if self._missing else "its last lines may be missing"
        return f"The report file {self._path} is incomplete: {what} ({_words(self._error)})."

    def _write(self, descriptor: int, line: bytes) -> None:
        if self._has_name and os.fstat(descriptor).st_nlink == 0:
            raise FileNotFoundError(errno.ENOENT, "it was removed while the run went on")
        left = memoryview(self._first + line)
        begun = len(self._first)
        try:
            while left:
                written = os.write(descriptor, left)
                left = left[written:]
        except OSError:
            # The rest of a line that was begun is written first once there is room again; other lines are missing.
            done = begun + len(line) - len(left)
            self._first = self._first[done:] if done <= begun else bytes(left)
            self._missing += bool(line) and done <= begun
            raise
        self._first = b""

    def _fails(self, error: OSError) -> None:
        if self._error is None:
            logger.warning(
                "The report file %s cannot be written: %s. The run continues, and tries again with each task.",
                *(self._path, _words(error)),
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


def _words(error: OSError) -> str:
    return error.strerror or str(error)
