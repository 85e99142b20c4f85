"""Twins of label rows, looked for in the rows' own project: it has the same data, and rows that are others."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from encord.exceptions import EncordException
from encord.objects import LabelRowV2
from tests.damaged_labels import DAMAGES, damage, label_all
from tests.stage_runs import Clock

from encord_agents.core.loaded_together import loaded_together
from encord_agents.local import Fault
from encord_agents.tasks.twins import FRESH_FOR, VIDEOS_AT_ONCE, TwinRows

if TYPE_CHECKING:
    from tests.conftest import World


def rows_of(world: World, number: int, branch: str = "main") -> list[LabelRowV2]:
    """Rows of new tasks, loaded together."""
    world.project.add_placeholders(number)
    return loaded(world, branch)


def loaded(world: World, branch: str = "main") -> list[LabelRowV2]:
    rows = world.client.get_project(world.project.project_hash).list_label_rows_v2(branch_name=branch)
    loaded_together(rows)
    return rows


def twins_in(world: World, **options: Any) -> TwinRows:
    twins = TwinRows(world.client.get_project(world.project.project_hash), **options)
    world.platform.journal.clear()
    return twins


def test_rows_that_were_loaded_together_are_fetched_together(world: World) -> None:
    """The first of them costs the requests of all; each has the twin of its own data, with labels."""
    rows = rows_of(world, 5)
    twins = twins_in(world)
    found = [twins.of(row) for row in rows]
    assert [twin and twin.data_hash for twin in found] == [row.data_hash for row in rows]
    assert all(twin is not None and twin is not row for twin, row in zip(found, rows, strict=True))
    assert all(twin is not None and twin.is_labelling_initialised for twin in found)
    assert Counter(world.requests()) == {"rows": 1, "label_create": 1}


def test_a_twin_is_handed_out_once(world: World) -> None:
    """A row that asks again gets one as the platform has it now, and costs the others nothing."""
    first, second, third = rows_of(world, 3)
    twins = twins_in(world, init_labels=False)
    one, other = twins.of(first), twins.of(first)
    assert one is not None
    assert other is not None
    assert one is not other
    assert world.requests() == ["rows", "rows"]
    one, other = twins.of(second), twins.of(third)
    assert world.requests() == ["rows", "rows"]
    assert twins.of(second) is not one
    assert twins.of(third) is not other


def test_a_twin_that_is_old(world: World) -> None:
    """After a minute a twin that nobody took is fetched again, alone."""
    first, second, third = rows_of(world, 3)
    clock = Clock()
    twins = twins_in(world, init_labels=False, clock=clock)
    twins.of(first)
    clock.now += FRESH_FOR - 1
    twins.of(second)
    assert world.requests() == ["rows"]
    clock.now += 1
    twins.of(third)
    assert [entry.items for entry in world.platform.journal.of("rows")] == [3, 1]


def test_rows_that_were_loaded_alone(world: World) -> None:
    """They cost a request each, and those that have gone cost none."""
    kept, gone = rows_of(world, 2)
    hashes = kept.data_hash, gone.data_hash
    del gone
    twins = twins_in(world, init_labels=False)
    twins.of(kept)
    (again,) = world.client.get_project(world.project.project_hash).list_label_rows_v2(data_hashes=[hashes[1]])
    world.platform.journal.clear()
    assert twins.of(again)
    assert [entry.items for entry in world.platform.journal.of("rows")] == [1]


def test_data_that_is_not_there(world: World) -> None:
    """A row whose data the other project lacks has no twin, and others loaded with it do."""
    rows = rows_of(world, 2)
    world.project.delete_row(rows[0].data_hash)
    twins = twins_in(world)
    assert twins.of(rows[0]) is None
    assert twins.of(rows[1]) is not None


def test_a_refusal_that_may_concern_another_row(world: World) -> None:
    """A row is asked for alone before a refusal of many is held against it."""
    rows = rows_of(world, 3)
    twins = twins_in(world)
    world.platform.faults.add(Fault("rows", times=None, status=400, contains=rows[2].data_hash))
    assert twins.of(rows[0]) is not None
    assert twins.of(rows[1]) is not None
    with pytest.raises(EncordException):
        twins.of(rows[2])


@pytest.mark.parametrize("how", DAMAGES)
def test_labels_of_another_row_that_cannot_be_read(world: World, how: str) -> None:
    """Whatever the SDK raises, it is held only against the row whose labels they are, which has no twin in part."""
    rows = rows_of(world, 3)
    label_all(world)
    twins = twins_in(world)
    damage(world, rows[2].data_hash, how)
    for row in rows[:2]:
        twin = twins.of(row)
        assert twin is not None
        assert len(twin.get_object_instances()) == 3
    for _ in range(2):
        with pytest.raises((EncordException, LookupError, ValueError, AttributeError)):
            twins.of(rows[2])


def test_a_failure_is_not_kept(world: World) -> None:
    """After an exception the same row is asked for again."""
    (row,) = rows_of(world, 1)
    twins = twins_in(world)
    world.platform.faults.add(Fault("rows", status=400))
    with pytest.raises(EncordException):
        twins.of(row)
    assert twins.of(row) is not None


@pytest.mark.parametrize("same_data", [False, True])
def test_branches(world: World, same_data: bool) -> None:
    """The twin is on the row's own branch, also if rows of several branches, or of one data unit, came together."""
    main, other = rows_of(world, 2)
    unit = main.data_hash if same_data else other.data_hash
    world.project.add_task(unit, "Done", branch="model")
    (model,) = [row for row in loaded(world, "model") if row.data_hash == unit]
    loaded_together([model, main])
    twins = twins_in(world)
    for row in (model, main):
        twin = twins.of(row)
        assert twin is not None
        assert (twin.data_hash, twin.branch_name) == (row.data_hash, row.branch_name)


def test_films_are_fetched_a_few_at_a_time(world: World) -> None:
    """The labels of films may be large: no more than so many are in one request."""
    for number in range(VIDEOS_AT_ONCE + 2):
        world.project.add_file(
            f"film {number}",
            b"",
            item_type="video",
            mime_type="video/mp4",
            width=64,
            height=48,
            frames=9,
            duration=1,
            fps=9,
        )
    rows = loaded(world)
    twins = twins_in(world, init_labels=False)
    for row in (rows[0], *rows):
        assert twins.of(row) is not None
    assert [entry.items for entry in world.platform.journal.of("rows")] == [VIDEOS_AT_ONCE, 1, 2]
