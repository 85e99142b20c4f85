"""The history of a request's failures, and of its halves."""

from __future__ import annotations

from encord_agents.tasks.engine.troubles import Troubles, split


def test_halves_have_been_in_trouble_for_as_long() -> None:
    """They keep all items in order and the time of the first failure, and begin to count their tries at zero."""
    troubles = Troubles("save", tries=5, since=10.0, successes_before=3, hopeless=True)
    halves = split([1, 2, 3, 4, 5], troubles)
    assert [items for items, _ in halves] == [[1, 2], [3, 4, 5]]
    assert [half for _, half in halves] == [Troubles("save", since=10.0, successes_before=3)] * 2
    assert halves[0][1] is not halves[1][1]
