"""Files by what is in them, and URLs that nobody else can make."""

from __future__ import annotations

import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encord_agents.local.assets import DirectoryAssets, MemoryAssets, Signer


def signed(signer: Signer, item: str, name: str = "a.png") -> tuple[str, str]:
    query = parse_qs(urlsplit(signer.url("http://127.0.0.1", item, name)).query)
    return query["expires"][0], query["signature"][0]


def test_equal_files_are_kept_once(tmp_path: Path) -> None:
    """By the digest of their content; nothing half-written stays."""
    assets = DirectoryAssets(tmp_path)
    digest = assets.put(b"content")
    assert assets.put(b"content") == digest == MemoryAssets().put(b"content")
    assert [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()] == [b"content"]


@pytest.mark.parametrize(
    "digest", ["../secret", "..", "", "/etc/passwd", "a" * 63, "A" * 64, "a" * 64 + "\n", "a" * 64]
)
def test_a_digest_is_never_a_path(tmp_path: Path, digest: str) -> None:
    """What is no digest is no file, wherever it would lead."""
    (tmp_path / "secret").write_text("secret")
    assert DirectoryAssets(tmp_path / "assets").get(digest) is None
    assert MemoryAssets().get(digest) is None


def test_a_url_is_good_for_its_item_until_it_expires() -> None:
    """Not for another item, another time, or under another secret."""
    signer = Signer(b"secret", 60)
    expires, signature = signed(signer, "one")
    assert signer.valid("one", expires, signature)
    assert not signer.valid("two", expires, signature)
    assert not signer.valid("one", str(int(expires) + 1000), signature)
    assert not Signer(b"other", 60).valid("one", expires, signature)
    old = Signer(b"secret", -0.001)
    assert not old.valid("one", *signed(old, "one"))
    assert int(expires) / 1000 == pytest.approx(time.time() + 60, abs=5)


@given(item=st.text(), expires=st.text(), signature=st.text())
def test_nobody_guesses_one(item: str, expires: str, signature: str) -> None:
    """Whatever is tried is refused, and never an error."""
    assert not Signer(b"secret", 60).valid(item, expires, signature)


@given(name=st.text())
def test_a_name_stays_in_its_place(name: str) -> None:
    """No title changes where a URL leads: it is one segment of the path, and not dots."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return
    path = urlsplit(Signer(b"secret", 60).url("http://127.0.0.1:1", "item", name)).path
    *_, item, last = path.split("/")
    assert path.count("/") == 3
    assert item == "item"
    assert last.strip(".")
