"""Extracts JSON objects from a model's text: in a code fence, with words around them, or nearly JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

__all__ = ["breaks_off", "objects_in"]

MOST_FAILURES = 16
"""The maximum number of opening braces that are tried without success: each costs one scan of the rest of the text."""

_WORDS = {"True": "true", "False": "false", "None": "null", "undefined": "null"}
_QUOTES = "“”„‟"
_TOKEN = re.compile(
    r'"(?:[^"\\]|\\.)*+"'
    r"|'(?:[^'\\]|\\.)*+'"
    rf"|[{_QUOTES}](?:[^{_QUOTES}\\]|\\.)*+[{_QUOTES}]"
    r"|[{}\[\],]"
    r"|\b(?:True|False|None|undefined)\b"
    r"|\b[A-Za-z_]\w*+(?=\s*:)"
    r"|//[^\n]*"
    r"|/\*.*?\*/",
    re.DOTALL,
)
_ESCAPES = re.compile(r'\\.|"', re.DOTALL)
_BEGINNING = re.compile(rf"\{{(?=\s*(?:[\"'{_QUOTES}}}]|//|/\*|[A-Za-z_]\w*\s*:))")


def objects_in(text: str) -> Iterator[dict[str, Any]]:
    """Yield the outermost JSON objects of a text, in order.

    Trailing commas, line breaks in strings, comments, other quotes, keys without quotes, and Python's ``True``,
    ``False`` and ``None`` are accepted.
    """
    found, failures = _BEGINNING.search(text), 0
    while found is not None and failures < MOST_FAILURES:
        start = found.start()
        spelled = _spelled_out(text, start)
        value = None if spelled is None else _parsed(spelled[0])
        if spelled is not None and value is not None:
            yield value
            found = _BEGINNING.search(text, spelled[1])
        else:
            failures += 1
            found = _BEGINNING.search(text, start + 1)


def breaks_off(text: str) -> bool:
    """Return True if a text ends in the middle of an object."""
    at = 0
    while (found := _BEGINNING.search(text, at)) is not None:
        spelled = _spelled_out(text, found.start())
        if spelled is None:
            return True
        at = spelled[1]
    return False


def _spelled_out(text: str, start: int) -> tuple[str, int] | None:
    """Return the object that begins at a brace, as JSON if possible, and its end; ``None`` if it does not end."""
    parts: list[str] = []
    depth, at, comma = 0, start, None
    for token in _TOKEN.finditer(text, start):
        word, between = token.group(), text[at : token.start()]
        at = token.end()
        parts.append(between)
        if between.strip():
            comma = None
        if word.startswith("/"):
            continue
        if word in "}]" and comma is not None:
            parts[comma] = ""
        comma = len(parts) if word == "," else None
        parts.append(_as_json(word))
        depth += (word in "{[") - (word in "}]")
        if depth == 0:
            return "".join(parts), at
    return None


def _as_json(word: str) -> str:
    if word[0] == '"' or word in "{}[],":
        return word
    if word[0] == "'" or word[0] in _QUOTES:
        return '"' + _ESCAPES.sub(_escaped, word[1:-1]) + '"'
    return _WORDS.get(word) or f'"{word}"'


def _escaped(found: re.Match[str]) -> str:
    """Escape a quote only if JSON requires it."""
    return {'"': '\\"', "\\'": "'"}.get(found.group(), found.group())


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
