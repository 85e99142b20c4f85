"""Set-up errors end the run, after finished tasks are written; errors of a single task do not."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pytest
from encord.objects import LabelRowV2
from encord.workflow.stages.agent import AgentTask

from encord_agents.exceptions import DependencyError, UnknownPathwayError
from encord_agents.tasks import Depends
from encord_agents.tasks.models import TaskAgentReturnStruct

if TYPE_CHECKING:
    from tests.conftest import World

WINDOWS = pytest.mark.parametrize("window", [1, 300])


@WINDOWS
def test_an_agent_that_never_names_a_good_pathway(world: World, window: int) -> None:
    """That is the set-up's fault: the error is raised after all attempts, and the task is in the report."""
    world.project.add_placeholders(5)
    calls: list[int] = []

    def agent() -> str:
        calls.append(1)
        return "nowhere"

    runner = world.agent(agent)
    with pytest.raises(UnknownPathwayError, match="'nowhere'"):
        runner(progress="none", num_retries=2, task_batch_size=window)
    assert len(calls) == 3
    assert runner.report is not None
    assert (runner.report.failed, runner.report.failures[0].phase) == (1, "pathway")
    assert "UnknownPathwayError" in str(runner.report.stopped)
    assert world.count("Pre-label") == 5


@WINDOWS
def test_what_is_finished_is_written_before_that_is_raised(world: World, window: int) -> None:
    """Tasks that were held with labels, before any pathway was named, keep them."""
    hashes = world.project.add_placeholders(5)

    def agent(label_row: LabelRowV2, task: AgentTask) -> Any:
        if task.data_title == "image-00003.png":
            return "nowhere"
        return TaskAgentReturnStruct(None, label_row, 0.5)

    runner = world.agent(agent)
    with pytest.raises(UnknownPathwayError):
        runner(progress="none", num_retries=0, task_batch_size=window)
    assert [world.project.saves(h) for h in hashes] == [1, 1, 1, 0, 0]
    assert runner.report is not None
    assert (runner.report.held, runner.report.failed, runner.report.unwritten) == (3, 1, ())


@WINDOWS
def test_after_a_good_pathway_only_the_task_fails(world: World, window: int) -> None:
    """An agent that has named a good one in this run knows its pathways."""
    world.project.add_placeholders(4)

    def agent(task: AgentTask) -> str:
        return "complete" if task.data_title == "image-00000.png" else "nowhere"

    report = world.run(agent, num_retries=0, task_batch_size=window)
    assert (report.moved, report.failed) == (1, 3)
    assert report.exit_code == 1


def named(*values: str) -> Callable[[], Any]:
    """A function that is annotated to return these."""

    def agent() -> Any:
        return values[0]

    agent.__annotations__["return"] = Literal[values]  # type: ignore[valid-type]
    return agent


def test_a_literal_return_type_is_checked_when_decorating(world: World) -> None:
    """`Literal["..."]` that is no pathway of the stage is refused before anything runs, also beside None."""

    def agent() -> Literal["complete", "nowhere"] | None:
        return None

    for function in (agent, named("complete", "nowhere")):
        with pytest.raises(UnknownPathwayError, match="'nowhere'"):
            world.runner().stage("Pre-label")(function)
    world.runner().stage("Pre-label")(named("complete", "review"))


def test_a_literal_return_type_without_a_project(world: World) -> None:
    """If the project is passed to the call, it is refused then, before any task."""
    from encord_agents.tasks import Runner

    world.project.add_placeholders(1)
    runner = Runner(user_client=world.client)
    runner.stage("Pre-label")(named("nowhere"))
    world.platform.journal.clear()
    with pytest.raises(UnknownPathwayError):
        runner(progress="none", project_hash=world.project.project_hash)
    assert world.requests("tasks") == []


@WINDOWS
def test_a_run_scoped_dependency_that_never_succeeds(world: World, window: int) -> None:
    """A model that does not load ends the run after all attempts of one task, with the reason as the cause."""
    world.project.add_placeholders(5)
    loads: list[int] = []

    def model() -> str:
        loads.append(1)
        raise LookupError("no weights")

    def agent(model: Annotated[str, Depends(model, scope="run")]) -> str:
        return "complete"

    runner = world.agent(agent)
    with pytest.raises(DependencyError, match="no weights") as caught:
        runner(progress="none", num_retries=1, task_batch_size=window)
    assert len(loads) == 2
    assert isinstance(caught.value.__cause__, LookupError)
    assert world.count("Pre-label") == 5


@WINDOWS
def test_a_run_scoped_dependency_lives_as_long_as_the_run(world: World, window: int) -> None:
    """Made once, at the first task, and torn down after the last write."""
    world.project.add_placeholders(5)
    log: list[str] = []

    def model() -> Any:
        log.append("made")
        yield "model"
        log.append(f"gone, {world.count('Done')} done")

    def agent(model: Annotated[str, Depends(model, scope="run")]) -> str:
        return "complete"

    assert world.run(agent, task_batch_size=window).moved == 5
    assert log == ["made", "gone, 5 done"]


# The right image


@WINDOWS
def test_two_tasks_of_one_data_unit(world: World, window: int) -> None:
    """They are never in the window together, so that the second sees what the first saved; both are done."""
    hashes = world.project.add_placeholders(3)
    world.project.add_task(hashes[1])
    found: dict[str, list[int]] = {}

    def agent(label_row: LabelRowV2) -> TaskAgentReturnStruct:
        found.setdefault(label_row.data_hash, []).append(len(label_row.get_object_instances()))
        world.mark(label_row, 0.5)
        return TaskAgentReturnStruct("review", label_row, 0.5)

    report = world.run(agent, task_batch_size=window)
    assert report.raise_for_failures().moved == 4
    assert found[hashes[1]] == [0, 1]
    assert world.marks(hashes[1]) == [0.5, 0.5]
    assert world.count("Review") == 4


@WINDOWS
def test_tasks_on_another_branch(world: World, window: int) -> None:
    """A task is given the labels of its own branch, and saves to it."""
    hashes = world.project.add_placeholders(3)
    for data_hash in hashes:
        world.project.add_task(data_hash, branch="second")

    def agent(label_row: LabelRowV2, task: AgentTask) -> TaskAgentReturnStruct:
        assert (label_row.branch_name, label_row.data_hash) == (task.label_branch_name, str(task.data_hash))
        world.mark(label_row, 0.25 if label_row.branch_name == "main" else 0.75)
        return TaskAgentReturnStruct("review", label_row)

    report = world.run(agent, task_batch_size=window, num_retries=0)
    assert report.raise_for_failures().moved == 6
    for data_hash in hashes:
        assert (world.marks(data_hash), world.marks(data_hash, "second")) == ([0.25], [0.75])


@WINDOWS
def test_an_explicit_branch_wins(world: World, window: int) -> None:
    """`branch_name` in the arguments of the stage decides, whatever the task's own branch is."""
    from encord_agents.core.data_model import LabelRowMetadataIncludeArgs

    hashes = world.project.add_placeholders(3)

    def agent(label_row: LabelRowV2) -> TaskAgentReturnStruct:
        assert label_row.branch_name == "model"
        world.mark(label_row, 0.5)
        return TaskAgentReturnStruct("review", label_row)

    runner = world.agent(agent, label_row_metadata_include_args=LabelRowMetadataIncludeArgs(branch_name="model"))
    runner(progress="none", task_batch_size=window).raise_for_failures()
    for data_hash in hashes:
        assert (world.marks(data_hash), world.marks(data_hash, "model")) == (None, [0.5])
