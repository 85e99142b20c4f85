"""Recognition of text that may be a secret, and its removal from messages.

People put keys and passwords where they do not belong: into the wrong variable, a project's hash, an option. Messages
quote the text they complain about, so every message for a person passes through here.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["may_be_secret", "without_queries", "without_secrets", "without_signatures", "without_user_info"]

KEY_MARKS: Final = ("-----BEGIN", "BEGIN OPENSSH", "PRIVATE KEY", "b3BlbnNzaC1rZXk", "LS0tLS1CRUdJTi")
"""Marks of a private key: its label, and the first characters of OpenSSH's format and of a PEM file as base64."""
LONGEST_QUOTED: Final = 200
RUN: Final = re.compile(r"[A-Za-z0-9+/=]{60,}|[A-Za-z0-9+=]{40,}")
"""A line of a key has 64 to 76 characters of base64, with an occasional slash; few paths have such long runs."""

USER_INFO: Final = re.compile(r"//(?:[^/\s'\"]*|[^\s/:@\['\"]*:(?!\d*/)[^\s@'\"]{1,100})@")
"""The user and the password of an address. A password with a slash must not begin as a port or a path does."""
ADDRESS: Final = re.compile(r"https?://[^\s'\"<>]+")
ANY_QUERY: Final = re.compile(r"(?:[?#&;]|%3[Ff]|%23|%26)[^\s'\"<>]+")
"""The query of an address, or its fragment, in which sign-in pages hand over tokens; or the rest of one."""
_PART: Final = r"((?:[?#&;]|%3f|%23|%26|\\u0026)(?:{})(?:=|%3d))"
SIGNED: Final = re.compile(
    _PART.format(r"x-(?:amz|goog|oss)-\w+|signature|sig|awsaccesskeyid|googleaccessid|key-pair-id"),
    re.IGNORECASE,
)
"""Query parameters of the signed URLs of S3, Google, Azure, CloudFront and the local platform."""
KEYS: Final = re.compile(
    _PART.format(r"[\w.-]*(?:key|token|secret|password|passwd|pwd)|auth|jwt|code(?=(?:=|%3d)[^&;%\s]{16})")
    + r"(?:[^&;%\\\s]|%(?!26))+",
    re.IGNORECASE,
)
"""Query parameters whose value alone is secret. A long code is a key, as of Azure Functions; a short one is data."""
HEADER: Final = re.compile(r"""(header value:?\s+)b?(?:'[^'\n]*'|"[^"\n]*")""", re.IGNORECASE)
"""A header that an HTTP client refuses to send, as for the line feed at the end of a key that was read from a file."""
PREFIXED: Final = re.compile(
    r"\b(?:(?:sk-|hf_|r8_|gsk_|gh[opsur]_)[A-Za-z0-9]{20,}|(?:AIza|github_pat_|xox[a-z]-)[\w-]{20,}|sk-[\w-]{40,})"
)
"""Keys of hosted models and of code hosts, known by their first characters."""
SCHEME: Final = re.compile(r"(\b(?:[Bb]earer|[Bb]asic|Token|Key)(?:\s+|%20))([\w.~+/=:-]{16,})")
"""A run of characters after the scheme of an ``Authorization`` header, which may also be a word of a sentence."""
UNBROKEN: Final = re.compile(r"[A-Za-z0-9]{16,}")
RANDOM: Final = re.compile(r"\d|[a-z][A-Z]")
HIDDEN: Final = "***"
# Keys in addresses are quoted: a space is + or %20, a line feed %0A.
_BEGIN: Final = r"-----\s*BEGIN(?:[A-Z +]|%20)*PRIVATE(?:[ +]|%20)KEY"
_FEED: Final = r"(?:\s|\\+[rn]|%0[AaDd])+"
_CHARACTER: Final = r"(?:[A-Za-z0-9/+=_-]|%2[BbFf]|%3[Dd])"
PEM: Final = re.compile(
    _BEGIN + r"(?:(?!-----\s*BEGIN).)*?-----\s*END(?:[A-Z +]|%20)*KEY\s*-----",
    re.DOTALL,
)
UNENDED: Final = re.compile(
    rf"(?:{_BEGIN}-*{_FEED}{_CHARACTER}{{10,}}|(?:b3BlbnNzaC1rZXk|LS0tLS1CRUdJTi|MC4CAQAwBQYDK2Vw){_CHARACTER}*)"
    rf"(?:{_FEED}{_CHARACTER}{{10,}})*(?:{_FEED}{_CHARACTER}{{1,9}}=)?"
)
"""A key without its end, known by its label or its first characters, in lines of any width; not the label alone.

The characters are those of `KEY_MARKS`, and of an Ed25519 key in PKCS#8.
"""
LONG_RUN: Final = re.compile(r"[A-Za-z0-9+/=_-]{40,}")
SEGMENT: Final = re.compile(r"[A-Za-z0-9+=]{24,}")
CHANGE: Final = re.compile(
    r"(?<=[a-z])(?=[A-Z0-9+])|(?<=[A-Z])(?=[a-z0-9+])|(?<=[0-9])(?=[A-Za-z+])|(?<=\+)(?=[A-Za-z0-9])"
)
MOST_CHANGES: Final = 0.4
"""Changes of case, or between letters, digits and ``+``, for each character. Random base64 has 0.6 of them; none of the
180,000 longest paths of a Linux system that have three kinds of characters has this many."""
LONGEST_HASH: Final = 128
"""Characters of the longest hash used in file names: SHA-512 in hexadecimal."""


def may_be_secret(text: str) -> bool:
    """Return True if a text may be a key or a part of one: by its marks, its length, or a long run of base64 or hex.

    Meant for settings, which are short and hardly ever look like that.
    """
    return len(text) > LONGEST_QUOTED or any(mark in text for mark in KEY_MARKS) or RUN.search(text) is not None


def without_user_info(address: str) -> str:
    """Return an address, or a text that contains addresses, without their user names and passwords."""
    return USER_INFO.sub(f"//{HIDDEN}@", address)


def without_queries(text: str) -> str:
    """Return a text without the queries of addresses in it: those of signed URLs are as good as a password."""
    return ADDRESS.sub(_without_query, text)


def _without_query(address: re.Match[str]) -> str:
    head, mark, query = address[0].partition("?")
    return f"{head}{mark}{HIDDEN if query else ''}"


def without_signatures(text: str) -> str:
    """Return a text without the queries of signed URLs, and without the keys and tokens in other queries.

    For text of any origin: agents' own exceptions name the URLs that they have requested, also relative ones.
    """
    return ANY_QUERY.sub(_without_signature, text)


def _without_signature(query: re.Match[str]) -> str:
    text = query[0]
    if SIGNED.search(text):
        return text[: 3 if text.startswith("%") else 1] + HIDDEN
    return KEYS.sub(rf"\1{HIDDEN}", text)


def without_secrets(text: str) -> str:
    """Return a message without keys, private or of services, the lines of keys, and the passwords of addresses.

    Hashes, uuids, paths and titles stay, since a message would be of little use without them.
    """
    text = UNENDED.sub(HIDDEN, PEM.sub(HIDDEN, text))
    text = PREFIXED.sub(HIDDEN, HEADER.sub(rf"\1{HIDDEN}", text))
    text = SCHEME.sub(_without_credential, text)
    text = LONG_RUN.sub(lambda run: HIDDEN if _is_of_key(run[0]) else run[0], text)
    return without_user_info(text)


def _without_credential(said: re.Match[str]) -> str:
    scheme, run = said.groups()
    is_random = run.endswith("=") or any(map(RANDOM.search, UNBROKEN.findall(run)))  # no words, and no file name
    return scheme + HIDDEN if is_random else said[0]


def _is_of_key(run: str) -> bool:
    """Return True if a long run of base64 characters is more likely part of a key than a path, a hash or a title."""
    if any(mark in run for mark in KEY_MARKS):
        return True
    segments = run.split("/")
    longest = max(segments, key=len)
    if len(longest) <= LONGEST_HASH and SEGMENT.search(longest) is None:
        # A line of a key may have so many slashes that all its segments are short.
        longest = run if len(CHANGE.findall(run)) > MOST_CHANGES * len(run) else ""
    # Longer than any hash, it may also be hexadecimal, or base32, but not a line of a table.
    kinds = (str.isalpha, str.isdigit) if len(longest) > LONGEST_HASH else (str.isupper, str.islower, str.isdigit)
    return all(any(map(kind, longest)) for kind in kinds)
