"""Who goes down a failure pathway."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from encord_agents.tasks.engine.context import Agent
from encord_agents.tasks.engine.dead_letter import FAILURES_IN_A_ROW, DeadLetters
from encord_agents.tasks.engine.outcome import Fault, Pathway, Phase
from encord_agents.tasks.engine.stop import Stop


def letters(*, strict: bool = True, pathway: bool = True) -> DeadLetters:
    anything: Any = None
    agent = Agent(anything, anything, anything, anything, anything, anything)
    agent.failure_pathway = Pathway(uuid4(), "review", uuid4()) if pathway else None
    return DeadLetters(agent, Stop(), strict)


def fault(phase: Phase = Phase.AGENT, *, platform: bool = False) -> Fault:
    return Fault(phase, LookupError(), 1, platform=platform)


@pytest.mark.parametrize("phase", list(Phase))
def test_phases(phase: Phase) -> None:
    """Only what the task and its agent did counts, not what could not be loaded or written."""
    assert letters(strict=False).take(fault(phase)) is (phase not in (Phase.LOAD, Phase.SAVE, Phase.MOVE))


def test_nowhere_to_go() -> None:
    """Without a failure pathway, and for the platform's trouble."""
    assert not letters(strict=False, pathway=False).take(fault())
    assert not letters(strict=False).take(fault(platform=True))


def test_before_the_first_success() -> None:
    """An agent that has never succeeded is not believed, in a run."""
    ours = letters()
    assert not ours.take(fault())
    ours.succeeded()
    assert ours.take(fault())


def test_calls_count_together() -> None:
    """The count is the agent's, whoever serves it; a success begins it anew."""
    first = letters(strict=False)
    second = DeadLetters(first.agent, Stop(), strict=False)
    taken = [one.take(fault()) for _ in range(FAILURES_IN_A_ROW // 2) for one in (first, second)]
    assert taken == [True] * (FAILURES_IN_A_ROW - 1) + [False]
    second.succeeded()
    assert first.take(fault())
