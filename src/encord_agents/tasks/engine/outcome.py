"""Faults of single attempts at a task, and its final outcome."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from encord_agents.core.tracebacks import shown

__all__ = ["OUTCOMES", "Failed", "Fault", "Held", "Moved", "Outcome", "Pathway", "Phase", "Skipped"]


class Phase(StrEnum):
    """The phase in which an attempt, or the writing of its result, went wrong."""

    LOAD = "load"
    INJECT = "inject"
    AGENT = "agent"
    TEARDOWN = "teardown"
    PATHWAY = "pathway"
    SAVE = "save"
    MOVE = "move"


@dataclass(frozen=True, slots=True)
class Pathway:
    """A way out of an agent stage: its uuid, its name, and the stage it leads to."""

    uuid: UUID
    name: str
    destination_uuid: UUID


@dataclass(frozen=True, slots=True)
class Fault:
    """The failure of one attempt, or of a write.

    Attributes:
        phase: The phase in which it went wrong.
        exception: The exception, with its traceback.
        attempt: The number of the attempt, from 1. For a write, that of the attempt whose result was written.
        run_scoped: True if a run-scoped dependency raised it, which would fail every task.
        platform: True if the platform caused it, and neither the task nor the agent.
        first: The error of the task's first attempt, if it was a different one.
        rate_limited: True if a service that the agent calls was over its rate limit, and neither the task nor the
            agent caused it.
    """

    phase: Phase
    exception: BaseException
    attempt: int
    run_scoped: bool = False
    platform: bool = False
    first: str | None = None
    rate_limited: bool = False

    def __repr__(self) -> str:
        return f"<Fault in {self.phase}, attempt {self.attempt}: {shown(self.exception)}>"


@dataclass(frozen=True, slots=True)
class Moved:
    """The outcome of a task that moved, after its labels and priority were accepted.

    ``confirmed`` is False if the platform's answer was lost and the task was afterwards gone from the stage.
    """

    pathway: Pathway
    confirmed: bool = True


@dataclass(frozen=True, slots=True)
class Held:
    """The outcome of a task whose agent named no pathway: its result was written, and it stays in its stage."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The outcome of a task that is not tried again. ``moved_to`` is the failure pathway it was sent down, if any."""

    fault: Fault
    moved_to: Pathway | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """The outcome of a task that left the stage independently of this run. Nothing was written for it from then on."""

    reason: str = "the task had left the stage"


Outcome = Moved | Held | Failed | Skipped

OUTCOMES = ("moved", "held", "failed", "skipped")
"""Their names, in the order in which they are shown."""
