"""Standard streams that fail at a write: nobody's failure."""

# ruff: noqa: T201 - what agents print is what this is about

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable

import pytest

from encord_agents.terminal import streams


class Failing(io.StringIO):
    """A stream whose writes and flushes fail in a given way."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def write(self, text: str, /) -> int:
        raise self.error

    def flush(self) -> None:
        raise self.error


@pytest.mark.parametrize(
    "error",
    [
        BrokenPipeError(errno.EPIPE, "no reader"),
        OSError(errno.EIO, "no terminal"),
        OSError(errno.ENOSPC, "no room"),
        ValueError("I/O operation on closed file."),
    ],
    ids=["EPIPE", "EIO", "ENOSPC", "closed"],
)
def test_guarded_writes_never_raise(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the library itself writes is dropped where it cannot be written."""
    monkeypatch.setattr(sys, "stdout", Failing(error))
    monkeypatch.setattr(sys, "stderr", Failing(error))
    streams.stdout.write("text\n")
    streams.stdout.flush()
    streams.write_line("text")
    streams.stderr_console().print("text")


def test_an_unknown_width(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs that do not know the terminal's width export COLUMNS=0. Text appears all the same, 80 columns wide."""
    monkeypatch.setenv("COLUMNS", "0")
    out = io.StringIO()
    monkeypatch.setattr("sys.stdout", out)
    streams.stdout_console().print("word " * 20)
    assert [len(line) for line in out.getvalue().splitlines()] == [80, 20]


def test_the_end_of_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is left of modules by then, a guarded stream that is removed says nothing, and closes nothing."""
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    guarded = streams.Guarded("stdout")
    guarded.write("text\n")
    monkeypatch.setattr(streams, "contextlib", None)
    guarded.close()  # as the interpreter does, which since 3.13 tells of exceptions
    assert isinstance(sys.stdout, io.StringIO)
    assert sys.stdout.getvalue() == "text\n"


def test_no_streams_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program without streams, as under pythonw, writes nothing."""
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    streams.stdout.write("text\n")
    streams.write_line("text")
    assert not streams.is_terminal(sys.stdout)
    with streams.forgiving_streams():
        sys.stdout.write("写")  # what agents write is dropped, too
        sys.stdout.flush()
        print("写", file=sys.stderr)
    assert sys.stdout is None


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "utf-8"])
def test_what_an_encoding_lacks_is_escaped(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of the line is shown as it is."""
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding, errors="strict"))
    streams.stdout.write("写真 ok\n")
    streams.stdout.flush()
    shown = raw.getvalue().decode(encoding)
    assert shown == ("写真 ok\n" if encoding == "utf-8" else "\\u5199\\u771f ok\n")


def unbuffered(descriptor: int) -> io.TextIOWrapper:
    """Return a stream as PYTHONUNBUFFERED has Python make it."""
    return io.TextIOWrapper(os.fdopen(descriptor, "wb", 0), encoding="ascii", errors="strict", write_through=True)


@pytest.mark.parametrize(
    "opened", [lambda number: os.fdopen(number, "w", encoding="ascii", errors="strict"), unbuffered]
)
def test_forgiving_streams(opened: Callable[[int], io.TextIOWrapper], monkeypatch: pytest.MonkeyPatch) -> None:
    """On the command line a ``print`` into a pipe without a reader is dropped, and it is said once that it has left."""
    left: list[int] = []
    reading, writing = os.pipe()
    monkeypatch.setattr(sys, "stdout", opened(writing))
    before = sys.stdout
    with streams.forgiving_streams(lambda: left.append(1)):
        print("photo 写", flush=True)
        assert os.read(reading, 100) == b"photo \\u5199\n"
        assert not left
        os.close(reading)
        for _ in range(3):
            print("more", flush=True)
        sys.stdout.buffer.write(b"bytes")
        sys.stdout.buffer.flush()
        print("left behind in the buffer")
        assert left == [1]
    assert sys.stdout is before
    before.close()


def test_text_from_before_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was printed before, and not flushed yet, keeps its place."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        print("first")
        with streams.forgiving_streams():
            print("second")
        print("third", flush=True)
        assert os.read(reading, 100) == b"first\nsecond\nthird\n"
    os.close(reading)


def test_streams_of_a_notebook_stay() -> None:
    """Streams that are not files, as pytest's and Jupyter's are not, stay what they are."""
    before = sys.stdout, sys.stderr
    with streams.forgiving_streams():
        assert isinstance(sys.stdout, type(before[0]))
        print("seen")
    assert (sys.stdout, sys.stderr) == before
