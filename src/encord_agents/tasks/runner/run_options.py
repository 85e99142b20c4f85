"""The options of a run, declared and checked once for every kind of run."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, NamedTuple

from encord_agents.exceptions import PrintableError

__all__ = ["DrainOptions", "Progress", "RunOptions", "RunnerOptions", "check_number"]

Progress = Literal["auto", "rich", "plain", "none"]


class _Number(NamedTuple):
    """The minimum of a number, its meaning in words, and whether it must be whole."""

    least: float
    meaning: str
    whole: bool = True


NUMBERS = {
    "refresh_every": _Number(1, "seconds between the starts of two passes; leave it out for one pass", whole=False),
    "num_retries": _Number(0, "attempts after the first; 0 means one attempt"),
    "max_tasks_per_stage": _Number(1, "tasks in a pass; leave it out for all"),
    "max_tasks": _Number(1, "tasks given to the agent; leave it out for all"),
    "retry_delay": _Number(0, "seconds before the second attempt", whole=False),
    "max_consecutive_failures": _Number(1, "failures in a row that end the run; leave it out for none"),
    "max_outage": _Number(0, "seconds to wait for a platform that does not answer", whole=False),
    "task_batch_size": _Number(1, "tasks in memory at once"),
    "max_workers": _Number(1, "attempts at once"),
    "workers": _Number(1, "processes; leave it out for one per processor"),
    "batch_size": _Number(1, "tasks that go to a worker together"),
    "max_retries": _Number(0, "attempts after the first; 0 means one attempt"),
    "poll_every": _Number(1, "seconds between two polls; leave it out for none", whole=False),
}


def check_number(name: str, value: object, *, optional: bool = False, most: float = math.inf) -> None:
    """Check one of the `NUMBERS`.

    Args:
        optional: Accept ``None`` too.
        most: The maximum.

    Raises:
        PrintableError: It is no number, too small or too large; the message says what the number means.
    """
    least, meaning, whole = NUMBERS[name]
    if value is None and optional:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or (whole and not isinstance(value, int)):
        raise PrintableError(f"{name}={value!r} is not a {'whole number' if whole else 'number'}: it is {meaning}.")
    if not least <= value <= most or math.isinf(value):
        bounds = f"at least {least}" if math.isinf(most) else f"from {least} to {most}"
        raise PrintableError(f"{name}={value!r} is out of range: it must be {bounds} ({meaning}).")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """Options that every kind of run has, with the meaning that `SequentialRunner.__call__` gives them.

    Raises:
        PrintableError: A number is out of range, or two options contradict each other.
    """

    refresh_every: float | None = None
    num_retries: int = 3
    max_tasks_per_stage: int | None = None
    max_outage: float | None = None
    retry_delay: float = 0.0
    max_consecutive_failures: int | None = None
    dry_run: bool = False
    bundle_saves: bool = False
    progress: Progress = "none"
    report: str | Path | None = None

    def __post_init__(self) -> None:
        if self.refresh_every == 0:  # one pass, as it meant in 0.2.10
            object.__setattr__(self, "refresh_every", None)
        for field in fields(self):
            if field.name in NUMBERS:
                check_number(field.name, getattr(self, field.name), optional=field.default is None)
        if self.dry_run and self.refresh_every is not None:
            raise PrintableError("A dry run moves no task, so every pass would be the same: leave out refresh_every.")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerOptions(RunOptions):
    """Options of a run in one process."""

    max_outage: float = 300.0
    task_batch_size: int = 300
    max_workers: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainOptions(RunOptions):
    """Options of a drain. They are sent to its workers too."""

    workers: int | None = None
    batch_size: int = 10
