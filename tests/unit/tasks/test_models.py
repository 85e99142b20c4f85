"""What agents return."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import numpy as np
import pytest
from pydantic import ValidationError

from encord_agents.tasks.models import AgentTaskConfig, TaskAgentReturnStruct, TaskCompletionResult, TaskResult

TASK = "11111111-1111-4111-8111-111111111111"


def test_an_empty_struct() -> None:
    """Everything is optional: by default nothing is saved, set or moved."""
    struct = TaskAgentReturnStruct()
    assert (struct.pathway, struct.label_row, struct.label_row_priority) == (None, None, None)


@pytest.mark.parametrize("priority", [0.0, 0, 1, 0.5, np.float32(0.5)])
def test_priorities(priority: Any) -> None:
    """Numbers from 0 to 1 are kept as floats, zero and numpy's among them."""
    kept = TaskAgentReturnStruct(label_row_priority=priority).label_row_priority
    assert type(kept) is float
    assert kept == priority


@pytest.mark.parametrize("priority", [-0.1, 1.1, float("nan"), float("inf"), True, "0.5", [0.5]])
def test_no_priorities(priority: Any) -> None:
    """Anything else is refused where it is made, with the value in the message."""
    with pytest.raises(ValueError, match="label_row_priority must be a number"):
        TaskAgentReturnStruct(label_row_priority=priority)


def test_what_is_told_of_a_task() -> None:
    """A task of the SDK, as JSON, is read; what it says more is passed over."""
    config = AgentTaskConfig.model_validate(
        {"uuid": TASK, "data_hash": TASK, "data_title": "cat.png", "label_branch_name": "main", "status": "NEW"}
    )
    assert (str(config.task_uuid), config.data_title) == (TASK, "cat.png")
    assert AgentTaskConfig.model_validate_json(config.model_dump_json()) == config


def test_results_are_json() -> None:
    """What a queue function answers survives JSON; what a newer version says more is passed over."""
    result = TaskCompletionResult.model_validate({"task_uuid": TASK, "success": True, "more": 1})
    assert TaskCompletionResult.model_validate_json(result.model_dump_json()) == result
    with pytest.raises(ValidationError):
        TaskCompletionResult.model_validate({"task_uuid": "no task", "success": True})


def test_an_answer_about_one_task_has_single_values() -> None:
    """About none and about several it has lists, as in 0.2.10."""
    moved = TaskResult(task_uuid=UUID(TASK), outcome="moved", pathway=UUID(int=1))
    failed = TaskResult(task_uuid=UUID(int=2), data_title="b.jpg", outcome="failed", error="ValueError: bad")
    one, none, two = (TaskCompletionResult.of(results, UUID(int=3)) for results in ([moved], [], [moved, failed]))
    assert (one.task_uuid, one.success, one.pathway, one.error) == (UUID(TASK), True, UUID(int=1), None)
    assert (none.task_uuid, none.success, none.pathway, none.error) == ([], [], [], None)
    assert (two.task_uuid, two.success) == ([UUID(TASK), UUID(int=2)], [UUID(TASK)])
    assert (two.pathway, two.error) == ([UUID(int=1)], "b.jpg: ValueError: bad")


def test_results_can_always_be_sent() -> None:
    """JSON text has no half characters: what agents raise and files are called is kept, with escapes."""
    half = "bad\udcff.jpg"
    result = TaskResult(task_uuid=UUID(TASK), data_title=half, outcome="failed", error=half, traceback=half)
    assert TaskResult.model_validate_json(result.model_dump_json()) == result
    assert (result.data_title, result.error, result.traceback) == ("bad\\udcff.jpg",) * 3
