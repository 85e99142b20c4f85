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

USER_INFO: Final = re.compile(r"//[^/@\s'\"]*@")
QUERY: Final = re.compile(r"(https?://[^\s?'\"<>]+\?)[^\s'\"<>]+")
ANY_QUERY: Final = re.compile(r"(?:[?#]|%3[Ff]|%23)[^\s'\"<>]+")
"""The query of an address, or its fragment, in which sign-in pages hand over tokens."""
_PART: Final = r"((?:[?#&;]|%3f|%23|%26|\\u0026)(?:{})(?:=|%3d))"
SIGNED: Final = re.compile(
    _PART.format(r"x-(?:amz|goog|oss)-\w+|signature|sig|awsaccesskeyid|googleaccessid|key-pair-id"),
    re.IGNORECASE,
)
"""Query parameters of the signed URLs of S3, Google, Azure, CloudFront and the local platform."""
KEYS: Final = re.compile(
    _PART.format(r"(?:[a-z]+[_-])*(?:api-?key|key|token|secret|password)") + r"(?:[^&;%\\\s]|%(?!26))+", re.IGNORECASE
)
"""Query parameters whose value alone is secret."""
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
LONG_RUN: Final = re.compile(r"[A-Za-z0-9+/=_-]{50,}")
SEGMENT: Final = re.compile(r"[A-Za-z0-9+=]{24,}")
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
    return QUERY.sub(rf"\1{HIDDEN}", text)


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
    """Return a message without private keys, the lines of keys, and the passwords of addresses.

    Hashes, uuids, paths and titles stay, since a message would be of little use without them.
    """
    text = UNENDED.sub(HIDDEN, PEM.sub(HIDDEN, text))
    text = LONG_RUN.sub(lambda run: HIDDEN if _is_of_key(run[0]) else run[0], text)
    return without_user_info(text)


def _is_of_key(run: str) -> bool:
    """Return True if a long run of base64 characters is more likely part of a key than a path, a hash or a title."""
    if any(mark in run for mark in KEY_MARKS):
        return True
    segments = run.split("/")
    longest = max(segments, key=len)
    if len(longest) <= LONGEST_HASH and SEGMENT.search(longest) is None:
        return False
    # Longer than any hash, it may also be hexadecimal, or base32, but not a line of a table.
    kinds = (str.isalpha, str.isdigit) if len(longest) > LONGEST_HASH else (str.isupper, str.islower, str.isdigit)
    return all(any(map(kind, longest)) for kind in kinds)
