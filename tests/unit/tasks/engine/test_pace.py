"""How much is loaded, handed over and written at once, as tables."""

from __future__ import annotations

import math
from typing import Any

import pytest

from encord_agents.tasks.engine.pace import Pace
from encord_agents.tasks.engine.timing import Timing


def pace(seconds: float | None = None, workers: int = 1, window: int = 300, *, any_ended: bool = True) -> Pace:
    return Pace(window, workers, seconds, any_ended)


@pytest.mark.parametrize(
    ("window", "fast", "slow"),
    [
        *((1, 1, 1), (2, 1, 1), (8, 4, 2), (24, 12, 6)),
        *((25, 25, 6), (60, 25, 15), (100, 25, 25), (300, 75, 75), (400, 100, 100), (5000, 100, 100)),
    ],
)
def test_a_quarter_of_the_window_at_once(window: int, fast: int, slow: int) -> None:
    """At most 100, and at least 25 where agents are fast, or may be."""
    assert pace(0.001, window=window).at_once == pace(any_ended=False, window=window).at_once == fast
    assert pace(0.02, window=window).at_once == slow


@pytest.mark.parametrize(
    ("seconds", "workers", "ahead"),
    [
        (None, 1, math.inf),
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
def test_half_a_minute_of_work_waits(seconds: float | None, workers: int, ahead: float) -> None:
    """And never less than two tasks, so that one is there when another ends."""
    assert pace(seconds, workers).ahead == ahead


def test_what_waits_is_not_stale() -> None:
    """Half a minute of work, and at most a third of what makes stale before it was loaded."""
    timing = Timing()
    assert timing.load_ahead + timing.stale_after / 3 < timing.stale_after


@pytest.mark.parametrize(
    ("seconds", "loads", "number"),
    [(None, 0, 25), (None, 1, 50), (0.01, 2, 75), (1.0, 2, 15), (1.0, 0, 15), (60.0, 0, 1), (60.0, 9, 1), (8.0, 9, 1)],
)
def test_how_many_are_loaded_together(seconds: float | None, loads: int, number: int) -> None:
    """The first few are few. Of slow agents, half of what may wait: so it comes before the other half has run out."""
    assert pace(seconds).to_load(loads) == number


@pytest.mark.parametrize(
    ("seconds", "number", "waiting", "may"),
    [
        (0.001, 75, 200, True),
        (1.0, 15, 15, True),
        (1.0, 15, 16, False),
        (60.0, 1, 1, True),
        (60.0, 1, 2, False),
        (60.0, 9, 0, True),
    ],
)
def test_more_is_loaded_when_there_is_room_for_it(seconds: float, number: int, waiting: int, may: bool) -> None:
    """And whenever nothing waits."""
    assert pace(seconds).may_load(number, waiting, 9) is may


@pytest.mark.parametrize(("loads", "may"), [(0, True), (1, True), (2, False)])
def test_little_is_loaded_before_an_attempt_has_ended(loads: int, may: bool) -> None:
    """It is not known then how long the others will have to wait."""
    assert pace(any_ended=False).may_load(25, 0, loads) is may


@pytest.mark.parametrize(
    ("seconds", "workers", "options", "number"),
    [
        (None, 1, {}, 1),
        (0.0001, 1, {}, 101),
        (0.002, 1, {}, 51),
        (0.02, 1, {}, 6),
        (0.5, 1, {}, 2),
        (1.0, 1, {}, 1),
        (0.02, 8, {}, 13),
        (0.02, 8, {"patient": True}, 9),
        (0.02, 8, {"proven": False}, 8),
        (5.0, 8, {}, 8),
    ],
)
def test_a_tenth_of_a_second_is_handed_over(
    seconds: float | None, workers: int, options: dict[str, Any], number: int
) -> None:
    """One task at least, so that workers never idle; none of an agent that is slow, or has not done well yet."""
    assert pace(seconds, workers).handed_over(**{"proven": True, "patient": False, **options}) == number


@pytest.mark.parametrize(
    ("seconds", "workers", "number"),
    [(None, 1, 1), (0.1, 1, 300), (10.0, 1, 3), (10.0, 4, 12), (60.0, 1, 1), (1e-9, 1, 1_000_000)],
)
def test_those_that_are_soon_attempted(seconds: float | None, workers: int, number: int) -> None:
    """As many as begin within half a minute; the next one in any case."""
    assert pace(seconds, workers).soon == number


@pytest.mark.parametrize(
    ("window", "finished", "number"),
    [(300, 74, 74), (300, 75, 75), (300, 149, 75), (300, 300, 75), (8, 3, 3), (8, 7, 4), (8, 8, 8), (5000, 250, 100)],
)
def test_whole_chunks_are_written(window: int, finished: int, number: int) -> None:
    """The rest of a chunk stays for the next request, and is not written alone or made to wait for half of another."""
    assert pace(0.001, window=window).to_write(finished) == number
