"""Filling the queue: each waiting task once, also where workers move tasks while the stage is read."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery

from encord_agents.exceptions import PrintableError
from encord_agents.integrations.celery import enqueue, register, status
from encord_agents.integrations.celery.adapter import adapter_of
from encord_agents.integrations.celery.filling import fill
from encord_agents.integrations.celery.timing import Limits
from encord_agents.tasks import QueueRunner

if TYPE_CHECKING:
    from tests.conftest import World

numbers = itertools.count()


class Filled:
    """An app whose messages are noted, not sent."""

    def __init__(self, world: World, **options: Any) -> None:
        self.world = world
        self.runner = QueueRunner(world.project.project_hash, user_client=world.client)
        self.runner.stage("Pre-label")(lambda: "complete")
        self.app = Celery(f"filling-{next(numbers)}", broker="memory://", set_as_current=False)
        register(self.runner, self.app, **options)
        self.app.finalize()
        (self.registration,) = adapter_of(self.app).registrations
        (self.queue,) = self.registration.functions
        self.messages: list[list[str]] = []
        self.trouble: BaseException | None = None

    def send(self, *, kwargs: dict[str, Any], **_: Any) -> None:
        if self.trouble is not None and self.messages:
            raise self.trouble
        self.messages.append([spec["uuid"] for spec in kwargs["specs"]])

    @property
    def sent(self) -> list[str]:
        return [uuid for message in self.messages for uuid in message]


@pytest.fixture
def filled(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Filled]:
    found = Filled(world, batch_size=4)
    monkeypatch.setattr(type(found.app.tasks[found.queue]), "apply_async", lambda _, **given: found.send(**given))
    yield found
    found.runner.close()


def test_each_task_once(filled: Filled) -> None:
    """In batches; a second time nothing is sent, but with ``again``."""
    filled.world.project.add_placeholders(10)
    assert enqueue(filled.app) == 10
    assert [len(message) for message in filled.messages] == [4, 4, 2]
    assert enqueue(filled.app) == 0
    assert enqueue(filled.app, again=True) == 10
    assert (status(filled.app)[0].waiting, status(filled.app)[0].in_flight) == (0, 10)


def test_so_many_tasks(filled: Filled) -> None:
    """Not more than were asked for, over the pages in which they are marked; the others can be sent later."""
    adapter_of(filled.app).limits = Limits(claimed=3)
    filled.world.project.add_placeholders(10)
    assert enqueue(filled.app, max_tasks=5) == 5
    assert enqueue(filled.app) == 5
    assert len(set(filled.sent)) == 10
    with pytest.raises(PrintableError, match="max_tasks=0 is out of range"):
        enqueue(filled.app, max_tasks=0)


def test_a_stage_that_had_moves_is_read_again(filled: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    """With page tokens that are offsets, tasks that move hide others: those are found, and sent with the rest."""
    world = filled.world
    world.platform.settings.page_size = 4
    world.platform.settings.page_tokens = "offset"
    world.project.add_placeholders(20)
    function = filled.registration.functions[filled.queue]
    in_flight = adapter_of(filled.app).in_flight
    waiting = type(function).waiting

    def while_workers_are_busy(self: Any, **options: Any) -> Iterator[str]:
        for number, spec in enumerate(waiting(self, **options)):
            if number == 4:
                for task in world.project.tasks("Pre-label")[:4]:
                    world.project.move(task.uuid, "Done")
                in_flight.ended(filled.queue, {"moved": 4})  # as a worker notes it
            yield spec

    monkeypatch.setattr(type(function), "waiting", while_workers_are_busy)
    enqueue(filled.app)
    there = {task.uuid for task in world.project.tasks("Pre-label")}
    assert there <= set(filled.sent)
    assert len(set(filled.sent)) == len(filled.sent)


@pytest.mark.parametrize(
    ("trouble", "raised"), [(OSError("the broker is away"), PrintableError), (KeyboardInterrupt(), KeyboardInterrupt)]
)
def test_tasks_that_could_not_be_sent(filled: Filled, trouble: BaseException, raised: type[BaseException]) -> None:
    """If the broker goes away or the filler is interrupted, they are as before: free, or failed lately."""
    filled.world.project.add_placeholders(12)
    in_flight = adapter_of(filled.app).in_flight
    in_flight.fail(filled.queue, [task.uuid for task in filled.world.project.tasks("Pre-label")[8:]], 3600)
    filled.trouble = trouble
    with pytest.raises(raised):
        enqueue(filled.app)
    assert len(filled.sent) == 4
    filled.trouble = None
    (counts,) = status(filled.app)
    assert (counts.in_flight, counts.waiting + counts.failed) == (4, 8)
    assert fill(filled.registration) == counts.waiting
    assert enqueue(filled.app) == counts.failed
    assert len(set(filled.sent)) == len(filled.sent) == 12


def test_failed_tasks_that_were_not_asked_for(filled: Filled) -> None:
    """Those beyond the maximum number are left alone by polling as before."""
    filled.world.project.add_placeholders(10)
    in_flight = adapter_of(filled.app).in_flight
    in_flight.fail(filled.queue, [task.uuid for task in filled.world.project.tasks("Pre-label")], 3600)
    assert enqueue(filled.app, max_tasks=1) == 1
    (counts,) = status(filled.app)
    assert (counts.waiting, counts.in_flight, counts.failed) == (0, 1, 9)
    assert fill(filled.registration) == 0
    assert enqueue(filled.app, max_tasks=2, again=True) == 2
    assert fill(filled.registration) == 0


def test_a_stage_that_nobody_serves(filled: Filled) -> None:
    """The message names those that are served."""
    with pytest.raises(PrintableError, match="Stages that are served: 'Pre-label'"):
        enqueue(filled.app, stage="Nowhere")
    assert enqueue(filled.app, stage="Pre-label") == 0
    assert filled.messages == []


@pytest.mark.parametrize("replaced", [False, True])
def test_a_function_that_was_decorated_after_its_runner_was_registered(filled: Filled, replaced: bool) -> None:
    """The app does not know it, or runs the function that it has replaced: nothing is sent until it is registered."""
    filled.world.project.add_placeholders(1)
    stage = "Pre-label" if replaced else "Triage"
    filled.runner.stage(stage, overwrite=replaced)(lambda: "complete")
    for use in (enqueue, status):
        with pytest.raises(PrintableError, match=rf"stage '{stage}', was decorated after register\(runner, app\)"):
            use(filled.app)
    assert filled.messages == []
    register(filled.runner, filled.app)
    assert enqueue(filled.app) == 1
