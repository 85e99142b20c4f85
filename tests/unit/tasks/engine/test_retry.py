"""The decision after a fault, as a table."""

from __future__ import annotations

import pytest
from encord.exceptions import AuthenticationError, AuthorisationError

from encord_agents.exceptions import UnsupportedAssetError
from encord_agents.tasks.engine.outcome import Fault, Phase
from encord_agents.tasks.engine.retry import RetryPolicy, decide, retryable


def fault(attempt: int, phase: Phase = Phase.AGENT, exception: Exception | None = None) -> Fault:
    return Fault(phase, exception or LookupError(), attempt)


@pytest.mark.parametrize(("retries", "attempt", "again"), [(3, 1, True), (3, 3, True), (3, 4, False), (0, 1, False)])
def test_num_retries_are_attempts_after_the_first(retries: int, attempt: int, again: bool) -> None:
    """3 retries are 4 attempts."""
    assert (decide(RetryPolicy(retries), fault(attempt), jitter=lambda: 0.5) is not None) is again


@pytest.mark.parametrize("phase", list(Phase))
def test_what_is_retried(phase: Phase) -> None:
    """Everything up to the pathway; a refused save or move never calls the agent again."""
    again = decide(RetryPolicy(3), fault(1, phase), jitter=lambda: 0.5) is not None
    assert again is (phase not in (Phase.SAVE, Phase.MOVE))


def test_without_a_delay_the_next_attempt_is_at_once() -> None:
    """The default."""
    assert decide(RetryPolicy(), fault(1), jitter=lambda: 0.9) == 0.0


@pytest.mark.parametrize(("attempt", "ceiling"), [(1, 2.0), (2, 4.0), (3, 8.0), (10, 60.0)])
def test_the_delay_doubles_up_to_its_limit(attempt: int, ceiling: float) -> None:
    """Half of it is fixed, half random."""
    policy = RetryPolicy(20, delay=2.0)
    assert decide(policy, fault(attempt), jitter=lambda: 0.0) == ceiling / 2
    assert decide(policy, fault(attempt), jitter=lambda: 1.0) == ceiling


def test_give_up_on() -> None:
    """These exceptions, and what derives from them, are never retried."""
    policy = RetryPolicy(3, give_up_on=(LookupError,))
    assert decide(policy, fault(1, exception=KeyError()), jitter=lambda: 0.5) is None
    assert decide(policy, fault(1, exception=OSError()), jitter=lambda: 0.5) is not None


@pytest.mark.parametrize("given_up_on", [KeyError("x"), UnsupportedAssetError("It is no image.", item="x")])
def test_giving_up_on_a_cause(given_up_on: Exception) -> None:
    """An exception is not retried if one of these is its cause or in its group, as `asyncio.TaskGroup` and tenacity
    raise them. One that was only handled before it says nothing about another attempt."""
    policy = RetryPolicy(3, give_up_on=(LookupError,))
    wrapped, afterwards = RuntimeError(), RuntimeError()
    wrapped.__cause__, afterwards.__context__ = given_up_on, given_up_on
    assert not retryable(policy, fault(1, exception=wrapped))
    assert not retryable(policy, fault(1, exception=ExceptionGroup("several", [given_up_on])))
    assert retryable(policy, fault(1, exception=afterwards))


@pytest.mark.parametrize("refused", [AuthenticationError("no"), AuthorisationError("no")])
def test_what_is_not_permitted_is_not_loaded_again(refused: Exception) -> None:
    """It would be refused again. What an agent asks for by itself is its own business."""
    assert not retryable(RetryPolicy(), fault(1, Phase.LOAD, refused))
    assert retryable(RetryPolicy(), fault(1, Phase.AGENT, refused))


def test_very_many_attempts() -> None:
    """However often a task has failed, the delay can be worked out."""
    fault = Fault(Phase.AGENT, LookupError(), 1_000_000)
    assert decide(RetryPolicy(2_000_000, delay=1.0), fault, jitter=lambda: 1.0) == 60.0


def test_a_service_that_wants_quiet_is_obeyed() -> None:
    """Also where no delay, or a shorter one, was asked for; a longer one stands."""
    assert decide(RetryPolicy(), fault(1), jitter=lambda: 0.0, at_least=3.0) == 3.0
    assert decide(RetryPolicy(delay=10.0), fault(1), jitter=lambda: 1.0, at_least=3.0) == 10.0
    assert decide(RetryPolicy(0), fault(1), jitter=lambda: 0.0, at_least=3.0) is None
