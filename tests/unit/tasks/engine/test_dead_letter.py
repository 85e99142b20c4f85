"""Who goes down a failure pathway."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from encord_agents.tasks.engine.context import Agent
from encord_agents.tasks.engine.dead_letter import FAILURES_IN_A_ROW, DeadLetters
from encord_agents.tasks.engine.outcome import Failed, Fault, Held, Moved, Outcome, Pathway, Phase, Skipped
from encord_agents.tasks.engine.stop import Stop

PATHWAY = Pathway(uuid4(), "review", uuid4())


def letters(*, strict: bool = True, pathway: bool = True, most: int | None = None) -> DeadLetters:
    anything: Any = None
    stage: Any = SimpleNamespace(title="Pre-label")
    way = PATHWAY if pathway else None
    agent = Agent(stage, anything, anything, anything, anything, anything, failure_pathway=way)
    return DeadLetters(agent, Stop(), strict, most)


def fault(phase: Phase = Phase.AGENT, *, platform: bool = False) -> Fault:
    return Fault(phase, LookupError(), 1, platform=platform)


@pytest.mark.parametrize("phase", list(Phase))
def test_phases(phase: Phase) -> None:
    """Only what the task and its agent did counts, not what could not be loaded or written."""
    assert letters(strict=False).take(uuid4(), fault(phase)) is (phase not in (Phase.LOAD, Phase.SAVE, Phase.MOVE))


def test_nowhere_to_go() -> None:
    """Without a failure pathway, and for the platform's trouble."""
    assert not letters(strict=False, pathway=False).take(uuid4(), fault())
    assert not letters(strict=False).take(uuid4(), fault(platform=True))


def test_a_quota_that_is_used_up() -> None:
    """No person needs to look at the task for that."""
    error = type("RateLimitError", (Exception,), {"code": "insufficient_quota"})()
    assert not letters(strict=False).take(uuid4(), Fault(Phase.AGENT, error, 1))


def test_before_the_first_success() -> None:
    """An agent that has never succeeded is not believed, in a run."""
    ours = letters()
    assert not ours.take(uuid4(), fault())
    ours.agent.history.succeed()
    assert ours.take(uuid4(), fault())


def test_calls_count_together() -> None:
    """The count is the agent's, whoever serves it; a success begins it anew."""
    first = letters(strict=False)
    second = DeadLetters(first.agent, Stop(), strict=False)
    taken = [one.take(uuid4(), fault()) for _ in range(FAILURES_IN_A_ROW // 2) for one in (first, second)]
    assert taken == [True] * (FAILURES_IN_A_ROW - 1) + [False]
    second.agent.history.succeed()
    assert first.take(uuid4(), fault())


def test_a_rate_limit_sends_nobody_down() -> None:
    """Another time the task may well succeed; but it counts, for an agent that cannot work ends the run."""
    ours = letters()
    ours.agent.history.succeed()
    limited = Fault(Phase.AGENT, LookupError(), 4, rate_limited=True)
    assert [ours.take(uuid4(), limited) for _ in range(FAILURES_IN_A_ROW)] == [False] * FAILURES_IN_A_ROW
    assert ours.halted is not None


# Failures in a row that end the run


def test_so_many_in_a_row_end_the_run() -> None:
    """With or without a failure pathway; the reason says which number it was."""
    for pathway in (True, False):
        ours = letters(pathway=pathway, most=3)
        for _ in range(2):
            ours.gave_up(uuid4(), fault())
        ours.agent.history.succeed()
        for _ in range(2):
            ours.gave_up(uuid4(), fault())
        assert not ours.stop.requested
        ours.gave_up(uuid4(), fault(Phase.LOAD))
        assert ours.stop.requested
        assert ours.halted == "3 tasks of stage 'Pre-label' failed in a row (max_consecutive_failures=3)"


def test_the_first_failure_may_end_the_run() -> None:
    """A number of one, and words that fit."""
    ours = letters(most=1)
    ours.gave_up(uuid4(), fault())
    assert ours.halted == "1 task of stage 'Pre-label' failed (max_consecutive_failures=1)"


def test_none_never_ends_the_run() -> None:
    """The default."""
    ours = letters(pathway=False)
    for _ in range(100):
        ours.gave_up(uuid4(), fault())
        ours.finished(uuid4(), Failed(fault(Phase.SAVE)))
    assert not ours.stop.requested


def test_what_does_not_count() -> None:
    """The platform's trouble, and a task that has left meanwhile."""
    ours = letters(most=1)
    ours.gave_up(uuid4(), fault(platform=True))
    ours.finished(uuid4(), Failed(fault(Phase.MOVE, platform=True)))
    ours.finished(uuid4(), Skipped())
    assert not ours.stop.requested


def test_a_task_that_fails_in_each_pass_counts_once() -> None:
    """In each of the rows, however many passes there are, and though others succeed in between."""
    ours, poison = letters(most=2), uuid4()
    for number in range(FAILURES_IN_A_ROW + 5):
        ours.gave_up(poison, fault())
        assert not ours.take(poison, fault())
        ours.finished(poison, Failed(fault()))
        ours.finished(poison, Failed(fault(Phase.SAVE)))
        if number == 3:
            ours.agent.history.succeed()
            ours.finished(uuid4(), Held())
            ours.agent.history.has_succeeded = False
    assert not ours.stop.requested


@pytest.mark.parametrize("outcome", [Held(), Moved(PATHWAY), Skipped(), Failed(fault(), moved_to=PATHWAY)])
def test_a_task_that_did_not_fail_or_has_left_counts_again(outcome: Outcome) -> None:
    """A task that earlier passes held counts where it fails, and so does one that comes back."""
    ours, uuid = letters(most=2), uuid4()
    ours.agent.history.remember(uuid)
    ours.gave_up(uuid, fault())
    ours.finished(uuid, outcome)
    assert not ours.stop.requested
    ours.gave_up(uuid, fault())
    assert ours.stop.requested


def test_refused_writes_are_a_row_of_their_own() -> None:
    """Each of them was a good attempt, so only a task that was written ends their row."""
    ours = letters(most=3)
    for outcome in (Moved(PATHWAY), Held(), None):
        for _ in range(2):
            ours.agent.history.succeed()
            ours.finished(uuid4(), Failed(fault(Phase.SAVE)))
        if outcome is not None:
            ours.finished(uuid4(), outcome)
    assert not ours.stop.requested
    ours.finished(uuid4(), Failed(fault(Phase.MOVE)))
    assert ours.stop.requested


def test_while_a_stop_is_on_its_way() -> None:
    """A stop may have ended the programs that an agent runs, so no task is blamed any more."""
    ours = letters(strict=False)
    ours.stop.request("terminate")
    assert not ours.take(uuid4(), fault())
