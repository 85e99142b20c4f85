"""The return values of agents, and the answers of queue functions."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar
from uuid import UUID

from encord.objects import LabelRowV2
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, field_validator

from encord_agents.core.legible import legible

__all__ = [
    "NO_TASK",
    "AgentFunction",
    "AgentTaskConfig",
    "DecoratedCallable",
    "TaskAgentReturnPathway",
    "TaskAgentReturnStruct",
    "TaskAgentReturnType",
    "TaskCompletionResult",
    "TaskResult",
]

NO_TASK = UUID(int=0)
"""A placeholder for the task of a specification that names no task."""


@dataclass
class TaskAgentReturnStruct:
    """The actions an agent requests for its task, done in this order: save labels, set the priority, move the task.

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
            number = float(priority)  # accepts numpy's numbers, but not text
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if isinstance(priority, (bool, str, bytes)) or not 0.0 <= number <= 1.0:
            raise ValueError(f"label_row_priority must be a number from 0.0 to 1.0, not {priority!r}.")
        self.label_row_priority = number


TaskAgentReturnPathway: TypeAlias = str | UUID | None
"""A pathway's title or uuid; ``None`` leaves the task in its stage."""

TaskAgentReturnType: TypeAlias = TaskAgentReturnPathway | TaskAgentReturnStruct
"""The possible return values of an agent."""

AgentFunction: TypeAlias = Callable[..., TaskAgentReturnType | Awaitable[TaskAgentReturnType]]
"""An agent: a function or coroutine function, with any parameters."""

DecoratedCallable = TypeVar("DecoratedCallable", bound=Callable[..., TaskAgentReturnType])
"""An agent that is passed to a decorator."""


class AgentTaskConfig(BaseModel):
    """A task's specification, the input of a queue function, as the SDK's ``AgentTask.model_dump_json()`` writes it."""

    model_config = ConfigDict(extra="ignore")

    task_uuid: UUID = Field(validation_alias=AliasChoices("uuid", "task_uuid"))
    data_hash: UUID
    data_title: str
    label_branch_name: str


class TaskResult(BaseModel):
    """The result of one task in one call of a queue function.

    Attributes:
        task_uuid: The task; `NO_TASK` if the specification named none.
        data_title: Its data unit's title, if the task was still in its stage.
        outcome: ``moved``, ``held`` (it stays, and its agent's result is written), ``failed``, or ``skipped`` (it was
            no longer in the stage, and was not touched).
        pathway: The pathway it went down, which may be a failure pathway.
        confirmed: False if the platform's answer to the move was lost and the task was gone afterwards.
        phase: The phase in which a failed task failed: spec, load, inject, agent, teardown, pathway, save or move.
        error: The error, as ``"ValueError: ..."``, or the reason why the task was skipped.
        traceback: The traceback of a failed task's error.
        retryable: True if another call may succeed.
        retry_after: Seconds to wait before the next call, as requested by a service that the agent calls and that
            refused the task for now; at most 60. ``None`` if no service requested a wait.
        seconds: The duration of the attempt in seconds.
        own_saves: The part of ``seconds`` spent waiting for saves that the agent made itself, which ``bundle_saves``
            would have sent in bundles.
    """

    model_config = ConfigDict(extra="ignore")  # a newer worker may send more fields

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
        return legible(text) if isinstance(text, str) else text  # JSON text cannot contain lone surrogates

    @property
    def success(self) -> bool:
        """True if the agent's result was written, and the task moved if a pathway was named."""
        return self.outcome in ("moved", "held")


class TaskCompletionResult(BaseModel):
    """The answer of a queue function for the task or tasks it was called with.

    For one task, also in a list, the first five fields are single values. Otherwise they are lists. ``results`` has the
    details of each task, however many there are.

    Attributes:
        task_uuid: The task or tasks of the call; `NO_TASK` for a specification that named none.
        stage_uuid: The stage they were in.
        success: For one task: True if it succeeded. For several: the uuids of the tasks that succeeded.
        pathway: The pathway it moved down; ``None`` if it stayed. For several: the pathways of the tasks that moved.
        error: The error, as text; for several tasks, one line per error.
        results: One result per task, in the order of the call.
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
    def of(cls, results: Sequence[TaskResult], stage_uuid: UUID) -> TaskCompletionResult:
        """Return the answer to a call."""
        if len(results) == 1:  # also of a list, as in encord-agents 0.2.10
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
