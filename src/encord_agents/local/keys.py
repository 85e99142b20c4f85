"""SSH keys: generated on first use, and stored so that only their owner can read them."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat, ssh

from encord_agents.local.trouble import LocalPlatformError

logger = logging.getLogger(__name__)


def new_key() -> str:
    """Generate an Ed25519 private key in OpenSSH's text format."""
    key = Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode("ascii")


def key_id(private_key: str) -> str:
    """Return the id of a key on the platform: its raw public half, as 64 hex characters."""
    key = ssh.load_ssh_private_key(private_key.encode("ascii"), None)
    if not isinstance(key, Ed25519PrivateKey):
        raise LocalPlatformError("Only Ed25519 keys can sign requests.")
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()


def key_in(path: Path) -> str:
    """Return the key in a file, generating it (mode 0600) if the file does not exist.

    Raises:
        LocalPlatformError: The file holds something else, or cannot be read or created.
    """
    try:
        if not path.exists():
            _make(path)
        text = path.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise LocalPlatformError(f"{path} cannot be the platform's key: {error.strerror}.") from error
    try:
        key_id(text)
    except (ValueError, TypeError, UnsupportedAlgorithm, LocalPlatformError):
        raise LocalPlatformError(f"{path} is not an Ed25519 private key. Remove it, and a new one is made.") from None
    with contextlib.suppress(OSError):
        if path.stat().st_mode & 0o077:
            logger.warning("Others can read the platform's key: chmod 600 %s", path)
    return text


def _make(path: Path) -> None:
    """Write a new key to a file atomically: if two processes get here at once, the first key stays and is complete."""
    made = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            os.fchmod(descriptor, 0o600)  # whatever the umask
            file.write(new_key())
        with contextlib.suppress(FileExistsError):
            os.link(made, path)
    finally:
        made.unlink()
