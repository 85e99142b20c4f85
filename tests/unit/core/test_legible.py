"""Text that can be encoded."""

from __future__ import annotations

import pytest

from encord_agents.core.legible import cut, is_cut, joined, legible, literally, on_a_line, on_one_line


def test_half_characters() -> None:
    """They become escapes, and everything else stays what it is."""
    assert legible("caf\u00e9 \U0001f600 bad\udcff.jpg") == "caf\u00e9 \U0001f600 bad\\udcff.jpg"
    for half in ("a\ud83d", "\ude00", "\ude00\ud83d", "\ud83d\ud83d\ude00"):
        assert is_cut(half)


@pytest.mark.parametrize("text", ["", "a", "\ufeffcaf\u00e9", "\U0001f600", "\U0010ffff"])
def test_characters_in_two_halves(text: str) -> None:
    """They are whole, not cut: programs in whose texts characters have sixteen bits leave them so."""
    two = "".join(map(chr, memoryview(text.encode("utf-16-le")).cast("H")))
    assert joined(two) == legible(two) == text
    assert not is_cut(two)


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


def test_foreign_text_stays_on_its_line() -> None:
    """It is escaped, and cut."""
    assert on_a_line("one\ntwo\x1b[31m") == "one two\\x1b[31m"
    assert len(on_a_line("x" * 10_000)) < 2_100
