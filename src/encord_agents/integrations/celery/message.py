"""A message of the queue: a batch of tasks as JSON, checked before it is used.

Anybody with access to the broker can write anything, and a newer version of this library may add fields unknown to
this one. A specification that names no task fails alone, as it does in a queue function.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, cast, get_type_hints

from pydantic import NonNegativeInt, TypeAdapter, ValidationError

from encord_agents.core.logs import get_logger
from encord_agents.tasks.models import TaskResult
from encord_agents.tasks.runner.specs import malformed, read_spec

__all__ = ["Batch", "read"]

logger = get_logger(__name__)


@dataclass
class Batch:
    """A message: the tasks still to be done, and the results of the batch they came from.

    Attributes:
        specs: The tasks, as JSON.
        lost: The number of workers lost over them.
        sure: True if a holder without a heartbeat has been waited for.
        refused: The number of times in a row that the store of holds could not be reached for them.
        ended: Counts of outcomes.
        errors: The errors of tasks that failed for good.
        first: The errors of the first attempts of tasks that are retried, by uuid.
    """

    specs: list[dict[str, Any]]
    lost: NonNegativeInt = 0
    sure: bool = False
    refused: NonNegativeInt = 0
    ended: dict[str, NonNegativeInt] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    first: dict[str, str] = field(default_factory=dict)

    @property
    def uuids(self) -> list[str]:
        return [spec["uuid"] for spec in self.specs]

    def only(self, uuids: set[str]) -> list[dict[str, Any]]:
        return [spec for spec in self.specs if spec["uuid"] in uuids]

    def message(self) -> dict[str, Any]:
        """Return the keyword arguments of the Celery task."""
        return asdict(self)


FIELDS = {
    name: TypeAdapter(kind) for name, kind in get_type_hints(Batch, include_extras=True).items() if name != "specs"
}
"""The fields of a message other than its tasks, each with the check of its value."""


def read(specs: object, more: Mapping[str, object]) -> tuple[Batch, list[TaskResult]]:
    """Read a message.

    Args:
        specs: Its tasks.
        more: Its other fields. Unknown ones, as from a newer version, are ignored; malformed ones too, with a warning:
            they are no reason to leave the tasks undone.

    Returns:
        The batch of its well-formed tasks, each once, and a failure in phase ``spec`` for each of the rest.
    """
    sound: dict[str, dict[str, Any]] = {}
    unsound = []
    for spec in specs if isinstance(specs, list | tuple) else [specs]:
        task = _task(spec)
        if isinstance(task, TaskResult):
            unsound.append(task)
        else:
            sound.setdefault(task["uuid"], task)
    batch, bad = Batch(list(sound.values())), []
    for name in sorted(FIELDS.keys() & more.keys()):
        try:
            setattr(batch, name, FIELDS[name].validate_python(more[name], strict=True))
        except ValidationError:
            bad.append(name)
    if bad:
        logger.warning("A message has a malformed %s: ignored; its tasks are done all the same.", ", ".join(bad))
    return batch, unsound


def _task(spec: object) -> dict[str, Any] | TaskResult:
    """Return a specification with its ids as this library writes them, or a failure with the reason."""
    found = read_spec(spec) if isinstance(spec, dict) else malformed(spec, f"it is of type {type(spec).__name__}")
    if found.error is not None:
        return TaskResult(task_uuid=found.uuid, outcome="failed", phase="spec", error=found.error)
    return {**cast("dict[str, Any]", spec), "uuid": str(found.uuid), "data_hash": str(found.data_hash)}
