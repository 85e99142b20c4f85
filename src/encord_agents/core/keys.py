"""Private keys, in any format or encoding in which they may arrive.

The platform's client reads unencrypted Ed25519 keys in OpenSSH's format. On their way from ``ssh-keygen`` to here, keys
pass through editors, web forms, secret stores, shells and YAML, which change the encoding, the line breaks or the
container, but not the key. If the key is unmistakable, it is read; everything else is rejected with the command that
fixes it. Messages never quote the text: even a broken key may be most of a key.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import contextlib
import html
import re
import textwrap
from pathlib import Path
from urllib.parse import unquote, unquote_plus

from encord_agents.exceptions import CredentialsError

__all__ = ["MAKE_A_KEY_PAIR", "MAX_KEY_BYTES", "decoded", "openssh_key"]

MAX_KEY_BYTES = 1 << 20
"""Longer than any private key in any encoding. Of longer files, only this much is read."""

MAKE_A_KEY_PAIR = (
    "Make a key pair with `ssh-keygen -t ed25519 -f ~/.ssh/encord -N ''`, register the public half (~/.ssh/encord.pub) "
    "with Encord, and point ENCORD_SSH_KEY_FILE at the private half."
)

MAGIC = b"openssh-key-v1\0"
PEM = re.compile(r"-----\s*BEGIN ([A-Z0-9 ]+?)\s*-----(.*?)(?:-----\s*END [A-Z0-9 ]+?\s*-----|$)", re.DOTALL)
BASE64 = re.compile(r"[A-Za-z0-9+/=_-]+")
# The longest first: the mark of UTF-32-LE starts with that of UTF-16-LE.
BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
INVISIBLE = dict.fromkeys(map(ord, "\ufeff\u200b\u200c\u200d\u2060\u00ad\0\x1a"))
SPACES = dict.fromkeys(map(ord, "\u00a0\u2007\u202f\u3000"), " ")
DASHES = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2015\u2043\u2212\uff0d"), "-")
ENCODED = re.compile(r"[A-Za-z0-9+/_-]{100,}={0,2}")
"""A possible encoded key within a longer text, such as a line of an environment file, or JSON."""
WRAPPINGS = 2
"""The number of encodings that are undone: Kubernetes secrets are often encoded twice."""


def decoded(data: bytes) -> str | None:
    """Return the text of a key file, or ``None`` if it is not text.

    Byte order marks are trusted; UTF-16 without one, as PowerShell's ``>`` may write it, is recognised by its null
    bytes. A private key in DER is converted to PEM.
    """
    for mark, encoding in BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return data.decode(encoding, "replace")
    if b"-\0-\0" in data:
        return data.decode("utf-16-le" if data[1::2].count(0) > data[::2].count(0) else "utf-16-be", "replace")
    if data.startswith(MAGIC):
        return base64.b64encode(data).decode()
    if data.startswith(b"\x30") and (pem := _pem_of(data)) is not None:
        return pem
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        # A comment in some 8-bit encoding does no harm to the key below it.
        return data.decode("latin-1") if b"-----BEGIN" in data else None


def openssh_key(text: str, *, source: str) -> str:
    """Return the key in the form that the platform's client reads, after checking that it can sign.

    Args:
        text: The key, possibly in another wrapping.
        source: Its name in messages: a variable's name, or ``The file PATH``.

    Raises:
        CredentialsError: It is not such a key. The message says what it is, and what to do about it.
    """
    text = text.translate(INVISIBLE | SPACES | DASHES).strip()
    if not text.strip("\"' \n\r\t"):
        raise CredentialsError(f"{source} is empty.\nPut the private key there: all lines of it.")
    block = _block(text)
    if block is None:
        raise CredentialsError(_no_key(text, source))
    label, body = block
    if label == "OPENSSH PRIVATE KEY":
        return _checked(label, body, source)
    return _converted(label, body, source)


def _block(text: str, wrappings: int = WRAPPINGS) -> tuple[str, str] | None:
    """Return the label and body of the first private key in a text or, without one, of the first labelled block."""
    if "&" in text or "<br" in text:  # from a web form, or from a template meant for web pages
        text = re.sub(r"<br\s*/?>", "\n", html.unescape(text))
    # Files of environment variables, such as Docker's, have one line per variable: line breaks become backslash and n.
    for escape in ("\\\\r\\\\n", "\\\\n", "\\r\\n", "\\n"):
        text = text.replace(escape, "\n")
    if re.search(r"%[0-9a-fA-F]{2}", text):
        text = (unquote_plus if "BEGIN+" in text else unquote)(text)  # a form's spaces are pluses, and its pluses %2B
    found = [(match[1], match[2]) for match in PEM.finditer(text)]
    if found:
        return next((one for one in found if "PRIVATE KEY" in one[0]), found[0])
    if not wrappings:
        return None
    for data in _unwrapped(text):
        if data.startswith(MAGIC):
            return "OPENSSH PRIVATE KEY", "\n".join(textwrap.wrap(base64.b64encode(data).decode(), 70))
        inner = decoded(data)
        if inner is not None and (block := _block(inner, wrappings - 1)) is not None:
            return block
    return None


def _unwrapped(text: str) -> list[bytes]:
    """Return the possible decodings of a text without a PEM label: from hexadecimal, from base64."""
    compact = "".join(text.strip("\"' ").split())
    found = []
    if re.fullmatch(r"(?:[0-9a-fA-F]{2})+", digits := compact.removeprefix("0x").replace(":", "")):
        found.append(bytes.fromhex(digits))
    for part in dict.fromkeys([compact, *ENCODED.findall(text)]):
        if BASE64.fullmatch(part):
            padded = part.rstrip("=") + "=" * (-len(part.rstrip("=")) % 4)
            with contextlib.suppress(binascii.Error):
                found.append(base64.b64decode(padded.translate({ord("-"): "+", ord("_"): "/"}), validate=True))
    return found


def _checked(label: str, body: str, source: str) -> str:
    # Imported here because it is slow, and needed only to sign in.
    from cryptography.exceptions import InternalError, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import ssh

    key = f"-----BEGIN {label}-----\n" + "\n".join(body.split()) + f"\n-----END {label}-----\n"
    try:
        private_key = ssh.load_ssh_private_key(key.encode("ascii", "replace"), password=None)
    except (TypeError, ValueError, UnsupportedAlgorithm, InternalError) as error:
        # Without the cause: `from None` hides it from tracebacks, so that no part of the key is quoted anywhere.
        if isinstance(error, TypeError) or "password" in str(error).lower():
            raise CredentialsError(_protected(source)) from None
        raise CredentialsError(
            f"{source} is damaged: it starts like an OpenSSH private key but cannot be read as one.\n"
            "Check that all of it was copied, the BEGIN and END lines included."
        ) from None
    _check_kind(private_key, source)
    return key


def _converted(label: str, body: str, source: str) -> str:
    """Convert a key with another label to OpenSSH's format."""
    from cryptography.exceptions import InternalError, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    if "PRIVATE KEY" not in label:
        raise CredentialsError(
            _public(source)
            if "PUBLIC" in label or "CERTIFICATE" in label
            else f"{source} is not a private key: it is headed {label[:40]!r}.\n{_expected()}"
        )
    if label.startswith("ENCRYPTED") or "ENCRYPTED" in body:
        raise CredentialsError(_protected(source))
    pem = f"-----BEGIN {label}-----\n" + "\n".join(body.split()) + f"\n-----END {label}-----\n"
    try:
        private_key = serialization.load_pem_private_key(pem.encode("ascii", "replace"), password=None)
    except (TypeError, ValueError, UnsupportedAlgorithm, InternalError):  # OpenSSL has no word for some damage
        raise CredentialsError(
            f"{source} is not a private key in OpenSSH's format, the only one the platform's client reads, and cannot "
            f"be converted: it is headed {label[:40]!r}, and damaged or of an unknown kind.\n"
            "Check that all of it was copied; `ssh-keygen -p -N '' -f COPY` rewrites a copy of a good one."
        ) from None
    _check_kind(private_key, source, f", and not in OpenSSH's format but headed {label!r}")
    return private_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    ).decode()


def _check_kind(private_key: object, source: str, more: str = "") -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if not isinstance(private_key, Ed25519PrivateKey):
        kind = type(private_key).__name__.removesuffix("PrivateKey").lstrip("_")
        raise CredentialsError(
            f"{source} is a key of another kind ({kind}){more}; the platform takes Ed25519 keys only.\n"
            f"{MAKE_A_KEY_PAIR}"
        )


def _pem_of(data: bytes) -> str | None:
    """Convert a private key from DER to PEM; return ``None`` if the data is something else."""
    from cryptography.exceptions import InternalError, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    try:
        private_key = serialization.load_der_private_key(data, password=None)
    except (TypeError, ValueError, UnsupportedAlgorithm, InternalError):
        return None
    return private_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def _no_key(text: str, source: str) -> str:
    """Return the message for a text that contains no key."""
    if text.startswith("PuTTY-User-Key-File"):
        return (
            f"{source} is a key in PuTTY's format, which the platform's client does not read.\n"
            "Convert it: puttygen KEY.ppk -O private-openssh -o KEY (or PuTTYgen, Conversions, Export OpenSSH key)."
        )
    if re.match(r"(ssh-|ecdsa-|sk-)\S+ ", text):
        return _public(source)
    if source == "ENCORD_SSH_KEY" and "\n" not in text and _is_path(text):
        return (
            "ENCORD_SSH_KEY holds a path, and it must be the key's text.\n"
            "Put the path into ENCORD_SSH_KEY_FILE instead, and unset ENCORD_SSH_KEY."
        )
    return f"{source} is not a private key.\n{_expected()}"


def _expected() -> str:
    return (
        "A private key begins with -----BEGIN OPENSSH PRIVATE KEY----- and is in the file that ssh-keygen made, the "
        "one without '.pub'. Base64 of all of that is read too (base64 -w0 KEY)."
    )


def _public(source: str) -> str:
    return (
        f"{source} is a public key. The private one signs in.\n"
        "It is next to the public one, under the same name without '.pub'."
    )


def _protected(source: str) -> str:
    return (
        f"{source} is protected by a passphrase, which cannot be entered here.\n"
        "Make a copy without one: cp KEY COPY && ssh-keygen -p -N '' -f COPY, and use the copy."
    )


def _is_path(text: str) -> bool:
    if text.startswith(("/", "~", "./", "../")) or re.match(r"[A-Za-z]:[\\/]", text):
        return True
    try:
        return Path(text).exists()
    except (OSError, ValueError):  # too long for a path, or with a null character
        return False
