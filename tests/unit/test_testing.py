"""An agent that is tried on one task: its outcome, and the project, which stays as it was."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from encord.objects import LabelRowV2
from encord.project import Project
from encord.user_client import EncordUserClient
from encord.utilities.project_user import ProjectUserRole
from encord.workflow.stages.agent import AgentTask

from encord_agents.exceptions import PrintableError, UnknownPathwayError
from encord_agents.local import LocalPlatformError
from encord_agents.tasks import Depends, QueueRunner, Runner
from encord_agents.tasks.dependencies import DataLookup, dep_data_lookup
from encord_agents.tasks.models import TaskAgentReturnStruct
from encord_agents.testing import AgentRun, run_agent

if TYPE_CHECKING:
    from tests.conftest import World

NOBODY = "11111111-1111-4111-8111-111111111111"


def state(world: World) -> Any:
    """The projects, and all that an agent could have changed in this one."""
    tasks = world.project.tasks()
    saved = [(world.project.saves(task.data_hash), world.project.label(task.data_hash)) for task in tasks]
    return [project.project_hash for project in world.platform.projects()], tasks, saved


@pytest.fixture
def task(world: World) -> str:
    """The uuid of the second of two tasks, which has a box on it."""
    _, data_hash = world.project.add_placeholders(2)
    (row,) = world.client.get_project(world.project.project_hash).list_label_rows_v2(data_hashes=[data_hash])
    row.initialise_labels()
    world.mark(row, 0.25)
    row.save()
    return world.task_of(data_hash)


def lefts(run: AgentRun) -> list[Any]:
    boxes: list[Any] = [one.get_annotation(0).coordinates for one in run.labels.get_object_instances()]
    return [box.top_left_x for box in boxes]


def test_labels_and_priority(world: World, task: str) -> None:
    """They are those that the agent left, on top of the task's own; the project has none of it."""
    before = state(world)

    def agent(row: LabelRowV2) -> TaskAgentReturnStruct:
        world.mark(row, 0.5)
        return TaskAgentReturnStruct(pathway="review", label_row=row, label_row_priority=0.75)

    run = run_agent(world.platform, agent, task)
    assert (run.outcome, run.pathway, run.priority, run.saves) == ("moved", "review", 0.75, 1)
    assert (run.exception, run.phase) == (None, None)
    assert lefts(run) == [0.25, 0.5]
    assert state(world) == before


def test_an_agent_that_holds(world: World, task: str) -> None:
    """A task that it leaves where it is was not saved, and has its labels as before."""
    run = run_agent(world.platform, lambda: None, task)
    assert (run.outcome, run.pathway, run.saves, run.priority) == ("held", None, 0, None)
    assert lefts(run) == [0.25]


def broken() -> str:
    raise ValueError("no model here")


def failing_before(found: Annotated[str, Depends(broken)]) -> str:
    return "complete"


def session() -> Iterator[None]:
    yield
    broken()


def failing_after(found: Annotated[None, Depends(session)]) -> str:
    return "complete"


@pytest.mark.parametrize(
    ("agent", "phase"), [(failing_before, "inject"), (broken, "agent"), (failing_after, "teardown")]
)
def test_an_agent_that_fails(world: World, task: str, agent: Any, phase: str) -> None:
    """The exception and its phase are told and not raised; nothing of the trial stays."""
    before = state(world)
    run = run_agent(world.platform, agent, task)
    assert (run.outcome, str(run.exception), run.phase) == ("failed", "no model here", phase)
    assert (run.pathway, run.saves, lefts(run)) == (None, 0, [0.25])
    assert state(world) == before


def test_an_agent_that_names_no_pathway_of_its_stage(world: World, task: str) -> None:
    """It would end any run at its first task, so that it is raised; the copy of the project is gone all the same."""
    before = state(world)
    with pytest.raises(UnknownPathwayError, match="'Pre-label' has no pathway 'nowhere'"):
        run_agent(world.platform, lambda: "nowhere", task)
    assert state(world) == before


@pytest.mark.parametrize(("options", "calls", "outcome"), [({}, 1, "failed"), ({"num_retries": 1}, 2, "moved")])
def test_retries(world: World, task: str, options: dict[str, Any], calls: int, outcome: str) -> None:
    """An agent is called once, if no more is asked for."""
    called: list[int] = []

    def agent() -> str:
        called.append(1)
        if len(called) == 1:
            raise ValueError("the first time")
        return "complete"

    assert run_agent(world.platform, agent, task, **options).outcome == outcome
    assert len(called) == calls


def test_a_task_of_either_kind(world: World, task: str) -> None:
    """A task is one of the project's, or its uuid; the agent gets that one's data."""
    (record,) = [one for one in world.project.tasks() if one.uuid == task]
    seen: list[str] = []

    def agent(row: LabelRowV2) -> None:
        seen.append(row.data_title)

    for one in (record, task):
        assert run_agent(world.platform, agent, one).outcome == "held"
    assert seen == [record.data_title] * 2 == ["image-00001.png"] * 2


def test_a_task_on_a_branch(world: World, task: str) -> None:
    """Its labels are those of its branch, and so are the saves."""
    (record,) = [one for one in world.project.tasks() if one.uuid == task]
    other = world.project.add_task(record.data_hash, "Pre-label", branch="model")

    def agent(row: LabelRowV2) -> str:
        world.mark(row, 0.5)
        row.save()
        return "complete"

    run = run_agent(world.platform, agent, other)
    assert (run.outcome, run.saves, run.labels.branch_name) == ("moved", 1, "model")
    assert lefts(run) == [0.5]
    assert world.project.saves(record.data_hash, "model") == 0


def test_the_agent_of_a_runner(world: World, task: str) -> None:
    """It is the one of the task's stage, with the runner's overrides; the runner itself has no run of it."""
    runner = world.runner()

    def model() -> str:
        raise AssertionError("it was loaded")

    @runner.stage("Pre-label")
    def agent(pathway: Annotated[str, Depends(model)]) -> str:
        return pathway

    runner.stage("Triage")(broken)
    runner.dependency_overrides[model] = lambda: "triage"
    assert run_agent(world.platform, runner, task).pathway == "triage"
    assert runner.report is None
    world.project.move(task, "Triage")
    assert str(run_agent(world.platform, runner, task).exception) == "no model here"


def test_the_agent_of_a_queue_runner(world: World, task: str) -> None:
    """A `QueueRunner` is a runner too, and its functions are agents; neither connects."""
    runner = QueueRunner(project_hash=NOBODY)

    def model() -> str:
        raise AssertionError("it was loaded")

    @runner.stage("Pre-label")
    def agent(row: LabelRowV2, pathway: Annotated[str, Depends(model)] = "complete") -> TaskAgentReturnStruct:
        world.mark(row, 0.5)
        return TaskAgentReturnStruct(pathway=pathway, label_row=row)

    @runner.stage("Triage")
    def other(row: LabelRowV2) -> str:
        return "complete"

    runner.dependency_overrides[model] = lambda: "triage"
    run = run_agent(world.platform, runner, task)
    assert (run.outcome, run.pathway, lefts(run)) == ("moved", "triage", [0.25, 0.5])
    assert run_agent(world.platform, other, task).pathway == "complete"


def test_everything_that_an_agent_asks_for(world: World, task: str) -> None:
    """Dependencies are supplied, and torn down before the outcome is told; the client is the platform's."""
    log: list[str] = []

    def session() -> Iterator[str]:
        yield "complete"
        log.append("closed")

    def agent(client: EncordUserClient, pathway: Annotated[str, Depends(session)]) -> str:
        log.append(client.user_config.domain)
        return pathway

    assert run_agent(world.platform, agent, task).outcome == "moved"
    assert log == [world.platform.domain, "closed"]


@pytest.mark.filterwarnings("ignore:(DataLookup|dep_data_lookup) is deprecated:DeprecationWarning")
def test_what_an_agent_reads(world: World, task: str) -> None:
    """The project with its datasets, people and tags, and the task with its issues and actions, are as in a run."""
    project = world.client.get_project(world.project.project_hash)
    project.add_users(["ann@example.org"], ProjectUserRole.ANNOTATOR)
    project.add_issue_tags(["blurred"])
    (waiting,) = [one for one in project.workflow.get_stage(name="Pre-label").get_tasks() if str(one.uuid) == task]
    waiting.issues.add_file_issue("Look here", ["blurred"])
    world.project.move(task, "Review")
    world.project.act("approve", "Review")
    world.project.move(task, "Pre-label")
    seen: dict[str, list[Any]] = {}

    def agent(
        project: Project, task: AgentTask, row: LabelRowV2, lookup: Annotated[DataLookup, Depends(dep_data_lookup)]
    ) -> None:
        issues = [(one.comments[0].content, [tag.name for tag in one.tags]) for one in task.issues.list()]
        actions = project.get_task_actions(after=datetime.now(UTC) - timedelta(days=1))
        seen.setdefault(row.data_title, []).append(
            [
                (project.title, project.description, project.created_at),
                [(one.dataset_hash, one.title) for one in project.list_datasets()],
                [(one.user_email, one.user_role) for one in project.list_users()],
                [one.name for one in project.get_issue_tags()],
                issues,
                [(one.action_type, one.actor_email) for one in actions if one.data_unit_uuid == task.data_hash],
                (row.dataset_hash, row.created_at, row.last_edited_at, row.priority, task.status, task.assignee),
                lookup.get_storage_item(row.data_hash).uuid,
            ]
        )

    assert run_agent(world.platform, agent, task).exception is None
    assert world.run(agent).failed == 0
    tried, ran = seen["image-00001.png"]
    assert tried == ran
    assert all(ran)


def test_a_runner_without_an_agent_for_the_stage(world: World, task: str) -> None:
    """It cannot be run at all, which is raised; the copy of the project is gone all the same."""
    runner = Runner()
    runner.stage("Triage")(lambda: "ok")
    before = state(world)
    with pytest.raises(PrintableError, match="No function serves stage 'Pre-label'"):
        run_agent(world.platform, runner, task)
    assert state(world) == before


def test_a_stage_without_agents(world: World, task: str) -> None:
    """A task that people work on is refused with the title and the type of its stage."""
    world.project.move(task, "Review")
    before = state(world)
    with pytest.raises(PrintableError, match="The task is in 'Review', a stage of type review: no agent serves it"):
        run_agent(world.platform, lambda: "complete", task)
    assert state(world) == before


@pytest.mark.parametrize("uuid", [NOBODY, "", "image-00001.png"])
def test_no_such_task(world: World, task: str, uuid: str) -> None:
    """The error names the uuid that was asked for, and no project is made."""
    before = state(world)
    with pytest.raises(LocalPlatformError, match=f"There is no task {uuid}"):
        run_agent(world.platform, lambda: "complete", uuid)
    assert state(world) == before
