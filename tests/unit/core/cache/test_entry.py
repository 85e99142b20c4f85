"""One file of the cache."""

from __future__ import annotations

import io
import json
import os
import zlib
from pathlib import Path

import pytest

from encord_agents.core.cache.entry import HEADER, Entry, write_entry

CONTENT = bytes(range(256)) * 5000


def written(directory: Path, content: bytes = CONTENT, *, size: int | None = None, tag: str | None = '"1"') -> Path:
    source, path = directory / "source", directory / "entry"
    source.write_bytes(content)
    with path.open("wb") as file:
        size = len(content) if size is None else size
        assert write_entry(file, source, uuid="u", size=size, tag=tag, suffix=".png") == (size == len(content))
    return path


def copied(path: Path) -> bytes | None:
    entry = Entry.open(path)
    if entry is None:
        return None
    file = io.BytesIO()
    with entry:
        return file.getvalue() if entry.copy_to(file, check=lambda: None) else None


@pytest.mark.parametrize("content", [CONTENT, b"", b"\0" * HEADER])
def test_what_is_written_is_read(tmp_path: Path, content: bytes) -> None:
    """With what was told of it."""
    path = written(tmp_path, content)
    assert copied(path) == content
    entry = Entry.open(path)
    assert entry is not None
    with entry:
        assert (entry.uuid, entry.size, entry.tag, entry.suffix) == ("u", len(content), '"1"', ".png")


def test_a_copy_counts_as_a_use(tmp_path: Path) -> None:
    """That is what it is kept for."""
    path = written(tmp_path)
    os.utime(path, ns=(1, 1))
    copied(path)
    assert path.stat().st_mtime_ns > 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data + b"x",
        lambda data: data[:HEADER] + b"x" + data[HEADER + 1 :],
        lambda data: b"{}" + data[2:],
        lambda data: b"",
        lambda data: data[:100],
        lambda data: b"\xff" * len(data),
        lambda data: b"[" * len(data),
        lambda data: data.replace(b'".png"', b'"/png"', 1),
        lambda data: data.replace(b'1\\""', b'1\\n"', 1),
    ],
)
def test_a_damaged_file(tmp_path: Path, damage: object) -> None:
    """It is no entry, or its copy is known to be wrong, wherever the damage is."""
    path = written(tmp_path)
    assert callable(damage)
    data = damage(path.read_bytes())
    assert data != path.read_bytes()
    path.write_bytes(data)
    assert copied(path) is None


def test_a_damaged_bit(tmp_path: Path) -> None:
    """Wherever it is in the header, the file is no entry: nothing of it is used, such as a suffix or a tag."""
    path = written(tmp_path, b"x")
    whole = path.read_bytes()
    for at in range(HEADER):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << at % 8
        path.write_bytes(damaged)
        assert Entry.open(path) is None, at


@pytest.mark.parametrize(
    "header",
    [
        {"format": "encord-agents asset 1", "uuid": "u", "size": 1, "crc": zlib.crc32(b"x"), "tag": None, "suffix": ""},
        {"format": "encord-agents asset 3"},
        {},
        [],
    ],
)
@pytest.mark.parametrize("checked", [True, False])
def test_a_file_of_another_version_of_the_library(tmp_path: Path, header: object, checked: bool) -> None:
    """It is no entry, with whatever fields, with a checksum or without one."""
    text = json.dumps(header).encode().ljust(HEADER - 9)
    checksum = b"%08x\n" % zlib.crc32(text) if checked else b"        \n"
    path = tmp_path / "entry"
    path.write_bytes(text + checksum + b"x")
    assert Entry.open(path) is None


@pytest.mark.parametrize("kind", ["FIFO", "directory", "link"])
def test_no_regular_file(tmp_path: Path, kind: str) -> None:
    """It is refused at once, and no link is followed."""
    entry, path = written(tmp_path), tmp_path / "other"
    make = {"FIFO": os.mkfifo, "directory": Path.mkdir, "link": lambda path: path.symlink_to(entry)}[kind]
    make(path)
    with pytest.raises(OSError, match="other"):
        Entry.open(path)


def test_content_of_another_size(tmp_path: Path) -> None:
    """A file that changes while it is copied is not kept."""
    written(tmp_path, size=len(CONTENT) - 1)
    written(tmp_path, size=len(CONTENT) + 1)


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    """Such a file is not kept: nothing could ask for its newer versions."""
    source = tmp_path / "source"
    source.write_bytes(b"x")
    with (tmp_path / "entry").open("wb") as file:
        assert not write_entry(file, source, uuid="u", size=1, tag='"' + "x" * HEADER, suffix=".png")


def test_a_copy_that_is_not_wanted_any_more(tmp_path: Path) -> None:
    """It is given up."""

    def check() -> None:
        raise RuntimeError("closed")

    entry = Entry.open(written(tmp_path))
    assert entry is not None
    with entry, pytest.raises(RuntimeError, match="closed"):
        entry.copy_to(io.BytesIO(), check=check)
