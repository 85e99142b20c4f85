"""A notification fills the queue: of the stage it names, and only where no other process may have sent the tasks."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from celery import Celery

from encord_agents.exceptions import PrintableError
from encord_agents.integrations.celery import register
from encord_agents.integrations.celery.adapter import Registration, adapter_of
from encord_agents.integrations.celery.waking import waker
from encord_agents.tasks import QueueRunner

if TYPE_CHECKING:
    from tests.conftest import World

numbers = itertools.count()


@pytest.fixture
def registered(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Registration]]:
    """Registers the agents of two stages on an app whose messages are not sent."""
    runner = QueueRunner(world.project.project_hash, user_client=world.client)
    for stage in ("Pre-label", "Triage"):
        runner.stage(stage)(lambda: None)

    def make(**options: Any) -> Registration:
        app = register(runner, Celery(f"waking-{next(numbers)}", broker="memory://", set_as_current=False), **options)
        app.finalize()
        (registration,) = adapter_of(app).registrations
        for queue in registration.functions:
            monkeypatch.setattr(type(app.tasks[queue]), "apply_async", lambda *_, **__: None)
        return registration

    yield make
    runner.close()


def stage(world: World, title: str) -> UUID:
    found: UUID = world.client.get_project(world.project.project_hash).workflow.get_stage(name=title).uuid
    return found


def test_the_stage_is_sent(world: World, registered: Callable[..., Registration]) -> None:
    """Its waiting tasks and no others, each once."""
    wake = waker(registered())
    world.project.add_placeholders(3)
    project = UUID(world.project.project_hash)
    assert wake(project, stage(world, "Triage")) == 0
    assert wake(project, stage(world, "Pre-label")) == 3
    assert wake(project, stage(world, "Pre-label")) == 0
    world.project.add_placeholders(2)
    assert wake(project, stage(world, "Pre-label")) == 2


def test_another_project(registered: Callable[..., Registration]) -> None:
    """Nothing is sent: the notification came to the wrong place."""
    with pytest.raises(PrintableError, match=f"is about project {UUID(int=7)}; this queue is of project"):
        waker(registered())(UUID(int=7), UUID(int=8))


def test_a_stage_that_nobody_serves(world: World, registered: Callable[..., Registration]) -> None:
    """The message names those that are served."""
    with pytest.raises(PrintableError, match="Stages that are served: 'Pre-label', 'Triage'"):
        waker(registered())(UUID(world.project.project_hash), stage(world, "Review"))


def test_two_senders_without_a_shared_store(world: World, registered: Callable[..., Registration]) -> None:
    """Where beat polls in its own memory, this process cannot know what it has sent."""
    wake = waker(registered(poll_every=60.0))
    world.project.add_placeholders(1)
    with pytest.raises(PrintableError, match=r"were not sent. Without a Redis"):
        wake(UUID(world.project.project_hash), stage(world, "Pre-label"))
