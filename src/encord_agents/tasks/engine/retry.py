"""What to do after a fault: a pure function of the policy and the fault."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from encord.exceptions import AuthenticationError, AuthorisationError, SshKeyNotFound

from encord_agents.core.tracebacks import is_a
from encord_agents.exceptions import UnsupportedAssetError
from encord_agents.tasks.engine.outcome import Fault, Phase

__all__ = ["MAX_RETRY_DELAY", "RetryPolicy", "backoff", "decide", "retryable"]

MAX_RETRY_DELAY = 60.0
"""Seconds. However often a task has failed, it is not kept waiting longer than this."""

WRONG_IN_ITSELF = (UnsupportedAssetError,)
"""What a file is: fetched again it would be the same."""

FORBIDDEN = (AuthenticationError, AuthorisationError, SshKeyNotFound)
"""The platform's answer to whoever may not: loading again would bring it again."""

RETRIED = frozenset({Phase.LOAD, Phase.INJECT, Phase.AGENT, Phase.TEARDOWN, Phase.PATHWAY})


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often, how soon, and what never.

    Attributes:
        num_retries: Attempts after the first; 3 means at most 4 attempts.
        delay: Seconds before the second attempt; it doubles from there, up to `MAX_RETRY_DELAY`.
        give_up_on: Exceptions that another attempt would only raise again.
    """

    num_retries: int = 3
    delay: float = 0.0
    give_up_on: tuple[type[Exception], ...] = ()


def retryable(policy: RetryPolicy, fault: Fault) -> bool:
    """Whether another attempt, some time, may end better; how many there were already does not count."""
    if fault.platform:
        return True
    if fault.phase is Phase.LOAD and is_a(fault.exception, FORBIDDEN):
        return False
    if is_a(fault.exception, WRONG_IN_ITSELF):
        return False
    return fault.phase in RETRIED and not is_a(fault.exception, policy.give_up_on)


def backoff(delay: float, attempt: int, *, jitter: Callable[[], float]) -> float:
    """Return the seconds to wait after a task's attempt with this number, which failed.

    ``jitter`` returns a number in [0, 1); half of the delay is fixed and half is random, so that tasks that failed
    together do not come back together.
    """
    ceiling = min(delay * 2.0 ** min(attempt - 1, 32), MAX_RETRY_DELAY)
    return ceiling * (0.5 + 0.5 * jitter())


def decide(policy: RetryPolicy, fault: Fault, *, jitter: Callable[[], float], at_least: float = 0.0) -> float | None:
    """Seconds to wait before the next attempt, or ``None`` to stop trying.

    Args:
        jitter: See `backoff`.
        at_least: Seconds for which a service that the agent calls wants to be left alone.
    """
    if fault.attempt > policy.num_retries or not retryable(policy, fault):
        return None
    if fault.platform:
        return None  # it was asked for again and again already, while other requests were answered
    return max(at_least, backoff(policy.delay, fault.attempt, jitter=jitter))
