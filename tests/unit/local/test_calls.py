"""Trace ids of calls: by them, what an agent does is known as its own."""

from __future__ import annotations

from encord_agents.local.calls import MOST_REMEMBERED, Calls


def test_trace_ids_tell_the_callers() -> None:
    """Requests with the trace id of a call are the agent's, for a while after it; others are nobody's."""
    calls = Calls()
    first = calls.new("box")
    assert calls.caller(f"{first}/7;o=1") == "Editor agent box"
    assert calls.caller(first) == "Editor agent box"
    for header in (None, "", "/", f"{first}0/1", "0" * 32):
        assert calls.caller(header) is None
    for _ in range(MOST_REMEMBERED):
        calls.new("other")
    assert calls.caller(first) is None
