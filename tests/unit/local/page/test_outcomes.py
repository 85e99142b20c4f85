"""Outcomes of calls: the last of each task, a bounded number of them, and a bounded number of calls."""

from __future__ import annotations

import pytest

from encord_agents.local.calling import Outcome
from encord_agents.local.page.outcomes import CALLS_AT_ONCE, MOST_KEPT, Outcomes
from encord_agents.local.trouble import Refusal


def outcome(name: str) -> Outcome:
    return Outcome(name, at=0.0, seconds=0.1, status=200)


def test_the_last_one_is_kept() -> None:
    """A later one takes its place, and one can be forgotten."""
    outcomes = Outcomes()
    for name in ("first", "second"):
        outcomes.keep("task", outcome(name))
    found = outcomes.of("task")
    assert found is not None
    assert found.agent == "second"
    outcomes.forget("task")
    outcomes.forget("task")
    assert outcomes.of("task") is None


def test_the_oldest_make_room() -> None:
    """One that was renewed lately is not among them."""
    outcomes = Outcomes()
    for number in range(MOST_KEPT):
        outcomes.keep(str(number), outcome("box"))
    outcomes.keep("0", outcome("again"))
    outcomes.keep("new", outcome("box"))
    assert outcomes.of("0") is not None
    assert outcomes.of("1") is None


def test_calls_are_bounded() -> None:
    """One too many is refused, until another has ended; one that failed has ended, too."""
    outcomes = Outcomes()
    for _ in range(CALLS_AT_ONCE):
        outcomes.__enter__()
    with pytest.raises(Refusal, match="at work already") as caught, outcomes:
        pytest.fail("one too many")
    assert caught.value.status == 503
    outcomes.__exit__(None, None, None)
    with pytest.raises(ZeroDivisionError), outcomes:
        raise ZeroDivisionError
    with outcomes:
        pass


@pytest.mark.parametrize(("status", "is_good"), [(200, True), (204, True), (302, False), (400, False), (None, False)])
def test_what_is_good(status: int | None, is_good: bool) -> None:
    """An answer below 300."""
    assert Outcome("box", at=0.0, seconds=0.1, status=status).is_good is is_good
