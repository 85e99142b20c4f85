"""Text of whatever agents raise."""

from __future__ import annotations

from encord_agents.core.legible import described, legible


class MuteError(Exception):
    def __str__(self) -> str:
        raise RuntimeError


def test_half_characters() -> None:
    """They become escapes, and everything else stays what it is."""
    assert legible("caf\u00e9 \U0001f600 bad\udcff.jpg") == "caf\u00e9 \U0001f600 bad\\udcff.jpg"


def test_exceptions() -> None:
    """Type and message; where there is no message to be had, it says so."""
    assert described(ValueError("bad pixels")) == "ValueError: bad pixels"
    assert described(OSError("\ud800")) == "OSError: \\ud800"
    assert described(MuteError()) == "MuteError: (its message cannot be had: RuntimeError)"
