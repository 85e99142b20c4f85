"""The numbers that agents on Celery go by."""

from __future__ import annotations

from encord_agents.integrations.celery.timing import Timing


def test_pauses_grow_up_to_a_minute() -> None:
    """However often it was asked."""
    assert [Timing().pause_after(refused) for refused in (0, 1, 2, 5, 6, 10**9)] == [1, 2, 4, 32, 60, 60]


def test_a_lease_outlasts_some_heartbeats() -> None:
    """One that comes late, or not at all, does not make a task look lost."""
    timing = Timing()
    assert timing.lease > 3 * timing.heartbeat
    assert timing.look_again > timing.heartbeat
