"""A notification that tasks wait in a stage fills the queue at once, without waiting for the next poll."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from encord_agents.exceptions import PrintableError
from encord_agents.integrations.celery.adapter import Registration
from encord_agents.integrations.celery.filling import fill

__all__ = ["waker"]

TWO_SENDERS = """\
The tasks of stage {stage} were not sent. Without a Redis as the broker or the result backend, this process cannot \
know which tasks celery beat has sent. Use one, or leave out poll_every: notifications alone fill the queue then."""


def waker(registration: Registration) -> Callable[[UUID, UUID], int]:
    """Return a function of a project and a stage that sends the stage's waiting tasks, and returns their number."""

    def wake(project_hash: UUID, stage: UUID) -> int:
        served = UUID(str(registration.runner.project_hash))
        if project_hash != served:
            raise PrintableError(
                f"The notification is about project {project_hash}; this queue is of project {served}."
            )
        if registration.poll_every is not None and not registration.adapter.is_shared:
            raise PrintableError(TWO_SENDERS.format(stage=stage))
        return fill(registration, stage)

    return wake
