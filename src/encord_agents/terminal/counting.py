"""Counts of a run's stages, updated from its events, and their wording, for every kind of progress display."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from encord_agents.core.legible import on_one_line
from encord_agents.tasks.engine.events import (
    Event,
    PassFinished,
    StageFinished,
    StagePolled,
    StageStarted,
    TaskFinished,
)
from encord_agents.tasks.engine.outcome import OUTCOMES
from encord_agents.tasks.engine.record import kind_of

__all__ = [
    "OUTCOMES",
    "Counting",
    "StageCounts",
    "added_up",
    "clock_text",
    "counts_text",
    "done_text",
    "pass_line",
    "progress_text",
    "tasks_in_words",
    "times_text",
]


@dataclass(slots=True)
class StageCounts:
    """The progress of one stage in the current pass."""

    title: str
    started: float
    seen: int = 0
    all_seen: bool = False
    moved: int = 0
    held: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float | None = None

    @property
    def done(self) -> int:
        return self.moved + self.held + self.failed + self.skipped

    def elapsed(self, now: float) -> float:
        """Return the seconds since the stage started, or those it took if it has ended."""
        return self.seconds if self.seconds is not None else now - self.started

    def rate(self, now: float) -> float:
        """Return the tasks per second since the stage started."""
        seconds = self.elapsed(now)
        return self.done / seconds if seconds > 0 else 0.0

    def remaining(self, now: float) -> float | None:
        """Return the seconds until the stage is done at this rate; ``None`` while they cannot be estimated."""
        rate = self.rate(now)
        if self.seconds is not None or not self.all_seen or not rate:
            return None
        return max(0, self.seen - self.done) / rate


def added_up(title: str, stages: Sequence[StageCounts]) -> StageCounts:
    """Return the sums of several finished stages, under one title."""
    total = StageCounts(title, started=0.0, all_seen=True, seconds=sum(stage.seconds or 0.0 for stage in stages))
    for name in ("seen", *OUTCOMES):
        setattr(total, name, sum(getattr(stage, name) for stage in stages))
    return total


class Counting:
    """Keeps a `StageCounts` per stage."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.stages: dict[UUID, StageCounts] = {}

    def count(self, event: Event) -> StageCounts | None:
        """Count an event. Return its stage if it changes the stage's counts."""
        match event:
            case StageStarted(stage_uuid=uuid, stage=title):
                self.stages[uuid] = StageCounts(on_one_line(title), self.clock())
                return self.stages[uuid]
            case StagePolled(stage_uuid=uuid):
                if (stage := self.stages.get(uuid)) is not None:
                    stage.seen, stage.all_seen = max(event.tasks, stage.seen), event.complete
                return stage
            case TaskFinished(task=task, outcome=outcome):
                if (stage := self.stages.get(task.stage_uuid)) is not None:
                    kind = kind_of(outcome)
                    setattr(stage, kind, getattr(stage, kind) + 1)
                return stage
            case StageFinished(stage_uuid=uuid, seconds=seconds):
                if (stage := self.stages.get(uuid)) is not None:
                    stage.seconds = seconds
                return stage
            case _:
                return None


def tasks_in_words(n: int) -> str:
    return f"{n} task{'' if n == 1 else 's'}"


def progress_text(stage: StageCounts) -> str:
    so_far = "" if stage.all_seen or stage.seconds is not None else " so far"
    return f"{stage.done}/{max(stage.seen, stage.done)}{so_far}"


def done_text(stage: StageCounts) -> str:
    return f"{stage.done} of {max(stage.seen, stage.done)}{'' if stage.all_seen else ' so far'}"


def counts_text(counts: StageCounts | PassFinished) -> str:
    return ", ".join(f"{n} {name}" for name in OUTCOMES if (n := getattr(counts, name))) or "nothing yet"


def clock_text(seconds: float) -> str:
    """Return a number of seconds as a clock shows it: ``0:07``, ``1:02:03``."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def times_text(stage: StageCounts, now: float) -> str:
    """Return the time a stage has taken, and the time left if it can be estimated."""
    remaining = stage.remaining(now)
    left = "" if remaining is None else f", {clock_text(remaining)} left"
    return f"{clock_text(stage.elapsed(now))}{left}"


def pass_line(event: PassFinished) -> str:
    did = counts_text(event) if event.moved + event.held + event.failed + event.skipped else "no task"
    then = "" if event.next_in is None else f"; the next in {event.next_in:.0f} s"
    return f"Pass {event.number}: {did} in {event.seconds:.1f} s{then}"
