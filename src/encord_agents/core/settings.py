"""The key, the domain and the cache, from environment variables. Nothing else in ``core`` reads the environment."""

from __future__ import annotations

import os
import re
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any, NoReturn, SupportsIndex
from urllib.parse import urlsplit

from pydantic import BeforeValidator, ByteSize, Field, PrivateAttr, ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from encord_agents.core.keys import MAKE_A_KEY_PAIR, MAX_KEY_BYTES, decoded, openssh_key
from encord_agents.core.legible import quotable
from encord_agents.core.logs import get_logger
from encord_agents.exceptions import CredentialsError, PrintableError
from encord_agents.redaction import may_be_secret

__all__ = ["CacheSettings", "PrintableError", "Settings", "WebhookSettings"]

logger = get_logger(__name__)

DEFAULT_DOMAIN = "https://api.encord.com"
AUTHORITIES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""The variables in which `requests` looks for a CA bundle, in order."""
BOTH_KEYS = "Both ENCORD_SSH_KEY and ENCORD_SSH_KEY_FILE are set: the key in ENCORD_SSH_KEY is used."


class _Secret(str):
    """A string whose ``repr`` hides it, in containers and debuggers too."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'**********'"


def _stripped(value: object) -> object:
    return (value.strip() or None) if isinstance(value, str) else value


OptionalPath = Annotated[Path | None, BeforeValidator(_stripped)]
"""A path without the white space around it: secret stores and tools of deployment may add a line feed."""


class _Environment(EnvSettingsSource):
    """The variables with a value: secret stores, shells and tools of deployment leave blank ones in place of none."""

    def __call__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__call__().items() if str(value).strip()}


class _Settings(BaseSettings):
    model_config = SettingsConfigDict(extra="ignore", hide_input_in_errors=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources of values, those that take precedence first."""
        return init_settings, _Environment(settings_cls), dotenv_settings, file_secret_settings


class Settings(_Settings):
    """The credentials and the address of the platform.

    Arguments take precedence over the environment. Everything is validated on construction: any instance is usable.

    Args:
        ssh_key_content: The text of an unencrypted Ed25519 private key, in OpenSSH's format, as PKCS#8, or either as
            base64 (see `encord_agents.core.keys`). Default: the environment's ``ENCORD_SSH_KEY``.
        ssh_key_file: The file that holds such a key; ``~`` is expanded. Default: ``ENCORD_SSH_KEY_FILE``. If the
            environment has both, the text wins, a warning is logged and a `UserWarning` is issued.
        domain: The platform's address. Default: ``ENCORD_DOMAIN``, or ``https://api.encord.com``.
        aliases: The same values by the names of their environment variables.

    Raises:
        CredentialsError: There is no key, or it cannot be used, or the domain is not an address.
    """

    ssh_key_content: str | None = Field(default=None, validation_alias="ENCORD_SSH_KEY", repr=False, exclude=True)
    ssh_key_file: OptionalPath = Field(default=None, validation_alias="ENCORD_SSH_KEY_FILE")
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
            self.ssh_key_content = None  # an argument overrides both variables of the environment
        elif explicit == {"ENCORD_SSH_KEY"}:
            self.ssh_key_file = None

        self.domain = _checked_domain(self.domain)
        if self.ssh_key_content is not None:
            self.ssh_key_content = _Secret(self.ssh_key_content)
            if self.ssh_key_file is not None:
                logger.warning(BOTH_KEYS)
                warnings.warn(BOTH_KEYS, UserWarning, stacklevel=2)
            self._ssh_key = _Secret(openssh_key(self.ssh_key_content, source="ENCORD_SSH_KEY"))
        elif self.ssh_key_file is not None:
            self.ssh_key_file = _checked_path(self.ssh_key_file)
            self._ssh_key = _Secret(openssh_key(_read(self.ssh_key_file), source=f"The file {self.ssh_key_file}"))
        else:
            raise CredentialsError(
                "There is no key to sign in with: neither ENCORD_SSH_KEY_FILE nor ENCORD_SSH_KEY is set.\n"
                "Set one of them: ENCORD_SSH_KEY_FILE to the path of a private key, or ENCORD_SSH_KEY to its text.\n"
                f"{MAKE_A_KEY_PAIR}"
            )

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        """Refuse to be pickled: the pickle would hold the private key.

        Raises:
            TypeError: Always.
        """
        raise TypeError("Settings hold a private key and are not pickled. Make new ones in the other process.")

    def __hash__(self) -> int:
        return hash((self._ssh_key, self.domain))

    @property
    def ssh_key(self) -> str:
        """The private key's text, wherever it came from."""
        return self._ssh_key


_latest: tuple[object, Settings] | None = None


def settings_of_environment() -> Settings:
    """Return the settings of the environment, read again only if it, or the key's file, has changed.

    Raises:
        CredentialsError: There is no key, or it cannot be used.
    """
    global _latest
    environment = tuple((name, value) for name, value in os.environ.items() if name.upper().startswith("ENCORD_"))
    latest = _latest
    if latest is None or latest[0] != (environment, _stamp(latest[1].ssh_key_file)):
        settings = Settings()
        latest = _latest = (environment, _stamp(settings.ssh_key_file)), settings
    return latest[1]


def names_proxies() -> bool:
    """Return True if requests may have to go through a proxy. On Windows and macOS, the system may name one."""
    if sys.platform in ("win32", "darwin"):
        return True
    return b"_proxy=" in b"=".join([*os.environb, b""]).lower()


def authorities() -> str | None:
    """Return the CA bundle that the environment gives `requests`, or ``None``."""
    return next((path for name in AUTHORITIES if (path := os.environ.get(name))), None)


def named_authorities(path: str) -> str:
    """Return a clause that tells the path of a CA bundle, and the variable that it comes from."""
    name = next((name for name in AUTHORITIES if os.environ.get(name) == path), None)
    return f"{name} names {quotable(path)}" if name else f"the certificates to trust should be in {quotable(path)}"


def _stamp(path: Path | None) -> object:
    """Return a value that changes when the file does."""
    if path is None:
        return None
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


class WebhookSettings(_Settings):
    """The secret with which the platform signs notifications. Separate from `Settings`: a receiver needs no key.

    Args:
        webhook_secret: The secret. Default: the environment's ``ENCORD_WEBHOOK_SECRET``.
    """

    model_config = SettingsConfigDict(populate_by_name=True, str_strip_whitespace=True)

    webhook_secret: str | None = Field(default=None, validation_alias="ENCORD_WEBHOOK_SECRET", repr=False, exclude=True)


class CacheSettings(_Settings):
    """The directory in which files of storage items are kept from run to run, and its maximum size.

    Args:
        directory: The directory. Default: the environment's ``ENCORD_AGENTS_CACHE``.
        size: Bytes. Default: the environment's ``ENCORD_AGENTS_CACHE_SIZE``, or 20 GB.
    """

    model_config = SettingsConfigDict(populate_by_name=True)

    directory: OptionalPath = Field(default=None, validation_alias="ENCORD_AGENTS_CACHE")
    size: ByteSize = Field(default=ByteSize(20_000_000_000), validation_alias="ENCORD_AGENTS_CACHE_SIZE", gt=0)

    @classmethod
    def checked(cls, directory: str | Path | None, size: int | str | None) -> CacheSettings:
        """Return the settings with the arguments of a runner; those that are ``None`` come from the environment.

        Raises:
            PrintableError: The directory is a file, or not a valid path; or the size is not valid.
        """
        # By their aliases: with older versions of pydantic-settings, the environment overrides names.
        given = {"ENCORD_AGENTS_CACHE": directory or None, "ENCORD_AGENTS_CACHE_SIZE": size}
        try:
            settings = cls(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
        except ValidationError as error:
            of_size = any(part["loc"] == ("size",) or "SIZE" in str(part["loc"]) for part in error.errors())
            raise PrintableError(_NO_SIZE if of_size else _NO_DIRECTORY) from None
        if settings.directory is not None:
            if "\0" in str(settings.directory):
                raise PrintableError(_NO_DIRECTORY)
            try:
                settings.directory = Path(os.path.abspath(settings.directory.expanduser()))
                is_file = settings.directory.is_file()
            except (OSError, RuntimeError, ValueError):
                raise PrintableError(_NO_DIRECTORY) from None
            if is_file:
                raise PrintableError(f"{_NO_DIRECTORY} {quotable(str(settings.directory))} is a file.")
        return settings


_NO_SIZE = (
    "The size of the asset cache (asset_cache_size, or ENCORD_AGENTS_CACHE_SIZE) must be a number of bytes above 0, or "
    "text such as '50 GB'."
)
_NO_DIRECTORY = "The asset cache (asset_cache, or ENCORD_AGENTS_CACHE) must be the path of a directory."


def _checked_domain(domain: str) -> str:
    domain = domain.strip()
    try:
        parts = urlsplit(domain)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is not a number, or brackets without an address
        usable = False
    if usable and (parts.query or parts.fragment or "@" in parts.netloc):
        raise CredentialsError(
            "ENCORD_DOMAIN must be the address of the API alone. Take away the user and password before the '@', and "
            "the '?' or '#' and what follows it (which may be secrets, and are not shown). "
            f"It looks like {DEFAULT_DOMAIN}."
        )
    if not usable or re.search(r"\s", domain):
        raise CredentialsError(
            f"ENCORD_DOMAIN must be an address that starts with https:// (or http://), not {quotable(domain)}.\n"
            f"Write it as in {DEFAULT_DOMAIN}, or unset it to use that one."
        )
    return domain.rstrip("/")


def _checked_path(path: Path) -> Path:
    """Return the path, expanded.

    Raises:
        CredentialsError: It is a key's text, or cannot be a path. Neither is quoted: it may be a key.
    """
    if "\n" in str(path) or (may_be_secret(str(path)) and not _exists(path)):
        raise CredentialsError(
            "ENCORD_SSH_KEY_FILE names no file, and may be the text of a key, so it is not shown here.\n"
            "Put the text into ENCORD_SSH_KEY instead, and unset ENCORD_SSH_KEY_FILE; or correct the path."
        )
    if "\0" in str(path):
        raise CredentialsError("ENCORD_SSH_KEY_FILE is not a path: there is a null character in it.")
    try:
        return path.expanduser()
    except RuntimeError:
        raise CredentialsError(
            f"ENCORD_SSH_KEY_FILE starts in the home directory of a user who is not known here: {path}\n"
            "Write the path in full."
        ) from None


def _read(path: Path) -> str:
    """Return the file's text.

    Raises:
        CredentialsError: It cannot be read.
    """
    if os.path.isdir(path):  # `os.path.isdir` returns False, and does not raise, if a path is too long
        raise CredentialsError(
            f"ENCORD_SSH_KEY_FILE is a directory: {path}\n"
            f"Give the private key inside it, such as {path / 'id_ed25519'}."
        )
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_KEY_BYTES)
    except FileNotFoundError:
        raise CredentialsError(
            f"ENCORD_SSH_KEY_FILE names a file that does not exist: {path}\n"
            "Correct the path (a relative one starts at the working directory), or make the key.\n"
            f"{MAKE_A_KEY_PAIR}"
        ) from None
    except OSError as error:
        raise CredentialsError(
            f"ENCORD_SSH_KEY_FILE names a file that cannot be read: {path} ({error.strerror or type(error).__name__})\n"
            "Run as the user who owns it, or let that user read it: chmod 600 FILE."
        ) from error
    text = decoded(data)
    if text is None:
        raise CredentialsError(
            f"The file {path} is not text, so it is not an OpenSSH private key.\n"
            "Point ENCORD_SSH_KEY_FILE at the file that ssh-keygen made, the one without '.pub'."
        )
    return text


def _exists(path: Path) -> bool:
    try:
        return path.expanduser().exists()
    except (OSError, RuntimeError, ValueError):
        return False
