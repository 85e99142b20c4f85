"""Text that can be encoded."""

from __future__ import annotations

import pytest

from encord_agents.core.legible import cut, legible, literally, may_be_secret, on_one_line, quotable


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


def test_what_steers_is_escaped() -> None:
    """Escape sequences, other control characters, marks that reorder text and line separators are shown as escapes."""
    evil = "\x1b[31mRED\x07\x9b\x7f\x00 \u202egpj.exe\u2066 \u2028\u2029\x85 \u200b\ufeff"
    shown = literally(evil)
    assert shown.isprintable()
    assert shown.startswith("\\x1b[31mRED\\x07\\x9b\\x7f\\x00 \\u202egpj.exe\\u2066")


def test_text_that_is_only_foreign_stays() -> None:
    """Scripts that need joiners, emoji made of several, tabs and lines are left alone."""
    persian = "\u0646\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"
    text = f"caf\u00e9 {persian} \U0001f468\u200d\U0001f469\u200d\U0001f467\ta\nb"
    assert literally(text) == text
    assert on_one_line("a\r\n  b\tc") == "a b c"


def test_cut() -> None:
    """Long text is cut, and the rest counted."""
    assert cut("abc", 3) == "abc"
    assert cut("x" * 5000, 10) == "x" * 10 + "... (4,990 more characters)"
