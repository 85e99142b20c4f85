"""Text that can be shown, written and sent, whatever it was made of."""

from __future__ import annotations

import re

__all__ = ["legible", "may_be_secret", "quotable"]

KEY_MARKS = ("-----BEGIN", "BEGIN OPENSSH", "PRIVATE KEY", "b3BlbnNzaC1rZXk", "LS0tLS1CRUdJTi")
"""What a private key has in it: its label, and the first characters of OpenSSH's format and of a PEM file as base64."""
LONGEST_QUOTED = 200
RUN = re.compile(r"[A-Za-z0-9+/=]{100,}|[A-Za-z0-9+=]{40,}")
USER_INFO = re.compile(r"//[^/@\s]*@")


def legible(text: str) -> str:
    """Return a text that can be encoded: lone surrogates, as in file names that are not UTF-8, become escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def may_be_secret(text: str) -> bool:
    """Return True if a text may be a key or a part of one: by its marks, its length, or a long run of base64 or hex."""
    return len(text) > LONGEST_QUOTED or any(mark in text for mark in KEY_MARKS) or RUN.search(text) is not None


def quotable(value: object) -> str:
    """Return a value as it may be quoted in a message: its ``repr``, or how long it is if it may be a secret.

    The user and password of an address are left out.
    """
    text = str(value)
    if may_be_secret(text):
        return f"a text of {len(text)} characters (not shown, since it may be a secret)"
    return legible(repr(USER_INFO.sub("//***@", text)))
