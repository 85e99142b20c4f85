"""Options that would have helped a run whose tasks mostly failed alike."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from encord_agents.core.tracebacks import described
from encord_agents.tasks.engine.outcome import Phase
from encord_agents.tasks.engine.rate_limit import rate_limit_of

__all__ = ["LEAST_ALIKE", "hint"]

LEAST_ALIKE = 10
"""Failures that are worth a hint."""
MOSTLY = 0.8
"""Share of the failures that are alike."""

SPEAKS_OF_LIMITS = re.compile(r"\b429\b|too many requests|rate.?limit|RESOURCE_EXHAUSTED|Throttling", re.IGNORECASE)
DIFFERS = re.compile(r"'[^']*'|\"[^\"]*\"|\b[0-9a-f]+(?:-[0-9a-f]+)+\b|\b0x[0-9a-f]+|\d+", re.IGNORECASE)
"""What messages of one kind differ in: what is quoted, uuids, addresses, numbers."""
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
    ends = "max_consecutive_failures ends a run after so many in a row"
    if phase in (Phase.SAVE, Phase.MOVE):
        return f"{begun} {ends}."
    if SPEAKS_OF_LIMITS.search(text) or rate_limit_of(error) is not None:
        return f"{begun} It is a rate limit: a larger retry_delay, or fewer workers, give it time; {ends}."
    return f"{begun} If such trouble passes, retry_delay waits before another attempt; {ends}."
