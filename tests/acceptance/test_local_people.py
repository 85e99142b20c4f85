"""People in the workflow of the local platform: the unmodified SDK's actions, over HTTP."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any
from uuid import UUID

import pytest
import requests
from encord.exceptions import AuthorisationError, InvalidArgumentsError, UnknownException
from encord.objects.coordinates import BoundingBoxCoordinates
from encord.workflow.stages.annotation import _ActionSubmit
from encord.workflow.stages.review import LabelReviewStatus

from encord_agents.exceptions import UnknownStageError
from encord_agents.local import (
    AgentStage,
    LocalPlatform,
    LocalPlatformError,
    LocalProject,
    Stage,
    UnknownRequestError,
    Workflow,
)
from encord_agents.local.users import OWNER
from encord_agents.tasks import Runner

WORKFLOW = Workflow(
    [
        AgentStage("Pre-label", {"go": "Annotate"}),
        Stage("Annotate"),
        Stage("Review", "review"),
        AgentStage("Check", {"end": "Done"}),
        Stage("Done", "done"),
    ],
    start="Annotate",
)


def made(platform: LocalPlatform, workflow: Workflow = WORKFLOW, tasks: int = 1) -> tuple[LocalProject, Any]:
    local = platform.create_project(workflow=workflow)
    local.add_placeholders(tasks)
    return local, platform.client(retries=False).get_project(local.project_hash)


def tasks_of(project: Any, stage: str) -> list[Any]:
    return list(project.workflow.get_stage(name=stage).get_tasks())


def where(local: LocalProject) -> dict[str, int]:
    return {stage.title: stage.tasks for stage in local.stages if stage.tasks}


def labelled(project: Any) -> Any:
    (row,) = project.list_label_rows_v2()
    row.initialise_labels()
    box = row.ontology_structure.objects[0].create_instance()
    box.set_for_frames(BoundingBoxCoordinates(height=0.1, width=0.2, top_left_x=0.3, top_left_y=0.4), 0)
    row.add_object_instance(box)
    row.save()
    return row


def test_submit_reject_submit_approve(local_platform: LocalPlatform) -> None:
    """A task goes through the hands of people, and an agent stage afterwards sees who acted last."""
    local, project = made(local_platform)
    (task,) = tasks_of(project, "Annotate")
    task.submit()
    (review,) = tasks_of(project, "Review")
    assert review.uuid == task.uuid
    review.reject()
    (again,) = tasks_of(project, "Annotate")
    assert again.status == "REOPENED"
    again.submit()
    tasks_of(project, "Review")[0].approve()
    (checked,) = tasks_of(project, "Check")
    assert checked.last_actioned_by == OWNER
    assert checked.assignee is None
    checked.proceed("end")
    assert where(local) == {"Done": 1}


def test_assign_and_release(local_platform: LocalPlatform) -> None:
    """A task has an assignee, by whom it is found, until it is released."""
    _, project = made(local_platform, tasks=2)
    stage = project.workflow.get_stage(name="Annotate")
    task = next(iter(stage.get_tasks()))
    task.assign(OWNER)
    (found,) = stage.get_tasks(assignee=OWNER)
    assert (found.uuid, found.status, found.assignee) == (task.uuid, "ASSIGNED", OWNER)
    found.release()
    assert list(stage.get_tasks(assignee=OWNER)) == []
    assert [t.uuid for t in stage.get_tasks(status="RELEASED")] == [task.uuid]
    with pytest.raises(AuthorisationError):
        task.assign("nobody@example.com")


def test_an_assignee_for_the_next_stage(local_platform: LocalPlatform) -> None:
    """Given by name, or kept; keeping one where there is none is refused, and the task stays."""
    _, project = made(local_platform)
    (task,) = tasks_of(project, "Annotate")
    with pytest.raises(InvalidArgumentsError):
        task.submit(retain_assignee=True)
    task.submit(assignee=OWNER)
    (review,) = tasks_of(project, "Review")
    assert review.assignee == OWNER
    review.reject(retain_assignee=True)
    (again,) = tasks_of(project, "Annotate")
    assert (again.assignee, again.status) == (OWNER, "ASSIGNED")


def test_one_task_elsewhere_refuses_all(local_platform: LocalPlatform) -> None:
    """People's actions are all or nothing, like those of agents."""
    local, project = made(local_platform, tasks=3)
    tasks = tasks_of(project, "Annotate")
    local.move(str(tasks[1].uuid), "Done")
    bundle = project.create_bundle()
    for task in tasks:
        task.submit(bundle=bundle)
    with pytest.raises(InvalidArgumentsError):
        bundle.execute()
    assert where(local) == {"Annotate": 2, "Done": 1}


def test_label_reviews(local_platform: LocalPlatform) -> None:
    """Each label of a task in review has a review of its own; the task's approval approves those that are open."""
    _, project = made(local_platform)
    labelled(project)
    tasks_of(project, "Annotate")[0].submit()
    (task,) = tasks_of(project, "Review")
    (review,) = task.get_label_reviews()
    assert (review.status, review.label_type) == (LabelReviewStatus.NEW, "Object")
    review.reject(comment="too large")
    assert [found.status for found in task.get_label_reviews()] == [LabelReviewStatus.REJECTED]
    task.reject()
    tasks_of(project, "Annotate")[0].submit()
    (resolved,) = task.get_label_reviews()
    assert resolved.status == LabelReviewStatus.RESOLVED
    resolved.reopen()
    resolved.approve()
    task.approve()
    assert len(tasks_of(project, "Check")) == 1


def test_complete_and_reopen(local_platform: LocalPlatform) -> None:
    """A label row is completed from any stage, and reopened into the first annotation stage."""
    local, project = made(local_platform)
    row = labelled(project)
    row.workflow_complete()
    assert where(local) == {"Done": 1}
    row.workflow_complete()
    assert where(local) == {"Done": 1}
    row.workflow_reopen()
    (task,) = tasks_of(project, "Annotate")
    assert task.status == "REOPENED"


def test_a_router_keeps_its_percentages(local_platform: LocalPlatform) -> None:
    """Of ten tasks exactly two go where 20 % go, and the SDK never sees the router."""
    workflow = Workflow(
        [
            Stage("Annotate", pathways={"submit": "Sample"}),
            Stage("Sample", "router", routes={"Review": 20, "Done": 80}),
            Stage("Review", "review"),
            Stage("Done", "done"),
        ]
    )
    local, project = made(local_platform, workflow, tasks=10)
    assert [stage.title for stage in project.workflow.stages] == ["Annotate", "Review", "Done"]
    with project.create_bundle() as bundle:
        for task in tasks_of(project, "Annotate"):
            task.submit(bundle=bundle)
    assert Counter(task.stage_title for task in local.tasks()) == {"Review": 2, "Done": 8}


def test_consensus_is_told_of_on_the_page(local_platform: LocalPlatform) -> None:
    """Tasks wait in a consensus stage: the project, the stage and the task say so, and offer to move them."""
    stages = [Stage("Agree", "consensus_annotation"), Stage("Judge", "consensus_review"), Stage("Done", "done")]
    local, project = made(local_platform, Workflow(stages))
    (task,) = local.tasks()
    base = f"{local_platform.domain}/projects/{local.project_hash}"
    paths = ["", f"/tasks?stage={local.stage('Agree').uuid}", f"/tasks/{task.uuid}"]
    pages = [re.sub("</?bdi>", "", requests.get(base + path, timeout=60).text) for path in paths]
    assert ["tasks wait in Agree until you move them on" in page for page in pages] == [True] * 3
    assert ['value="move"' in page for page in pages] == [False, True, True]
    assert "tasks wait in" not in requests.get(f"{base}/tasks?stage={local.stage('Done').uuid}", timeout=60).text
    assert [found.uuid for found in tasks_of(project, "Agree")] == [UUID(task.uuid)]
    local.act("move", "Agree", destination="Judge")
    assert len(tasks_of(project, "Judge")) == 1
    with pytest.raises(LocalPlatformError, match="consensus is not worked out here"):
        local.act("approve", "Judge")


def test_an_agent_cannot_serve_a_consensus_stage(local_platform: LocalPlatform) -> None:
    """It is told what the stage is, before anything runs."""
    workflow = Workflow([Stage("Agree", "consensus_annotation"), AgentStage("Check", {"go": "Agree"})])
    local, _ = made(local_platform, workflow)
    runner = Runner(local.project_hash, user_client=local_platform.client())
    with pytest.raises(UnknownStageError, match="is of type consensus annotation"):
        runner.stage("Agree")(lambda: "go")


def test_consensus_says_what_to_do() -> None:
    """Consensus is not worked out here: a 501 that says how tasks get on."""
    workflow = Workflow([Stage("Consensus", "consensus_annotation"), Stage("Done", "done")])
    with LocalPlatform() as platform:
        local, project = made(platform, workflow)
        stage, task = UUID(local.stage("Consensus").uuid), UUID(local.tasks()[0].uuid)
        with pytest.raises(UnknownException, match="Move the task on"):
            project.workflow.stages[0]._workflow_client.action(stage, _ActionSubmit(task_uuid=task))
        with pytest.raises(UnknownRequestError, match="consensus"):
            platform.check()
