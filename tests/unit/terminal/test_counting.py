"""Counts of stages, and their words."""

from __future__ import annotations

import pytest

from encord_agents.terminal.counting import StageCounts, clock_text, times_text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (7.9, "0:07"), (65, "1:05"), (3599.9, "59:59"), (3723, "1:02:03"), (90_000, "25:00:00")],
)
def test_seconds_as_a_clock_shows_them(seconds: float, text: str) -> None:
    """Minutes and seconds, with hours where there are any."""
    assert clock_text(seconds) == text


def test_what_is_left() -> None:
    """It is told at the rate so far, while the stage goes on, once all tasks are known and one of them is done."""
    stage = StageCounts("Pre-label", 100.0, seen=10)
    assert stage.remaining(110.0) is None
    stage.moved = 2
    assert stage.remaining(110.0) is None
    stage.all_seen = True
    assert stage.remaining(110.0) == 40.0
    assert times_text(stage, 110.0) == "0:10, 0:40 left"
    stage.failed = 9  # more than were seen: some came meanwhile
    assert stage.remaining(110.0) == 0
    stage.seconds = 12.0
    assert stage.remaining(500.0) is None
    assert times_text(stage, 500.0) == "0:12"
