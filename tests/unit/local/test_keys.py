"""Keys: made once, their owner's alone, never half of one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from encord_agents.local import LocalPlatformError
from encord_agents.local.keys import key_id, key_in


@pytest.fixture(params=[0o000, 0o022, 0o277])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    """Mode 0600 from the first moment, whatever the umask; the same key the next time."""
    path = tmp_path / "key"
    key = key_in(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert key_in(path) == key
    assert os.listdir(tmp_path) == ["key"]


def test_those_who_come_at_once_get_one_key(tmp_path: Path) -> None:
    """Whoever is first makes it; nobody reads half of it."""
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: key_in(tmp_path / "key"), range(16)))
    assert len({key_id(key) for key in found}) == 1
    assert os.listdir(tmp_path) == ["key"]


def _other() -> list[bytes]:
    format = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    curve = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    return [b"", b"words", b"\xff\x00", format, curve]


@pytest.mark.parametrize("content", _other(), ids=["empty", "words", "binary", "other format", "other kind"])
def test_a_file_that_is_no_key(tmp_path: Path, content: bytes) -> None:
    """It is named, and left alone."""
    path = tmp_path / "key"
    path.write_bytes(content)
    with pytest.raises(LocalPlatformError, match=f"{path} is not an Ed25519 private key"):
        key_in(path)
    assert path.read_bytes() == content


def test_a_directory_in_its_place(tmp_path: Path) -> None:
    """An error for a person, too."""
    with pytest.raises(LocalPlatformError, match="Is a directory"):
        key_in(tmp_path)
