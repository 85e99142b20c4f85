"""Rows that were loaded in one request, and which of them are left."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from weakref import ref

import pytest
from encord.objects import LabelRowV2

from encord_agents.core.loaded_together import loaded_together, with_it

if TYPE_CHECKING:
    from tests.conftest import World


@pytest.fixture
def rows(world: World) -> list[LabelRowV2]:
    world.project.add_placeholders(4)
    return world.client.get_project(world.project.project_hash).list_label_rows_v2()


def test_the_others(rows: list[LabelRowV2]) -> None:
    """Each row has all the others for company, in their order, and not itself."""
    loaded_together(rows)
    for number, row in enumerate(rows):
        others = with_it(row)
        assert [one is other for one, other in zip(others, rows[:number] + rows[number + 1 :], strict=True)] == [
            True
        ] * 3


def test_rows_without_company(rows: list[LabelRowV2]) -> None:
    """A row that nobody noted has none, nor has one that was loaded alone; noting none is harmless."""
    assert with_it(rows[0]) == []
    loaded_together([])
    loaded_together(rows[:1])
    assert with_it(rows[0]) == []


def test_the_latest_load_counts(rows: list[LabelRowV2]) -> None:
    """A row that is loaded again, with others, has those; the loads of different rows are kept apart."""
    first, second, third, fourth = rows
    loaded_together([first, second])
    loaded_together([third, fourth])
    assert with_it(first) == [second]
    assert with_it(fourth) == [third]
    loaded_together([fourth, first])
    assert with_it(first) == [fourth]


def test_a_list_that_goes_on_changing(rows: list[LabelRowV2]) -> None:
    """The rows are those at the time of the load, also if the list is changed afterwards."""
    given = rows[:2]
    loaded_together(given)
    given.append(rows[2])
    assert with_it(rows[0]) == [rows[1]]


def test_rows_of_tasks_that_are_done(collect_garbage: Callable[[], int], rows: list[LabelRowV2]) -> None:
    """They are company no more, and are not kept in memory by those that are left, which keep their order."""
    loaded_together(rows)
    known = [ref(row) for row in rows]
    del rows[1]
    collect_garbage()
    assert [row() is None for row in known] == [False, True, False, False]
    assert with_it(rows[0]) == rows[1:]
    rows.clear()
    collect_garbage()
    assert [row() for row in known] == [None] * 4
