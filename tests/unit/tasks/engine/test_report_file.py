"""The report file: every line that can be written is there, and what is not is told."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from encord_agents.exceptions import PrintableError
from encord_agents.tasks.engine import report_file
from encord_agents.tasks.engine.events import TaskFinished, TaskRef
from encord_agents.tasks.engine.outcome import Held
from encord_agents.tasks.engine.report_file import ReportFile

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
    with ReportFile(tmp_path / "r.jsonl") as file:
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
    with ReportFile(path) as file:
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
    with ReportFile(path) as file:
        file(finished(1))
        machine.room = room
        file(finished(2))
    assert file.problem is not None
    assert "1 of 2 lines are missing" in file.problem
    machine.room = None
    with ReportFile(path) as file:
        file(finished(3))
    assert titles(path) == ["file 1", *["bad"] * (room > 0), "file 3"]
    assert file.problem is None


def test_an_old_file_without_an_end(tmp_path: Path) -> None:
    """As a killed run leaves it; a run that writes nothing leaves it as it is."""
    path = tmp_path / "r.jsonl"
    path.write_text('{"a": 1')
    with ReportFile(path):
        pass
    assert path.read_text() == '{"a": 1'
    with ReportFile(path) as file:
        file(finished(1))
    assert titles(path) == ["bad", "file 1"]


def test_an_end_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Some file systems say only then that there was no room."""
    machine = Machine(monkeypatch, errno.EDQUOT)
    machine.closes = False
    with ReportFile(tmp_path / "r.jsonl") as file:
        file(finished(1))
    assert file.problem is not None
    assert "may be missing" in file.problem
    assert len(caplog.records) == 1


def test_a_file_that_was_removed(tmp_path: Path) -> None:
    """Also with its directory: what is written to it is lost, and it is said."""
    (tmp_path / "there").mkdir()
    path = tmp_path / "there" / "r.jsonl"
    with ReportFile(path) as file:
        file(finished(1))
        path.unlink()
        path.parent.rmdir()
        file(finished(2))
    assert file.problem is not None
    assert "it was removed while the run went on" in file.problem


def test_a_pipe(tmp_path: Path) -> None:
    """Without a reader it is refused at once; with one it is written to, until the reader leaves."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(PrintableError, match="nobody reads from it"), ReportFile(path):
        pass
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with ReportFile(path) as file:
        file(finished(1))
        assert json.loads(os.read(reader, 65536))["data_title"] == "file 1"
        os.close(reader)
        file(finished(2))
    assert file.problem is not None
    assert "1 of 2 lines are missing" in file.problem


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_full_device() -> None:
    """Nothing is written, and the run's result counts."""
    with ReportFile("/dev/full") as file:
        file(finished(1))
    assert file.problem is not None
    assert "its only line is missing (No space left on device)" in file.problem


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    """It is a mistake of the set-up."""
    for path in (tmp_path, tmp_path / "no" / "r.jsonl"):
        with pytest.raises(PrintableError, match="cannot be written"), ReportFile(path):
            pass
