"""A run of one agent on one task, for tests: see docs/howto/testing-agents.md."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from encord_agents.exceptions import PrintableError
from encord_agents.local import singles

if TYPE_CHECKING:
    from encord.objects import LabelRowV2

    from encord_agents.local import LocalPlatform, TaskRecord
    from encord_agents.tasks.runner.base import RunnerBase

__all__ = ["AgentRun", "run_agent"]


@dataclass(frozen=True)
class AgentRun:
    """The outcome of a task, and its state afterwards.

    Attributes:
        outcome: ``moved``, ``held``, ``failed`` or ``skipped``.
        pathway: The name of the pathway it went down.
        labels: The label row as it was saved, with its labels loaded.
        saves: How often it was saved.
        priority: The task's priority afterwards.
        exception: The exception of a failed task.
        phase: The phase in which it failed: load, inject, agent, teardown, pathway, save or move.
    """

    outcome: str
    pathway: str | None
    labels: LabelRowV2
    saves: int
    priority: float | None
    exception: BaseException | None
    phase: str | None


def run_agent(
    platform: LocalPlatform,
    agent: Callable[..., Any] | RunnerBase,
    task: TaskRecord | str,
    *,
    num_retries: int = 0,
) -> AgentRun:
    """Run an agent on one task of a local platform, with everything that it asks for, and leave the project unchanged.

    It runs on a copy of the task with its labels and issues, in a copy of the project without the other tasks, which is
    deleted afterwards. Datasets, files and storage items are not copied.

    Args:
        agent: A function, or a runner of either kind that has one for the task's stage. A queue function is its agent.
        task: One of ``project.tasks()``, or its uuid.

    Raises:
        UnknownPathwayError: The agent named a pathway that its stage does not have, which ends any run.
        PrintableError: There is no such task, it is in no agent stage, or the agent cannot be run at all.
    """
    from encord_agents.tasks.runner.base import RunnerBase
    from encord_agents.tasks.runner.queue_function import QueueFunction
    from encord_agents.tasks.runner.sequential_runner import SequentialRunner

    uuid = task if isinstance(task, str) else task.uuid
    service = platform._service
    made = singles.copy(service, singles.find(service, uuid), uuid)
    try:
        local = platform.project(made.hash)
        (copied,) = local.tasks()
        (stage,) = [stage for stage in local.stages if stage.title == copied.stage_title]
        if stage.type != "agent":
            raise PrintableError(f"The task is in {stage.title!r}, a stage of type {stage.type}: no agent serves it.")
        client = platform.client()
        runner = SequentialRunner(user_client=client)
        if isinstance(agent, RunnerBase):
            runner.agents = list(agent.agents)
            runner.dependency_overrides = agent.dependency_overrides
        else:
            runner.stage(stage.uuid)(agent.agent if isinstance(agent, QueueFunction) else agent)
        report = runner.run_stage(stage.uuid, project_hash=made.hash, num_retries=num_retries, task_batch_size=1)
        (record,) = report.records
        (row,) = client.get_project(made.hash).list_label_rows_v2(
            data_hashes=[copied.data_hash], branch_name=copied.branch_name
        )
        row.initialise_labels()
        return AgentRun(
            record.outcome, record.pathway, row, local.saves(copied.data_hash, copied.branch_name),
            local.tasks()[0].priority, record.exception, record.phase,
        )  # fmt: skip
    finally:
        singles.delete(service, made)
