"""Text of unknown origin, made safe to show, log and send.

Titles, file names, exception messages and server responses are untrusted text. Shown unchanged, they could control a
terminal, forge a line in a log, or fill the screen.
"""

from __future__ import annotations

import re

from encord_agents.redaction import may_be_secret, without_user_info

__all__ = ["cut", "is_cut", "joined", "legible", "literally", "on_a_line", "on_one_line", "quotable"]

# C0 (except tab and line feed), DEL and C1; marks that reorder text; invisible characters, except the two joiners
# that scripts and emoji need; separators that count as the end of a line.
STEERING = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff]"
)
LONGEST_SHOWN = 2_000
"""Characters of untrusted text to show in one message; the rest is only counted."""


def joined(text: str) -> str:
    """Return a text in which characters in two halves (a pair of surrogates, as of JSON's escapes) are whole."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def legible(text: str) -> str:
    """Return a text that can be encoded: lone surrogates, as in file names that are not UTF-8, are escaped."""
    return joined(text).encode("utf-8", "backslashreplace").decode("utf-8")


def is_cut(text: str) -> bool:
    """Return True if a text has half of a character, as where JSON's escapes break off in the middle of an emoji."""
    return not text.isascii() and legible(text) != joined(text)


def literally(text: object) -> str:
    """Return ``str(text)``, escaping characters that control a terminal or reorder a line. Line feeds are kept."""
    plain = legible(str(text)).replace("\r\n", "\n")
    return STEERING.sub(lambda match: _escape(match[0]), plain)


def on_one_line(text: object) -> str:
    """Return ``str(text)`` as `literally` does, with each run of white space as one space."""
    return " ".join(literally(text).split())


def cut(text: str, most: int = LONGEST_SHOWN) -> str:
    """Return the first ``most`` characters of a text, with a note of how many were left out."""
    return text if len(text) <= most else f"{text[:most]}... ({len(text) - most:,} more characters)"


def on_a_line(text: object, most: int = LONGEST_SHOWN) -> str:
    """Return other people's text, made fit to be shown as a part of a line: see `on_one_line` and `cut`."""
    return cut(on_one_line(text), most)


def _escape(character: str) -> str:
    number = ord(character)
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"


def quotable(value: object) -> str:
    """Return a value in a form that a message may quote: its ``repr``, or only its length if it may be a secret.

    The user and password of an address are left out.
    """
    text = str(value)
    if may_be_secret(text):
        return f"a text of {len(text)} characters (not shown, since it may be a secret)"
    return legible(repr(without_user_info(text)))
