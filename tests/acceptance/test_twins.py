"""Twins: the rows of another project, in as few requests as the tasks' own."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from encord.objects import LabelRowV2

from encord_agents.local import AgentStage, LocalProject, Stage, Workflow
from encord_agents.tasks import Depends
from encord_agents.tasks.dependencies import Twin, dep_twin_label_row

if TYPE_CHECKING:
    from tests.conftest import World

TASKS = 30


@pytest.fixture
def twin(world: World) -> LocalProject:
    """Another project over the same data, each row with a box whose place is its task's number."""
    world.project.add_placeholders(TASKS, title="image {index}")
    client = world.client
    project = client.get_project(world.project.project_hash)
    (dataset,) = project.list_datasets()
    workflow = Workflow([AgentStage("Other", {"go": "Done"}), Stage("Done", "done")])
    other = world.platform.create_project(workflow=workflow, title="Other")
    client.get_project(other.project_hash).add_datasets([str(dataset.dataset_hash)])
    for row in client.get_project(other.project_hash).list_label_rows_v2():
        row.initialise_labels()
        world.mark(row, int(row.data_title.rpartition(" ")[2]) / 100)
        row.save()
    world.platform.journal.clear()
    return other


def place(row: LabelRowV2) -> float:
    (instance,) = row.get_object_instances()
    coordinates: Any = instance.get_annotation(0).coordinates
    return float(coordinates.top_left_x)


@pytest.mark.parametrize("window", [1, 8, 300])
def test_twins_come_in_bundles(world: World, twin: LocalProject, window: int) -> None:
    """Each task has the twin of its own data; a chunk costs at most one request of each kind."""
    seen: dict[str, float] = {}

    def agent(
        label_row: LabelRowV2, found: Annotated[Twin | None, Depends(dep_twin_label_row(twin.project_hash))]
    ) -> str:
        assert found is not None
        assert found.label_row.data_hash == label_row.data_hash
        seen[label_row.data_title] = place(found.label_row)
        return "complete"

    report = world.run(agent, task_batch_size=window)
    assert report.failures == []
    assert seen == {f"image {number}": number / 100 for number in range(TASKS)}
    counts = Counter(world.requests())
    chunks = counts["label_create"]  # of the tasks' own rows, which have no labels yet
    assert counts["label_get"] <= chunks
    assert counts["rows"] <= 2 * chunks


def test_an_attempt_has_a_twin_of_its_own(world: World, twin: LocalProject) -> None:
    """As the platform has it: changes of a failed attempt are not in the next one's."""
    attempts: Counter[str] = Counter()

    def agent(
        label_row: LabelRowV2, found: Annotated[Twin | None, Depends(dep_twin_label_row(twin.project_hash))]
    ) -> str:
        assert found is not None
        assert len(found.label_row.get_object_instances()) == 1
        world.mark(found.label_row)
        attempts[label_row.data_title] += 1
        if attempts[label_row.data_title] == 1:
            raise ValueError("once")
        return "complete"

    report = world.run(agent, num_retries=1)
    assert report.failures == []
    assert set(attempts.values()) == {2}


def test_data_that_is_not_there(world: World, twin: LocalProject) -> None:
    """It has no twin, and others do."""
    world.project.add_image("alone")
    seen: list[tuple[str, bool]] = []

    def agent(
        label_row: LabelRowV2,
        found: Annotated[Twin | None, Depends(dep_twin_label_row(twin.project_hash, init_labels=False))],
    ) -> str:
        seen.append((label_row.data_title, found is None))
        assert found is None or not found.label_row.is_labelling_initialised
        return "complete"

    assert world.run(agent).failures == []
    assert [title for title, missing in seen if missing] in ([], ["alone"])
    assert len(seen) == TASKS + 1
