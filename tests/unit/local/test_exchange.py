"""A request as the journal and the faults see it."""

from __future__ import annotations

from starlette.requests import Request

from encord_agents.local.exchange import Exchange
from encord_agents.local.history import LONGEST_CLIENT


def exchange(**scope: object) -> Exchange:
    plain = {"type": "http", "method": "GET", "path": "/a b", "query_string": b"", "headers": []}
    return Exchange(Request(plain | scope), "GET")


def test_nothing_is_known_of_a_stranger() -> None:
    """Until its sender is known, a request is one that is refused, about nothing and without a body."""
    made = exchange()
    assert (made.kind, made.items, made.body, made.latency) == ("refused", 0, b"", 0.0)


def test_the_target_has_the_query() -> None:
    """The path has none."""
    made = exchange(query_string=b"title=x%20y&page=2")
    assert (made.path, made.target) == ("/a b", "/a b?title=x%20y&page=2")


def test_a_client_is_named_in_bounds() -> None:
    """Whoever asks may send a name of any length, or none."""
    assert exchange().client == ""
    assert exchange(headers=[(b"user-agent", b"x" * 5000)]).client == "x" * LONGEST_CLIENT
