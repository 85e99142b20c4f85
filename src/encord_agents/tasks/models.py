"""What agents return, and what queue functions answer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from uuid import UUID

from encord.objects import LabelRowV2
from pydantic import BaseModel, ConfigDict

__all__ = ["TaskAgentReturnStruct", "TaskCompletionResult"]


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
        except (TypeError, ValueError):
            number = math.nan
        if isinstance(priority, (bool, str, bytes)) or not 0.0 <= number <= 1.0:
            raise ValueError(f"label_row_priority must be a number from 0.0 to 1.0, not {priority!r}.")
        self.label_row_priority = number


class TaskCompletionResult(BaseModel):
    """What a queue function answers about the task, or the tasks, it was called with.

    Attributes:
        task_uuid: The task, or the tasks, it was called with.
        stage_uuid: The stage they were in.
        success: For one task: whether it was done. For several: the uuids of those that were.
        pathway: The pathway they moved down. ``None``: they stayed.
        error: What went wrong, as text.
    """

    model_config = ConfigDict(extra="forbid")

    task_uuid: UUID | list[UUID]
    stage_uuid: UUID | None = None
    success: bool | list[UUID]
    pathway: UUID | list[UUID] | None = None
    error: str | None = None
