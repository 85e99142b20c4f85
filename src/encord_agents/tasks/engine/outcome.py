"""The words for what happens to a task: faults while it is tried, and one outcome at the end."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from encord_agents.core.tracebacks import shown

__all__ = ["Failed", "Fault", "Held", "Moved", "Outcome", "Pathway", "Phase", "Skipped"]


class Phase(StrEnum):
    """Where an attempt, or the writing of its result, went wrong."""

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
    """One attempt went wrong.

    Attributes:
        phase: In which phase.
        exception: With which exception, its traceback included.
        attempt: In which attempt, counted from 1. Faults of writing carry the attempt whose result was written.
        run_scoped: Whether a run-scoped dependency raised it: then it is every task's trouble.
        platform: Whether the platform caused it, not the task: its agent is not to blame.
        first: What the task's first attempt failed with, where that was something else.
        rate_limited: Whether a service that the agent calls had too many calls: neither is to blame.
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
    """The task's labels and priority were accepted, and then it moved.

    ``confirmed`` is false when the platform's answer was lost and the task was afterwards gone from the stage.
    """

    pathway: Pathway
    confirmed: bool = True


@dataclass(frozen=True, slots=True)
class Held:
    """The agent named no pathway: what it returned was written, and the task stays."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The decision was to stop trying. ``moved_to`` is the failure pathway it was sent down, if there was one."""

    fault: Fault
    moved_to: Pathway | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """The task had left the stage by itself; nothing was written for it from then on."""

    reason: str = "the task had left the stage"


Outcome = Moved | Held | Failed | Skipped
