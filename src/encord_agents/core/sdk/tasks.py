"""Tasks as their stage lists them, made from JSON without a request.

Read from encord 0.1.180 and 0.1.211: `AgentStage.get_tasks` sets two private attributes on every task that it yields,
which `proceed` uses, and in the newer version a third one.
"""

from __future__ import annotations

from collections.abc import Iterator

from encord.workflow.stages.agent import AgentStage, AgentTask

from encord_agents.core.sdk.seam import Seam

__all__ = ["TASKS", "task_of"]


def _differences() -> Iterator[str]:
    used = set(AgentStage.get_tasks.__code__.co_names)
    private = set(AgentTask.__private_attributes__)
    for name in ("_stage_uuid", "_workflow_client"):
        if name not in private & used:
            yield f"AgentStage.get_tasks() does not set {name} on tasks"
    if "_workflow_client" not in getattr(AgentStage, "__dataclass_fields__", {}):
        yield "AgentStage has no _workflow_client"


TASKS = Seam(
    does="makes tasks of their JSON",
    read_from=("0.1.180", "0.1.211"),
    reads=("encord.workflow.stages.agent.AgentStage.get_tasks", "encord.workflow.stages.agent.AgentTask.proceed"),
    differences=_differences,
    otherwise="workers ask for each task that they are given",
)


def task_of(stage: AgentStage, text: str) -> AgentTask | None:
    """Return a task of a stage, made from its JSON; ``None`` if the SDK makes tasks in another way."""
    if not TASKS.holds:
        return None
    task, client = AgentTask.model_validate_json(text), stage._workflow_client
    task._stage_uuid, task._workflow_client = stage.uuid, client
    if "_task_issues" in AgentTask.__private_attributes__:
        from encord.issues.issue_client import TaskIssues

        task._task_issues = TaskIssues(
            api_client=client.api_client, project_uuid=client.project_hash, data_uuid=task.data_hash
        )
    return task
