"""A stage that pauses while a service is over its limits."""

from __future__ import annotations

import math

import pytest

from encord_agents.tasks.engine.quiet import Quiet


def refuse(quiet: Quiet, now: float, after: float | None = None) -> float:
    ticket = quiet.begin(now)
    assert ticket is not None
    return quiet.refuse(ticket, after or 0.0, now)


def test_nothing_is_held_back_before_a_refusal() -> None:
    """As many at once as there are."""
    quiet = Quiet()
    assert [quiet.begin(0.0) for _ in range(1000)] == [0] * 1000
    assert quiet.wait(0.0) == 0.0
    assert not quiet.is_kept


def test_after_a_refusal_one_attempt_probes() -> None:
    """When the time is over that the service named; those that were under way do not count."""
    quiet = Quiet()
    under_way = quiet.begin(0.0)
    assert refuse(quiet, 0.0, 3.0) == 3.0
    assert quiet.is_void(under_way)
    assert (quiet.begin(2.9), quiet.wait(2.5), quiet.left(2.5)) == (None, 0.5, 0.5)
    quiet.end(under_way, well=True)
    assert quiet.begin(2.9) is None
    probe = quiet.begin(3.0)
    assert probe is not None
    assert not quiet.is_void(probe)
    assert (quiet.begin(3.0), quiet.wait(3.0)) == (None, math.inf)


def test_each_that_ends_well_makes_room_for_one_more() -> None:
    """1, 2, 4, 8 ... as rounds end; not those that end otherwise."""
    quiet = Quiet()
    refuse(quiet, 0.0, 1.0)
    at_once = []
    for _ in range(7):
        out = []
        while quiet.is_kept and (ticket := quiet.begin(1.0)) is not None:
            out.append(ticket)
        at_once.append(len(out))
        for ticket in out:
            quiet.end(ticket, well=True)
    assert at_once == [1, 2, 4, 8, 16, 32, 64]
    assert not quiet.is_kept
    refuse(quiet, 2.0, 1.0)
    quiet.end(quiet.begin(3.0))
    assert quiet.begin(3.0) is not None
    assert quiet.begin(3.0) is None


@pytest.mark.parametrize("after", [61.0, 86_400.0, math.inf])
def test_no_service_is_obeyed_for_longer_than_a_minute(after: float) -> None:
    """However long it asks for quiet; after that it is tried again."""
    quiet = Quiet()
    assert refuse(quiet, 0.0, after) == 60.0
    assert quiet.begin(60.0) is not None


def test_backoff_doubles_from_refusal_to_refusal() -> None:
    """From 1 s to 60 s where the service says nothing, half of it random; what was under way does not double it."""
    quiet, now, waits = Quiet(jitter=lambda: 1.0), 0.0, []
    for _ in range(8):
        others = quiet.begin(now) if not quiet.is_kept else None
        waits.append(refuse(quiet, now))
        if others is not None:
            assert quiet.refuse(others, 0.0, now) == waits[-1]
        now += waits[-1]
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    quiet.end(quiet.begin(now), well=True)
    assert refuse(quiet, now) == 1.0
    assert refuse(Quiet(jitter=lambda: 0.0), 0.0) == 0.5


def test_one_that_was_under_way_may_name_a_later_time() -> None:
    """The later one is obeyed, and an earlier one changes nothing."""
    quiet = Quiet()
    one, other, third = (quiet.begin(0.0) for _ in range(3))
    quiet.refuse(one, 2.0, 0.0)
    assert quiet.refuse(other, 5.0, 1.0) == 5.0
    assert quiet.refuse(third, 1.0, 1.0) == 5.0


def test_how_long_a_row_of_refusals_lasts() -> None:
    """From the first refusal to the next attempt; a success begins anew."""
    quiet = Quiet(jitter=lambda: 1.0)
    refuse(quiet, 10.0)
    assert quiet.lasts == 1.0
    refuse(quiet, 11.0)
    assert quiet.lasts == 3.0
    quiet.end(quiet.begin(13.0), well=True)
    refuse(quiet, 20.0, 5.0)
    assert quiet.lasts == 5.0
