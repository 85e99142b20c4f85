"""Celery with `register(..., wake=True)`: signed notifications over HTTP fill the queue, without a poll."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from tests.acceptance.test_celery import Line, new_app, working
from tests.acceptance.test_notifications import SECRET, notification, post
from tests.brokers import Broker
from tests.editors import listening
from tests.waiting import until

from encord_agents.exceptions import PrintableError
from encord_agents.fastapi import serve_runner
from encord_agents.integrations.celery import status
from encord_agents.tasks import QueueRunner

if TYPE_CHECKING:
    from tests.conftest import World

NOBODY = "11111111-1111-4111-8111-111111111111"


@pytest.fixture
def runner(world: World) -> Iterator[QueueRunner]:
    runner = QueueRunner(world.project.project_hash, user_client=world.client, max_outage=2)
    runner.stage("Pre-label")(lambda: "complete")
    yield runner
    runner.close()


@contextmanager
def receiving(line: Line) -> Iterator[str]:
    with listening(serve_runner(line.runner, secret=SECRET)) as address:
        yield f"{address}/notifications"


@pytest.fixture(params=["memory", "redis"])
def line(world: World, runner: QueueRunner, request: pytest.FixtureRequest) -> Line:
    if request.param == "memory":
        return Line(world, runner, new_app())
    broker: Broker = request.getfixturevalue("redis_server")
    broker.clear()
    return Line(world, runner, new_app(broker.url))


def test_a_notification_fills_the_queue(line: Line) -> None:
    """Nobody polls: the notification is answered, and the stage's tasks are sent, worked on, and moved."""
    line.register(wake=True)
    line.world.project.add_placeholders(3)
    with receiving(line) as address, working(line.app):
        assert post(address, notification(line.world)).status_code == 200
        assert until(lambda: line.world.count("Done") == 3)
        line.world.project.add_placeholders(2)
        assert post(address, notification(line.world)).status_code == 200
        assert until(lambda: line.world.count("Done") == 5)


def test_notifications_send_no_task_twice(line: Line, caplog: pytest.LogCaptureFixture) -> None:
    """One that comes again while tasks are in the queue sends the new ones only."""
    caplog.set_level("INFO", "encord_agents")
    line.register(wake=True)
    line.world.project.add_placeholders(3)
    with receiving(line) as address:
        for tasks in (3, 0, 1):
            caplog.clear()
            assert post(address, notification(line.world)).status_code == 200
            assert until(lambda tasks=tasks: f"{tasks} task(s) sent." in caplog.text)
            if tasks == 0:
                line.world.project.add_placeholders(1)
        line.work(2)
    assert sorted(done["moved"] for done in line.done) == [1, 3]


def test_what_a_notification_sent_is_not_polled_again(world: World, runner: QueueRunner, redis_server: Broker) -> None:
    """With Redis, what a notification has sent is in flight for everybody who polls."""
    redis_server.clear()
    line = Line(world, runner, new_app(redis_server.url))
    line.register(wake=True, poll_every=3600)
    world.project.add_placeholders(2)
    with receiving(line) as address:
        assert post(address, notification(world)).status_code == 200
        assert until(lambda: status(line.app)[0].in_flight == 2)
    line.app.finalize()
    assert line.app.tasks[f"encord_agents.{world.project.project_hash}.poll"].run() == 0


def test_without_redis_there_is_one_sender(world: World, runner: QueueRunner, caplog: pytest.LogCaptureFixture) -> None:
    """Where this process cannot see what beat has sent, a notification sends nothing, and the log says what to do."""
    line = Line(world, runner)
    line.register(wake=True, poll_every=60)
    world.project.add_placeholders(1)
    with receiving(line) as address:
        assert post(address, notification(world)).status_code == 200
        assert until(lambda: "leave out poll_every" in caplog.text)
    assert status(line.app)[0].waiting == 1


@pytest.mark.parametrize("about", ["project", "stage"])
def test_what_is_not_served(world: World, runner: QueueRunner, caplog: pytest.LogCaptureFixture, about: str) -> None:
    """Notifications about other projects and stages send nothing, are logged, and the next one is served."""
    line = Line(world, runner)
    line.register(wake=True)
    world.project.add_placeholders(1)
    payload = {
        "project_hash": NOBODY if about == "project" else world.project.project_hash,
        "stage_uuid": world.project.stage("Triage").uuid,
        "pending_count": 1,
        "reason": "max_wait_elapsed",
    }
    with receiving(line) as address:
        assert post(address, notification(world, payload=payload)).status_code == 200
        assert until(lambda: ("about project" if about == "project" else "No function serves stage") in caplog.text)
        assert post(address, notification(world), "another").status_code == 401
        assert status(line.app)[0].waiting == 1
        assert post(address, notification(world)).status_code == 200
        with working(line.app):
            assert until(lambda: world.count("Done") == 1)


def test_a_queue_runner_without_a_queue(world: World, runner: QueueRunner) -> None:
    """Serving it is refused with what to do; so are options that only a `Runner` has."""
    with pytest.raises(PrintableError, match="wake=True"):
        serve_runner(runner, secret=SECRET)
    Line(world, runner).register(wake=True)
    with pytest.raises(PrintableError, match="max_tasks"):
        serve_runner(runner, secret=SECRET, max_tasks=3)
