"""Tasks that are made of JSON are as their stage lists them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from encord.workflow.stages.agent import AgentStage

from encord_agents.core.sdk import seam
from encord_agents.core.sdk.tasks import TASKS, task_of

if TYPE_CHECKING:
    from tests.conftest import World


def stage_of(world: World) -> AgentStage:
    stage = world.client.get_project(world.project.project_hash).workflow.get_stage(name="Pre-label", type_=AgentStage)
    assert isinstance(stage, AgentStage)
    return stage


def test_a_task_of_json(world: World) -> None:
    """It has all that the stage's own has, and can be moved; nothing is asked for."""
    world.project.add_placeholders(1)
    stage = stage_of(world)
    (task,) = stage.get_tasks()
    text = task.model_dump_json()
    world.platform.journal.clear()
    made = task_of(stage, text)
    assert made is not None
    assert made.model_dump() == task.model_dump()
    assert made.__pydantic_private__ is not None
    assert task.__pydantic_private__ is not None
    assert made.__pydantic_private__.keys() == task.__pydantic_private__.keys()
    assert world.requests() == []
    made.proceed(pathway_name="complete")
    assert world.count("Done") == 1


def test_where_the_sdk_is_another(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """No task is made, and nothing is raised."""
    seam._holds.cache_clear()
    monkeypatch.delattr(AgentStage, "get_tasks")
    assert TASKS.found()
    assert task_of(stage_of(world), "{}") is None
    seam._holds.cache_clear()
