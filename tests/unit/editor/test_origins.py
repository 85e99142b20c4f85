"""Origins that may call: the editor's as a whole, or those of an expression of one's own."""

from __future__ import annotations

import pytest

from encord_agents.editor.origins import Origins, is_own


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


@pytest.mark.parametrize(
    ("origin", "host", "own"),
    [
        ("https://agents.example.com", "agents.example.com", True),
        ("http://127.0.0.1:8080", "127.0.0.1:8080", True),
        ("http://[::1]:8080", "[::1]:8080", True),
        ("http://localhost:8080", "LOCALHOST:8080", True),
        ("http://evil.example.com:8080", "evil.example.com:8080", False),  # which leads to this machine
        ("http://127.0.0.1.evil.com", "127.0.0.1.evil.com", False),
        ("http://127.0.0.1:8080", "127.0.0.1:9090", False),
        ("https://[evil", "x", False),
        ("https://[evil", "[evil", True),  # nobody has such a page
        ("null", "null", False),
        ("", "", False),
        (None, None, False),
        ("https://x", None, False),
    ],
)
def test_pages_of_its_own(origin: str | None, host: str | None, own: bool) -> None:
    """A page of the agent's own server may call it, unless its name is one that anybody can lead here."""
    assert is_own(origin, host) is own
