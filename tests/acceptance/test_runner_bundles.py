"""Requests go out in bundles, and everything that comes back is matched by id."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from encord.objects import LabelRowV2
from encord.storage import StorageItem
from encord.workflow.stages.agent import AgentTask

from encord_agents.tasks import Depends
from encord_agents.tasks.dependencies import dep_asset
from encord_agents.tasks.models import TaskAgentReturnStruct

if TYPE_CHECKING:
    from tests.conftest import World


def number_of(title: str) -> int:
    """The number in the title of a placeholder."""
    return int(title[6:11])


def test_300_structs_cost_few_requests(world: World) -> None:
    """At most 4 saves, 4 priorities and 4 moves, and few reads; each task has its own labels and priority."""
    # On a machine that is busy with other things, results would be a second old and written early.
    world.numbers |= {"gather": 60.0}
    hashes = world.project.add_placeholders(300)

    def agent(label_row: LabelRowV2, task: AgentTask) -> TaskAgentReturnStruct:
        world.mark(label_row, number_of(task.data_title) / 1000)
        return TaskAgentReturnStruct("review", label_row, number_of(task.data_title) / 300)

    runner = world.agent(agent)
    world.platform.journal.clear()
    report = runner(progress="none")
    kinds = world.platform.journal.kinds()
    assert all(kinds[kind] <= 4 for kind in ("save", "priorities", "actions")), kinds
    assert all(kinds[kind] <= 300 / 25 for kind in ("rows", "label_create", "tasks")), kinds
    assert (report.moved, world.count("Review")) == (300, 300)
    for number, data_hash in enumerate(hashes):
        assert world.marks(data_hash) == [number / 1000]
        assert world.project.saves(data_hash) == 1
        assert world.project.priority(data_hash) == pytest.approx(number / 300)
    assert all(world.project.moves(task.uuid) == 1 for task in world.project.tasks())


def test_no_bundle_is_larger_than_100(world: World) -> None:
    """However large the window is."""
    world.project.add_placeholders(230)

    def agent(label_row: LabelRowV2) -> TaskAgentReturnStruct:
        return TaskAgentReturnStruct("review", label_row, 0.5)

    world.run(agent, task_batch_size=1000)
    for kind in ("save", "priorities", "actions"):
        sizes = [entry.items for entry in world.platform.journal.of(kind)]
        assert sum(sizes) == 230
        assert max(sizes) <= 100


def test_a_window_of_one_writes_each_before_loading_the_next(world: World) -> None:
    """Load, save, set the priority and move: one task after the other, and no thread is ever started."""
    world.project.add_placeholders(4)
    before = set(threading.enumerate())  # of which some may be another test's, and end meanwhile
    threads: set[int] = set()
    others: set[str] = set()

    def agent(label_row: LabelRowV2) -> TaskAgentReturnStruct:
        threads.add(threading.get_ident())
        others.update(one.name for one in set(threading.enumerate()) - before if "encord-agents" in one.name)
        return TaskAgentReturnStruct("review", label_row, 0.5)

    runner = world.agent(agent)
    world.platform.journal.clear()
    started: list[str] = []
    original = threading.Thread.start

    def start(self: threading.Thread) -> None:
        started.append(self.name)
        original(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        assert runner(progress="none", task_batch_size=1).moved == 4
    assert [name for name in started if "encord-agents" in name] == []
    assert threads == {threading.get_ident()}
    assert others == set()
    each = ["rows", "label_create", "save", "priorities", "actions"]
    assert world.requests() == ["tasks"] + each * 4


def test_the_window_bounds_what_is_loaded(world: World) -> None:
    """Never more tasks are loaded and unwritten than the window has slots."""
    world.project.add_placeholders(60)

    def agent(label_row: LabelRowV2) -> TaskAgentReturnStruct:
        return TaskAgentReturnStruct("review", label_row)

    world.run(agent, task_batch_size=7)
    loaded = written = 0
    for entry in world.platform.journal:
        loaded += entry.items if entry.kind == "label_create" else 0
        written += entry.items if entry.kind == "actions" else 0
        assert loaded - written <= 7
    assert written == 60


@pytest.mark.parametrize("window", [1, 10, 300])
def test_answers_in_another_order(world: World, window: int, tmp_path: Path) -> None:
    """Rows, labels and storage items are answered in another order than asked for, and still reach the right task."""
    from encord_agents.local.images import png

    world.platform.settings.shuffle = True
    widths = {f"picture-{n}.png": 10 + n for n in range(12)}
    hashes = {title: world.project.add_image(title, png(width, 8)) for title, width in widths.items()}

    def agent(
        task: AgentTask,
        label_row: LabelRowV2,
        item: StorageItem,
        path: Annotated[Path, Depends(dep_asset)],
    ) -> TaskAgentReturnStruct:
        assert label_row.data_hash == str(task.data_hash)
        assert label_row.data_title == item.name == task.data_title
        assert label_row.backing_item_uuid == item.uuid
        width = int.from_bytes(path.read_bytes()[16:20], "big")
        world.mark(label_row, width / 100)
        return TaskAgentReturnStruct("review", label_row, width / 100)

    for labelled_before in (False, True):
        report = world.run(agent, task_batch_size=window, num_retries=0)
        assert report.raise_for_failures().moved == 12
        for title, data_hash in hashes.items():
            expected = [widths[title] / 100] * (2 if labelled_before else 1)
            assert world.marks(data_hash) == pytest.approx(expected)
            assert world.project.priority(data_hash) == pytest.approx(widths[title] / 100)
        world.project.reset(keep_labels=True)


def test_labels_that_are_there_already_are_kept(world: World) -> None:
    """The second run of an agent finds what the first one saved."""
    (data_hash,) = world.project.add_placeholders(1)
    found: list[int] = []

    def agent(label_row: LabelRowV2) -> TaskAgentReturnStruct:
        found.append(len(label_row.get_object_instances()))
        world.mark(label_row, 0.25)
        return TaskAgentReturnStruct("review", label_row)

    for _ in range(2):
        world.run(agent)
        world.project.reset(keep_labels=True)
    assert found == [0, 1]
    assert world.marks(data_hash) == [0.25, 0.25]


def test_storage_items_come_in_bulk(world: World) -> None:
    """An agent that asks for its storage item costs a request per chunk, not per task."""
    world.project.add_placeholders(120)
    world.platform.journal.clear()

    def agent(item: StorageItem) -> str:
        return "complete"

    assert world.run(agent).moved == 120
    kinds = world.platform.journal.kinds()
    assert kinds["items"] <= 4
    assert "item" not in kinds
    assert "label_create" not in kinds


def test_two_agents_share_nothing_of_a_task(world: World) -> None:
    """The second stage's agent gets the labels that the first stage's agent saved."""
    hashes = world.project.add_placeholders(5)
    runner = world.runner()

    @runner.stage("Pre-label")
    def pre_label(label_row: LabelRowV2, task: AgentTask) -> Any:
        world.mark(label_row, 0.1 * (1 + number_of(task.data_title)))
        return TaskAgentReturnStruct("triage", label_row)

    @runner.stage("Triage")
    def triage(label_row: LabelRowV2) -> Any:
        (instance,) = label_row.get_object_instances()
        return TaskAgentReturnStruct("ok", label_row_priority=instance.get_annotations()[0].coordinates.top_left_x)

    runner(progress="none").raise_for_failures()
    assert [world.project.priority(h) for h in hashes] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
