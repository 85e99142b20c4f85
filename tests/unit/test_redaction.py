"""Keys and passwords do not appear in messages, wherever somebody put them."""

from __future__ import annotations

import base64
import pickle
import textwrap
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from encord_agents.core.legible import quotable
from encord_agents.exceptions import OutageError, PrintableError, ProjectError, UnknownPathwayError, UnknownStageError
from encord_agents.redaction import may_be_secret, without_secrets

KEY = (
    Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
    .decode()
)
BODY = "".join(KEY.splitlines()[1:-1])
FORMS = {
    "PEM": KEY,
    "PEM without its end": KEY[:200],
    "escaped": KEY.replace("\n", "\\n"),
    "in one line": KEY.replace("\n", " "),
    "wide": textwrap.indent(KEY, "    "),
    "body": BODY,
    "one line of it": KEY.splitlines()[2],
    "its last line": KEY.splitlines()[-2],
    "base64": base64.b64encode(KEY.encode()).decode(),
    "base64 for addresses": base64.urlsafe_b64encode(base64.b64decode(BODY)).decode(),
    "base32": base64.b32encode(KEY.encode()).decode(),
    "hexadecimal": KEY.encode().hex(),
    "as a home directory": f"~{BODY}",
}


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("3f2504e0-4f89-11d3-9a0c-0305e82c3301", False),
        ("/home/me/.ssh/id_ed25519", False),
        ("C:\\Users\\Somebody Else\\Documents\\encord\\id_ed25519", False),
        ("https://api.us.encord.com", False),
        ("b3BlbnNzaC1rZXktdjEAAAA", True),
        ("a" * 201, True),
        ("0123456789abcdef" * 3, True),
    ],
)
def test_secrets(text: str, secret: bool) -> None:
    """Paths, addresses and uuids are quoted; long runs of base64 or hex, and what has the mark of a key, are not."""
    assert may_be_secret(text) is secret
    assert (repr(text) == quotable(text)) is not secret
    assert secret == (text not in quotable(text).replace("\\\\", "\\"))


def pieces(secret: str, size: int = 20) -> set[str]:
    """Return what of a secret must not be seen: parts of its base64, or of what encodes it."""
    lines = [line for line in secret.replace("\\n", "\n").split() if len(line) >= size and "PRIVATE" not in line]
    return {line[at : at + size] for line in lines for at in range(0, len(line) - size + 1, size)}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "make",
    [
        lambda secret: PrintableError(f"{secret!r} is not known.\nSay something else."),
        lambda secret: PrintableError(f"There is no directory {secret}: correct the path."),
        lambda secret: ProjectError(f"{secret} is no project", given=secret),
        lambda secret: UnknownStageError(secret, []),
        lambda secret: UnknownPathwayError(secret, secret, []),
        lambda secret: OutageError(3.0, TimeoutError(f"no answer from {secret}")),
        lambda secret: OutageError.before_the_run(3.0, TimeoutError("none"), f"https://{secret}/", None),
    ],
    ids=["quoted", "plain", "project", "stage", "pathway", "outage", "address"],
)
def test_errors_hide_keys(form: str, make: Callable[[str], PrintableError]) -> None:
    """Whatever error quotes a key, its message has nothing of it, nor has one that crossed processes."""
    error = make(FORMS[form])
    for message in (str(error), repr(error), str(pickle.loads(pickle.dumps(error)))):
        assert "***" in message
        assert not [piece for piece in pieces(FORMS[form]) if piece in message]


@pytest.mark.parametrize(
    "text",
    [
        "3f2504e0-4f89-11d3-9a0c-0305e82c3301",
        "9b74c9897bac770ffc029102a200c5de" * 4,  # as long as SHA-512
        "/Users/Jane/Documents/Projects2024/Annotation/Batch17/Images/Raw/Left/0001",
        "C:\\Users\\Somebody Else\\Documents\\encord\\id_ed25519",
        "a_title_of_many_words_that_somebody_wrote_with_underscores_between_them_2024",
        "-----------------------------------------------------------------------------",
        "me@example.com",
        "s3://bucket/folder/photo@2x.png",
    ],
)
def test_what_stays(text: str) -> None:
    """Uuids, hashes, paths, titles and mail addresses are no secrets: a message quotes them."""
    assert without_secrets(f"The file {text!r} is missing.") == f"The file {text!r} is missing."


def test_passwords_of_addresses() -> None:
    """The user and the password of an address are hidden, and the rest of it is shown."""
    said = str(PrintableError("Nobody listens at http://me:hunter2@127.0.0.1:9, the address in ENCORD_DOMAIN."))
    assert said == "Nobody listens at http://***@127.0.0.1:9, the address in ENCORD_DOMAIN."
