"""One attempt, and the meaning of its return value."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

import pytest
from encord.objects import LabelRowV2
from encord.project import Project
from encord.user_client import EncordUserClient
from tests.stage_runs import stage_run, waiting

from encord_agents.core.dependencies.solve import Attempt
from encord_agents.exceptions import AssetDownloadError, UnknownPathwayError
from encord_agents.tasks.engine.context import Context, Result
from encord_agents.tasks.engine.execute import WrongLabelRowError, interpret
from encord_agents.tasks.engine.outcome import Fault, Phase
from encord_agents.tasks.engine.stage_run import StageRun
from encord_agents.tasks.models import TaskAgentReturnStruct

if TYPE_CHECKING:
    from tests.conftest import World


def needs_labels(label_row: LabelRowV2) -> None: ...


def loaded(world: World, function: Any = needs_labels, **options: Any) -> tuple[StageRun, Context]:
    world.project.add_placeholders(1)
    run = stage_run(world, function, **options)
    (context, *_), _ = run.load(waiting(run), run.gate.clock())
    return run, context


class Way(str, Enum):  # noqa: UP042 - its text is not its value, unlike a StrEnum's
    DONE = "complete"

    def __str__(self) -> str:
        return "Way.DONE"


@pytest.mark.parametrize("given", ["complete", Way.DONE, TaskAgentReturnStruct("complete")])
def test_a_pathway(world: World, given: Any) -> None:
    """By its name, however it is given."""
    run, context = loaded(world)
    result = interpret(context, given, 0.0)
    assert isinstance(result, Result)
    assert result.pathway == run.agent.pathways.find("complete")
    assert run.history.has_named_a_pathway


def test_nothing_leaves_the_task_where_it_is(world: World) -> None:
    """It names no pathway, so the agent has not shown that it knows one."""
    run, context = loaded(world)
    result = interpret(context, None, 0.0)
    assert isinstance(result, Result)
    assert result.pathway is None
    assert not run.history.has_named_a_pathway


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ("nowhere", UnknownPathwayError),
        (3, TypeError),
        (TaskAgentReturnStruct(pathway=3), TypeError),  # type: ignore[arg-type]
        (TaskAgentReturnStruct(label_row="row"), TypeError),  # type: ignore[arg-type]
    ],
)
def test_what_an_agent_must_not_return(world: World, given: Any, error: type[Exception]) -> None:
    """It is a fault of its own task, in phase pathway."""
    _, context = loaded(world)
    fault = interpret(context, given, 0.0)
    assert isinstance(fault, Fault)
    assert fault.phase is Phase.PATHWAY
    assert isinstance(fault.exception, error)


def test_a_row_is_serialised_at_once(world: World) -> None:
    """What the agent does to it afterwards is not saved."""
    _, context = loaded(world)
    row = context.row
    assert row is not None
    world.mark(row, 0.1)
    result = interpret(context, TaskAgentReturnStruct("complete", row), 0.0)
    assert isinstance(result, Result)
    assert result.labels is not None
    (label,) = result.labels.payload.payload
    world.mark(row, 0.6)
    (unit,) = label["data_units"].values()
    assert [found["boundingBox"]["x"] for found in unit["labels"]["objects"]] == [0.1]


def test_another_tasks_row_is_refused(world: World) -> None:
    """Before anything is sent."""
    run, context = loaded(world)
    world.project.add_placeholders(1)
    contexts, _ = run.load(waiting(run), run.gate.clock())
    other = next(one for one in contexts if one.task.uuid != context.task.uuid)
    fault = interpret(context, TaskAgentReturnStruct("complete", other.row), 0.0)
    assert isinstance(fault, Fault)
    assert (fault.phase, type(fault.exception)) == (Phase.SAVE, WrongLabelRowError)


@pytest.mark.parametrize(
    ("given", "done"), [("complete", True), (None, True), ("nowhere", False), (TaskAgentReturnStruct("review"), True)]
)
def test_a_quick_look_whether_a_task_is_done(world: World, given: Any, done: bool) -> None:
    """Before its attempt is judged: it has no effects."""
    run, context = loaded(world)
    assert run.executor.looks_done(context, Attempt(given)) is done
    assert not run.executor.looks_done(context, Attempt(None, "agent", LookupError()))
    assert not run.history.has_named_a_pathway


def test_an_agent_that_exits_fails_its_task(world: World) -> None:
    """The fault names what it exited with, and keeps the exit as its cause."""
    run, context = loaded(world)
    fault = run.executor.judge(context, Attempt(None, "agent", SystemExit(3)))
    assert isinstance(fault, Fault)
    assert isinstance(fault.exception, RuntimeError)
    assert "with 3" in str(fault.exception)
    assert isinstance(fault.exception.__cause__, SystemExit)


def test_a_lost_file_is_no_fault_of_the_dependency(world: World) -> None:
    """It could not be fetched, now or ahead: phase load."""
    run, context = loaded(world)
    lost = AssetDownloadError("image.png", "0", "it is gone", status=404)
    fault = run.executor.judge(context, Attempt(None, "inject", lost))
    assert isinstance(fault, Fault)
    assert fault.phase is Phase.LOAD


def test_requests_of_the_agents_own_are_noted(world: World) -> None:
    """With the client that it was given: labels may be its own then."""

    def asks(project: Project, client: EncordUserClient) -> None:
        client.get_project(project.project_hash)

    run, context = loaded(world, asks, bundle_saves=True)
    run.executor.attempt(context)
    assert context.used_client
    run, context = loaded(world, needs_labels, bundle_saves=True)
    run.executor.attempt(context)
    assert not context.used_client


def test_an_attempt_at_what_could_not_be_loaded(world: World) -> None:
    """It counts, and nothing is called."""
    run, context = loaded(world)
    context.trouble = Fault(Phase.LOAD, LookupError(), 1)
    assert run.executor.attempt(context) is context.trouble
    assert context.attempts == 1
