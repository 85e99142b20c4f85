"""Hints at options that would have helped a run whose tasks mostly failed alike, or whose agents mostly saved."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from encord_agents.core.tracebacks import described
from encord_agents.tasks.engine.outcome import Phase
from encord_agents.tasks.engine.rate_limit import USED_UP, quota_is_used_up, rate_limit_of

__all__ = ["LEAST_ALIKE", "hint", "hint_at_bundling"]

LEAST_ALIKE = 10
"""The minimum number of similar failures that is worth a hint."""
MOSTLY = 0.8
"""The minimum share of similar failures among all failures."""

MUCH = 0.2
"""The minimum share of a run's time in agents' own saves that is worth a hint."""

SPEAKS_OF_LIMITS = re.compile(r"\b429\b|too many requests|rate.?limit|RESOURCE_EXHAUSTED|Throttling", re.IGNORECASE)
SPEAKS_OF_QUOTA = re.compile(
    rf"(?!.*RESOURCE_EXHAUSTED).*(?:{'|'.join(sorted(USED_UP))}|check your plan and billing)", re.DOTALL
)
"""Google says the latter of rate limits, too, but with its status."""
DIFFERS = re.compile(r"'[^']*'|\"[^\"]*\"|\b[0-9a-f]+(?:-[0-9a-f]+)+\b|\b0x[0-9a-f]+|\d+", re.IGNORECASE)
"""Parts in which messages of one kind differ: quoted text, uuids, addresses, numbers."""
SHOWN = 80
LOOKED_AT = 400


def hint(failures: Sequence[tuple[str | None, BaseException | None]]) -> str | None:
    """Return a sentence about failures that are mostly of one type and shape of message, or ``None``.

    Args:
        failures: Phase and exception of each failed task.
    """
    texts = [(phase, described(error)[:LOOKED_AT], error) for phase, error in failures if error is not None]
    kinds = Counter((phase, DIFFERS.sub("#", text)[:SHOWN]) for phase, text, _ in texts)
    if not kinds:
        return None
    ((phase, shape), number), *_ = kinds.most_common(1)
    if number < LEAST_ALIKE or number < MOSTLY * len(failures):
        return None
    text, error = next((t, e) for p, t, e in texts if (p, DIFFERS.sub("#", t)[:SHOWN]) == (phase, shape))
    first_line = text.partition("\n")[0]
    shown = first_line if len(first_line) <= SHOWN else f"{first_line[:SHOWN]}..."
    begun = f"{number} of {len(failures)} failures are alike ({shown})."
    ends = "max_consecutive_failures ends a run after that many in a row"
    if phase in (Phase.SAVE, Phase.MOVE):
        return f"{begun} {ends}."
    if SPEAKS_OF_QUOTA.match(text) or quota_is_used_up(error):
        return f"{begun} The quota is used up, and waiting does not help: see to the account's plan or billing; {ends}."
    if SPEAKS_OF_LIMITS.search(text) or rate_limit_of(error) is not None:
        return f"{begun} It is a rate limit: a larger retry_delay, or fewer workers, may help; {ends}."
    return f"{begun} If such failures are temporary, retry_delay waits before another attempt; {ends}."


def hint_at_bundling(own_saves: float, seconds: float) -> str | None:
    """Return a sentence about a run whose agents waited for saves of their own for much of its time, or ``None``.

    Args:
        own_saves: Seconds they waited, over all workers.
        seconds: Seconds of the run or, if that is more, of all attempts together: several workers wait at once.
    """
    if own_saves <= MUCH * seconds:
        return None
    return (
        f"{own_saves / seconds:.0%} of the time went into the agents' own label_row.save() and set_priority(), a "
        "request each: bundle_saves=True (--bundle-saves) sends them with others'."
    )
