"""The holds of a delivery: its tasks and their label rows, in memory and in Redis alike."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.integrations.celery.holders import holder

from encord_agents.integrations.celery.at_work import AtWork, Found, MemoryAtWork
from encord_agents.integrations.celery.holds import Holds


@pytest.fixture(params=["memory", "redis"])
def at_work(request: pytest.FixtureRequest) -> AtWork:
    if request.param == "memory":
        return MemoryAtWork()
    return holder(request.getfixturevalue("client"))


def holds(at_work: AtWork, queue: str = "stage") -> Holds:
    return Holds(at_work, queue, "rows", lambda spec: str(spec["row"]))


def begin(found: Holds, *specs: tuple[str, str], redelivered: bool = False) -> list[Found]:
    given: list[dict[str, Any]] = [{"uuid": uuid, "row": row} for uuid, row in specs]
    return list(found.begin(given, redelivered=redelivered, sure=False).values())


@pytest.mark.parametrize("queue", ["stage", "another stage"])
def test_a_label_row_is_at_work_once(at_work: AtWork, queue: str) -> None:
    """A task is busy while its label row is, in whichever stage and by whichever task; the others of its batch not."""
    first, second = holds(at_work), holds(at_work, queue)
    assert begin(first, ("a", "row 1"), ("b", "row 1"), ("c", "row 2")) == [Found.FREE] * 3
    assert begin(second, ("d", "row 1"), ("e", "row 3"), ("f", "row 2")) == [Found.BUSY, Found.FREE, Found.BUSY]
    first.end()
    assert begin(holds(at_work, queue), ("d", "row 1"), ("e", "row 3")) == [Found.FREE, Found.BUSY]
    second.end()
    assert begin(holds(at_work, queue), ("e", "row 3"), ("f", "row 2")) == [Found.FREE, Found.FREE]


def test_a_task_is_not_held_where_its_row_is_busy(at_work: AtWork) -> None:
    """It is free for whoever finds its row free."""
    first = holds(at_work)
    begin(first, ("a", "row"))
    assert begin(holds(at_work), ("b", "row")) == [Found.BUSY]
    first.end()
    first.end()
    assert begin(holds(at_work), ("b", "row")) == [Found.FREE]


def test_a_redelivery_in_memory_loses_the_task_and_not_the_row() -> None:
    """The task is tried again, alone; its row is free for it then."""
    at_work = MemoryAtWork()
    assert begin(holds(at_work), ("a", "row"), redelivered=True) == [Found.LOST]
    assert begin(holds(at_work), ("a", "row")) == [Found.FREE]


class Rows(MemoryAtWork):
    """A store whose rows are as it is told."""

    def __init__(self, *rows: Found | Exception) -> None:
        super().__init__()
        self.rows = list(rows)

    def begin(self, queue: str, tasks: Any, *, redelivered: bool, sure: bool) -> list[Found]:
        if queue != "rows":
            return super().begin(queue, tasks, redelivered=redelivered, sure=sure)
        answer = self.rows.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return [answer]


def test_a_row_that_was_lost_with_its_worker_is_free() -> None:
    """The row is free; its lost task is retried by another delivery."""
    assert begin(holds(Rows(Found.LOST, Found.FREE)), ("a", "row")) == [Found.FREE]
    assert begin(holds(Rows(Found.LOST, Found.BUSY)), ("a", "row")) == [Found.BUSY]
    assert begin(holds(Rows(Found.SILENT)), ("a", "row")) == [Found.BUSY]


def test_a_store_that_fails_over_the_rows() -> None:
    """No task stays held."""
    at_work = Rows(OSError("gone"), Found.FREE)
    with pytest.raises(OSError, match="gone"):
        begin(holds(at_work), ("a", "row"))
    assert begin(holds(at_work), ("a", "row")) == [Found.FREE]
