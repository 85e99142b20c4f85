"""What agents return, and what queue functions answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar
from uuid import UUID

from encord.objects import LabelRowV2
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, field_validator

from encord_agents.core.legible import legible

__all__ = [
    "NO_TASK",
    "AgentTaskConfig",
    "DecoratedCallable",
    "TaskAgentReturnPathway",
    "TaskAgentReturnStruct",
    "TaskAgentReturnType",
    "TaskCompletionResult",
    "TaskResult",
]

NO_TASK = UUID(int=0)
"""Stands for the task of a specification that names none."""


@dataclass
class TaskAgentReturnStruct:
    """What an agent wants done with its task: labels saved, priority set, task moved, in this order.

    Attributes:
        pathway: The title or uuid of the pathway to move the task down. ``None``: the task stays in its stage.
        label_row: The task's label row, to be saved. ``None``: nothing is saved.
        label_row_priority: 0.0 to 1.0, higher is sooner. ``None``: unchanged.

    Raises:
        ValueError: The priority is not a number from 0 to 1.
    """

    pathway: str | UUID | None = None
    label_row: LabelRowV2 | None = None
    label_row_priority: float | None = None

    def __post_init__(self) -> None:
        priority = self.label_row_priority
        if priority is None:
            return
        try:
            number = float(priority)  # numpy's numbers are welcome; text is not
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if isinstance(priority, (bool, str, bytes)) or not 0.0 <= number <= 1.0:
            raise ValueError(f"label_row_priority must be a number from 0.0 to 1.0, not {priority!r}.")
        self.label_row_priority = number


TaskAgentReturnPathway: TypeAlias = str | UUID | None
"""A pathway's title or uuid; ``None`` leaves the task in its stage."""

TaskAgentReturnType: TypeAlias = TaskAgentReturnPathway | TaskAgentReturnStruct
"""What an agent may return."""

DecoratedCallable = TypeVar("DecoratedCallable", bound=Callable[..., TaskAgentReturnType])
"""An agent, as a decorator is given it."""


class AgentTaskConfig(BaseModel):
    """What a queue function is told of a task: what ``AgentTask.model_dump_json()`` of the SDK has of it."""

    model_config = ConfigDict(extra="ignore")

    task_uuid: UUID = Field(validation_alias=AliasChoices("uuid", "task_uuid"))
    data_hash: UUID
    data_title: str
    label_branch_name: str


class TaskResult(BaseModel):
    """What became of one task in one call of a queue function.

    Attributes:
        task_uuid: The task; `NO_TASK` where the specification named none.
        data_title: Its data unit's title, where the task was still in its stage.
        outcome: ``moved``, ``held`` (it stays, and what was returned is written), ``failed``, or ``skipped`` (it was
            not in the stage any more, and was not touched).
        pathway: The pathway it went down, a failure pathway included.
        confirmed: False where the platform's answer to the move was lost and the task was afterwards gone.
        phase: Where a failed task failed: spec, load, inject, agent, teardown, pathway, save or move.
        error: What went wrong, as ``"ValueError: ..."``, or why it was skipped.
        traceback: The traceback of what a failed task failed with.
        retryable: Whether another call may end better.
        retry_after: Seconds after which a service that the agent calls, and that refused the task for now, wants to be
            asked again; at most 60. ``None``: no service said so.
        seconds: How long the attempt took.
        own_saves: Seconds of that in which the agent waited for saves of its own, which ``bundle_saves`` would have
            sent with others'.
    """

    model_config = ConfigDict(extra="ignore")  # a newer worker may say more

    task_uuid: UUID
    data_title: str | None = None
    outcome: Literal["moved", "held", "failed", "skipped"]
    pathway: UUID | None = None
    confirmed: bool = True
    phase: str | None = None
    error: str | None = None
    traceback: str | None = None
    retryable: bool = False
    retry_after: float | None = None
    seconds: float = 0.0
    own_saves: float = 0.0

    @field_validator("data_title", "error", "traceback", mode="before")
    @classmethod
    def _legible(cls, text: object) -> object:
        return legible(text) if isinstance(text, str) else text  # JSON text cannot have half characters

    @property
    def success(self) -> bool:
        """Whether the agent's result was written, and the task moved if it was to."""
        return self.outcome in ("moved", "held")


class TaskCompletionResult(BaseModel):
    """What a queue function answers about the task, or the tasks, it was called with.

    For one task the first five fields are single values; for a list they are lists, and ``results`` says which task
    is which.

    Attributes:
        task_uuid: The task, or the tasks, it was called with; `NO_TASK` where a specification named none.
        stage_uuid: The stage they were in.
        success: For one task: whether it was done. For several: the uuids of those that were.
        pathway: The pathway it moved down, ``None`` where it stayed. For several: the pathways of those that moved.
        error: What went wrong, as text; for several, a line for each task that something went wrong with.
        results: One for each given task, in order.
    """

    model_config = ConfigDict(extra="ignore")

    task_uuid: UUID | list[UUID]
    stage_uuid: UUID | None = None
    success: bool | list[UUID]
    pathway: UUID | list[UUID] | None = None
    error: str | None = None
    results: list[TaskResult] = Field(default_factory=list)

    @property
    def failures(self) -> list[TaskResult]:
        """The results of the tasks that failed."""
        return [result for result in self.results if result.outcome == "failed"]

    @classmethod
    def of(cls, results: Sequence[TaskResult], stage_uuid: UUID, *, many: bool) -> TaskCompletionResult:
        """The answer to a call with one task, or with a list."""
        if not many:
            (only,) = results
            return cls(
                task_uuid=only.task_uuid,
                stage_uuid=stage_uuid,
                success=only.success,
                pathway=only.pathway,
                error=only.error,
                results=list(results),
            )
        errors = [f"{result.data_title or result.task_uuid}: {result.error}" for result in results if result.error]
        return cls(
            task_uuid=[result.task_uuid for result in results],
            stage_uuid=stage_uuid,
            success=[result.task_uuid for result in results if result.success],
            pathway=[result.pathway for result in results if result.pathway is not None],
            error="\n".join(errors) or None,
            results=list(results),
        )
