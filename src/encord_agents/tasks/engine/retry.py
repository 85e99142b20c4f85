"""The decision after a fault: a pure function of the policy and the fault."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from encord_agents.core.tracebacks import reason
from encord_agents.exceptions import UnsupportedAssetError
from encord_agents.tasks.engine.outcome import Fault, Phase
from encord_agents.tasks.engine.verdict import Verdict, verdict

__all__ = ["RetryPolicy", "decide", "retryable"]

RETRIED = frozenset({Phase.LOAD, Phase.INJECT, Phase.AGENT, Phase.TEARDOWN, Phase.PATHWAY})


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """The number of retries, their delay, and the exceptions that are never retried.

    Attributes:
        num_retries: Attempts after the first; 3 means at most 4 attempts.
        delay: Seconds before the second attempt; it doubles from there.
        give_up_on: Exceptions that another attempt would only raise again, also as a cause or in a group.
        longest_delay: The longest delay before an attempt, in seconds, however often the task has failed.
    """

    num_retries: int = 3
    delay: float = 0.0
    give_up_on: tuple[type[Exception], ...] = ()
    longest_delay: float = 60.0

    def backoff(self, attempt: int, *, jitter: Callable[[], float]) -> float:
        """Return the seconds to wait after a task's failed attempt with this number.

        ``jitter`` returns a number in [0, 1); half of the delay is fixed and half is random, so that tasks that failed
        together do not come back together.
        """
        ceiling = min(self.delay * 2.0 ** min(attempt - 1, 32), self.longest_delay)
        return ceiling * (0.5 + 0.5 * jitter())


def retryable(policy: RetryPolicy, fault: Fault) -> bool:
    """Return True if another attempt, at some time, may succeed, however many there were already."""
    if fault.platform:
        return True
    if fault.phase is Phase.LOAD and verdict(fault.exception) in (Verdict.CREDENTIALS, Verdict.FORBIDDEN):
        return False
    # A file of an unsupported kind would be the same if it were fetched again.
    final: tuple[type[Exception], ...] = (UnsupportedAssetError, *policy.give_up_on)
    return fault.phase in RETRIED and reason(fault.exception, final) is None


def decide(policy: RetryPolicy, fault: Fault, *, jitter: Callable[[], float], at_least: float = 0.0) -> float | None:
    """Return the seconds to wait before the next attempt, or ``None`` to stop trying.

    Args:
        jitter: See `RetryPolicy.backoff`.
        at_least: Seconds for which a service that the agent calls wants no calls.
    """
    if fault.attempt > policy.num_retries or not retryable(policy, fault):
        return None
    if fault.platform:
        return None  # the gate has tried it many times already, while other requests were answered
    return max(at_least, policy.backoff(fault.attempt, jitter=jitter))
