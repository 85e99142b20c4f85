"""Environment variables -> the key and the domain. The only module of ``core`` that reads the environment."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import Field, PrivateAttr
from pydantic_settings import BaseSettings, SettingsConfigDict

from encord_agents.exceptions import CredentialsError

__all__ = ["Settings"]

logger = logging.getLogger(__name__)

DEFAULT_DOMAIN = "https://api.encord.com"

_WHERE_KEYS_COME_FROM = (
    "Make a key pair with `ssh-keygen -t ed25519 -f ~/.ssh/encord -N ''`, register the public half (~/.ssh/encord.pub) "
    "with Encord, and point ENCORD_SSH_KEY_FILE at the private half."
)


class Settings(BaseSettings):
    """Who to be and whom to talk to.

    What is given as an argument wins over the environment. Everything is checked at once: settings that exist
    can be used.

    Args:
        ssh_key_content: The text of an OpenSSH Ed25519 private key. Default: the environment's ``ENCORD_SSH_KEY``.
        ssh_key_file: The file that holds such a key; ``~`` is expanded. Default: ``ENCORD_SSH_KEY_FILE``. Where the
            environment has both, the text wins and a warning is logged.
        domain: The platform's address. Default: ``ENCORD_DOMAIN``, or else ``https://api.encord.com``.
        aliases: The same values by the names of their environment variables.

    Raises:
        CredentialsError: There is no key, or it cannot be used, or the domain is not an address.
    """

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", hide_input_in_errors=True)

    ssh_key_content: str | None = Field(default=None, validation_alias="ENCORD_SSH_KEY", repr=False)
    ssh_key_file: Path | None = Field(default=None, validation_alias="ENCORD_SSH_KEY_FILE")
    domain: str = Field(default=DEFAULT_DOMAIN, validation_alias="ENCORD_DOMAIN")

    _ssh_key: str = PrivateAttr("")

    def __init__(
        self,
        *,
        ssh_key_content: str | None = None,
        ssh_key_file: str | Path | None = None,
        domain: str | None = None,
        **aliases: Any,
    ) -> None:
        given = {"ENCORD_SSH_KEY": ssh_key_content, "ENCORD_SSH_KEY_FILE": ssh_key_file, "ENCORD_DOMAIN": domain}
        values = {name: value for name, value in given.items() if value is not None} | aliases
        super().__init__(**values)

        explicit = {name for name in ("ENCORD_SSH_KEY", "ENCORD_SSH_KEY_FILE") if values.get(name) is not None}
        if explicit == {"ENCORD_SSH_KEY_FILE"}:
            self.ssh_key_content = None  # an argument beats the environment, whichever of the two it is
        elif explicit == {"ENCORD_SSH_KEY"}:
            self.ssh_key_file = None

        self.domain = _checked_domain(self.domain)
        if self.ssh_key_content is not None:
            if self.ssh_key_file is not None:
                logger.warning(
                    "Both ENCORD_SSH_KEY and ENCORD_SSH_KEY_FILE are set: the key in ENCORD_SSH_KEY is used."
                )
            self._ssh_key = _checked_key(self.ssh_key_content, source="ENCORD_SSH_KEY")
        elif self.ssh_key_file is not None:
            self.ssh_key_file = _checked_path(self.ssh_key_file)
            self._ssh_key = _checked_key(_read(self.ssh_key_file), source=f"The file {self.ssh_key_file}")
        else:
            raise CredentialsError(
                "There is no key to sign in with: neither ENCORD_SSH_KEY_FILE nor ENCORD_SSH_KEY is set.\n"
                "Set one of them: ENCORD_SSH_KEY_FILE to the path of a private key, or ENCORD_SSH_KEY to its text.\n"
                f"{_WHERE_KEYS_COME_FROM}"
            )

    @property
    def ssh_key(self) -> str:
        """The private key's text, wherever it came from."""
        return self._ssh_key


def _checked_domain(domain: str) -> str:
    domain = domain.strip()
    try:
        parts = urlsplit(domain)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, brackets that hold no address
        usable = False
    if not usable or re.search(r"\s", domain):
        raise CredentialsError(
            f"ENCORD_DOMAIN must be an address that starts with https:// (or http://), not {domain!r}.\n"
            f"Write it as in {DEFAULT_DOMAIN}, or unset it to use that one."
        )
    return domain.rstrip("/")


def _checked_path(path: Path) -> Path:
    """The path, expanded.

    Raises:
        CredentialsError: It is a key's text, or no path at all. Neither is quoted: it may be a key.
    """
    if "-----BEGIN" in str(path) or "\n" in str(path):
        raise CredentialsError(
            "ENCORD_SSH_KEY_FILE holds the text of a key, and it wants the path of a file that holds one.\n"
            "Put the text into ENCORD_SSH_KEY instead, and unset ENCORD_SSH_KEY_FILE."
        )
    if "\0" in str(path):
        raise CredentialsError("ENCORD_SSH_KEY_FILE is no path: there is a null character in it.")
    try:
        return path.expanduser()
    except RuntimeError:
        raise CredentialsError(
            f"ENCORD_SSH_KEY_FILE starts in the home directory of a user who is not known here: {path}\n"
            "Write the path in full."
        ) from None


def _read(path: Path) -> str:
    """The file's text.

    Raises:
        CredentialsError: It cannot be read.
    """
    if os.path.isdir(path):  # which is false, and no exception, where a path is too long
        raise CredentialsError(
            f"ENCORD_SSH_KEY_FILE is a directory: {path}\n"
            f"Give the private key inside it, such as {path / 'id_ed25519'}."
        )
    try:
        return path.read_text(encoding="ascii")
    except FileNotFoundError:
        raise CredentialsError(
            f"ENCORD_SSH_KEY_FILE names a file that does not exist: {path}\n"
            "Correct the path (a relative one starts at the working directory), or make the key.\n"
            f"{_WHERE_KEYS_COME_FROM}"
        ) from None
    except UnicodeDecodeError:
        raise CredentialsError(
            f"The file {path} is not text, so it is not an OpenSSH private key.\n{_WHERE_KEYS_COME_FROM}"
        ) from None
    except OSError as error:
        raise CredentialsError(
            f"ENCORD_SSH_KEY_FILE names a file that cannot be read: {path} ({error.strerror or type(error).__name__})\n"
            "Run as the user who owns it, or let that user read it: chmod 600 FILE."
        ) from error


def _checked_key(text: str, *, source: str) -> str:
    """The key, tidied, once it is known to sign.

    The messages never quote ``text``: what is not quite a key may still be most of one.
    """
    # Imported here because it is slow and only needed by those who sign in.
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import ssh

    # Files of environment variables, such as Docker's, hold one line per variable: line breaks come as backslash and n.
    text = text.replace("\\r\\n", "\n").replace("\\n", "\n")
    key = "\n".join(line.strip() for line in text.strip().splitlines()) + "\n"
    if "-----BEGIN" not in key:
        raise CredentialsError(_not_a_private_key(text.strip(), source))
    if "BEGIN OPENSSH PRIVATE KEY" not in key:
        raise CredentialsError(
            f"{source} is not a private key in OpenSSH's format, the only one the platform's client reads.\n"
            f"{_WHERE_KEYS_COME_FROM}"
        )
    try:
        private_key = ssh.load_ssh_private_key(key.encode(), password=None)
    except (TypeError, ValueError, UnsupportedAlgorithm) as error:
        # Without its reason: `from None` hides it from tracebacks, and nothing of the key is quoted anywhere.
        if isinstance(error, TypeError) or "password" in str(error).lower():
            raise CredentialsError(
                f"{source} is protected by a passphrase, which nobody is there to type.\n"
                "Make a copy without one: cp KEY COPY && ssh-keygen -p -N '' -f COPY, and use the copy."
            ) from None
        raise CredentialsError(
            f"{source} is damaged: it starts like an OpenSSH private key but cannot be read as one.\n"
            "Check that all of it was copied, the BEGIN and END lines included."
        ) from None
    if not isinstance(private_key, Ed25519PrivateKey):
        kind = type(private_key).__name__.removesuffix("PrivateKey").lstrip("_")
        raise CredentialsError(
            f"{source} is a key of another kind ({kind}); the platform takes Ed25519 keys only.\n"
            f"{_WHERE_KEYS_COME_FROM}"
        )
    return key


def _not_a_private_key(text: str, source: str) -> str:
    if re.match(r"(ssh-|ecdsa-|sk-)\S+ ", text):
        return (
            f"{source} is a public key. The private one signs in.\n"
            "It lies beside the public one, under the same name without '.pub'."
        )
    if source == "ENCORD_SSH_KEY" and "\n" not in text and _is_path(text):
        return (
            "ENCORD_SSH_KEY holds a path, and it wants the key's text.\n"
            "Put the path into ENCORD_SSH_KEY_FILE instead, and unset ENCORD_SSH_KEY."
        )
    return f"{source} is not a private key.\n{_WHERE_KEYS_COME_FROM}"


def _is_path(text: str) -> bool:
    if not text:
        return False  # which would be the working directory
    if text.startswith(("/", "~", "./", "../")) or re.match(r"[A-Za-z]:[\\/]", text):
        return True
    try:
        return Path(text).exists()
    except OSError:  # longer than a path can be
        return False
