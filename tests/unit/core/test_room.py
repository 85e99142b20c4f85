"""Room for files: what the machine says becomes one exception, and nothing is left behind."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

import pytest
from tests.disks import Disk

from encord_agents.core import room
from encord_agents.core.room import NewFile
from encord_agents.exceptions import NoRoomError, PrintableError, UnsupportedAssetError


def new_file(directory: Path, reserve: int = 0) -> NewFile:
    return NewFile("cat.png", directory, prefix="1-", suffix=".png", reserve=reserve)


def test_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has what was written, and no more than that, whatever was reserved."""
    monkeypatch.setattr(room, "_kept", {})
    with new_file(tmp_path, reserve=1000) as file:
        file.write(b"abc")
        path = file.finish()
    assert path.read_bytes() == b"abc"
    assert room.any_kept()
    room.remove(path)
    assert not room.any_kept()


def test_a_file_that_is_given_up(tmp_path: Path) -> None:
    """It is removed."""
    with new_file(tmp_path) as file:
        file.write(b"abc")
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_was_removed(tmp_path: Path) -> None:
    """It is made again, as private as before; where there is no place for it, the error names it."""
    directory = tmp_path / "files"
    with new_file(directory) as file:
        file.write(b"abc")
        assert file.finish().read_bytes() == b"abc"
    assert directory.stat().st_mode & 0o777 == 0o700
    with pytest.raises(NoRoomError, match=r"No such file or directory, in .*nowhere"):
        new_file(tmp_path / "nowhere" / "files")


# Space and handles come back; other troubles do not pass by themselves.
SCARCE = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM)
ABOUT_SIZE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
ERRORS = (*SCARCE, errno.EFBIG, errno.EROFS, errno.EIO)
SAID = [("reserve", number) for number in ABOUT_SIZE]
SAID += [(place, number) for place in ("make", "open", "write", "end") for number in ERRORS]


@pytest.mark.parametrize(("place", "number"), SAID, ids=lambda one: errno.errorcode.get(one, one))
def test_what_the_machine_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, number: int) -> None:
    """It names the item, the reason, the directory and a remedy; nothing stays."""
    Disk(monkeypatch, fails_at=place, number=number)

    def write() -> None:
        with new_file(tmp_path, reserve=10) as file:
            file.write(b"abc")
            file.finish()

    with pytest.raises(NoRoomError) as caught:
        write()
    assert caught.value.errno == number
    assert caught.value.may_pass is (number in SCARCE)
    assert caught.value.directory == str(tmp_path)
    for words in ("cat.png", os.strerror(number), str(tmp_path), "run again"):
        assert words in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, *set(ERRORS).difference(ABOUT_SIZE)], ids=errno.errorcode.get)
def test_room_is_kept_where_it_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """A file system that knows nothing of it, or has some trouble with it, is written to all the same."""
    Disk(monkeypatch, fails_at="reserve", number=number)
    with new_file(tmp_path, reserve=10) as file:
        assert file.finish().exists()


@pytest.mark.parametrize(("size", "reserves"), [(0, False), (1_000, False), (1 << 20, True), (1 << 24, True)])
def test_room_is_kept_for_large_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, reserves: bool
) -> None:
    """A megabyte and more: for a smaller file it would cost more than a request in vain."""
    asked: list[int] = []
    monkeypatch.setattr(room, "allocate", lambda descriptor, size: asked.append(size))
    with new_file(tmp_path, reserve=size):
        assert asked == ([size] if reserves else [])


def test_no_room_is_kept_that_no_such_disk_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The size that the platform states may be wrong: other files do not have to make room for an absurd one."""
    asked: list[int] = []
    monkeypatch.setattr(room, "allocate", lambda descriptor, size: asked.append(size))
    with new_file(tmp_path) as file:
        disk = file.disk
    assert asked == []
    for size in (disk, disk + 1):
        with new_file(tmp_path, reserve=size):
            assert asked == [disk]


def test_a_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is private, and gone afterwards."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with room.temporary_directory() as directory:
        assert directory.stat().st_mode & 0o777 == 0o700
        (directory / "file").touch()
    assert list(tmp_path.iterdir()) == []
    room.check_directory()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EMFILE, errno.EROFS, errno.EACCES])
def test_no_directory(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """No place for one is a mistake of the set-up; a place without room is not."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), "/tmp/encord-agents-1")

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    with pytest.raises(PrintableError, match=r"TMPDIR|ulimit") as caught:
        room.check_directory()
    assert isinstance(caught.value, NoRoomError) is (number in (errno.ENOSPC, errno.EMFILE))


class Holder:
    def __init__(self, size: int | None) -> None:
        self.size = size
        room.not_used_yet(self)

    def evict(self) -> int | None:
        if self.size is not None:
            room.used(self)
        return self.size


def test_what_is_not_used_makes_room() -> None:
    """The latest first, and no more than is needed; what is in use stays."""
    first, second, third = Holder(10), Holder(10), Holder(None)
    assert room.evict(5)
    assert [holder for holder in (first, second, third) if holder in room._of_this_process()] == [first, third]
    assert room.evict(None)
    assert not room.evict(None)
    room.used(third)


def test_what_is_behind_an_exception() -> None:
    """Whatever a library makes of it; what an agent says of files of its own is not ours."""
    scarce = OSError(errno.EMFILE, "Too many open files")
    wrapped = UnsupportedAssetError("'a.png' cannot be read as an image")
    wrapped.__cause__ = scarce
    lack = room.no_room(wrapped)
    assert lack is not None
    assert (lack.errno, lack.may_pass) == (errno.EMFILE, True)
    assert "a.png" in str(lack)
    handled = ValueError("odd")
    handled.__context__ = lack
    assert room.no_room(handled) is lack
    for other in (scarce, ValueError("odd"), UnsupportedAssetError("damaged"), OSError(errno.ENOENT, "not there")):
        assert room.no_room(other) is None

    class OddError(Exception):
        @property
        def errno(self) -> int:
            raise LookupError

    assert room.ran_out(OddError()) is None
