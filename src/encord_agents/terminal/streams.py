"""Standard streams that may fail at any write: the reader exits, the terminal closes, the encoding is narrow.

A failed write fails no task. The library's own output goes through `Guarded` streams, whose writes never
raise. On the command line, `forgiving_streams` does the same for the agents' own ``print``.
"""

from __future__ import annotations

import contextlib
import errno
import io
import sys
from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, TextIO, cast

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer
    from rich.console import Console

__all__ = [
    "Guarded",
    "forgiving_streams",
    "is_terminal",
    "stderr",
    "stderr_console",
    "stdout",
    "stdout_console",
    "write_line",
]

GONE = frozenset({errno.EPIPE, errno.EIO, errno.ESHUTDOWN, errno.ECONNRESET, errno.EBADF, errno.ENXIO})
"""Errors after which the stream has no reader any more. Others, like a full disk, may pass."""

Name = Literal["stdout", "stderr"]


class Guarded(io.TextIOBase):
    """The process's current ``sys.stdout`` or ``sys.stderr``, whose writes never raise.

    Characters that the stream's encoding lacks are escaped.
    """

    def __init__(self, name: Name) -> None:
        self._name: Name = name

    @property
    def stream(self) -> TextIO | None:
        """The current stream; ``None`` in a process without one."""
        found: Any = getattr(sys, self._name)
        # While its bars are live, rich replaces the stream with a proxy that prints on the console, which writes here.
        stream: TextIO | None = getattr(found, "rich_proxied_file", found)
        return stream

    def write(self, text: str, /) -> int:
        """Write as much as possible. The text always counts as written."""
        stream = self.stream
        if stream is not None:
            with contextlib.suppress(OSError, ValueError):  # ValueError: the stream is closed
                try:
                    stream.write(text)
                except UnicodeError:
                    stream.write(_encodable(text, stream))
        return len(text)

    def flush(self) -> None:
        """Flush as much as possible."""
        with contextlib.suppress(OSError, ValueError):
            if (stream := self.stream) is not None:
                stream.flush()

    def close(self) -> None:
        """Leave the stream open: it belongs to the process. This is also called when the object is collected, which may
        be at the very end of the process, when module globals are gone already."""

    def isatty(self) -> bool:
        """Return True if the stream is a terminal."""
        return is_terminal(self.stream)

    def writable(self) -> bool:
        """Return True: text that cannot be written is dropped."""
        return True

    def fileno(self) -> int:
        """Return the stream's file descriptor.

        Raises:
            OSError: It has none.
        """
        if (stream := self.stream) is None:
            raise io.UnsupportedOperation(f"there is no sys.{self._name}")
        return stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The stream's encoding."""
        return getattr(self.stream, "encoding", None) or "utf-8"


stdout = cast("TextIO", Guarded("stdout"))
stderr = cast("TextIO", Guarded("stderr"))


def is_terminal(stream: TextIO | None) -> bool:
    """Return True if a stream is a terminal. A missing or closed stream is not."""
    try:
        return stream is not None and stream.isatty()
    except (ValueError, OSError):
        return False


@cache
def stderr_console() -> Console:
    """Return the console shared by all output to stderr, which appears above live bars."""
    return _console(stderr)


def stdout_console() -> Console:
    """Return a console on stdout."""
    return _console(stdout)


def _console(stream: TextIO) -> Console:
    from rich.console import Console

    console = Console(file=stream, highlight=False, markup=False, emoji=False)
    if console.width < 1:  # programs that do not know their terminal's width export COLUMNS=0
        console.width = 80
    return console


def write_line(text: str, style: str = "", stream: TextIO | None = None) -> None:
    """Write a line to stderr, or ``stream``. On a terminal, it is styled and appears above the bars, if any."""
    if stream is None and is_terminal(sys.stderr):
        from rich.text import Text

        stderr_console().print(Text(text, style=style), soft_wrap=True)
        return
    target = stderr if stream is None else stream
    target.write(f"{text}\n")
    target.flush()


@contextlib.contextmanager
def forgiving_streams(reader_left: Callable[[], None] | None = None) -> Iterator[None]:
    """While inside, make ``sys.stdout`` and ``sys.stderr`` accept any text, and drop text that cannot be written.

    For the library's own programs only: its command lines. Streams that are not plain files (as in a notebook, or
    under a test runner that captures output) stay as they are; a missing one is replaced by one that drops everything.

    Args:
        reader_left: Called once, when stdout turns out to have no reader any more. May be called in any thread.
    """
    before = sys.stdout, sys.stderr
    sys.stdout = _forgiving(sys.stdout, reader_left)
    sys.stderr = _forgiving(sys.stderr, None)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()
        # Restoring the old streams loses nothing, even if their reader is gone: their buffers are empty.
        sys.stdout, sys.stderr = before


class _Forgiving(io.RawIOBase):
    """A file descriptor that drops data that cannot be written."""

    def __init__(self, descriptor: int, reader_left: Callable[[], None] | None) -> None:
        super().__init__()
        self._file = io.FileIO(descriptor, "wb", closefd=False)
        self._reader_left = reader_left
        self._gone = False

    def write(self, data: ReadableBuffer, /) -> int:
        left = memoryview(data).cast("B")
        size = left.nbytes
        try:
            # Write all of it: a text stream without a buffer does not check how much was written.
            while left and not self._gone:
                written = self._file.write(left)
                if written is None:  # it would block, and a run does not wait for a reader
                    break
                left = left[written:]
        except OSError as error:
            if error.errno in GONE:
                self._gone = True
                if self._reader_left is not None:
                    self._reader_left()
        return size

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._file.fileno()

    def isatty(self) -> bool:
        return is_terminal(cast("TextIO", self._file))


class _Nowhere(io.RawIOBase):
    """A stream that drops everything."""

    def write(self, data: ReadableBuffer, /) -> int:
        return memoryview(data).nbytes

    def writable(self) -> bool:
        return True


def _forgiving(stream: Any, reader_left: Callable[[], None] | None) -> Any:
    """Return a stream on the same descriptor that drops data that cannot be written, or the stream itself."""
    if stream is None:  # it was closed before Python started, as with `>&-`
        return io.TextIOWrapper(cast("Any", _Nowhere()), encoding="utf-8", errors="backslashreplace")
    buffer = getattr(stream, "buffer", None)
    is_buffered = not isinstance(buffer, io.FileIO)  # False with PYTHONUNBUFFERED, as set in most images
    raw = getattr(buffer, "raw", None) if is_buffered else buffer
    if type(stream) is not io.TextIOWrapper or not isinstance(raw, io.FileIO):
        return stream
    with contextlib.suppress(OSError, ValueError):
        stream.flush()
    try:
        forgiving = _Forgiving(stream.fileno(), reader_left)
    except (OSError, ValueError):  # it is closed
        return stream
    errors = "backslashreplace" if stream.errors in ("strict", "surrogateescape") else stream.errors
    made = io.TextIOWrapper(
        io.BufferedWriter(forgiving) if is_buffered else cast("Any", forgiving),
        encoding=stream.encoding,
        errors=errors,
        newline="\n" if sys.platform != "win32" else None,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
    made.mode = "w"  # type: ignore[misc]
    return made


def _encodable(text: str, stream: TextIO) -> str:
    encoding = getattr(stream, "encoding", None) or "ascii"
    return text.encode(encoding, "backslashreplace").decode(encoding)
