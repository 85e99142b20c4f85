"""Environment -> credentials: what is accepted, what is refused, and that a key is never shown."""

from __future__ import annotations

import base64
import copy
import logging
import os
import pickle
import struct
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from encord_agents.core.settings import (
    DEFAULT_DOMAIN,
    CacheSettings,
    Settings,
    WebhookSettings,
    settings_of_environment,
)
from encord_agents.exceptions import CredentialsError, PrintableError
from encord_agents.tasks.runner.base import checked_hash


def key_text(
    key: Ed25519PrivateKey | rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, kind: PrivateFormat = PrivateFormat.OpenSSH
) -> str:
    return key.private_bytes(Encoding.PEM, kind, NoEncryption()).decode()


def protected_key() -> str:
    """A key that wants a passphrase, as ``ssh-keygen`` writes it (the secret part is noise: nobody can open it)."""

    def text(content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + content

    public = text(b"ssh-ed25519") + text(bytes(32))
    how = text(b"aes256-ctr") + text(b"bcrypt") + text(text(bytes(16)) + struct.pack(">I", 16))
    body = b"openssh-key-v1\0" + how + struct.pack(">I", 1) + text(public) + text(bytes(range(144)))
    name = "OPENSSH PRIVATE KEY"
    return f"-----BEGIN {name}-----\n{base64.encodebytes(body).decode()}-----END {name}-----\n"


KEY = key_text(Ed25519PrivateKey.generate())
OTHER_KEY = key_text(Ed25519PrivateKey.generate())
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PUBLIC = Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ENCORD_SSH_KEY", "ENCORD_SSH_KEY_FILE", "ENCORD_DOMAIN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text(KEY)
    return path


def test_the_key_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """ENCORD_SSH_KEY is the key's text; the platform is the public one unless said otherwise."""
    monkeypatch.setenv("ENCORD_SSH_KEY", KEY)
    settings = Settings()
    assert settings.ssh_key == KEY
    assert settings.domain == DEFAULT_DOMAIN


def test_the_key_file_of_the_environment(monkeypatch: pytest.MonkeyPatch, key_file: Path) -> None:
    """ENCORD_SSH_KEY_FILE is the path of a key, and its ~ is the home directory."""
    monkeypatch.setenv("HOME", str(key_file.parent))
    monkeypatch.setenv("ENCORD_SSH_KEY_FILE", "~/key")
    settings = Settings()
    assert settings.ssh_key == KEY
    assert settings.ssh_key_file == key_file


def test_both_set(monkeypatch: pytest.MonkeyPatch, key_file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With both in the environment the text wins, and a warning says so: in the log, and as a `UserWarning`."""
    monkeypatch.setenv("ENCORD_SSH_KEY", OTHER_KEY)
    monkeypatch.setenv("ENCORD_SSH_KEY_FILE", str(key_file))
    with pytest.warns(UserWarning, match="the key in ENCORD_SSH_KEY is used"):
        settings = Settings()
    assert settings.ssh_key == OTHER_KEY
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.name.startswith("encord_agents")
    assert "ENCORD_SSH_KEY_FILE" in record.getMessage()


@pytest.mark.parametrize("around", ["{}\n", " {}\r\n", "\t{}"])
def test_white_space_around_values(monkeypatch: pytest.MonkeyPatch, key_file: Path, around: str) -> None:
    """A line feed that a secret store has added is no part of a path, an address or a secret."""
    for name, value in {
        "ENCORD_SSH_KEY_FILE": str(key_file),
        "ENCORD_DOMAIN": "http://127.0.0.1:1",
        "ENCORD_WEBHOOK_SECRET": "a secret",
        "ENCORD_AGENTS_CACHE": str(key_file.parent),
        "ENCORD_AGENTS_CACHE_SIZE": "1 GB",
    }.items():
        monkeypatch.setenv(name, around.format(value))
    settings, cache = Settings(), CacheSettings.checked(None, None)
    assert (settings.ssh_key_file, settings.domain) == (key_file, "http://127.0.0.1:1")
    assert WebhookSettings().webhook_secret == "a secret"
    assert (cache.directory, cache.size) == (key_file.parent, 1_000_000_000)


BLANK = pytest.mark.parametrize("blank", ["", "\n", " \t\r\n"])


@BLANK
def test_blank_is_not_set(monkeypatch: pytest.MonkeyPatch, key_file: Path, blank: str) -> None:
    """A variable of white space alone, as shells, CI systems and secret stores leave it, counts as unset."""
    for name in ("SSH_KEY", "SSH_KEY_FILE", "DOMAIN", "WEBHOOK_SECRET", "AGENTS_CACHE", "AGENTS_CACHE_SIZE"):
        monkeypatch.setenv(f"ENCORD_{name}", blank)
    with pytest.raises(CredentialsError, match="neither"):
        Settings()
    monkeypatch.setenv("ENCORD_SSH_KEY_FILE", str(key_file))
    assert (Settings().ssh_key, Settings().domain) == (KEY, DEFAULT_DOMAIN)
    assert WebhookSettings().webhook_secret is None
    cache = CacheSettings.checked(None, None)
    assert (cache.directory, cache.size) == (None, 20_000_000_000)


@BLANK
def test_a_blank_argument_is_a_mistake(monkeypatch: pytest.MonkeyPatch, key_file: Path, blank: str) -> None:
    """It does not stand for the environment's value, which the caller did not ask for."""
    monkeypatch.setenv("ENCORD_SSH_KEY_FILE", str(key_file))
    for mistake in ({"ssh_key_content": blank}, {"domain": blank}):
        with pytest.raises(CredentialsError):
            Settings(**mistake)  # type: ignore[arg-type]


def test_arguments_win(
    monkeypatch: pytest.MonkeyPatch, key_file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What is given as an argument beats the environment, whichever of the two it is, without a warning."""
    monkeypatch.setenv("ENCORD_SSH_KEY", OTHER_KEY)
    monkeypatch.setenv("ENCORD_DOMAIN", "http://127.0.0.1:1")
    assert Settings(ssh_key_file=key_file).ssh_key == KEY
    monkeypatch.setenv("ENCORD_SSH_KEY_FILE", str(tmp_path / "missing"))
    assert Settings(ssh_key_content=KEY, domain="http://127.0.0.1:2/").domain == "http://127.0.0.1:2"
    assert not caplog.records


@pytest.mark.parametrize(
    "variant",
    [
        lambda key: key.replace("\n", "\r\n"),
        lambda key: "\n".join("    " + line for line in key.splitlines()),
        lambda key: "\n\n" + key.rstrip("\n"),
        lambda key: key.replace("\n", "\\n"),
        lambda key: key.replace("\n", "\\r\\n"),
    ],
    ids=["CRLF", "indented", "blank lines around", "literal backslash-n", "literal backslash-r-backslash-n"],
)
def test_tidied(variant: Callable[[str], str], tmp_path: Path) -> None:
    """A key that went through an editor, a YAML file or an env file is still the key."""
    assert Settings(ssh_key_content=variant(KEY)).ssh_key == KEY
    path = tmp_path / "key"
    path.write_bytes(variant(KEY).encode())
    assert Settings(ssh_key_file=path).ssh_key == KEY


def test_none_set() -> None:
    """Without a key, the error names both variables and how to make a key."""
    with pytest.raises(CredentialsError) as error:
        Settings()
    assert isinstance(error.value, PrintableError)
    for words in ("ENCORD_SSH_KEY_FILE", "ENCORD_SSH_KEY", "ssh-keygen"):
        assert words in str(error.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (protected_key(), "passphrase"),
        (key_text(RSA), "RSA"),
        (key_text(ec.generate_private_key(ec.SECP256R1())), "Ed25519 keys only"),
        (key_text(RSA, PrivateFormat.TraditionalOpenSSL), "OpenSSH's format"),
        (PUBLIC, "public key"),
        ("~/.ssh/encord", "ENCORD_SSH_KEY_FILE instead"),
        ("/keys/encord", "ENCORD_SSH_KEY_FILE instead"),
        ("C:\\keys\\encord", "ENCORD_SSH_KEY_FILE instead"),
        ("  ", "is empty"),
        ("my-secret-text", "not a private key"),
        (KEY[:200], "damaged"),
        (KEY.replace("b3BlbnNzaC1rZXkt", "####"), "damaged"),
    ],
    ids=["passphrase", "RSA", "EC", "PEM", "public", "~path", "path", "Windows path", "blank", "words", "cut",
         "damaged"],
)  # fmt: skip
def test_unusable_text(text: str, says: str) -> None:
    """Each kind of unusable key is told apart, by a message that does not quote it."""
    with pytest.raises(CredentialsError, match=says) as error:
        Settings(ssh_key_content=text)
    shown = "".join(traceback.format_exception(error.value))
    for line in text.splitlines():
        assert len(line.strip()) < 12 or "-----" in line or line.strip() not in shown


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.mkdir(), "is a directory"),
        (lambda path: path.write_bytes(b"\x00\xff\xfe"), "not text"),
        (lambda path: path.write_text(PUBLIC), "public key"),
        (lambda path: path.write_text(protected_key()), "passphrase"),
        (lambda path: path.write_text(""), "is empty"),
    ],
    ids=["missing", "directory", "binary", "public", "passphrase", "empty"],
)
def test_unusable_file(make: Callable[[Path], object], says: str, tmp_path: Path) -> None:
    """Each kind of unusable key file is told apart, by a message that names the file."""
    path = tmp_path / "the-key"
    make(path)
    with pytest.raises(CredentialsError, match=says) as error:
        Settings(ssh_key_file=path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("domain", ["api.encord.com", "ftp://api.encord.com", "https://", "https:// x"])
def test_no_address(domain: str) -> None:
    """A domain that is no address is refused before anything is sent there."""
    with pytest.raises(CredentialsError, match="ENCORD_DOMAIN"):
        Settings(ssh_key_content=KEY, domain=domain)


@pytest.mark.parametrize(
    "domain",
    [
        "https://api.encord.com?token=hunter2",
        "https://api.encord.com/v1#hunter2",
        "https://me:hunter2@api.encord.com",
        "https://hunter2@api.encord.com",
    ],
)
def test_more_than_an_address(domain: str) -> None:
    """A query, or a password, cannot be part of the domain, and may be a secret: it is refused, and not quoted."""
    with pytest.raises(CredentialsError, match="ENCORD_DOMAIN") as refused:
        Settings(ssh_key_content=KEY, domain=domain)
    assert "hunter2" not in str(refused.value)


def test_the_key_is_never_shown(key_file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """No repr, no str and no log record holds the key."""
    caplog.set_level(logging.DEBUG)
    secret = KEY.splitlines()[2]
    for settings in (Settings(ssh_key_content=KEY), Settings(ssh_key_file=key_file)):
        assert secret not in repr(settings)
        assert secret not in str(settings)
        assert secret not in repr((settings.__getstate__(), settings.ssh_key))
    assert secret not in caplog.text


@pytest.mark.parametrize("how", ["argument", "environment"])
def test_a_key_in_place_of_a_path_is_never_shown(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key's text in ENCORD_SSH_KEY_FILE: the message says where it belongs, and nothing quotes it."""
    for _ in range(20):  # whether there is a slash in it, and where, is chance
        key = key_text(Ed25519PrivateKey.generate())
        monkeypatch.setenv("ENCORD_SSH_KEY_FILE", key if how == "environment" else "")
        with pytest.raises(CredentialsError) as caught:
            Settings(ssh_key_file=key) if how == "argument" else Settings()
        shown = "".join(traceback.format_exception(caught.value))
        assert not any(line in shown for line in key.splitlines()[1:-1])
        assert "Put the text into ENCORD_SSH_KEY" in str(caught.value)


@pytest.mark.parametrize("path", ["~nobody-of-that-name/key", "a\0b", "x" * 5000])
def test_what_cannot_be_a_path(path: str) -> None:
    """It is a mistake of the credentials, as a file that is missing is."""
    with pytest.raises(CredentialsError):
        Settings(ssh_key_file=path)


@pytest.mark.parametrize(
    "domain", ["http://127.0.0.1:abc", "http://[bad", "https://a b", "https://:80", "ftp://a", "a"]
)
def test_what_cannot_be_a_domain(domain: str, key_file: Path) -> None:
    """An address that nothing can be asked at is refused before anything is."""
    with pytest.raises(CredentialsError, match="ENCORD_DOMAIN"):
        Settings(ssh_key_file=key_file, domain=domain)


def test_settings_can_be_kept_in_a_set() -> None:
    """Equal settings have equal hashes, as the keys of a cache of clients need."""
    one, same, other = Settings(ssh_key_content=KEY), Settings(ssh_key_content=KEY), Settings(ssh_key_content=OTHER_KEY)
    assert len({one, same, other}) == 2


@pytest.mark.parametrize(
    "value",
    [
        "".join(KEY.splitlines()[1:-1]),
        "".join(KEY.splitlines()[1:-1])[:200],
        KEY.splitlines()[2],
        KEY.strip().replace("\n", "\\n"),
        base64.b64encode(KEY.encode()).decode(),
        "~" + "".join(KEY.splitlines()[1:-1]),
        KEY.encode().hex(),
    ],
    ids=["body", "part of it", "a line", "escaped", "base64", "after a tilde", "hex"],
)
@pytest.mark.parametrize("variable", ["ENCORD_SSH_KEY_FILE", "ENCORD_DOMAIN", "project_hash"])
def test_a_key_in_the_wrong_place_is_never_shown(
    value: str, variable: str, monkeypatch: pytest.MonkeyPatch, key_file: Path
) -> None:
    """Whatever takes a path, an address or a hash does not quote a value that may be a key."""
    monkeypatch.setenv("ENCORD_SSH_KEY_FILE", str(key_file))
    if variable != "project_hash":
        monkeypatch.setenv(variable, value)
    with pytest.raises(PrintableError) as caught:
        checked_hash(value) if variable == "project_hash" else Settings()
    shown = "".join(traceback.format_exception(caught.value))
    assert not any(value[i : i + 16] in shown for i in range(len(value) - 16))


def test_a_password_in_an_address_is_never_shown(key_file: Path) -> None:
    """An address that is refused is quoted without its user and password."""
    with pytest.raises(CredentialsError) as caught:
        Settings(ssh_key_file=key_file, domain="ftp://me:pass-word@example.com")
    assert "pass-word" not in str(caught.value)
    assert "example.com" in str(caught.value)


def test_settings_do_not_give_the_key_away() -> None:
    """Neither a dump, nor `vars`, nor a pickle holds it; a copy in the same process works."""
    settings = Settings(ssh_key_content=KEY)
    secret = KEY.splitlines()[2]
    for text in (str(settings.model_dump()), settings.model_dump_json(), str(vars(settings))):
        assert secret not in text
    with pytest.raises(TypeError, match="private key"):
        pickle.dumps(settings)
    assert copy.deepcopy(settings) == settings
    assert settings.ssh_key_content == KEY


def test_a_file_that_is_no_key_is_not_read_whole(tmp_path: Path) -> None:
    """A film, or a device without an end, in place of the key is refused after a megabyte."""
    with pytest.raises(CredentialsError):
        Settings(ssh_key_file="/dev/zero")


def test_the_environments_settings_are_read_again_where_it_changed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A server reads its key once, and notices another key, another domain, and another content of the key's file."""
    path = tmp_path / "key"
    path.write_text(key_text(Ed25519PrivateKey.generate()))
    monkeypatch.delenv("ENCORD_SSH_KEY", raising=False)
    monkeypatch.setenv("ENCORD_SSH_KEY_FILE", str(path))
    monkeypatch.setenv("ENCORD_DOMAIN", "http://127.0.0.1:1")
    first = settings_of_environment()
    assert settings_of_environment() is first
    monkeypatch.setenv("ENCORD_DOMAIN", "http://127.0.0.1:2")
    second = settings_of_environment()
    assert second.domain == "http://127.0.0.1:2"
    other = key_text(Ed25519PrivateKey.generate())
    path.write_text(other)
    os.utime(path, ns=(1, 1))
    assert settings_of_environment().ssh_key == other != second.ssh_key
    path.unlink()
    with pytest.raises(CredentialsError):
        settings_of_environment()
