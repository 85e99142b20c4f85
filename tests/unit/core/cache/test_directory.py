"""A directory of bounded size, which several processes share."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests import preloaded

from encord_agents.core.cache import directory
from encord_agents.core.cache.directory import BoundedDirectory

NAMES = re.compile(r"\w+\.asset")


def bounded(path: Path, size: int = 100) -> BoundedDirectory:
    return BoundedDirectory(path, size, NAMES)


def put(files: BoundedDirectory, name: str, size: int = 30) -> bool:
    """Add a file. Return True if there was room for it."""
    with files.new(f"{name}.asset", size) as part:
        if part is not None:
            part.file.write(name[0].encode() * size)
            part.is_done = True
        return part is not None


def names(path: Path) -> set[str]:
    return {one.stem for one in path.glob("*.asset")}


def use(path: Path, name: str, at: int) -> None:
    os.utime(path / f"{name}.asset", ns=(at, at))


def size_under_lock(files: BoundedDirectory) -> int:
    """The bytes of all files, at a moment when no process may add or remove any."""
    with files._locked():
        return sum(one.stat().st_size for one in files.path.iterdir() if one.name != ".lock")


def test_a_file(tmp_path: Path) -> None:
    """A file has its name once it is complete, and is readable by its owner only."""
    files = bounded(tmp_path / "new")
    with files.new("one.asset", 3) as part:
        assert part is not None
        assert names(files.path) == set()
        part.file.write(b"abc")
        part.is_done = True
    path = files.path / "one.asset"
    assert path.read_bytes() == b"abc"
    assert path.stat().st_mode & 0o777 == 0o600
    assert files.path.stat().st_mode & 0o777 == 0o700


def test_a_link_in_place_of_the_lock(tmp_path: Path) -> None:
    """The file that it leads to is not written to."""
    other = tmp_path / "other"
    other.write_text("of somebody")
    files = bounded(tmp_path / "new")
    files.path.mkdir()
    (files.path / ".lock").symlink_to(other)
    with pytest.raises(OSError, match=r"\.lock"):
        put(files, "one")
    assert other.read_text() == "of somebody"


@pytest.mark.parametrize("how", ["not done", "raises"])
def test_a_file_that_is_given_up(tmp_path: Path, how: str) -> None:
    """Nothing of it is left, and it does not count."""
    files = bounded(tmp_path)
    try:
        with files.new("one.asset", 90):
            if how == "raises":
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert {one.name for one in tmp_path.iterdir()} == {".lock"}
    put(files, "two", 90)
    assert names(tmp_path) == {"two"}


def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    """They make room, in the order of their last use, not in that of their names or ages."""
    files = bounded(tmp_path)
    for at, name in enumerate(("one", "two", "three"), 1):
        put(files, name)
        use(tmp_path, name, at)
    use(tmp_path, "one", 10)
    put(files, "four")
    assert names(tmp_path) == {"one", "three", "four"}


def test_a_file_in_place_of_an_older_one(tmp_path: Path) -> None:
    """Counts once."""
    files = bounded(tmp_path)
    for _ in range(20):
        put(files, "one", 40)
    put(files, "two", 40)
    assert names(tmp_path) == {"one", "two"}


def test_files_that_another_process_has_added(tmp_path: Path) -> None:
    """Count too, since the first look of each process; and so do those that were removed by hand."""
    put(bounded(tmp_path), "one", 60)
    put(bounded(tmp_path), "two", 60)
    assert names(tmp_path) == {"two"}
    (tmp_path / "two.asset").unlink()
    put(bounded(tmp_path), "three", 60)
    assert names(tmp_path) == {"three"}


def test_files_of_others(tmp_path: Path) -> None:
    """Files of other names, directories and links are neither counted nor removed; a damaged total is counted anew."""
    (tmp_path / "notes.txt").write_bytes(b"x" * 1000)
    (tmp_path / "folder.asset").mkdir()
    (tmp_path / "link.asset").symlink_to(tmp_path / "notes.txt")
    (tmp_path / ".lock").write_text("nonsense")
    files = bounded(tmp_path)
    for name in ("one", "two", "three", "four"):
        assert put(files, name)
    (tmp_path / ".lock").write_text("")
    assert put(files, "five")
    others = {"notes.txt", "folder.asset", "link.asset", ".lock"}
    left = {one.name for one in tmp_path.iterdir()}
    assert left >= others | {"five.asset"}
    assert len(left - others) <= 3


def test_a_name_that_is_taken_by_a_directory(tmp_path: Path) -> None:
    """The file cannot have it: an error, and nothing is left."""
    files = bounded(tmp_path)
    (tmp_path / "one.asset" / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match=r"irectory|not permitted"):
        put(files, "one")
    assert not list(tmp_path.glob(".encord-agents-*"))


def test_others_are_writing(tmp_path: Path) -> None:
    """What is being written is not removed: if too little room is left, there is none."""
    files = bounded(tmp_path)
    with files.new("one.asset", 60) as part:
        assert part is not None
        assert not put(bounded(tmp_path), "two", 60)
        part.is_done = True
    assert put(bounded(tmp_path), "two", 60)


def test_shrink(tmp_path: Path) -> None:
    """Frees so many bytes, as far as there are any."""
    files = bounded(tmp_path)
    for at, name in enumerate(("one", "two", "three"), 1):
        put(files, name)
        use(tmp_path, name, at)
    assert files.shrink(31) == 60
    assert names(tmp_path) == {"three"}
    assert files.shrink(1000) == 30
    assert files.shrink(1000) == 0


def test_files_are_counted_while_one_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process may count them just before: the total is that of the files which are there."""
    files, other = bounded(tmp_path), bounded(tmp_path)
    put(files, "kept", 20)
    with files.new("given_up.asset", 30) as part:
        assert part is not None
        locked = files._locked

        def count_first() -> Any:
            monkeypatch.setattr(files, "_locked", locked)
            assert put(other, "other", 10)
            return locked()

        monkeypatch.setattr(files, "_locked", count_first)
    with files._locked() as total:
        assert total.read() == 30
    assert size_under_lock(files) == 30
    assert names(tmp_path) == {"kept", "other"}


def test_a_process_that_keeps_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is not waited for without end."""
    monkeypatch.setattr(directory, "LOCK_SECONDS", 0.0)
    files = bounded(tmp_path)
    with files._locked(), pytest.raises(OSError, match="locked"):
        put(bounded(tmp_path), "one")


KILLED = """
import sys, time
from pathlib import Path
from tests.unit.core.cache.test_directory import bounded
with bounded(Path(sys.argv[1])).new("one.asset", 80) as part:
    part.file.write(b"x" * 40)
    part.file.flush()
    print("half", flush=True)
    time.sleep(600)
"""


def test_a_process_that_is_killed_while_it_writes(tmp_path: Path) -> None:
    """Nobody sees half a file, and what is left of it makes room for others."""
    child = preloaded.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "half\n"
    assert not put(bounded(tmp_path), "two")  # it is alive
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert names(tmp_path) == set()
    assert put(bounded(tmp_path), "two")
    assert {one.name for one in tmp_path.iterdir()} == {".lock", "two.asset"}


BUSY = """
import random, sys
from pathlib import Path
from tests.unit.core.cache.test_directory import bounded, put
files, chance = bounded(Path(sys.argv[1]), 2000), random.Random(int(sys.argv[2]))
for _ in range(100):
    put(files, chance.choice("abcdefghij"), chance.randrange(1, 700))
"""


def test_several_processes(tmp_path: Path) -> None:
    """The directory is never larger than it may be, and each file is as one of them has written it."""
    children = [preloaded.Popen([sys.executable, "-c", BUSY, str(tmp_path), str(seed)]) for seed in range(3)]
    files, chance, looks = bounded(tmp_path, 2000), random.Random(7), 0
    while looks < 50 or any(child.poll() is None for child in children):
        put(files, chance.choice("abcdefghij"), chance.randrange(1, 700))
        assert size_under_lock(files) <= 2000
        for path in tmp_path.glob("*.asset"):
            try:
                content = path.read_bytes()
            except FileNotFoundError:
                continue
            assert content == path.stem.encode() * len(content)
        looks += 1
    assert [child.wait() for child in children] == [0, 0, 0]
    assert not list(tmp_path.glob(".encord-agents-*"))
