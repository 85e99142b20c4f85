"""Private keys in other wrappings: read where it is unmistakable, else named with the command that mends it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)

from encord_agents.core.keys import decoded, openssh_key
from encord_agents.core.settings import Settings
from encord_agents.exceptions import CredentialsError

PRIVATE = Ed25519PrivateKey.generate()
KEY = PRIVATE.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
PKCS8 = PRIVATE.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
DER = PRIVATE.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
PUBLIC = PRIVATE.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
PUBLIC_PEM = PRIVATE.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
BASE64 = base64.b64encode(KEY.encode()).decode()
BODY = "".join(KEY.splitlines()[1:-1])


def is_the_key(text: str) -> bool:
    key = load_ssh_private_key(text.encode(), None)
    return isinstance(key, Ed25519PrivateKey) and key.private_bytes_raw() == PRIVATE.private_bytes_raw()


FILES: dict[str, bytes] = {
    "plain": KEY.encode(),
    "CRLF": KEY.replace("\n", "\r\n").encode(),
    "CR": KEY.replace("\n", "\r").encode(),
    "UTF-8 with a byte order mark": b"\xef\xbb\xbf" + KEY.encode(),
    "UTF-16-LE with a byte order mark": b"\xff\xfe" + KEY.encode("utf-16-le"),
    "UTF-16-BE with a byte order mark": b"\xfe\xff" + KEY.encode("utf-16-be"),
    "UTF-16-LE": KEY.replace("\n", "\r\n").encode("utf-16-le"),
    "UTF-16-BE": KEY.encode("utf-16-be"),
    "UTF-32": KEY.encode("utf-32"),
    "UTF-32-BE with a byte order mark": b"\0\0\xfe\xff" + KEY.encode("utf-32-be"),
    "Ctrl-Z at the end": KEY.encode() + b"\x1a",
    "NUL at the end": KEY.encode() + b"\0",
    "no-break spaces": KEY.replace("\n", "\u00a0\n").encode(),
    "zero-width space": ("\u200b" + KEY).encode(),
    "comment in UTF-8": f"# Schlüssel\n{KEY}".encode(),
    "comment in Latin-1": f"# Schlüssel\n{KEY}".encode("latin-1"),
    "en dashes": KEY.replace("-----", "\u2013" * 5).encode(),
    "base64": BASE64.encode(),
    "binary": base64.b64decode(BODY),
    "PKCS#8": PKCS8.encode(),
    "PKCS#8 as DER": DER,
    "PKCS#8 in UTF-16": PKCS8.encode("utf-16"),
}


@pytest.mark.parametrize("name", FILES)
def test_files(name: str, tmp_path: Path) -> None:
    """The encoding of a file, and what editors add to it, does not matter."""
    path = tmp_path / "key"
    path.write_bytes(FILES[name])
    assert is_the_key(Settings(ssh_key_file=path).ssh_key)


@pytest.mark.parametrize("name", [name for name in FILES if name not in ("PKCS#8 as DER",)])
def test_variables_read_what_files_read(name: str) -> None:
    """What is read from a file is read from a variable too."""
    text = decoded(FILES[name])
    assert text is not None
    assert is_the_key(openssh_key(text, source="ENCORD_SSH_KEY"))


TEXTS: dict[str, Callable[[], str]] = {
    "base64 in lines": lambda: base64.encodebytes(KEY.encode()).decode(),
    "base64 for addresses": lambda: base64.urlsafe_b64encode(KEY.encode()).decode(),
    "base64 of PKCS#8": lambda: base64.b64encode(PKCS8.encode()).decode(),
    "base64 of DER": lambda: base64.b64encode(DER).decode(),
    "hex": lambda: KEY.encode().hex(),
    "HEX": lambda: KEY.encode().hex().upper(),
    "body only": lambda: BODY,
    "body in lines": lambda: "\n".join(KEY.splitlines()[1:-1]),
    "without its end line": lambda: "\n".join(KEY.splitlines()[:-1]),
    "without line breaks": lambda: KEY.replace("\n", ""),
    "spaces for line breaks": lambda: KEY.replace("\n", " "),
    "indented": lambda: KEY.replace("\n", "\n\t"),
    "in quotes": lambda: f'"{KEY.strip()}"',
    "in quotes, escaped": lambda: "'" + KEY.strip().replace("\n", "\\n") + "'",
    "escaped twice": lambda: KEY.strip().replace("\n", "\\\\n"),
    "JSON": lambda: json.dumps(KEY),
    "an assignment": lambda: 'export ENCORD_SSH_KEY="' + KEY.strip().replace("\n", "\\n") + '"',
    "percent-encoded": lambda: KEY.strip().replace("\n", "%0A").replace("+", "%2B"),
    "percent-encoded, all of it": lambda: quote(KEY, safe=""),
    "from a form": lambda: quote_plus(KEY),
    "base64 from a form": lambda: quote_plus(BASE64),
    "PKCS#8 from a form": lambda: quote_plus(PKCS8),
    "with its public half": lambda: KEY + PUBLIC,
    "after its public half": lambda: PUBLIC_PEM + KEY,
    "base64 of base64": lambda: base64.b64encode(BASE64.encode()).decode(),
    "base64 of UTF-16": lambda: base64.b64encode(KEY.encode("utf-16-le")).decode(),
    "base64 without its end": lambda: BASE64.rstrip("="),
    "base64 in an assignment": lambda: f"ENCORD_SSH_KEY={BASE64}",
    "base64 in JSON": lambda: json.dumps({"name": "encord", "key": BASE64}),
    "base64 as an address": lambda: f"data:text/plain;base64,{BASE64}",
    "hex with a prefix": lambda: f"0x{KEY.encode().hex()}",
    "hex with colons": lambda: KEY.encode().hex(":"),
    "HTML": lambda: KEY.replace("\n", "&#10;").replace("+", "&#43;").replace("=", "&#x3D;"),
    "HTML with line breaks": lambda: KEY.replace("\n", "<br />\n"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_texts(name: str) -> None:
    """What secret stores, shells and configuration files make of a key is still the key."""
    assert is_the_key(openssh_key(TEXTS[name](), source="ENCORD_SSH_KEY"))


SECRET = BestAvailableEncryption(b"x")
RSA = rsa.generate_private_key(65537, 2048)
PPK = "PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\nPublic-Lines: 1\nAAAA\nPrivate-Lines: 1\nCCCC\n"
REFUSED: dict[str, tuple[Callable[[], str], str]] = {
    "empty": (lambda: "", "is empty"),
    "blank": (lambda: " \n\ufeff ", "is empty"),
    "quotes": (lambda: '""', "is empty"),
    "PuTTY": (lambda: PPK, "puttygen KEY.ppk -O private-openssh"),
    "base64 of PuTTY": (lambda: base64.b64encode(PPK.encode()).decode(), "not a private key"),
    "public": (lambda: PUBLIC, "public key"),
    "public PEM": (lambda: PUBLIC_PEM, "public key"),
    "PKCS#8 of RSA": (
        lambda: RSA.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        r"another kind \(RSA\)",
    ),
    "EC": (
        lambda: (
            ec.generate_private_key(ec.SECP256R1())
            .private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
            .decode()
        ),
        "Ed25519 keys only",
    ),
    "PKCS#8 with a passphrase": (
        lambda: PRIVATE.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, SECRET).decode(),
        "ssh-keygen -p -N '' -f COPY",
    ),
    "RSA with a passphrase": (
        lambda: RSA.private_bytes(
            Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"x")
        ).decode(),
        "ssh-keygen -p -N '' -f COPY",
    ),
    "PKCS#8, cut": (lambda: PKCS8[:60], "cannot be converted"),
    "half": (lambda: KEY[: len(KEY) // 2], "damaged"),
    "words": (lambda: "correct horse battery staple", "not a private key"),
    "something else": (lambda: PKCS8.replace("PRIVATE KEY", "DH PARAMETERS"), "headed 'DH PARAMETERS'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    """What cannot be read is named with what mends it, is never quoted, and nobody with a key is told to make one."""
    make, says = REFUSED[name]
    text = make()
    with pytest.raises(CredentialsError, match=says) as caught:
        openssh_key(text, source="ENCORD_SSH_KEY")
    message = str(caught.value)
    assert ("Make a key pair" in message) == ("Ed25519 keys only" in message)
    for line in text.splitlines():
        assert len(line.strip()) < 12 or "-----" in line or line.strip() not in message


@pytest.mark.parametrize("form", ["a file", "PEM", "base64"])
def test_damage_that_openssl_has_no_word_for(form: str, tmp_path: Path) -> None:
    """A key whose kind was changed by a bit, so that its length is wrong, is refused as any other damaged one."""
    damaged = DER.replace(b"\x2b\x65\x70", b"\x2b\x65\x71")
    assert damaged != DER
    path = tmp_path / "key"
    pem = f"-----BEGIN PRIVATE KEY-----\n{base64.b64encode(damaged).decode()}\n-----END PRIVATE KEY-----\n"
    path.write_bytes({"a file": damaged, "PEM": pem.encode(), "base64": base64.b64encode(damaged)}[form])
    with pytest.raises(CredentialsError):
        Settings(ssh_key_file=path)


def test_what_begins_a_key_is_said(tmp_path: Path) -> None:
    """The label of a private key is no secret: the message for a text that is none quotes it, and goes on after it."""
    with pytest.raises(CredentialsError, match=r"begins with -----BEGIN OPENSSH PRIVATE KEY----- and is in the file"):
        openssh_key("correct horse battery staple", source="ENCORD_SSH_KEY")


def test_not_text() -> None:
    """Bytes that are no text are no key."""
    assert decoded(b"\x00\xff\xfe\x80") is None
    assert decoded(b"\x30\x80\xff") is None
