"""Notifications reach a route only if the platform sent them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
import requests
from fastapi import Depends
from tests.editors import listening

from encord_agents.core.webhooks import AGENT_STAGE_WORK_AVAILABLE_EVENT, TaskNotification, sign
from encord_agents.fastapi import dep_task_notification, dep_task_notification_with_args, get_encord_app

SECRET = "a-secret-of-the-test"
CONTENT: dict[str, Any] = {
    "uid": f"{1:032x}",
    "version": 1,
    "source": "encord",
    "event_type": AGENT_STAGE_WORK_AVAILABLE_EVENT,
    "event_created_timestamp": "2026-01-01T00:00:00Z",
    "payload": {"project_hash": f"{2:032x}", "stage_uuid": f"{3:032x}", "pending_count": 4, "reason": "other"},
}


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, list[int]]]:
    """A server with two routes, and the numbers of tasks that it was told of."""
    monkeypatch.setenv("ENCORD_WEBHOOK_SECRET", SECRET)
    app, told = get_encord_app(), []

    @app.post("/ready")
    def ready(notification: Annotated[TaskNotification, Depends(dep_task_notification)]) -> None:
        told.append(notification.pending_count)

    @app.post("/other")
    def other(notification: Annotated[TaskNotification, Depends(dep_task_notification_with_args("other"))]) -> None:
        told.append(-notification.pending_count)

    with listening(app) as address:
        yield address, told


def send(address: str, content: object, secret: str = SECRET) -> requests.Response:
    body, now = json.dumps(content).encode(), str(int(time.time()))
    headers = {"X-Encord-Signature": sign(body, timestamp=now, secret=secret), "X-Encord-Timestamp": now}
    return requests.post(address, data=body, headers=headers, timeout=60)


def test_the_platforms_own(receiver: tuple[str, list[int]]) -> None:
    """They are read, with the secret of the environment or of the route."""
    address, told = receiver
    assert send(f"{address}/ready", CONTENT).status_code == 200
    assert send(f"{address}/other", CONTENT, "other").status_code == 200
    assert told == [4, -4]


@pytest.mark.parametrize(
    ("content", "secret", "status"),
    [
        (CONTENT, "wrong", 401),
        ({**CONTENT, "event_type": "another"}, SECRET, 200),
        ({**CONTENT, "version": 2}, SECRET, 501),
        ({**CONTENT, "payload": {}}, SECRET, 422),
        ([], SECRET, 422),
    ],
    ids=["wrong secret", "another event", "later version", "no stage", "a list"],
)
def test_others(receiver: tuple[str, list[int]], content: object, secret: str, status: int) -> None:
    """Each is answered, and reaches no route."""
    address, told = receiver
    answer = send(f"{address}/ready", content, secret)
    assert answer.status_code == status
    assert answer.json()["message"]
    assert not told
