"""Which cache is in use."""

from __future__ import annotations

import contextvars
from pathlib import Path
from typing import Any

import pytest

from encord_agents.core.cache import cache_for, cache_in_use, use_cache
from encord_agents.exceptions import PrintableError


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ENCORD_AGENTS_CACHE", raising=False)
    monkeypatch.delenv("ENCORD_AGENTS_CACHE_SIZE", raising=False)


def test_no_cache() -> None:
    """Without a directory there is none."""
    assert cache_for() is None
    assert cache_in_use() is None


def test_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names a directory and a size; arguments win over it."""
    monkeypatch.setenv("ENCORD_AGENTS_CACHE", str(tmp_path))
    cache = cache_for()
    assert cache is not None
    assert (cache.directory, cache.size) == (tmp_path, 20_000_000_000)
    assert cache_for() is cache
    assert cache_in_use() is cache
    monkeypatch.setenv("ENCORD_AGENTS_CACHE_SIZE", "5 MB")
    cache = cache_for(tmp_path / "other")
    assert cache is not None
    assert (cache.directory, cache.size) == (tmp_path / "other", 5_000_000)
    cache = cache_for(size="1 GiB")
    assert cache is not None
    assert (cache.directory, cache.size) == (tmp_path, 1 << 30)


def test_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """``~`` is expanded."""
    monkeypatch.setenv("HOME", str(tmp_path))
    cache = cache_for("~/assets", 10)
    assert cache is not None
    assert cache.directory == tmp_path / "assets"


def test_one_context(tmp_path: Path) -> None:
    """A runner's cache is in use within its attempts only, also where it has none."""
    cache = cache_for(tmp_path)

    def attempt() -> None:
        use_cache(cache)
        assert cache_in_use() is cache

    contextvars.copy_context().run(attempt)
    assert cache_in_use() is None


@pytest.mark.parametrize("size", [0, -1, "much", "5 apples", [1]])
def test_a_size_that_is_none(tmp_path: Path, size: Any) -> None:
    """It is refused at once, by the name of the argument and of the variable."""
    with pytest.raises(PrintableError, match=r"asset_cache_size.*ENCORD_AGENTS_CACHE_SIZE.*50 GB"):
        cache_for(tmp_path, size)


def test_a_directory_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file, or what cannot be a path, is refused at once; what may be a secret is not quoted."""
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(PrintableError, match=r"asset_cache.*file.* is a file"):
        cache_for(file)
    for wrong in ("a\0b", "~nobody-of-this-name/cache"):
        with pytest.raises(PrintableError, match=r"asset_cache.*must be the path of a directory"):
            cache_for(wrong)
    monkeypatch.setenv("ENCORD_AGENTS_CACHE", str(file))
    with pytest.raises(PrintableError, match="ENCORD_AGENTS_CACHE"):
        cache_for()
