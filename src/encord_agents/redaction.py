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
ANY_QUERY: Final = re.compile(r"(?:\?|%3[Ff])[^\s'\"<>]+")
_PART: Final = r"((?:[?&;]|%3f|%26|\\u0026)(?:{})(?:=|%3d))"
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
PEM: Final = re.compile(r"-----\s*BEGIN[A-Z ]*PRIVATE KEY.*?(?:-----\s*END[A-Z ]*KEY\s*-----|\Z)", re.DOTALL)
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
        return ("?" if text.startswith("?") else text[:3]) + HIDDEN
    return KEYS.sub(rf"\1{HIDDEN}", text)


def without_secrets(text: str) -> str:
    """Return a message without private keys, the lines of keys, and the passwords of addresses.

    Hashes, uuids, paths and titles stay, since a message would be of little use without them.
    """
    text = LONG_RUN.sub(lambda run: HIDDEN if _is_of_key(run[0]) else run[0], PEM.sub(HIDDEN, text))
    return without_user_info(text)


def _is_of_key(run: str) -> bool:
    """Return True if a long run of base64 characters is more likely part of a key than a path, a hash or a title."""
    if any(mark in run for mark in KEY_MARKS):
        return True
    segments = run.split("/")
    longest = max(segments, key=len)
    if len(longest) > LONGEST_HASH:
        return True
    return SEGMENT.search(longest) is not None and all(
        any(kind(character) for character in longest) for kind in (str.isupper, str.islower, str.isdigit)
    )
