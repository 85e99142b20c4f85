"""Origins that may call: the editor's as a whole, or those of an expression of one's own."""

from __future__ import annotations

import pytest

from encord_agents.editor.origins import Origins


@pytest.mark.parametrize(
    ("origin", "is_allowed"),
    [
        ("https://app.encord.com", True),
        ("https://app.us.encord.com", True),
        ("https://staging.encord.com", True),
        ("http://app.encord.com", False),
        ("https://app.encord.com.evil.org", False),
        ("https://evil.org/https://app.encord.com", False),
        ("https://app.encord.com\n", False),
        ("https://app-encord.com", False),
        ("null", False),
        ("", False),
        (None, False),
    ],
)
def test_the_editors_origins(origin: str | None, is_allowed: bool) -> None:
    """Nothing that only contains one of them, and none without TLS."""
    assert Origins().allow(origin) is is_allowed


def test_an_expression_matches_as_a_whole() -> None:
    """Not a part of an origin."""
    origins = Origins(r"https://label\.example\.com")
    assert origins.allow("https://label.example.com")
    assert not origins.allow("https://label.example.com.evil.org")
    assert not origins.allow("https://app.encord.com")


def test_caches_keep_origins_apart() -> None:
    """An answer for one origin is not kept for another."""
    assert Origins.headers("https://app.encord.com") == {
        "Access-Control-Allow-Origin": "https://app.encord.com",
        "Vary": "Origin",
    }
