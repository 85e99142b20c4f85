"""The bytes of files, and the signed URLs they are served under."""

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
"""Seconds after which a file that was begun and not finished is removed."""
_DIGEST = re.compile(r"[0-9a-f]{64}")


class AssetStore(Protocol):
    """Files by the SHA-256 of their content: equal files are kept once, and no name ever becomes a path."""

    def put(self, content: bytes) -> str:
        """Keep a file. Returns its digest."""

    def put_file(self, path: Path) -> str:
        """Keep a copy of a file. Returns its digest."""

    def writer(self) -> Writer:
        """Begin a file of which the bytes come bit by bit."""

    def get(self, digest: str) -> bytes | Path | None:
        """A file's bytes, or where they are; ``None`` if there is no such file."""

    def clear(self) -> None:
        """Forget all files."""


class Writer(Protocol):
    """A file that is being written. Nothing is kept of it before :meth:`keep`."""

    def write(self, part: bytes) -> None:
        """Append some bytes."""

    def keep(self) -> str:
        """Keep the file. Returns its digest."""

    def drop(self) -> None:
        """Forget it. Nothing happens once it is kept."""


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
    """A file beside the others, under a name of its own until its digest is known."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._hash = hashlib.sha256()
        # A name of its own: two processes may receive the same file at the same time.
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
        self._partial.replace(path)  # in one step: who finds the name finds the whole file, also after a kill -9
        return digest

    def drop(self) -> None:
        with contextlib.suppress(OSError):  # what it could not write before, it cannot write now
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
    """Files below one directory, and nowhere else."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.suppress(OSError):  # somebody else's directory, or a file system without modes
            directory.chmod(0o700)
        for partial in directory.glob("*.part"):  # of a process that was killed; younger ones may be of a living one
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
        # What is being written stays: its writer would find nothing to rename.
        for path in self._directory.glob("[0-9a-f][0-9a-f]/*"):
            path.unlink(missing_ok=True)

    def _path(self, digest: str) -> Path:
        return self._directory / digest[:2] / digest


def _holds(path: Path, size: int) -> bool:
    """Return True if a file is there in its full size: after a power cut it may be there, and empty."""
    try:
        return path.stat().st_size == size
    except OSError:
        return False


class Clock:
    """The time of signed URLs, which a test may set forward. Seconds since 1970."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


class Signer:
    """Makes URLs that are good for a while, and tells them from others.

    Args:
        secret: Whoever has it can make URLs.
        lifetime: Seconds.
        now: The clock.
    """

    def __init__(self, secret: bytes, lifetime: float, now: Callable[[], float] = time.time) -> None:
        self._secret = secret
        self._now = now
        self.lifetime = lifetime

    def url(self, domain: str, item: str, name: str) -> str:
        """The URL of an item's file. The name is for people, and for those who guess a type from a suffix."""
        expires = round((self._now() + self.lifetime) * 1000)
        # quote() leaves dots alone, and clients drop a path segment of dots; no route matches a line break.
        printable = "".join(character for character in name.rpartition("/")[2] if character.isprintable())
        readable = quote(printable.strip("."), safe="") or "file"
        return f"{domain}/assets/{item}/{readable}?expires={expires}&signature={self._sign(item, str(expires))}"

    def valid(self, item: str, expires: str, signature: str) -> bool:
        """Return True if this is a URL of ours, and still good."""
        if not hmac.compare_digest(self._sign(item, expires).encode(), signature.encode("utf-8", "replace")):
            return False
        return int(expires) > self._now() * 1000

    def upload_url(self, domain: str, item: str) -> str:
        """The URL that an item's file can be sent to."""
        expires = str(round((self._now() + max(self.lifetime, 3600.0)) * 1000))
        signature = self._sign(f"upload {item}", expires)
        return f"{domain}/uploads/{item}?expires={expires}&signature={signature}"

    def valid_upload(self, item: str, expires: str, signature: str) -> bool:
        """Return True if this is the URL of an upload, and still good."""
        return self.valid(f"upload {item}", expires, signature)

    def _sign(self, item: str, expires: str) -> str:
        return hmac.digest(self._secret, f"{item}\n{expires}".encode("utf-8", "replace"), "sha256").hex()
