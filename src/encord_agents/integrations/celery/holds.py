"""The tasks and label rows that one delivery of a message holds while it works on them.

A label row may belong to several tasks, and those may be in several messages. The last save of a row wins, so only one
worker at a time works on a row, whatever the stage.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from encord_agents.integrations.celery.at_work import AtWork, Found

__all__ = ["Holds"]


class Holds:
    """The tasks and label rows that a delivery holds.

    Args:
        at_work: The store.
        queue: The tasks' queue.
        rows: The name under which label rows are held, one for all stages of a project.
        row_of: Returns the label row of a task's specification.
    """

    def __init__(self, at_work: AtWork, queue: str, rows: str, row_of: Callable[[dict[str, Any]], str]) -> None:
        self._at_work = at_work
        self._queue = queue
        self._rows = rows
        self._row_of = row_of
        self._held: dict[str, list[str]] = {}

    def begin(self, specs: Sequence[dict[str, Any]], *, redelivered: bool, sure: bool) -> dict[str, Found]:
        """Hold the tasks that are free and whose label rows are, too. Return the state of each task, by uuid.

        Args:
            redelivered: The broker says that the message was delivered before.
            sure: Tasks with a silent holder have been waited for: count them as lost.
        """
        uuids = [spec["uuid"] for spec in specs]
        answers = self._at_work.begin(self._queue, uuids, redelivered=redelivered, sure=sure)
        found = dict(zip(uuids, answers, strict=True))
        self._held[self._queue] = [uuid for uuid in uuids if found[uuid] is Found.FREE]
        rows = {spec["uuid"]: self._row_of(spec) for spec in specs if found[spec["uuid"]] is Found.FREE}
        try:
            free = self._begin_rows(list(dict.fromkeys(rows.values())), sure=sure)
        except BaseException:
            self.end()
            raise
        taken = [uuid for uuid, row in rows.items() if row not in free]
        if taken:  # released, so that nobody waits for a task that no worker is working on
            self._at_work.end(self._queue, taken)
            self._held[self._queue] = [uuid for uuid in rows if uuid not in taken]
        return found | dict.fromkeys(taken, Found.BUSY)

    def end(self) -> None:
        """Release everything. A second call does nothing."""
        while self._held:
            queue, names = self._held.popitem()
            if names:
                self._at_work.end(queue, names)

    def _begin_rows(self, rows: list[str], *, sure: bool) -> set[str]:
        """Hold the label rows that are free, and return them."""
        free: set[str] = set()
        left = rows
        # A row that was lost with its worker is free when asked for again; its own task is retried by another delivery.
        for _ in range(2):
            if not left:
                break
            # Not `redelivered`: that is about the row's task, which was found free, and so has not begun.
            found = self._at_work.begin(self._rows, left, redelivered=False, sure=sure)
            free |= {row for row, how in zip(left, found, strict=True) if how is Found.FREE}
            self._held[self._rows] = sorted(free)
            left = [row for row, how in zip(left, found, strict=True) if how is Found.LOST]
        return free
