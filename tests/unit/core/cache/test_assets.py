"""Files of storage items that are kept: found if they may be current, and never a reason to fail."""

from __future__ import annotations

import errno
import io
import os
import threading
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from encord_agents.core.cache import AssetCache, directory
from encord_agents.core.cache.entry import HEADER
from encord_agents.exceptions import NoRoomError

ONE, TWO, THREE = (UUID(int=number) for number in (1, 2, 3))


def cache(path: Path, size: int = 3 * (HEADER + 100)) -> AssetCache:
    return AssetCache(path / "cache", size)


def add(kept: AssetCache, uuid: UUID, content: bytes = b"x" * 100, *, tag: str | None = '"1"') -> None:
    source = kept.directory.parent / "source"
    source.write_bytes(content)
    kept.add(uuid, source, tag=tag, suffix=".png")


def found(kept: AssetCache, uuid: UUID, size: int | None = 100) -> bytes | None:
    entry = kept.find(uuid, size)
    if entry is None:
        return None
    file = io.BytesIO()
    with entry:
        return file.getvalue() if entry.copy_to(file, check=lambda: None) else None


def test_by_item_and_size(tmp_path: Path) -> None:
    """A file is the item's of that size. Without a size it needs a tag, by which a newer version can be asked for."""
    kept = cache(tmp_path)
    assert found(kept, ONE) is None
    add(kept, ONE)
    assert found(kept, ONE) == b"x" * 100
    assert found(kept, TWO) is None
    assert found(kept, ONE, 99) is None
    assert found(kept, ONE, None) == b"x" * 100
    add(kept, ONE, tag=None)
    assert found(kept, ONE) == b"x" * 100
    assert found(kept, ONE, None) is None


def test_a_newer_version(tmp_path: Path) -> None:
    """It takes the place of the older one."""
    kept = cache(tmp_path)
    add(kept, ONE)
    add(kept, ONE, b"y" * 50)
    assert found(kept, ONE) is None
    assert found(kept, ONE, 50) == b"y" * 50


def test_a_use_keeps_a_file(tmp_path: Path) -> None:
    """The one that was not used for longest goes first."""
    kept = cache(tmp_path)
    for uuid in (ONE, TWO):
        add(kept, uuid)
        os.utime(kept.directory / f"{uuid}.asset", ns=(uuid.int, uuid.int))
    assert found(kept, ONE) is not None
    add(kept, THREE)
    add(kept, uuid4())
    assert found(kept, TWO) is None
    assert found(kept, ONE) is not None


def test_a_file_that_is_being_read(tmp_path: Path) -> None:
    """It may be removed meanwhile, and is read all the same."""
    kept = cache(tmp_path, HEADER + 100)
    add(kept, ONE)
    entry = kept.find(ONE, 100)
    assert entry is not None
    with entry:
        add(kept, TWO, b"y" * 100)
        assert found(kept, ONE) is None
        file = io.BytesIO()
        assert entry.copy_to(file, check=lambda: None)
        assert file.getvalue() == b"x" * 100


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    """It is not kept, and nothing is removed for it."""
    kept = cache(tmp_path)
    add(kept, ONE)
    add(kept, TWO, b"y" * 10_000)
    assert found(kept, TWO, 10_000) is None
    assert found(kept, ONE) is not None


@pytest.mark.parametrize("content", [b"", b"damaged", b"{}" * 1000])
def test_a_damaged_file(tmp_path: Path, content: bytes) -> None:
    """It is removed, and another takes its place."""
    kept = cache(tmp_path)
    add(kept, ONE)
    path = kept.directory / f"{ONE}.asset"
    path.write_bytes(content)
    assert found(kept, ONE) is None
    assert not path.exists()
    add(kept, ONE)
    assert found(kept, ONE) is not None


def test_a_fifo_in_place_of_a_file(tmp_path: Path) -> None:
    """Nobody waits for its writer, and a file takes its place."""
    kept = cache(tmp_path)
    kept.directory.mkdir()
    os.mkfifo(kept.directory / f"{ONE}.asset")
    assert found(kept, ONE) is None
    add(kept, ONE)
    assert found(kept, ONE) is not None


def test_a_file_under_the_name_of_another(tmp_path: Path) -> None:
    """Labels on the wrong image are the worst there is: it is not taken."""
    kept = cache(tmp_path)
    add(kept, ONE)
    (kept.directory / f"{ONE}.asset").rename(kept.directory / f"{TWO}.asset")
    assert found(kept, TWO) is None


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_disk_that_is_full(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One warning, and nothing else: what is there is still found, and nothing is added any more."""
    kept = cache(tmp_path)
    add(kept, ONE)

    def refuse(descriptor: int, size: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(directory, "allocate", refuse)
    add(kept, TWO)
    add(kept, THREE)
    (warning,) = caplog.messages
    assert str(kept.directory) in warning
    assert os.strerror(number) in warning
    assert found(kept, ONE) is not None
    assert {one.name for one in kept.directory.iterdir()} == {".lock", f"{ONE}.asset"}


def test_a_directory_that_cannot_be_made(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One warning."""
    (tmp_path / "cache").write_text("a file")
    kept = cache(tmp_path)
    add(kept, ONE)
    add(kept, ONE)
    assert found(kept, ONE) is None
    assert len(caplog.messages) == 1


def test_handles_that_have_run_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """That passes: the file is not kept, and the next one is."""
    kept = cache(tmp_path)

    def refuse(descriptor: int, size: int) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(directory, "allocate", refuse)
        add(kept, ONE)
    add(kept, TWO)
    assert caplog.messages == []
    assert found(kept, TWO) is not None


@pytest.mark.parametrize(
    ("number", "place", "freed"),
    [(errno.ENOSPC, "cache", True), (errno.EMFILE, "cache", False), (errno.ENOSPC, None, False)],
)
def test_giving_way(tmp_path: Path, number: int, place: str | None, freed: bool) -> None:
    """Files are removed for a task's own file that has no room on the same disk, and for no other reason."""
    kept = cache(tmp_path)
    add(kept, ONE)
    lack = NoRoomError("no", OSError(number, "no"), directory=place and tmp_path)
    assert kept.give_way(lack, 10) is freed
    assert (found(kept, ONE) is None) is freed
    assert not kept.give_way(lack, 10) or not freed


def test_threads_that_find_no_room_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One warning is given, however many threads fail at the same time."""
    together, path = threading.Barrier(4), AssetCache._path

    def full(descriptor: int, size: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def path_together(self: AssetCache, uuid: UUID) -> Path:
        together.wait(30)
        return path(self, uuid)

    monkeypatch.setattr(directory, "allocate", full)
    monkeypatch.setattr(AssetCache, "_path", path_together)
    kept = cache(tmp_path / "kept", 100 * (HEADER + 100))
    content = tmp_path / "content"
    content.write_bytes(b"x" * 100)
    threads = [
        threading.Thread(target=kept.add, args=(uuid4(), content), kwargs={"tag": '"1"', "suffix": ".png"})
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len([record for record in caplog.records if "cannot be written to" in record.message]) == 1
