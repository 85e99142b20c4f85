"""A stage's tasks, in the order the platform lists them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeVar
from uuid import UUID

from encord.workflow.stages.agent import AgentStage, AgentTask

from encord_agents.tasks.engine.gate import Gate, Reply

__all__ = ["MAX_POLLS", "TaskKey", "TasksInStage", "poll"]

MAX_POLLS = 5
"""How often a stage is asked for what it did not show the first time."""


def poll(stage: AgentStage, gate: Gate, *, seen: Collection[UUID] = ()) -> Iterator[AgentTask]:
    """The tasks of a stage that are not in ``seen``, page by page as they are asked for, each once.

    The SDK's iterator is finished once a page could not be had, so after an outage the pages are read again from the
    first; what they have shown already is passed over.
    """
    shown: set[UUID] = set()
    tasks: Iterator[AgentTask] | None = None

    def next_task() -> AgentTask | None:
        nonlocal tasks
        if tasks is None:
            tasks = iter(stage.get_tasks())
        try:
            return next(tasks, None)
        except BaseException:
            tasks = None
            raise

    while (task := gate.call(next_task, kind="tasks")) is not None:
        if task.uuid not in shown:
            shown.add(task.uuid)
            if task.uuid not in seen:
                yield task


class TaskKey(Protocol):
    """What names a task to a stage."""

    @property
    def uuid(self) -> UUID: ...

    @property
    def data_hash(self) -> UUID: ...


Key = TypeVar("Key", bound=TaskKey)


class TasksInStage:
    """Asks a stage which of some tasks it still holds."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def __call__(self, stage: Any, tasks: Sequence[TaskKey]) -> tuple[dict[UUID, AgentTask], dict[UUID, Exception]]:
        """Those of ``tasks`` that are in ``stage``, as the platform shows them now, by uuid. One request.

        What the platform refuses is split off: the second part is the tasks that it says nothing about, and why.
        """
        there: dict[UUID, AgentTask] = {}
        refused: dict[UUID, Exception] = {}
        for part, reply in self.each(stage, tasks):
            there |= reply.value or {}
            if reply.error is not None:
                refused |= {task.uuid: reply.error for task in part}
        return there, refused

    def each(
        self, stage: AgentStage, tasks: Sequence[Key]
    ) -> Iterator[tuple[Sequence[Key], Reply[dict[UUID, AgentTask]]]]:
        """The same, a request at a time."""
        return self._gate.each(tasks, lambda part: self._ask(stage, part), kind="tasks")

    @staticmethod
    def _ask(stage: Any, tasks: Iterable[TaskKey]) -> dict[UUID, Any]:
        asked = {task.uuid: task for task in tasks}
        hashes = list(dict.fromkeys(task.data_hash for task in asked.values()))
        if not hashes:
            return {}
        return {task.uuid: task for task in stage.get_tasks(data_hash=hashes) if task.uuid in asked}
