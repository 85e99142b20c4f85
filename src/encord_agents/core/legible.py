"""What may be anything, as text that can be shown, written and sent: whatever agents raise has to be told."""

from __future__ import annotations

__all__ = ["described", "legible"]


def legible(text: str) -> str:
    """A text that can be encoded: half characters, as in names of files that are not UTF-8, become escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def described(exception: BaseException) -> str:
    """An exception's type and message, also where its message cannot be had."""
    kind = type(exception).__name__
    try:
        return legible(f"{kind}: {exception}")
    except Exception as error:  # noqa: BLE001 - the exception's own code raises whatever it likes
        return f"{kind}: (its message cannot be had: {type(error).__name__})"
