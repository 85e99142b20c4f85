"""The contents of files, and the signed URLs that serve them."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import re
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

ABANDONED = 86_400.0
"""Seconds after which a partially written file is removed."""
_DIGEST = re.compile(r"[0-9a-f]{64}")


class AssetStore(Protocol):
    """Files by the SHA-256 of their content: equal files are stored once, and a file's name never becomes a path."""

    def put(self, content: bytes) -> str:
        """Store a file and return its digest."""

    def put_file(self, path: Path) -> str:
        """Store a copy of a file and return its digest."""

    def writer(self) -> Writer:
        """Begin a file whose bytes arrive in parts."""

    def get(self, digest: str) -> bytes | Path | None:
        """Return a file's bytes or its path; ``None`` if there is no such file."""

    def clear(self) -> None:
        """Remove all files."""


class Writer(Protocol):
    """A file that is being written. Nothing of it is stored before :meth:`keep`."""

    def write(self, part: bytes) -> None:
        """Append some bytes."""

    def keep(self) -> str:
        """Store the file and return its digest."""

    def drop(self) -> None:
        """Discard the file. Has no effect once it is stored."""


class MemoryWriter:
    def __init__(self, assets: MemoryAssets) -> None:
        self._assets = assets
        self._parts: list[bytes] = []

    def write(self, part: bytes) -> None:
        self._parts.append(part)

    def keep(self) -> str:
        return self._assets.put(b"".join(self._parts))

    def drop(self) -> None:
        self._parts.clear()


class DirectoryWriter:
    """A file in the store's directory, under a temporary name until its digest is known."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._hash = hashlib.sha256()
        # The name is random because two processes may receive the same file at the same time.
        self._partial = directory / f"{secrets.token_hex(8)}.part"
        descriptor = os.open(self._partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._file = os.fdopen(descriptor, "wb")

    def write(self, part: bytes) -> None:
        self._hash.update(part)
        self._file.write(part)

    def keep(self) -> str:
        self._file.close()
        digest = self._hash.hexdigest()
        path = self._directory / digest[:2] / digest
        path.parent.mkdir(exist_ok=True, mode=0o700)
        self._partial.replace(path)  # atomic: a reader that finds the name finds the whole file, even after a kill -9
        return digest

    def drop(self) -> None:
        with contextlib.suppress(OSError):  # closing flushes, which fails again if writing failed
            self._file.close()
        self._partial.unlink(missing_ok=True)


class MemoryAssets:
    def __init__(self) -> None:
        self._files: dict[str, bytes] = {}

    def put(self, content: bytes) -> str:
        digest = hashlib.sha256(content).hexdigest()
        self._files[digest] = content
        return digest

    def put_file(self, path: Path) -> str:
        return self.put(path.read_bytes())

    def writer(self) -> Writer:
        return MemoryWriter(self)

    def get(self, digest: str) -> bytes | Path | None:
        return self._files.get(digest)

    def clear(self) -> None:
        self._files.clear()


class DirectoryAssets:
    """Files below one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.suppress(OSError):  # another user's directory, or a file system without modes
            directory.chmod(0o700)
        for partial in directory.glob("*.part"):  # left by a killed process; younger ones may be in use
            with contextlib.suppress(OSError):
                if partial.stat().st_mtime < time.time() - ABANDONED:
                    partial.unlink()

    def put(self, content: bytes) -> str:
        digest = hashlib.sha256(content).hexdigest()
        if not _holds(self._path(digest), len(content)):
            writer = self.writer()
            try:
                writer.write(content)
                writer.keep()
            finally:
                writer.drop()
        return digest

    def put_file(self, path: Path) -> str:
        writer = self.writer()
        try:
            with path.open("rb") as file:
                while part := file.read(2**20):
                    writer.write(part)
            return writer.keep()
        finally:
            writer.drop()

    def writer(self) -> Writer:
        return DirectoryWriter(self._directory)

    def get(self, digest: str) -> bytes | Path | None:
        if not _DIGEST.fullmatch(digest):
            return None
        path = self._path(digest)
        return path if path.is_file() else None

    def clear(self) -> None:
        # Partial files stay: otherwise their writers would find nothing to rename.
        for path in self._directory.glob("[0-9a-f][0-9a-f]/*"):
            path.unlink(missing_ok=True)

    def _path(self, digest: str) -> Path:
        return self._directory / digest[:2] / digest


def _holds(path: Path, size: int) -> bool:
    """Return True if a file exists in its full size: after a power cut it may exist and be empty."""
    try:
        return path.stat().st_size == size
    except OSError:
        return False


class Clock:
    """The clock of signed URLs, in seconds since 1970, which a test may set forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


class Signer:
    """Makes signed URLs that expire, and verifies them.

    Args:
        secret: The signing key: anyone who has it can make URLs.
        lifetime: Seconds until a URL expires.
        now: The clock.
    """

    def __init__(self, secret: bytes, lifetime: float, now: Callable[[], float] = time.time) -> None:
        self._secret = secret
        self._now = now
        self.lifetime = lifetime

    def url(self, domain: str, item: str, name: str) -> str:
        """Return the URL of an item's file. The name is for people, and for clients that guess a type from a suffix."""
        expires = round((self._now() + self.lifetime) * 1000)
        # quote() does not escape dots, and clients drop path segments of dots; no route matches a line break.
        printable = "".join(character for character in name.rpartition("/")[2] if character.isprintable())
        readable = quote(printable.strip("."), safe="") or "file"
        return f"{domain}/assets/{item}/{readable}?expires={expires}&signature={self._sign(item, str(expires))}"

    def valid(self, item: str, expires: str, signature: str) -> bool:
        """Return True if the signature is ours and has not expired."""
        if not hmac.compare_digest(self._sign(item, expires).encode(), signature.encode("utf-8", "replace")):
            return False
        return int(expires) > self._now() * 1000

    def upload_url(self, domain: str, item: str) -> str:
        """Return the URL that an item's file can be uploaded to."""
        expires = str(round((self._now() + max(self.lifetime, 3600.0)) * 1000))
        signature = self._sign(f"upload {item}", expires)
        return f"{domain}/uploads/{item}?expires={expires}&signature={signature}"

    def valid_upload(self, item: str, expires: str, signature: str) -> bool:
        """Return True if the signature is that of an upload URL and has not expired."""
        return self.valid(f"upload {item}", expires, signature)

    def _sign(self, item: str, expires: str) -> str:
        return hmac.digest(self._secret, f"{item}\n{expires}".encode("utf-8", "replace"), "sha256").hex()
