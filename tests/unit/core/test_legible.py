"""Text that can be encoded."""

from __future__ import annotations

from encord_agents.core.legible import legible


def test_half_characters() -> None:
    """They become escapes, and everything else stays what it is."""
    assert legible("caf\u00e9 \U0001f600 bad\udcff.jpg") == "caf\u00e9 \U0001f600 bad\\udcff.jpg"
