"""Text that can be encoded."""

from __future__ import annotations

import pytest

from encord_agents.core.legible import legible, may_be_secret, quotable


def test_half_characters() -> None:
    """They become escapes, and everything else stays what it is."""
    assert legible("caf\u00e9 \U0001f600 bad\udcff.jpg") == "caf\u00e9 \U0001f600 bad\\udcff.jpg"


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("3f2504e0-4f89-11d3-9a0c-0305e82c3301", False),
        ("/home/me/.ssh/id_ed25519", False),
        ("C:\\Users\\Somebody Else\\Documents\\encord\\id_ed25519", False),
        ("https://api.us.encord.com", False),
        ("b3BlbnNzaC1rZXktdjEAAAA", True),
        ("a" * 201, True),
        ("0123456789abcdef" * 3, True),
    ],
)
def test_secrets(text: str, secret: bool) -> None:
    """Paths, addresses and uuids are quoted; long runs of base64 or hex, and what has the mark of a key, are not."""
    assert may_be_secret(text) is secret
    assert (repr(text) == quotable(text)) is not secret
    assert secret == (text not in quotable(text).replace("\\\\", "\\"))
