"""Locks between processes: one at a time, gone with their process, and done without where there can be none."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests import preloaded
from tests.unit.editor.test_row_queue import frame

from encord_agents.editor.row_locks import RowLocks
from encord_agents.editor.row_queue import RowQueue
from encord_agents.exceptions import EditorRequestError

HOLDER = """
import sys
from pathlib import Path
from encord_agents.editor.row_locks import RowLocks
from encord_agents.editor.row_queue import RowQueue
from tests.unit.editor.test_row_queue import frame
with RowQueue(locks=RowLocks(Path(sys.argv[1]))).locked(frame()):
    print("taken", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held_elsewhere(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that is at work on the row of `frame()`."""
    command = [sys.executable, "-c", HOLDER, str(path)]
    with preloaded.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "taken\n"
        yield process


def test_another_process_is_waited_for(tmp_path: Path) -> None:
    """Its row is taken, and no other; when it is done, or killed, the row is free."""
    path = tmp_path / "locks"
    impatient, patient = (RowQueue(longest_wait=wait, locks=RowLocks(path)) for wait in (0, 60))
    with held_elsewhere(path) as process:
        with pytest.raises(EditorRequestError, match="Try again") as caught, impatient.locked(frame()):
            pytest.fail("two at a time")
        assert (caught.value.status, caught.value.retry_after) == (409, 5)
        with impatient.locked(frame(2)):
            pass
        process.kill()
        with patient.locked(frame()):
            pass
    with held_elsewhere(path) as process:
        assert process.stdin is not None
        process.stdin.close()
        with patient.locked(frame()):
            pass
    assert len(impatient) == len(patient) == 0


def test_a_file_that_was_removed(tmp_path: Path) -> None:
    """Cleaners of temporary directories may remove it: a process that had it open locks the new one from then on."""
    path = tmp_path / "locks"
    locks = RowLocks(path)
    assert locks.take(1)
    path.unlink()
    impatient = RowQueue(longest_wait=0, locks=locks)
    with held_elsewhere(path) as process:
        with pytest.raises(EditorRequestError, match="Try again"), impatient.locked(frame()):
            pytest.fail("two at a time")
        locks.release(1)  # of the old file
        process.kill()
    with impatient.locked(frame()):
        pass


def test_a_file_in_use_looks_recently_used(tmp_path: Path) -> None:
    """Cleaners remove files that nobody has changed for days."""
    path = tmp_path / "locks"
    locks = RowLocks(path)
    assert locks.take(1)
    os.utime(path, (0, 0))
    locks.release(1)
    assert locks.take(1)
    assert path.stat().st_mtime > 0


def test_a_file_that_is_always_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A file system on which it cannot be told apart is done without, and not asked for ever."""
    monkeypatch.setattr(os.path, "samestat", lambda one, other: False)
    locks = RowLocks(tmp_path / "locks")
    assert locks.take(1)
    assert locks.take(1)
    assert len(caplog.records) == 1
    monkeypatch.undo()
    with held_elsewhere(tmp_path / "locks"):
        pass


def test_locks_are_released_after_they_are_done_without(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A lock that was taken before is not kept until the process ends."""
    directory = tmp_path / "temporary"
    directory.mkdir()
    path = directory / "locks"
    locks = RowLocks(path)
    with RowQueue(locks=locks).locked(frame()):
        kept = directory.rename(tmp_path / "elsewhere") / "locks"
        assert locks.take(1)  # there is no directory for a file
        assert len(caplog.records) == 1
    with held_elsewhere(kept):
        pass


def test_without_a_file_processes_do_not_wait(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Agents are served all the same, and the log says so once."""
    locks = RowLocks(tmp_path / "no such directory" / "locks")
    for _ in range(2):
        assert locks.take(1)
        locks.release(1)
    assert len(caplog.records) == 1


def test_links_are_not_followed(tmp_path: Path) -> None:
    """Somebody else may have put one in the place of the file."""
    (tmp_path / "elsewhere").touch()
    (tmp_path / "locks").symlink_to(tmp_path / "elsewhere")
    locks = RowLocks(tmp_path / "locks")
    assert locks.take(1)
    assert locks._file is None
