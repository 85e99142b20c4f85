"""The report file: every line that can be written is there, and what is not is told."""

from __future__ import annotations

import errno
import json
import os
import select
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from encord_agents.exceptions import PrintableError
from encord_agents.tasks.engine import report_file
from encord_agents.tasks.engine.events import TaskFinished, TaskRef
from encord_agents.tasks.engine.outcome import Held
from encord_agents.tasks.engine.report_file import ReportFile
from encord_agents.tasks.engine.stop import Stop

STAGE = UUID(int=1)
ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EPIPE, errno.EBADF, errno.ESTALE)


def finished(number: int) -> TaskFinished:
    return TaskFinished(TaskRef(UUID(int=number), UUID(int=number), f"file {number}", STAGE, "A"), Held(), 1, 0.1)


class Machine:
    """What the module takes for `os`: it refuses what it is told to.

    Attributes:
        room: Bytes that can still be written; ``None``: as many as one likes.
        closes: Whether a file can be closed.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, number: int = errno.ENOSPC) -> None:
        self.number = number
        self.room: int | None = None
        self.closes = True
        monkeypatch.setattr(report_file, "os", self)

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def write(self, descriptor: int, data: memoryview) -> int:
        if self.room is None:
            return os.write(descriptor, data)
        if not self.room:
            raise OSError(self.number, os.strerror(self.number))
        written = os.write(descriptor, data[: self.room])
        self.room -= written
        return written

    def close(self, descriptor: int) -> None:
        os.close(descriptor)
        if not self.closes:
            raise OSError(self.number, os.strerror(self.number))


def titles(path: Path) -> list[str]:
    """Of the lines that are good."""
    found = []
    for line in path.read_text().splitlines():
        try:
            found.append(json.loads(line)["data_title"])
        except ValueError:
            found.append("bad")
    return found


def test_a_line_for_each_task(tmp_path: Path) -> None:
    """All is well, and nothing is told."""
    with ReportFile(tmp_path / "r.jsonl", Stop()) as file:
        file(finished(1))
        assert titles(tmp_path / "r.jsonl") == ["file 1"]
        file(finished(2))
    assert titles(tmp_path / "r.jsonl") == ["file 1", "file 2"]
    assert file.problem is None


@pytest.mark.parametrize("number", ERRORS, ids=errno.errorcode.get)
@pytest.mark.parametrize("room", [0, 1, 40, 2_000])
def test_a_write_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int, room: int
) -> None:
    """It is warned of once, and told at the end; no line is torn for good where there is room again."""
    machine, path = Machine(monkeypatch, number), tmp_path / "r.jsonl"
    with ReportFile(path, Stop()) as file:
        file(finished(1))
        machine.room = room
        for n in range(2, 40):
            file(finished(n))
        machine.room = None
        file(finished(40))
    found = titles(path)
    assert (found[0], found[-1]) == ("file 1", "file 40")
    assert "bad" not in found
    assert len(caplog.records) == 1
    assert os.strerror(number) in caplog.text
    assert file.problem is not None
    assert f"{40 - len(found)} of 40 lines are missing" in file.problem


@pytest.mark.parametrize("room", [0, 1, 40])
def test_a_torn_line_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    """The next run begins on a line of its own, so that one line is lost and not two."""
    machine, path = Machine(monkeypatch), tmp_path / "r.jsonl"
    with ReportFile(path, Stop()) as file:
        file(finished(1))
        machine.room = room
        file(finished(2))
    assert file.problem is not None
    assert "1 of 2 lines are missing" in file.problem
    machine.room = None
    with ReportFile(path, Stop()) as file:
        file(finished(3))
    assert titles(path) == ["file 1", *["bad"] * (room > 0), "file 3"]
    assert file.problem is None


def test_an_old_file_without_an_end(tmp_path: Path) -> None:
    """As a killed run leaves it; a run that writes nothing leaves it as it is."""
    path = tmp_path / "r.jsonl"
    path.write_text('{"a": 1')
    with ReportFile(path, Stop()):
        pass
    assert path.read_text() == '{"a": 1'
    with ReportFile(path, Stop()) as file:
        file(finished(1))
    assert titles(path) == ["bad", "file 1"]


def test_an_end_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Some file systems say only then that there was no room."""
    machine = Machine(monkeypatch, errno.EDQUOT)
    machine.closes = False
    with ReportFile(tmp_path / "r.jsonl", Stop()) as file:
        file(finished(1))
    assert file.problem is not None
    assert "may be missing" in file.problem
    assert len(caplog.records) == 1


def test_a_line_of_a_dry_run(tmp_path: Path) -> None:
    """It says so, since its task did not really move."""
    path = tmp_path / "r.jsonl"
    for dry_run in (True, False):
        with ReportFile(path, Stop(), dry_run=dry_run) as file:
            file(finished(1))
    assert [json.loads(line).get("dry_run") for line in path.read_text().splitlines()] == [True, None]


@pytest.mark.parametrize("kept", [True, False], ids=["renamed", "removed"])
@pytest.mark.parametrize("created", [True, False], ids=["created", "gone"])
def test_a_file_that_is_rotated(tmp_path: Path, caplog: pytest.LogCaptureFixture, kept: bool, created: bool) -> None:
    """As by logrotate: later lines are in a new file of its name, and nothing is missing."""
    path, old = tmp_path / "r.jsonl", tmp_path / "r.jsonl.1"
    with ReportFile(path, Stop()) as file:
        file(finished(1))
        path.rename(old)
        if not kept:
            old.unlink()
        if created:
            path.write_text('{"torn": ')
        file(finished(2))
        file(finished(3))
    assert titles(path) == [*["bad"] * created, "file 2", "file 3"]
    assert not kept or titles(old) == ["file 1"]
    assert (file.problem, caplog.records) == (None, [])


@pytest.mark.parametrize("room", [None, 0], ids=["room", "no room"])
def test_a_torn_line_in_a_file_that_is_rotated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int | None
) -> None:
    """It is completed in the old file if there is room by then, and otherwise counts as missing."""
    machine, path, old = Machine(monkeypatch), tmp_path / "r.jsonl", tmp_path / "r.jsonl.1"
    with ReportFile(path, Stop()) as file:
        machine.room = 40
        file(finished(1))
        path.rename(old)
        machine.room = room
        file(finished(2))
        machine.room = None
        file(finished(3))
    assert titles(old) == ["file 1" if room is None else "bad"]
    assert titles(path) == [*["file 2"] * (room is None), "file 3"]
    assert file.problem is not None
    assert ("2 of 3 lines are missing" in file.problem) == (room == 0)


def test_links_to_a_file(tmp_path: Path) -> None:
    """A symbolic link is followed, to another file too; a file of several names is one file."""
    link, first, second = tmp_path / "r.jsonl", tmp_path / "first", tmp_path / "second"
    first.touch()
    (tmp_path / "other name").hardlink_to(first)
    link.symlink_to(first)
    with ReportFile(link, Stop()) as file:
        file(finished(1))
        file(finished(2))
        link.unlink()
        link.symlink_to(second)
        file(finished(3))
    assert titles(first) == titles(tmp_path / "other name") == ["file 1", "file 2"]
    assert titles(second) == ["file 3"]
    assert file.problem is None


def test_a_file_without_a_name(tmp_path: Path) -> None:
    """As stdout may be, by its name in /dev: it is written to, and no file of its old name appears."""
    path = tmp_path / "r.jsonl"
    with path.open("w+") as stdout:
        path.unlink()
        with ReportFile(f"/dev/fd/{stdout.fileno()}", Stop()) as file:
            file(finished(1))
            file(finished(2))
        assert len(stdout.readlines()) == 2
    assert file.problem is None
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_is_gone(tmp_path: Path) -> None:
    """Each line that has no place is counted; once there is one again, lines go there."""
    path = tmp_path / "there" / "r.jsonl"
    path.parent.mkdir()
    with ReportFile(path, Stop()) as file:
        file(finished(1))
        path.unlink()
        path.parent.rmdir()
        for number in range(2, 5):
            file(finished(number))
        path.parent.mkdir()
        file(finished(5))
    assert titles(path) == ["file 5"]
    assert file.problem is not None
    assert "3 of 5 lines are missing (No such file or directory)" in file.problem


def test_a_pipe(tmp_path: Path) -> None:
    """Without a reader it is refused at once; with one it is written to, until the reader leaves."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(PrintableError, match="nobody reads from it"), ReportFile(path, Stop()):
        pass
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with ReportFile(path, Stop()) as file:
        file(finished(1))
        assert json.loads(os.read(reader, 65536))["data_title"] == "file 1"
        os.close(reader)
        file(finished(2))
    assert file.problem is not None
    assert "1 of 2 lines are missing" in file.problem


def lines_until_full(file: ReportFile) -> int:
    """Write lines to a pipe until one is missing. Return how many were written before."""
    for number in range(10_000):
        file(finished(number))
        if file.problem is not None:
            return number
    raise AssertionError("the pipe is never full")


def read(reader: int) -> list[str]:
    """Return the titles of the lines that a pipe holds."""
    found = b""
    try:
        while part := os.read(reader, 65536):
            found += part
    except BlockingIOError:
        pass
    return [json.loads(line)["data_title"] for line in found.splitlines()]


def test_a_reader_that_does_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line waits for it, and no further one; once it reads again, lines arrive again, and each of them is whole."""
    monkeypatch.setattr(report_file, "PATIENCE", 0.5)
    waits: list[float] = []

    class Poll:
        """The real one, which notes how long it may wait."""

        def __init__(self) -> None:
            self._poll = select.poll()
            self.register = self._poll.register

        def poll(self, limit: float) -> Any:
            waits.append(limit / 1000)
            return self._poll.poll(limit)

    monkeypatch.setattr(report_file, "select", SimpleNamespace(poll=Poll, POLLOUT=select.POLLOUT))
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with ReportFile(path, Stop()) as file:
        written = lines_until_full(file)
        for number in range(1_000):
            file(finished(20_000 + number))
        # One wait for all; a poll that ends a little early leaves the rest of it to the next line.
        assert len(waits) > 1_000
        assert waits[0] == 0.5
        assert sum(waits[1:]) < 0.5
        found = read(reader)
        file(finished(30_000))
        found += read(reader)
    os.close(reader)
    assert found[:written] == [f"file {number}" for number in range(written)]
    assert found[-1] == "file 30000"
    assert file.problem is not None
    assert f"{written + 1_002 - len(found)} of {written + 1_002} lines are missing" in file.problem
    assert "its reader does not read" in file.problem


def test_a_slow_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is waited for, for each line anew. After a stop, all lines together wait as long as one did before."""
    clock, waits = [0.0], []

    class Poll:
        """Each wait finds room after 4 s if the limit allows; the pipe is read by then."""

        def register(self, *_: object) -> None: ...

        def poll(self, limit: float) -> bool:
            waits.append(limit / 1000)
            clock[0] += min(4.0, limit / 1000)
            if limit >= 4_000:
                found.extend(read(reader))
            return limit >= 4_000

    monkeypatch.setattr(report_file, "select", SimpleNamespace(poll=Poll, POLLOUT=select.POLLOUT))
    path, stop, found = tmp_path / "pipe", Stop(), list[str]()
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with ReportFile(path, stop, clock=lambda: clock[0]) as file:
        while len(waits) < 3:
            file(finished(len(waits)))
        assert file.problem is None
        stop.request()
        while file.problem is None:
            file(finished(9))
    os.close(reader)
    assert waits[:5] == [5.0, 5.0, 5.0, 5.0, 1.0]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_full_device() -> None:
    """Nothing is written, and the run's result counts."""
    with ReportFile("/dev/full", Stop()) as file:
        file(finished(1))
    assert file.problem is not None
    assert "its only line is missing (No space left on device)" in file.problem


@pytest.mark.parametrize("name", ["", "no/r.jsonl", "nul\0", "half a character \ud83d"])
def test_what_cannot_be_opened(tmp_path: Path, name: str) -> None:
    """It is a mistake of the set-up, and told in words that can be shown."""
    with pytest.raises(PrintableError, match="cannot be written") as caught, ReportFile(tmp_path / name, Stop()):
        pass
    assert str(caught.value).encode().isascii()
    assert "\0" not in str(caught.value)


def test_a_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As stdout is under systemd: the error does not take it for a pipe."""
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("socket")
        with pytest.raises(PrintableError, match="it is a socket"), ReportFile("socket", Stop()):
            pass
