"""Tasks made into contexts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from encord.objects import LabelRowV2
from encord.storage import StorageItem
from tests.damaged_labels import DAMAGES, damage, label_all
from tests.stage_runs import stage_run, waiting

from encord_agents.core.assets import Asset
from encord_agents.local import Fault
from encord_agents.tasks.engine.load import NotListedError
from encord_agents.tasks.engine.outcome import Phase

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import World


def nothing() -> None: ...


def labels(label_row: LabelRowV2) -> None: ...


def items(item: StorageItem) -> None: ...


def both(label_row: LabelRowV2, item: StorageItem | None) -> None: ...


def with_file(label_row: LabelRowV2, asset: Asset) -> None: ...


def requests(world: World, function: Any, **options: Any) -> list[str]:
    run = stage_run(world, function, **options)
    tasks = waiting(run)
    world.platform.journal.clear()
    run.loader.load(tasks)
    return world.requests()


def test_only_what_is_asked_for(world: World) -> None:
    """An agent that needs nothing costs no request."""
    world.project.add_placeholders(3)
    assert requests(world, nothing) == []
    assert requests(world, items) == ["rows", "items"]
    assert requests(world, labels) == ["rows", "label_create"]
    assert requests(world, both) == ["rows", "label_get", "items"]


def test_matched_by_id(world: World) -> None:
    """Whatever the order of the platform's answers."""
    world.project.add_placeholders(5)
    run = stage_run(world, labels)
    tasks = waiting(run)[::-1]
    contexts = run.loader.load(tasks)
    assert [context.task for context in contexts] == tasks
    rows = [context.row for context in contexts]
    assert [row and row.data_hash for row in rows] == [str(task.data_hash) for task in tasks]


def test_a_refused_bundle_is_split(world: World) -> None:
    """One task's trouble is that task's."""
    hashes = world.project.add_placeholders(4)
    run = stage_run(world, labels)
    tasks = waiting(run)
    refused = Fault(
        "label_create", times=None, action="envelope", status=400, error="CORRUPTED_LABEL_ERROR", contains=hashes[2]
    )
    world.platform.faults.add(refused)
    troubled = [context for context in run.loader.load(tasks) if context.trouble is not None]
    assert [str(context.task.data_hash) for context in troubled] == [hashes[2]]
    assert troubled[0].trouble is not None
    assert troubled[0].trouble.phase is Phase.LOAD


def test_a_row_that_is_not_listed(world: World) -> None:
    """The task fails, and the message names its data unit."""
    world.project.add_placeholders(1)
    run = stage_run(world, labels)
    (task,) = waiting(run)
    task.data_hash = uuid4()
    (context,) = run.loader.load([task])
    assert context.trouble is not None
    assert isinstance(context.trouble.exception, NotListedError)
    assert str(task.data_hash) in str(context.trouble.exception)


def test_a_retry_loads_what_could_not_be_loaded(world: World) -> None:
    """And leaves a row that is there as it is."""
    world.project.add_placeholders(1)
    run = stage_run(world, labels)
    tasks = waiting(run)
    world.platform.faults.add(Fault("label_create", action="envelope", status=400, error="CORRUPTED_LABEL_ERROR"))
    (context,) = run.loader.load(tasks)
    assert context.trouble is not None
    assert run.loader.reload(context)
    assert (context.trouble, context.row is not None) == (None, True)
    world.platform.journal.clear()
    assert run.loader.reload(context)
    assert world.requests() == []


@pytest.mark.parametrize("kind", ["rows", "label_get"])
def test_what_could_not_be_loaded_again_is_loaded_before_the_next_attempt(
    world: World, tmp_path: Path, kind: str
) -> None:
    """A file that is here does not hide that the label row, or its labels, are not."""
    world.project.add_image("image")
    run = stage_run(world, with_file, files=tmp_path)
    (context,) = run.loader.load(waiting(run))
    world.platform.faults.add(Fault(kind, action="envelope", status=400, error="CORRUPTED_LABEL_ERROR"))
    run.loader.refresh([context])
    assert context.trouble is not None
    assert run.loader.reload(context)
    assert context.trouble is None
    assert context.row is not None
    assert context.row.is_labelling_initialised


def test_a_file_that_could_not_be_had_is_downloaded_by_the_next_attempt(world: World, tmp_path: Path) -> None:
    """The label row stays the same, with all that an attempt has drawn."""
    world.project.add_image("image")
    run = stage_run(world, with_file, files=tmp_path)
    (context,) = run.loader.load(waiting(run))
    row = context.row
    run.loader.mark([context], LookupError())
    assert run.loader.reload(context)
    assert (context.trouble, context.row) == (None, row)


# Labels that the SDK cannot read to the end


@pytest.mark.parametrize("how", DAMAGES)
def test_labels_that_cannot_be_read(world: World, how: str) -> None:
    """Their task fails, whatever the SDK raises; the others have all their labels, and so has that row as soon as it
    can be read."""
    hashes = world.project.add_placeholders(4)
    label_all(world)
    run = stage_run(world, labels, num_retries=1)
    damage(world, hashes[2], how)
    contexts = {str(context.task.data_hash): context for context in run.loader.load(waiting(run))}
    bad = contexts[hashes[2]]
    assert [data_hash for data_hash, context in contexts.items() if context.trouble is not None] == [hashes[2]]
    assert bad.trouble is not None
    assert bad.trouble.phase is Phase.LOAD
    for context in contexts.values():
        if context is not bad:
            assert context.row is not None
            assert len(context.row.get_object_instances()) == 3
            assert context.loaded is not None
    assert run.loader.reload(bad)
    assert bad.trouble is not None
    world.platform.faults.clear()
    assert run.loader.reload(bad)
    assert bad.trouble is None
    assert bad.row is not None
    assert len(bad.row.get_object_instances()) == 3


def test_a_file_hides_no_labels_that_cannot_be_read(world: World, tmp_path: Path) -> None:
    """The next attempt has no row with some of its labels, though the task's file was there."""
    data_hash = world.project.add_image("image")
    label_all(world)
    run = stage_run(world, with_file, files=tmp_path)
    (context,) = run.loader.load(waiting(run))
    damage(world, data_hash, "missing number")
    run.loader.refresh([context])
    for _ in range(2):
        assert context.trouble is not None
        assert run.loader.reload(context)
    assert context.trouble is not None
