"""Tasks as engines give them to a queue function: JSON text, dicts, tasks of the SDK, one or many."""

from __future__ import annotations

import json
from dataclasses import dataclass
from uuid import UUID

from encord.workflow.stages.agent import AgentTask

from encord_agents.core.tracebacks import shown
from encord_agents.redaction import without_secrets
from encord_agents.tasks.engine.stage import as_uuid
from encord_agents.tasks.models import NO_TASK

__all__ = ["Spec", "read_specs"]


@dataclass(frozen=True, slots=True)
class Spec:
    """A task as it was given: what to ask the platform for, or why that cannot be told."""

    uuid: UUID
    data_hash: UUID
    error: str | None = None


def read_specs(spec: object) -> tuple[list[Spec], bool]:
    """The tasks that were given, and whether they came as a list."""
    if isinstance(spec, str | bytes):
        try:
            spec = json.loads(spec)
        except (ValueError, RecursionError) as error:
            return [_malformed(spec, f"it is not JSON ({error})")], False
    if isinstance(spec, list | tuple):
        return [_read_one(one) for one in spec], True
    return [_read_one(spec)], False


def _read_one(spec: object) -> Spec:
    if isinstance(spec, AgentTask):
        return Spec(spec.uuid, spec.data_hash)
    if isinstance(spec, str | bytes):
        try:
            spec = json.loads(spec)
        except (ValueError, RecursionError) as error:
            return _malformed(spec, f"it is not JSON ({error})")
    if not isinstance(spec, dict):
        return _malformed(spec, f"it is of type {type(spec).__name__}")
    # The SDK writes snake case, the platform's own messages camel case.
    uuid = as_uuid(spec.get("uuid"))
    data_hash = as_uuid(spec.get("data_hash", spec.get("dataHash")))
    if uuid is None:
        return _malformed(spec, "it has no valid 'uuid'")
    if data_hash is None:
        return _malformed(spec, "it has no valid 'data_hash'", uuid)
    return Spec(uuid, data_hash)


def _malformed(spec: object, why: str, uuid: UUID = NO_TASK) -> Spec:
    text = without_secrets(spec if isinstance(spec, str) else shown(spec, 200))
    return Spec(
        uuid,
        NO_TASK,
        f"This is no task: {why}. A task is given as task.model_dump_json(), or as a list of these. "
        f"Given was: {text[:200]}",
    )
