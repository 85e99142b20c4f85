"""A runner on a Celery app: its Celery tasks, its poll, and the settings that agents need."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from celery import Celery
from celery.beat import Service
from celery.signals import beat_embedded_init, beat_init, celeryd_after_setup, worker_init

from encord_agents.exceptions import PrintableError
from encord_agents.integrations.celery import register
from encord_agents.integrations.celery.adapter import adapter_of
from encord_agents.tasks import QueueRunner

HASH = UUID(int=1)
POLL = f"encord_agents.{HASH}.poll"
STAGE = f"encord_agents.{HASH}.stage.Pre-label"
REDIS = "redis://127.0.0.1:1/0"
MakeApp = Callable[..., Celery]

numbers = itertools.count()


@dataclass(eq=False)
class Worker:
    """Stands for Celery's worker, which sends signals."""

    app: Celery
    pool_cls: str


@pytest.fixture
def runner() -> QueueRunner:
    found = QueueRunner(HASH)
    found.stage("Pre-label")(lambda: "complete")
    return found


@pytest.fixture
def make() -> Iterator[MakeApp]:
    made: list[Celery] = []

    def make(broker: str = "memory://", **settings: Any) -> Celery:
        made.append(Celery(f"registration-{next(numbers)}", broker=broker, set_as_current=False))
        made[-1].conf.update(settings)
        return made[-1]

    yield make
    for app in made:
        app.close()


def test_a_celery_task_for_each_stage(runner: QueueRunner, make: MakeApp) -> None:
    """And one that polls; the messages of agents are acknowledged when their tasks are done."""
    app = register(runner, make())
    app.finalize()
    assert {name for name in app.tasks if name.startswith("encord_agents.")} == {POLL, STAGE}
    assert app.tasks[STAGE].acks_late
    assert app.tasks[STAGE].reject_on_worker_lost
    assert app.tasks[STAGE].max_retries is None, "the delivery decides"
    assert not app.tasks[POLL].acks_late


def test_registering_again(runner: QueueRunner, make: MakeApp) -> None:
    """Functions that are new are added, and numbers are those of the last call."""
    app = register(runner, make())
    runner.stage("Triage")(lambda: "ok")
    register(runner, app, batch_size=3, retry_delay=2.0)
    (registration,) = adapter_of(app).registrations
    assert len(registration.functions) == 2
    assert (registration.batch_size, registration.retry_delay) == (3, 2.0)


def test_a_function_that_was_replaced(runner: QueueRunner, make: MakeApp) -> None:
    """The Celery task of its stage has the new one."""
    app = register(runner, make())
    newer = runner.stage("Pre-label", overwrite=True)(lambda: "review")
    register(runner, app)
    (registration,) = adapter_of(app).registrations
    assert list(registration.functions.values()) == [newer]


def test_what_is_refused(runner: QueueRunner, make: MakeApp) -> None:
    """A runner without functions, another runner of the project, numbers out of range."""
    app = register(runner, make())
    with pytest.raises(PrintableError, match="has no function yet"):
        register(QueueRunner(UUID(int=2)), app)
    other = QueueRunner(HASH)
    other.stage("Triage")(lambda: "ok")
    with pytest.raises(PrintableError, match="project"):
        register(other, app)
    with pytest.raises(PrintableError, match="batch_size=101 is out of range"):
        register(runner, app, batch_size=101)
    with pytest.raises(PrintableError, match="has no agents"):
        adapter_of(make())


def test_the_users_settings_win(runner: QueueRunner, make: MakeApp) -> None:
    """Ours are defaults."""
    for app, early in ((make(task_acks_late=False, worker_prefetch_multiplier=7), False), (make(), True)):
        register(runner, app)
        app.finalize()
        assert app.conf.worker_prefetch_multiplier == (1 if early else 7)
        assert app.tasks[STAGE].acks_late is early


@pytest.mark.parametrize(
    ("broker", "every", "scheduled"), [(REDIS, 5.0, True), (REDIS, None, False), ("memory://", 5.0, False)]
)
def test_who_polls(runner: QueueRunner, make: MakeApp, broker: str, every: float | None, scheduled: bool) -> None:
    """Beat, by a Celery task, where all workers see the same marks; else in its own process."""
    app = register(runner, make(broker), poll_every=every)
    schedule = app.conf.beat_schedule or {}
    assert (POLL in schedule) == scheduled
    if scheduled:
        assert schedule[POLL]["options"] == {"expires": every}
    shared = broker == REDIS
    assert adapter_of(app).is_shared == shared
    assert bool(app.conf.worker_cancel_long_running_tasks_on_connection_loss) is not shared


def test_the_beat_of_another_app(make: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not poll for this one, whose own beat would send the same tasks."""
    started: list[Callable[[], None]] = []
    monkeypatch.setattr(
        threading, "Thread", lambda *, target, **_: SimpleNamespace(start=lambda: started.append(target))
    )
    for number in (1, 2):
        runner = QueueRunner(UUID(int=number))
        runner.stage("Pre-label")(lambda: "complete")
        app = register(runner, make(), poll_every=3600)
        beat_init.send(sender=Service(app))
        beat_embedded_init.send(sender=Service(app))  # ``celery worker -B`` sends both
        assert len(started) == number


@pytest.mark.parametrize(
    ("broker", "pool", "settings", "cancels", "heartbeat", "warned"),
    [
        ("amqp://127.0.0.1", "prefork", {}, True, 120, False),
        ("amqp://127.0.0.1", "processes", {}, True, 120, False),
        ("amqp://127.0.0.1", "threads", {}, False, 120, True),
        ("amqp://127.0.0.1", "celery.concurrency.solo:TaskPool", {}, False, 0, True),
        ("amqp://127.0.0.1", "solo", {"broker_heartbeat": 30}, False, 30, True),
        (REDIS, "solo", {}, False, 120, False),
    ],
)
def test_pools_that_cannot_end_a_batch(
    runner: QueueRunner,
    make: MakeApp,
    caplog: pytest.LogCaptureFixture,
    broker: str,
    pool: str,
    settings: dict[str, Any],
    cancels: bool,
    heartbeat: int,
    warned: bool,
) -> None:
    """Without shared marks, their worker says that a lost connection lets tasks run twice, and does not lose it itself
    by a batch that keeps it from sending heartbeats."""
    caplog.set_level(logging.WARNING)
    other = register(runner, make("amqp://127.0.0.1"))
    app = register(runner, make(broker, **settings))
    worker = Worker(app, pool)
    worker_init.send(sender=worker)
    celeryd_after_setup.send(sender="celery@host", instance=worker)
    assert app.conf.worker_cancel_long_running_tasks_on_connection_loss is cancels
    assert app.conf.broker_heartbeat == heartbeat
    assert caplog.text.count("Use --pool prefork, or a Redis") == warned
    assert other.conf.worker_cancel_long_running_tasks_on_connection_loss is True


@pytest.mark.parametrize("serializer", ["json", "pickle"])
def test_messages_are_written_as_the_app_reads_them(runner: QueueRunner, make: MakeApp, serializer: str) -> None:
    """A worker of the app drops any other message."""
    app = register(runner, make(task_serializer=serializer, accept_content=[serializer]))
    app.finalize()
    assert {app.tasks[name].serializer for name in (STAGE, POLL)} == {serializer}


def test_the_schedule_of_the_user_stays(runner: QueueRunner, make: MakeApp) -> None:
    """The poll is added to it."""
    app = register(runner, make(REDIS, beat_schedule={"own": {"task": "own", "schedule": 1.0}}), poll_every=5.0)
    assert set(app.conf.beat_schedule) == {"own", POLL}


@pytest.mark.parametrize(("limit", "warned"), [(7200, True), (60, False)])
def test_a_visibility_timeout_that_is_too_short(
    runner: QueueRunner, make: MakeApp, caplog: pytest.LogCaptureFixture, limit: int, warned: bool
) -> None:
    """A message would come again while its tasks are at work."""
    app = register(runner, make(REDIS, task_time_limit=limit))
    _ = app.conf.task_time_limit
    assert ("Raise the former" in caplog.text) == warned


def test_options_of_the_runner(runner: QueueRunner, make: MakeApp) -> None:
    """Bundled saves and waking are the runner's from then on."""
    register(runner, make(), bundle_saves=True, wake=True)
    assert runner.bundle_saves
    assert runner.wake is not None
