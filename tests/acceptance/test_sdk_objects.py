"""The SDK's objects that agents are given copy and pickle as elsewhere, and the user's client stays as it is."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from encord.http.constants import RequestsSettings
from encord.objects import LabelRowV2
from encord.project import Project
from encord.storage import StorageItem
from encord.user_client import EncordUserClient
from encord.workflow.stages.agent import AgentStage, AgentTask
from tests.drivers import DRIVERS, Driver

from encord_agents.core.sdk.once import sent_once
from encord_agents.tasks import Depends, Runner

if TYPE_CHECKING:
    from tests.conftest import World


def through_pickle(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


WAYS: tuple[Callable[[Any], Any], ...] = (copy.copy, copy.deepcopy, through_pickle)


def outcome(way: Callable[[Any], Any], value: Any) -> tuple[str, str]:
    """The type of a copy, or that of what kept it from being made."""
    try:
        return way.__name__, type(way(value)).__name__
    except Exception as error:
        return way.__name__, f"{type(error).__name__}: {error}"


def outcomes(row: LabelRowV2, **others: Any) -> dict[str, list[tuple[str, str]]]:
    things = {"row": row, "structure": row.ontology_structure, "instance": row.get_object_instances()[0], **others}
    return {name: [outcome(way, thing) for way in WAYS] for name, thing in things.items()}


def settings_of(client: EncordUserClient) -> tuple[Any, ...]:
    config = client.user_config
    return type(config.requests_settings), id(config.requests_settings), id(config.config.requests_settings), dict(
        vars(config.requests_settings)
    )  # fmt: skip


@pytest.mark.parametrize("driver", DRIVERS, ids=str)
def test_copies(world: World, driver: Driver) -> None:
    """Label rows, tasks, stages, items, projects and clients copy, or refuse to, as those of the plain SDK do."""
    (data_hash,) = world.project.add_placeholders(1)
    project = world.client.get_project(world.project.project_hash)
    row = project.list_label_rows_v2()[0]
    row.initialise_labels()
    world.mark(row)
    (stage,) = (stage for stage in project.workflow.stages if stage.title == "Pre-label")
    plain = outcomes(
        row,
        task=next(iter(stage.get_tasks())),  # type: ignore[union-attr,call-arg]
        stage=stage,
        item=world.client.get_storage_items([row.backing_item_uuid])[0],  # type: ignore[list-item]
        project=project,
        client=world.client,
    )
    before = settings_of(world.client)
    seen: list[dict[str, list[tuple[str, str]]]] = []

    def dependency(
        label_row: LabelRowV2,
        task: AgentTask,
        stage: AgentStage,
        item: StorageItem,
        project: Project,
        client: EncordUserClient,
    ) -> LabelRowV2:
        world.mark(label_row)
        seen.append(outcomes(label_row, task=task, stage=stage, item=item, project=project, client=client))
        assert settings_of(world.client) == before
        return copy.deepcopy(label_row)

    def agent(copied: Annotated[LabelRowV2, Depends(dependency)]) -> str:
        copied.save()
        return "complete"

    assert driver.run(world, agent).counts == {"moved": 1}
    assert seen == [plain]
    assert plain["row"][1] == ("deepcopy", "LabelRowV2")
    assert world.marks(data_hash) == [0.25]
    assert settings_of(world.client) == before


def test_two_runs_with_one_client(world: World) -> None:
    """At once, too; and whoever uses the client meanwhile has its own retries."""
    world.client = world.platform.client()
    before = settings_of(world.client)
    world.project.add_placeholders(4)
    second = world.platform.create_project(
        workflow={
            "stages": [
                {"title": "Pre-label", "type": "agent", "pathways": {"complete": "Done"}},
                {"title": "Done", "type": "done"},
            ]
        }
    )
    second.add_placeholders(4)
    both = threading.Barrier(2)
    retries: list[int] = []
    moved: list[int] = []

    def run(project_hash: str) -> None:
        runner = Runner(project_hash, user_client=world.client)
        assert runner.client is world.client

        @runner.stage("Pre-label")
        def agent(client: EncordUserClient) -> str:
            if not retries:
                both.wait(60)
            with sent_once():
                retries.append(client.user_config.requests_settings.max_retries)
            return "complete"

        moved.append(runner(progress="none").moved)

    threads = [threading.Thread(target=run, args=(one,)) for one in (world.project.project_hash, second.project_hash)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert moved == [4, 4]
    assert retries == [RequestsSettings().max_retries] * 8
    assert settings_of(world.client) == before
