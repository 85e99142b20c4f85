"""Extraction of the JSON object from a model's text: fenced, with words around it, or with a comma too many."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

__all__ = ["objects_in"]

MOST_ATTEMPTS = 64
"""The maximum number of opening braces that are tried: each costs one scan of the rest of the text."""

_WORDS = {"True": "true", "False": "false", "None": "null"}
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],]|\b(?:True|False|None)\b|//[^\n]*', re.DOTALL)


def objects_in(text: str) -> Iterator[dict[str, Any]]:
    """Yield the outermost JSON objects of a text, in order.

    Commas before a closing bracket, line breaks in strings, comments, and Python's ``True``, ``False`` and ``None`` are
    accepted.
    """
    start, attempts = text.find("{"), 0
    while start >= 0 and attempts < MOST_ATTEMPTS:
        attempts += 1
        found = _object_at(text, start)
        if found is None:
            start = text.find("{", start + 1)
        else:
            value, end = found
            yield value
            start = text.find("{", end)


def _object_at(text: str, start: int) -> tuple[dict[str, Any], int] | None:
    parts: list[str] = []
    depth, at, comma = 0, start, None
    for token in _TOKEN.finditer(text, start):
        word, between = token.group(), text[at : token.start()]
        at = token.end()
        parts.append(between)
        if between.strip():
            comma = None
        if word.startswith("//"):
            continue
        if word in "}]" and comma is not None:
            parts[comma] = ""
        comma = len(parts) if word == "," else None
        parts.append(_WORDS.get(word, word))
        depth += (word in "{[") - (word in "}]")
        if depth == 0:
            try:
                value = json.loads("".join(parts), strict=False)
            except (ValueError, RecursionError):
                return None
            return (value, at) if isinstance(value, dict) else None
    return None
