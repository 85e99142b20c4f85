"""How much is loaded ahead, as tables."""

from __future__ import annotations

import math

import pytest

from encord_agents.tasks.engine.pace import may_take, soon, take_at_once, tasks_ahead
from encord_agents.tasks.engine.timing import Timing


@pytest.mark.parametrize(
    ("seconds", "workers", "ahead"),
    [
        (0.0, 1, math.inf),
        (0.02, 1, 1500),
        (0.1, 1, 300),
        (1.0, 1, 30),
        (1.0, 8, 240),
        (60.0, 1, 2),
        (3600.0, 1, 2),
        (60.0, 8, 4),
        (60.0, 100, 50),
    ],
)
def test_half_a_minute_of_work_waits(seconds: float, workers: int, ahead: float) -> None:
    """And never less than two tasks, so that one is there when another ends."""
    assert tasks_ahead(seconds, workers, 30.0) == ahead


def test_what_waits_is_not_stale() -> None:
    """Half a minute of work, and at most a third of what makes stale before it was loaded."""
    timing = Timing()
    assert timing.load_ahead + timing.stale_after / 3 < timing.stale_after


@pytest.mark.parametrize(
    ("wanted", "ahead", "taken"), [(75, math.inf, 75), (75, 1500, 75), (75, 30, 15), (75, 2, 1), (1, 30, 1), (75, 3, 1)]
)
def test_half_of_it_is_loaded_at_once(wanted: int, ahead: float, taken: int) -> None:
    """So that it comes before the other half has run out."""
    assert take_at_once(wanted, ahead) == taken


@pytest.mark.parametrize(
    ("taking", "waiting", "ahead", "may"),
    [
        (75, 200, math.inf, True),
        (15, 15, 30, True),
        (15, 16, 30, False),
        (1, 1, 2, True),
        (1, 2, 2, False),
        (9, 0, 2, True),
    ],
)
def test_more_is_loaded_when_there_is_room_for_it(taking: int, waiting: int, ahead: float, may: bool) -> None:
    """And whenever nothing waits."""
    assert may_take(taking, waiting, ahead) is may


@pytest.mark.parametrize(("seconds", "number"), [(0.0, 1), (0.1, 300), (10.0, 3), (60.0, 1), (1e-9, 1_000_000)])
def test_those_that_are_soon_attempted(seconds: float, number: int) -> None:
    """As many as begin within half a minute; the next one in any case."""
    assert soon(seconds, 30.0) == number
