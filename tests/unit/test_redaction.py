"""Keys and passwords do not appear in messages, wherever somebody put them."""

from __future__ import annotations

import base64
import pickle
import random
import string
import textwrap
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from encord_agents.core.legible import quotable
from encord_agents.exceptions import OutageError, PrintableError, ProjectError, UnknownPathwayError, UnknownStageError
from encord_agents.redaction import may_be_secret, without_queries, without_secrets, without_signatures

KEY = (
    Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
    .decode()
)
PKCS8 = (
    Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
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
    "in narrow lines": "\n".join(textwrap.wrap(BODY, 30)),
    "in narrow lines, escaped": "\\n".join(textwrap.wrap(BODY, 30)),
    "PEM in narrow lines without its end": "\n".join([KEY.splitlines()[0], *textwrap.wrap(BODY, 30)]),
    "in an address": quote(KEY),
    "in an address, all of it": quote(KEY, safe=""),
    "in a form": quote_plus(KEY),
    "in an address, the body": quote("\n".join(textwrap.wrap(BODY, 30)), safe=""),
    "PKCS#8 in narrow lines": "\n".join(textwrap.wrap(PKCS8.splitlines()[1], 30)),
    "PKCS#8": PKCS8,
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
        "+" + ("-" * 70 + "+") * 3,
        "=" * 300,
        "0" * 300,
        "x" * 300,
        "A private key begins with -----BEGIN OPENSSH PRIVATE KEY----- and is in the file that ssh-keygen made",
        'File "/usr/lib/python3.11/site-packages/cryptography/hazmat/primitives/serialization/ssh.py", line 1',
        "me@example.com",
        "s3://bucket/folder/photo@2x.png",
        "http://127.0.0.1:8000/photo@2x.png",
        "http://[::1]:8000/photo@2x.png",
        "file:///C:/Users/Jane/photo@2x.png",
        "the Key person of a Basic understanding",
        "Token authentication is needed, or Bearer authentication",
        "Key frame_000123_annotated.png",
        "Key 3f2504e0-4f89-11d3-9a0c-0305e82c3301",
        "9b74c9897bac770ffc029102a200c5de",
        "sk-SK_frame_000123_left.png",
        "hf_dataset_of_many_images",
    ],
)
def test_what_stays(text: str) -> None:
    """Uuids, hashes, paths, titles and mail addresses are no secrets: a message quotes them."""
    assert without_secrets(f"The file {text!r} is missing.") == f"The file {text!r} is missing."


@pytest.mark.parametrize("length", [56, 64, 70])
def test_lines_of_keys(length: int) -> None:
    """A single line is hidden, wherever its slashes are, as in the repr of a list of lines."""
    characters = string.ascii_letters + string.digits + "+/"
    draw = random.Random(length)
    lines = ["".join(draw.choices(characters, k=length)) for _ in range(1000)]
    shown = [line for line in lines if line in without_secrets(f"no key in {[line]!r}")]
    assert len(shown) <= 2, shown


def test_passwords_of_addresses() -> None:
    """The user and the password of an address are hidden, and the rest of it is shown."""
    said = str(PrintableError("Nobody listens at http://me:hunter2@127.0.0.1:9, the address in ENCORD_DOMAIN."))
    assert said == "Nobody listens at http://***@127.0.0.1:9, the address in ENCORD_DOMAIN."


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("redis://:aB3/dE5gh@host:6379/0", "redis://***@host:6379/0"),
        ("postgresql://me:p@ss@word@host/db", "postgresql://***@host/db"),
        ("https://me:a/b@host/photo@2x.png", "https://***@host/photo@2x.png"),
        ("https://me:a@host/photo@2x.png", "https://***@host/photo@2x.png"),
    ],
)
def test_passwords_with_characters_of_addresses(address: str, shown: str) -> None:
    """An @ or a slash in a password does not show a part of it."""
    assert without_secrets(f"No answer from {address!r}.") == f"No answer from {shown!r}."


LETTERS = "Ab1Cd2Ef3Gh4Ij5Kl6Mn7Op8Qr9St0UvWxYz"
HEX = "0123456789abcdef0123456789abcdef"
SERVICES = {
    "Hugging Face": f"hf_{LETTERS[:34]}",
    "Replicate": f"r8_{LETTERS}a",
    "Google": f"AIza{LETTERS[:17]}-{LETTERS[:17]}",
    "GitHub": f"ghp_{LETTERS}",
    "GitHub, of one repository": f"github_pat_{LETTERS[:22]}_{LETTERS}",
    "Groq": f"gsk_{LETTERS}{LETTERS[:16]}",
    "DeepSeek": f"sk-{HEX}",
    "OpenAI": f"sk-proj-{LETTERS[:20]}-{LETTERS[:20]}_{LETTERS[:20]}",
    "Slack": f"xoxb-123456789012-123456789012-{LETTERS[:24]}",
    "AWS": f"{LETTERS}abCD",
}
SCHEMES = {
    "Mistral": f"Bearer {LETTERS[:32]}",
    "Roboflow": f"Bearer {LETTERS[:20]}",
    "a user and a password": "Basic bWU6aHVudGVyMjI=",
    "fal": f"Key 3f2504e0-4f89-11d3-9a0c-0305e82c3301:{HEX}",
    "a token": f"Token {HEX}",
}


@pytest.mark.parametrize("service", SERVICES)
def test_keys_of_services(service: str) -> None:
    """They are known by their beginning or their length, wherever they are in a text."""
    key = SERVICES[service]
    for text in ("the key {} is refused", "{{'key': '{}'}}", "({})", "Bearer {}\n"):
        assert without_secrets(text.format(key)) == text.format("***")


@pytest.mark.parametrize("service", SCHEMES)
def test_keys_in_authorization_headers(service: str) -> None:
    """A credential that follows a scheme is hidden, although nothing else distinguishes it from a hash or an id."""
    scheme, _, key = SCHEMES[service].partition(" ")
    said = without_secrets(f"{{'Authorization': '{scheme} {key}', 'Accept': '*/*'}}")
    assert said == f"{{'Authorization': '{scheme} ***', 'Accept': '*/*'}}"


@pytest.mark.parametrize("key", [*SERVICES.values(), *SCHEMES.values(), HEX, "short"])
def test_headers_that_a_client_refuses_to_send(key: str) -> None:
    """A key with a line feed at its end, as it is read from a file, is not shown by any HTTP client's error."""
    for error in ("Illegal header value ", "Invalid header value ", "return character(s) in header value: "):
        for value in (f"{key}\n", f"{key}\n".encode()):
            assert without_secrets(f"{error}{value!r} for x") == f"{error}*** for x"


SIGNED = {
    "S3": "https://b.s3.amazonaws.com/a/b.jpg?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=20261127T000000Z&X-Amz-Signature={}",
    "S3, version 2": "https://b.s3.amazonaws.com/a.jpg?AWSAccessKeyId=AKIA&Expires=1&Signature={}",
    "Google": "https://storage.googleapis.com/b/a.jpg?GoogleAccessId=me%40x.iam&Expires=1&Signature={}",
    "Google, version 4": "https://storage.googleapis.com/b/a.jpg?X-Goog-Expires=60&X-Goog-Signature={}",
    "Azure": "https://a.blob.core.windows.net/c/a.jpg?sv=2024-01-01&se=2026&sp=r&sig={}",
    "CloudFront": "https://d.cloudfront.net/a.jpg?Policy=abc&Signature={}&Key-Pair-Id=K",
    "local": "http://127.0.0.1:1/assets/1/a.png?expires=1&signature={}",
    "urllib3's, relative": "HTTPSConnectionPool: retries exceeded with url: /a.jpg?X-Amz-Signature={} (Caused by x)",
    "in JSON": '{{"url": "https://b/a.jpg?a=1\\u0026X-Amz-Signature={}"}}',
    "in XML": "<Url>https://b/a.jpg?a=1&amp;X-Amz-Signature={}</Url>",
    "in another address": "https://proxy/fetch?url=https%3A%2F%2Fb%2Fa.jpg%3FX-Amz-Signature%3D{}",
    "encoded": "fetch https%3A%2F%2Fb%2Fa.jpg%3Fa%3D1%26X-Amz-Signature%3D{}",
    "Gemini": "Client error '400' for url 'https://generativelanguage.googleapis.com/v1/models/m:generateContent?alt=sse&key={}'",
    "a token": "https://api.example.com/v1?access_token={}&page=2",
    "a subscription": "https://x.cognitiveservices.azure.com/vision?subscription-key={}",
    **{
        name: f"https://api.example.com/v1?a=1&{name}={{}}&b=2"
        for name in (
            *("accessToken", "apiToken", "authToken", "sessionToken", "refreshToken", "idToken", "hf_token"),
            *("clientSecret", "sharedSecret", "accessKey", "subscriptionKey", "privateKey", "apiKey", "api.key"),
            *("x-functions-key", "code", "auth", "jwt", "pwd", "passwd"),
        )
    },
    "S3, without its beginning": "Cannot fetch a.jpg;X-Amz-Signature={}",
    "S3, without its question mark": "Cannot fetch a.jpg&X-Amz-Signature={}",
    "a database": "Server=db.example;User=me;Password={};Encrypt=yes",
    "a sign-in": "https://app.example.com/callback#access_token={}&token_type=bearer",
    "a sign-in, second": "https://app.example.com/callback#state=1&id_token={}",
    "a sign-in, encoded": "https%3A%2F%2Fapp.example.com%2Fcallback%23access_token%3D{}",
}


@pytest.mark.parametrize("kind", SIGNED)
def test_addresses_that_open_doors(kind: str) -> None:
    """Neither signatures nor keys in the queries of addresses are seen; host and path are."""
    said = without_signatures(SIGNED[kind].format("TOPSECRET01234567"))
    assert "TOPSECRET" not in said
    assert "***" in said
    assert said[:12] == SIGNED[kind].format("")[:12]
    assert without_signatures(said) == said


@pytest.mark.parametrize(
    "text",
    [
        "https://api.example.com/search?q=cat&page=2#top",
        "https://docs.example.com/guide#keys-and-tokens",
        "# token=abc is a comment",
        "Is it a cat?Yes",
        "GET /v2/public/tasks?page_size=100&keyboard=1&code=404&key_id=5",
        "what? signature=abc",
        "100%3Fsure",
    ],
)
def test_addresses_that_stay(text: str) -> None:
    """The query of any other address is of use to who reads the message."""
    assert without_signatures(text) == text


def test_many_question_marks() -> None:
    """The time grows with the length of a text, not with its square."""
    for text in ("?" * 200_000, "?a&" * 100_000, "?a_" * 100_000, "%3F%26" * 50_000, "?" + "a_" * 100_000 + "=b"):
        for one in (text, text.replace("?", "#").replace("%3F", "%23"), text.replace("?", ";").replace("%3F", "%26")):
            assert without_signatures(one) == one


def test_queries_of_addresses() -> None:
    """All of them are hidden at once, however many addresses there are."""
    assert without_queries("http://a?b https://c/d?e=1?f 'http://g?'") == "http://a?*** https://c/d?*** 'http://g?'"
    text = "http://" * 100_000
    assert without_queries(text) == text


@pytest.mark.parametrize(
    "part",
    [
        "-----BEGIN ",
        "-----BEGIN PRIVATE KEY ",
        "-----BEGIN+PRIVATE+KEY",
        "-----BEGIN PRIVATE KEY----- -----END ",
        "-----END" + " " * 90,
        "b3BlbnNzaC1rZXk",
        "b3BlbnNzaC1rZXk ",
        "b3BlbnNzaC1rZXk\\",
        "b3BlbnNzaC1rZXk\\n",
        "b3BlbnNzaC1rZXk" + " " * 90,
        "aB3" * 16 + " ",
        "//a",
        "//a:b",
        "sk-",
        "Key a",
        "Bearer aaaaaaaaaaaaaaaa",
        "header value 'x",
        "\\",
        "%0A",
    ],
)
def test_many_beginnings_of_keys(part: str) -> None:
    """The time grows with the length of a text, not with its square: half a million characters take no minute."""
    text = part * (500_000 // len(part))
    assert without_secrets(without_secrets(text)) == without_secrets(text)
