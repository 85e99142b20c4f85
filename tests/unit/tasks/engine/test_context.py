"""An agent as the engine knows it, and the inputs of one task between its attempts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import pytest
from encord.objects import LabelRowV2
from encord.project import Project
from encord.storage import StorageItem
from encord.workflow.stages.agent import AgentStage, AgentTask
from tests.stage_runs import stage_run, waiting

from encord_agents.core.assets import Asset
from encord_agents.core.data_model import ImageArray, LabelRowInitialiseLabelsArgs, LabelRowMetadataIncludeArgs
from encord_agents.core.dependencies import Depends
from encord_agents.tasks.dependencies import dep_single_frame
from encord_agents.tasks.engine.context import Agent, Context
from encord_agents.tasks.engine.history import CHANGED_ROW
from encord_agents.tasks.engine.retry import RetryPolicy

if TYPE_CHECKING:
    from tests.conftest import World


def nothing() -> None: ...


def labels(label_row: LabelRowV2) -> None: ...


def item(storage_item: StorageItem) -> None: ...


def asset(asset: Asset | None) -> None: ...


def frame(frame: Annotated[ImageArray, Depends(dep_single_frame)]) -> None: ...


def agent_of(world: World, function: Any, **changes: Any) -> Agent:
    return replace(stage_run(world, function).agent, **changes)


@pytest.mark.parametrize(
    ("function", "needs"),
    [
        (nothing, (False, False, False, False)),
        (labels, (True, False, False, False)),
        (item, (False, True, False, False)),
        (asset, (False, True, True, False)),
        (frame, (False, True, True, True)),
    ],
)
def test_an_agents_needs(world: World, function: Any, needs: tuple[bool, ...]) -> None:
    """Its parameters say what is fetched: labels, the item, its file, the first frame."""
    agent = agent_of(world, function)
    assert (agent.needs_labels, agent.needs_item, agent.needs_asset, agent.wants_first_frame) == needs


def test_a_parameter_that_accepts_none_requires_nothing(world: World) -> None:
    """The task is attempted although there is no file."""
    assert agent_of(world, item).requires({StorageItem, Asset})
    assert not agent_of(world, asset).requires({Asset})
    assert agent_of(world, frame).requires({StorageItem})


@pytest.mark.parametrize("filters", ["include_object_feature_hashes", "include_classification_feature_hashes"])
def test_rows_that_are_loaded_in_part(world: World, filters: str) -> None:
    """By either filter, even an empty one."""
    agent = agent_of(world, labels)
    assert not agent.loads_in_part
    some: Any = {filters: set()}
    assert replace(agent, initialise_args=LabelRowInitialiseLabelsArgs(**some)).loads_in_part


def test_labels_are_kept_for_another_attempt_only(world: World) -> None:
    """As they were loaded: to restore them, or to warn, once a run, that an attempt changed them."""
    agent = agent_of(world, labels, policy=RetryPolicy(num_retries=1))
    assert agent.keeps_labels
    assert not replace(agent, policy=RetryPolicy(num_retries=0)).keeps_labels
    assert agent.history.warns_first_of(CHANGED_ROW)
    assert not agent.keeps_labels
    assert replace(agent, restore_labels=True).keeps_labels


def test_copies_of_an_agent_share_its_history(world: World) -> None:
    """It is one agent, with one count of its failures."""
    agent = agent_of(world, nothing)
    assert replace(agent, policy=RetryPolicy(num_retries=7)).history is agent.history


def test_an_explicit_branch_wins_over_the_tasks_own(world: World) -> None:
    """And two branches of a data unit are two label rows."""
    world.project.add_placeholders(1)
    run = stage_run(world, labels)
    (task,) = waiting(run)
    assert run.agent.row_of(task) == (task.data_hash, "main")
    other = replace(run.agent, include_args=LabelRowMetadataIncludeArgs(branch_name="models"))
    assert other.row_of(task) == (task.data_hash, "models")
    assert Context(other, task, 0.0).branch == "models"


def test_a_task_in_events(world: World) -> None:
    """Its names, without the SDK's objects, which would keep its labels in memory."""
    world.project.add_placeholders(1)
    run = stage_run(world, labels)
    (task,) = waiting(run)
    ref = Context(run.agent, task, 0.0).ref
    assert (ref.uuid, ref.data_hash, ref.data_title) == (task.uuid, task.data_hash, task.data_title)
    assert (ref.stage_uuid, ref.stage) == (run.agent.stage.uuid, "Pre-label")
    assert isinstance(ref.uuid, UUID)


def test_the_values_that_are_injected(world: World) -> None:
    """The task's own, next to those of the run."""
    world.project.add_placeholders(1)
    run = stage_run(world, labels)
    (context,), _ = run.load(waiting(run), run.gate.clock())
    values = context.values({Project: run.project})
    assert (values[Project], values[AgentStage], values[AgentTask]) == (run.project, run.agent.stage, context.task)
    assert values[LabelRowV2] is context.row
    assert (values[StorageItem], values[Asset]) == (None, None)


class File:
    """A file that notes what is done with it."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def close(self) -> None:
        self.done.append("closed")

    def forget(self) -> None:
        self.done.append("forgotten")


def test_a_file_is_released_once(world: World) -> None:
    """However often its context is closed, the room it took is given back one time."""
    world.project.add_placeholders(1)
    run = stage_run(world, labels)
    (task,) = waiting(run)
    file, released = File(), []
    held: Any = file
    context = Context(run.agent, task, 0.0, asset=held, release=[lambda: released.append(True)])
    context.close_file()
    context.close()
    assert (file.done, released) == (["forgotten", "closed"], [True])
