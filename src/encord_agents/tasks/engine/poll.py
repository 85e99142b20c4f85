"""Reading a stage: its pages into a backlog, or which of some tasks it still holds."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol
from uuid import UUID

from encord.workflow.stages.agent import AgentStage, AgentTask

from encord_agents.tasks.engine.backlog import Backlog
from encord_agents.tasks.engine.events import Events, StagePolled
from encord_agents.tasks.engine.gate import Gate

__all__ = ["StageReader", "TaskKey", "still_in"]


class StageReader:
    """Reads the pages of a stage into its backlog, as far as requested.

    Args:
        lock: Held while the backlog changes.
    """

    def __init__(
        self,
        stage: AgentStage,
        gate: Gate,
        backlog: Backlog,
        events: Events | None = None,
        lock: AbstractContextManager[object] | None = None,
    ) -> None:
        self._stage = stage
        self._gate = gate
        self._backlog = backlog
        self._events = events
        self._lock = lock or contextlib.nullcontext()
        self._tasks: Iterator[AgentTask] | None = None
        self._told = 0

    def read(self, number: int) -> None:
        """Continue to read until ``number`` new tasks were shown, or the last page has come.

        The first call, and the first one after the last page, start at the first page.

        Raises:
            OutageError, Leaving: The platform did not answer.
        """
        backlog = self._backlog
        with self._lock:
            if not backlog.reading:
                self._tasks = None
                backlog.begin_reading()
        found = 0
        while found < number:
            # Without the lock, since a page may take long, and tasks are taken from the backlog meanwhile.
            tasks = self._gate.call(self._next_tasks, kind="tasks")
            now = self._gate.clock()
            with self._lock:
                found += sum(backlog.add(task, now) for task in tasks)
                if len(tasks) < self._gate.limits.read_together:
                    backlog.end_reading()
                    break
        self._tell()

    def _tell(self) -> None:
        complete, shown = not self._backlog.reading, self._backlog.shown
        if self._events is not None and (complete or shown >= self._told + self._gate.limits.told_every):
            self._told = shown
            self._events.emit(StagePolled(self._stage.uuid, self._stage.title, shown, complete))

    def _next_tasks(self) -> list[AgentTask]:
        """Return the next tasks; fewer than were asked for are the last.

        The SDK's iterator is exhausted once a page could not be fetched, so after an outage the pages are read again
        from the first.
        """
        if self._tasks is None:
            self._tasks = iter(self._stage.get_tasks())
        try:
            return list(itertools.islice(self._tasks, self._gate.limits.read_together))
        except BaseException:
            self._tasks = None
            raise


class TaskKey(Protocol):
    """The two uuids by which a stage knows a task."""

    @property
    def uuid(self) -> UUID: ...

    @property
    def data_hash(self) -> UUID: ...


def still_in(stage: Any, tasks: Sequence[TaskKey], gate: Gate) -> tuple[dict[UUID, AgentTask], dict[UUID, Exception]]:
    """Return the tasks that are still in a stage, as the platform shows them now, by uuid.

    It takes one request if all of them are there, or none. Tasks that the platform refuses to list are split off: they
    are in the second part, each with the error.
    """

    def ask(part: Sequence[TaskKey]) -> dict[UUID, AgentTask]:
        missing = {task.uuid: task.data_hash for task in part}
        found: dict[UUID, AgentTask] = {}
        while missing:
            hashes = list(dict.fromkeys(missing.values()))
            shown = {task.uuid: task for task in stage.get_tasks(data_hash=hashes) if task.uuid in missing}
            if not shown:
                break
            # The answer may have had several pages, and a task that was moved between two pages hides another one. So
            # ask for the rest again, until none is shown: an empty first page hides nothing.
            found |= shown
            missing = {uuid: data_hash for uuid, data_hash in missing.items() if uuid not in shown}
        return found

    there: dict[UUID, AgentTask] = {}
    refused: dict[UUID, Exception] = {}
    for part, reply in gate.each(tasks, ask, kind="tasks"):
        there |= reply.value or {}
        if reply.error is not None:
            refused |= {task.uuid: reply.error for task in part}
    return there, refused
