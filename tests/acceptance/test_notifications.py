"""Notifications over real HTTP: an app verifies them, answers, and runs the stage."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any
from uuid import uuid4

import pytest
import requests
from fastapi import BackgroundTasks, Depends, FastAPI
from tests.editors import listening
from tests.waiting import until

from encord_agents.core.webhooks import TaskNotification, sign
from encord_agents.fastapi import add_notification_handlers, dep_task_notification, dep_task_notification_with_args
from encord_agents.tasks import Runner

if TYPE_CHECKING:
    from tests.conftest import World

SECRET = "a secret"


@pytest.fixture
def address(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("ENCORD_WEBHOOK_SECRET", SECRET)
    runner = Runner(user_client=world.client)
    runner.stage("Pre-label")(lambda: "complete")
    app = FastAPI()
    add_notification_handlers(app)

    @app.post("/")
    def receive(
        notification: Annotated[TaskNotification, Depends(dep_task_notification)], background: BackgroundTasks
    ) -> None:
        background.add_task(runner.run_stage, notification.stage_uuid, project_hash=notification.project_hash)

    @app.post("/own")
    def own(
        notification: Annotated[TaskNotification, Depends(dep_task_notification_with_args("own", 2000))],
    ) -> int:
        return notification.pending_count

    with listening(app) as where:
        yield where


def notification(world: World, **changes: Any) -> bytes:
    payload = {
        "project_hash": world.project.project_hash,
        "stage_uuid": world.project.stage("Pre-label").uuid,
        "pending_count": 2,
        "reason": "batch_size_reached",
    }
    content = {
        "uid": str(uuid4()),
        "version": 1,
        "source": "encord",
        "event_type": "agent_stage_work_available_event",
        "event_created_timestamp": "2026-11-26T22:09:00Z",
        "payload": payload,
    }
    return json.dumps(content | changes).encode()


def post(address: str, body: bytes, secret: str = SECRET, *, age: int = 0) -> requests.Response:
    timestamp = str(int(time.time()) - age)
    headers = {
        "X-Encord-Signature": sign(body, timestamp=timestamp, secret=secret),
        "X-Encord-Timestamp": timestamp,
        "Content-Type": "application/json",
    }
    return requests.post(address, data=body, headers=headers, timeout=60)


def test_a_notification_runs_the_stage(world: World, address: str) -> None:
    """It is answered, and the stage's tasks move; the same once more finds nothing to do."""
    world.project.add_placeholders(2)
    body = notification(world)
    for _ in range(2):
        assert post(address, body).status_code == 200
    assert until(lambda: world.count("Done") == 2)


@pytest.mark.parametrize(
    ("changes", "secret", "age", "status", "said"),
    [
        ({}, "another", 0, 401, "could not be verified"),
        ({}, SECRET, 1000, 401, "could not be verified"),
        ({"event_type": "task_submitted_event"}, SECRET, 0, 200, "task_submitted_event"),
        ({"version": 2}, SECRET, 0, 501, "Upgrade"),
        ({"uid": "none"}, SECRET, 0, 422, "cannot be read"),
    ],
)
def test_what_is_no_notification(
    world: World, address: str, changes: dict[str, Any], secret: str, age: int, status: int, said: str
) -> None:
    """Each kind has its answer, with a sentence, and no task is touched."""
    world.project.add_placeholders(1)
    answer = post(address, notification(world, **changes), secret, age=age)
    assert answer.status_code == status
    assert said in answer.json()["message"]
    assert world.count("Pre-label") == 1


def test_a_body_without_end(world: World, address: str) -> None:
    """What is longer than any notification is refused before it is all read."""
    assert post(address, b" " * 1_000_001).status_code == 413


def test_a_secret_and_a_tolerance_of_its_own(world: World, address: str) -> None:
    """A dependency with arguments goes by them."""
    body = notification(world)
    assert post(f"{address}/own", body, "own", age=1000).json() == 2
    assert post(f"{address}/own", body, SECRET).status_code == 401
