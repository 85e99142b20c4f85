"""The bytes of files, and the signed URLs they are served under."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import re
import time
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

_DIGEST = re.compile(r"[0-9a-f]{64}")


class AssetStore(Protocol):
    """Files by the SHA-256 of their content: equal files are kept once, and no name ever becomes a path."""

    def put(self, content: bytes) -> str:
        """Keep a file. Returns its digest."""

    def get(self, digest: str) -> bytes | Path | None:
        """A file's bytes, or where they are; ``None`` if there is no such file."""


class MemoryAssets:
    def __init__(self) -> None:
        self._files: dict[str, bytes] = {}

    def put(self, content: bytes) -> str:
        digest = hashlib.sha256(content).hexdigest()
        self._files[digest] = content
        return digest

    def get(self, digest: str) -> bytes | Path | None:
        return self._files.get(digest)


class DirectoryAssets:
    """Files below one directory, and nowhere else."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.suppress(OSError):  # somebody else's directory, or a file system without modes
            directory.chmod(0o700)

    def put(self, content: bytes) -> str:
        digest = hashlib.sha256(content).hexdigest()
        path = self._path(digest)
        if not _holds(path, len(content)):
            path.parent.mkdir(exist_ok=True, mode=0o700)
            # Whole or not at all, also when two processes add the same file.
            partial = path.with_suffix(f".{os.getpid()}")
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            partial.replace(path)
        return digest

    def get(self, digest: str) -> bytes | Path | None:
        if not _DIGEST.fullmatch(digest):
            return None
        path = self._path(digest)
        return path if path.is_file() else None

    def _path(self, digest: str) -> Path:
        return self._directory / digest[:2] / digest


def _holds(path: Path, size: int) -> bool:
    """Return True if a file is there in its full size: after a power cut it may be there, and empty."""
    try:
        return path.stat().st_size == size
    except OSError:
        return False


class Signer:
    """Makes URLs that are good for a while, and tells them from others.

    Args:
        secret: Whoever has it can make URLs.
        lifetime: Seconds.
    """

    def __init__(self, secret: bytes, lifetime: float) -> None:
        self._secret = secret
        self.lifetime = lifetime

    def url(self, domain: str, item: str, name: str) -> str:
        """The URL of an item's file. The name is for people, and for those who guess a type from a suffix."""
        expires = round((time.time() + self.lifetime) * 1000)
        # quote() leaves dots alone, and clients drop a path segment of dots; no route matches a line break.
        printable = "".join(character for character in name.rpartition("/")[2] if character.isprintable())
        readable = quote(printable.strip("."), safe="") or "file"
        return f"{domain}/assets/{item}/{readable}?expires={expires}&signature={self._sign(item, str(expires))}"

    def valid(self, item: str, expires: str, signature: str) -> bool:
        """Whether this is a URL of ours, and still good."""
        if not hmac.compare_digest(self._sign(item, expires).encode(), signature.encode("utf-8", "replace")):
            return False
        return int(expires) > time.time() * 1000

    def _sign(self, item: str, expires: str) -> str:
        return hmac.digest(self._secret, f"{item}\n{expires}".encode("utf-8", "replace"), "sha256").hex()
