"""The return values that an agent may use, and their effects."""

from __future__ import annotations

import itertools
from enum import Enum
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
from encord.objects import LabelRowV2
from encord.project import Project
from encord.workflow.stages.agent import AgentStage, AgentTask

from encord_agents.exceptions import UnknownPathwayError
from encord_agents.tasks.models import TaskAgentReturnStruct

if TYPE_CHECKING:
    from tests.conftest import World

FORMS = ["name", "uuid", "text", "upper"]


def form_of(stage: AgentStage, form: str, name: str = "complete") -> Any:
    """One of the ways to name a pathway."""
    uuid = next(pathway.uuid for pathway in stage.pathways if pathway.name == name)
    return {"name": name, "uuid": uuid, "text": str(uuid), "upper": str(uuid).upper()}[form]


def test_none_leaves_the_task(world: World) -> None:
    """The task stays in its stage, and nothing is written."""
    world.project.add_placeholders(2)
    report = world.run(lambda: None)
    assert (report.held, report.moved, report.failed) == (2, 0, 0)
    assert world.count("Pre-label") == 2
    assert world.requests("save", "priorities", "actions") == []


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("in_struct", [False, True])
def test_a_pathway(world: World, form: str, in_struct: bool) -> None:
    """By name, or by uuid in any form, alone or in a struct."""
    world.project.add_placeholders(1)

    def agent(stage: AgentStage) -> Any:
        pathway = form_of(stage, form)
        return TaskAgentReturnStruct(pathway=pathway) if in_struct else pathway

    report = world.run(agent)
    assert report.moved == 1
    assert report.records[0].pathway == "complete"
    assert world.count("Done") == 1
    assert world.requests("save", "priorities") == []


@pytest.mark.parametrize(
    ("pathway", "with_row", "priority", "will_set_priority"),
    list(itertools.product(["review", None], [True, False], [0.0, 0.7, None], [True, False])),
)
def test_a_struct(
    world: World, pathway: str | None, with_row: bool, priority: float | None, will_set_priority: bool
) -> None:
    """Any combination: what is there is written, labels and priority before the move; what is not is left alone."""
    (data_hash,) = world.project.add_placeholders(1)

    def agent(label_row: LabelRowV2) -> TaskAgentReturnStruct:
        world.mark(label_row, 0.5)
        return TaskAgentReturnStruct(pathway, label_row if with_row else None, priority)

    report = world.agent(agent, will_set_priority=will_set_priority)(progress="none")
    assert (report.moved, report.held) == ((1, 0) if pathway else (0, 1))
    assert world.count("Review" if pathway else "Pre-label") == 1
    assert world.marks(data_hash) == ([0.5] if with_row else None)
    assert world.project.priority(data_hash) == priority
    writes = world.requests("save", "priorities", "actions")
    assert sorted(writes, key="save priorities actions".index) == (
        ["save"] * with_row + ["priorities"] * (priority is not None) + ["actions"] * bool(pathway)
    )
    assert not pathway or writes[-1] == "actions"


@pytest.mark.parametrize("window", [1, 300])
@pytest.mark.parametrize("will_set_priority", [False, True])
def test_a_priority_without_a_label_row(world: World, window: int, will_set_priority: bool) -> None:
    """An agent that asks for no label row may set a priority all the same; the labels are not even fetched."""
    hashes = world.project.add_placeholders(3)
    runner = world.agent(
        lambda: TaskAgentReturnStruct("review", label_row_priority=0.0), will_set_priority=will_set_priority
    )
    assert runner(progress="none", task_batch_size=window).moved == 3
    assert [world.project.priority(h) for h in hashes] == [0.0] * 3
    assert world.requests("label_create", "label_get", "save") == []


def test_what_is_not_needed_is_not_fetched(world: World) -> None:
    """An agent that needs nothing costs no reads but the poll."""
    world.project.add_placeholders(3)
    runner = world.agent(lambda: "complete")
    world.platform.journal.clear()
    runner(progress="none")
    assert set(world.requests()) == {"tasks", "actions"}


@pytest.mark.parametrize(
    "value", [7, ("complete", None), True, b"complete", ["complete"], 0.5, {"pathway": "complete"}]
)
def test_anything_else_is_a_fault(world: World, value: Any) -> None:
    """It says what came back and what may be returned; other tasks are not affected."""
    world.project.add_placeholders(3)

    def agent(task: AgentTask) -> Any:
        return value if task.data_title == "image-00001.png" else "complete"

    report = world.run(agent, num_retries=0)
    (failure,) = report.failures
    assert (report.moved, failure.phase, failure.data_title) == (2, "pathway", "image-00001.png")
    message = str(failure.exception)
    for expected in (f"agent() returned {type(value).__name__}", "name or uuid", "TaskAgentReturnStruct", "None"):
        assert expected in message


class Unshowable:
    """Cannot even be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize("window", [1, 300])
@pytest.mark.parametrize(
    "value",
    [7, Unshowable(), TaskAgentReturnStruct("complete", "row"), TaskAgentReturnStruct(7)],  # type: ignore[arg-type]
    ids=["number", "unshowable", "row", "pathway"],
)
def test_what_cannot_be_returned_on_the_very_first_task(world: World, value: Any, window: int) -> None:
    """A fault like any other: the others go on, and are moved."""
    world.project.add_placeholders(3)

    def agent(task: AgentTask) -> Any:
        return value if task.data_title == "image-00000.png" else "complete"

    report = world.run(agent, num_retries=0, task_batch_size=window)
    (failure,) = report.failures
    assert (report.moved, failure.phase, failure.data_title) == (2, "pathway", "image-00000.png")
    assert "An agent may return a pathway's name or uuid" in str(failure.exception)


class Way(str, Enum):  # noqa: UP042 - what is written where Python 3.10 is still in use
    """Its text is `Way.ON`, its value the pathway."""

    ON = "complete"


def test_an_enumeration_of_pathways(world: World) -> None:
    """A member whose value is a pathway's name names that pathway."""
    world.project.add_placeholders(1)
    assert world.run(lambda: Way.ON).moved == 1


def test_a_label_row_of_another_branch(world: World) -> None:
    """The task's own data unit is not enough: the fault names both branches, and nothing is saved."""
    (data_hash,) = world.project.add_placeholders(1)

    def agent(label_row: LabelRowV2, project: Project) -> TaskAgentReturnStruct:
        (other,) = project.list_label_rows_v2(data_hashes=[data_hash], branch_name="other")
        other.initialise_labels()
        return TaskAgentReturnStruct("complete", other)

    report = world.run(agent, num_retries=0)
    (failure,) = report.failures
    assert (failure.phase, world.count("Pre-label")) == ("save", 1)
    assert "(branch 'other')" in str(failure.exception)
    assert "(branch 'main')" in str(failure.exception)
    assert world.project.saves(data_hash, "other") == 0


def test_a_priority_that_is_none(world: World) -> None:
    """A priority outside 0.0 to 1.0 fails the task in its agent, where the mistake is."""
    world.project.add_placeholders(1)
    report = world.run(lambda: TaskAgentReturnStruct("complete", label_row_priority=7), num_retries=0)
    assert report.failures[0].phase == "agent"
    assert "0.0 to 1.0" in str(report.failures[0].exception)


def test_an_unknown_pathway_lists_the_accepted(world: World) -> None:
    """The error has the stage, what was returned, and the pathways there are, with their uuids."""
    world.project.add_placeholders(1)
    with pytest.raises(UnknownPathwayError) as caught:
        world.run(lambda: "compleet", num_retries=0)
    error = caught.value
    assert (error.given, error.stage) == ("compleet", "Pre-label")
    assert [pathway.title for pathway in error.valid] == ["review", "triage", "complete"]
    assert "Did you mean 'complete'?" in str(error)
    assert all(pathway.uuid in str(error) for pathway in error.valid)


@pytest.mark.parametrize("by_uuid", [False, True])
def test_the_title_of_a_destination_is_not_a_pathway(world: World, by_uuid: bool) -> None:
    """If exactly one pathway leads to the stage that was named, the error suggests it."""
    world.project.add_placeholders(1)
    done = world.project.stage("Done")
    given = UUID(done.uuid) if by_uuid else done.title
    with pytest.raises(UnknownPathwayError, match="Did you mean 'complete'"):
        world.run(lambda: given, num_retries=0)


def test_a_uuid_that_is_no_pathway(world: World) -> None:
    """A uuid of something else is an unknown pathway too."""
    world.project.add_placeholders(1)
    unknown = uuid4()
    with pytest.raises(UnknownPathwayError, match=str(unknown)):
        world.run(lambda: unknown, num_retries=0)


@pytest.mark.parametrize("window", [1, 300])
def test_an_agent_may_set_the_priority_itself(world: World, window: int) -> None:
    """Rows are listed so that `label_row.set_priority(...)` works."""
    hashes = world.project.add_placeholders(2)

    def agent(label_row: LabelRowV2) -> str:
        label_row.set_priority(0.25)
        return "complete"

    assert world.run(agent, task_batch_size=window).moved == 2
    assert [world.project.priority(h) for h in hashes] == [0.25, 0.25]


def test_an_agent_may_save_its_row_itself(world: World) -> None:
    """A row that the agent has saved is saved; nothing more is done with it."""
    (data_hash,) = world.project.add_placeholders(1)

    def agent(label_row: LabelRowV2) -> str:
        world.mark(label_row, 0.5)
        label_row.save()
        return "complete"

    assert world.run(agent).moved == 1
    assert (world.marks(data_hash), world.project.saves(data_hash)) == ([0.5], 1)


@pytest.mark.parametrize("window", [1, 300])
def test_another_tasks_label_row(world: World, window: int) -> None:
    """A struct with another task's row fails the task, naming both data units, and saves nothing of it."""
    hashes = world.project.add_placeholders(4)
    rows: list[LabelRowV2] = []
    calls = 0

    def agent(label_row: LabelRowV2, task: AgentTask) -> TaskAgentReturnStruct:
        nonlocal calls
        calls += 1
        world.mark(label_row, 0.5)
        rows.append(label_row)
        wrong = task.data_title == "image-00002.png"
        return TaskAgentReturnStruct("review", rows[0] if wrong else label_row, 0.5)

    report = world.run(agent, task_batch_size=window)
    (failure,) = report.failures
    assert (report.moved, failure.data_title, failure.phase) == (3, "image-00002.png", "save")
    assert hashes[2] in str(failure.exception)
    assert hashes[0] in str(failure.exception)
    assert [world.project.saves(h) for h in hashes] == [1, 1, 0, 1]
    assert world.project.priority(hashes[2]) is None
    assert world.titles("Pre-label") == ["image-00002.png"]
    assert calls == 4, "the agent would only do it again"
