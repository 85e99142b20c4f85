"""Requests of other origins, and files that must not act as pages."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from starlette.requests import Request

from encord_agents.local.origins import file_headers, is_here, stranger


def asked(**headers: str) -> Request:
    listed = [(name.encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "headers": listed})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8765", "localhost:1", "LOCALHOST", "[::1]", "[::1]:80"])
def test_our_own_names(host: str) -> None:
    """With any port, and with an origin that is the same."""
    assert stranger(asked(host=host)) is None
    assert stranger(asked(host=host, origin=f"http://{host}")) is None


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("evil.example", None),
        ("127.0.0.1.evil.example", None),
        ("localhost.", None),
        ("", None),
        ("[::1", None),
        ("127.0.0.1:8765", "null"),
        ("127.0.0.1:8765", "http://127.0.0.1:8766"),
        ("127.0.0.1:8765", "https://evil.example"),
        ("127.0.0.1:8765", ""),
    ],
)
def test_strangers(host: str, origin: str | None) -> None:
    """Another name, or a page of another origin, other ports of this machine included."""
    refusal = stranger(asked(host=host) if origin is None else asked(host=host, origin=origin))
    assert refusal is not None
    assert refusal.status == 403


@pytest.mark.parametrize(
    ("media_type", "attached"),
    [
        ("image/png", False),
        ("video/mp4", False),
        ("text/html", True),
        ("TEXT/HTML; charset=utf-8", True),
        ("image/svg+xml", True),
        ("application/rss+xml", True),
        ("application/pdf", True),
    ],
)
def test_a_file_is_never_a_page(media_type: str, attached: bool) -> None:
    """Nothing is guessed, nothing runs, and what browsers show as documents is a download."""
    headers = file_headers(media_type)
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"].startswith("sandbox;")
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert ("Content-Disposition" in headers) is attached


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("http://127.0.0.1:80/", True),
        ("http://127.9.9.9/", True),
        ("http://[::1]:8080/x", True),
        ("http://LOCALHOST/", True),
        ("http://agent.localhost/", True),
        ("http://10.0.0.1/", False),
        ("http://localhost.example/", False),
        ("nonsense", False),
    ],
)
def test_addresses_of_this_machine(address: str, expected: bool) -> None:
    """Loopback addresses of either kind, and the names that stand for them."""
    assert is_here(urlsplit(address)) is expected
