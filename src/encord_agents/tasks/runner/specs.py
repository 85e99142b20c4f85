"""Specifications of tasks, as engines give them: JSON text, dicts, tasks of the SDK, one or many."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from uuid import UUID

from encord.workflow.stages.agent import AgentTask

from encord_agents.core.legible import on_one_line
from encord_agents.core.tracebacks import shown
from encord_agents.redaction import without_secrets
from encord_agents.tasks.engine.stage import as_uuid
from encord_agents.tasks.models import NO_TASK

__all__ = ["Spec", "malformed", "read_spec", "read_specs"]

QUOTED = 200
"""The maximum length of a quoted specification in a message, in characters."""


@dataclass(frozen=True, slots=True)
class Spec:
    """A task as it was given: its ids, to ask the platform for, or the reason why they are unknown."""

    uuid: UUID
    data_hash: UUID
    error: str | None = None


def read_specs(spec: object) -> list[Spec]:
    """Return the tasks that were given: one, or a list."""
    if isinstance(spec, str | bytes):
        with contextlib.suppress(ValueError, RecursionError):  # otherwise it is one malformed task
            spec = json.loads(spec)
    if isinstance(spec, list | tuple):
        return [read_spec(one) for one in spec]
    return [read_spec(spec)]


def read_spec(spec: object) -> Spec:
    """Return one task."""
    if isinstance(spec, AgentTask):
        return Spec(spec.uuid, spec.data_hash)
    if isinstance(spec, str | bytes):
        try:
            spec = json.loads(spec)
        except (ValueError, RecursionError) as error:
            return malformed(spec, f"it is not JSON ({error})")
    if not isinstance(spec, dict):
        return malformed(spec, f"it is of type {type(spec).__name__}")
    # The SDK writes snake case, the platform's own messages camel case.
    uuid = as_uuid(spec.get("uuid"))
    data_hash = as_uuid(spec.get("data_hash", spec.get("dataHash")))
    if uuid is None:
        return malformed(spec, "it has no valid 'uuid'")
    if data_hash is None:
        return malformed(spec, "it has no valid 'data_hash'", uuid)
    return Spec(uuid, data_hash)


def malformed(spec: object, why: str, uuid: UUID = NO_TASK) -> Spec:
    """Return a specification that names no task, with the reason."""
    text = on_one_line(without_secrets(spec if isinstance(spec, str) else shown(spec, QUOTED)))
    return Spec(
        uuid,
        NO_TASK,
        f"This is not a task: {why}. A task is given as task.model_dump_json(), or as a list of these. "
        f"Given was: {text[:QUOTED]}",
    )
