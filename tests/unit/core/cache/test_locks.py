"""Locks on open files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from encord_agents.core.cache.locks import try_lock


def test_one_holder(tmp_path: Path) -> None:
    """Each opening of a file has a lock of its own, which ends when it is closed."""
    path = tmp_path / "file"
    one, other = (os.open(path, os.O_RDWR | os.O_CREAT) for _ in range(2))
    assert try_lock(one)
    assert not try_lock(other)
    os.close(one)
    assert try_lock(other)
    os.close(other)


def test_where_there_are_no_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller says what that means."""
    import fcntl

    def refuse(descriptor: int, operation: int) -> None:
        raise OSError("No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with (tmp_path / "file").open("wb") as file:
        assert try_lock(file.fileno())
        assert try_lock(file.fileno(), otherwise=None) is None
