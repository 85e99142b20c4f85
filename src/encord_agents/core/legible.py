"""Text that can be shown, written and sent, whatever it was made of."""

from __future__ import annotations

__all__ = ["legible"]


def legible(text: str) -> str:
    """Return a text that can be encoded: lone surrogates, as in file names that are not UTF-8, become escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
