"""Notifications in requests: how much of them is read, with which secret, and the answers to those that are none."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, Request
from starlette.types import Message
from tests.unit.fastapi.test_cors import call

from encord_agents.core.webhooks import (
    TaskNotification,
    UnexpectedEventType,
    UnsupportedNotificationVersion,
    WebhookVerificationError,
    sign,
)
from encord_agents.exceptions import EditorRequestError, PrintableError
from encord_agents.fastapi import notifications
from encord_agents.fastapi.notifications import (
    LONGEST_BODY,
    add_notification_handlers,
    dep_task_notification,
    dep_task_notification_with_args,
)

NOW = 1_800_000_000
SECRET = "a secret"
CONTENT: dict[str, Any] = {
    "uid": f"{1:032x}",
    "version": 1,
    "source": "encord",
    "event_type": "agent_stage_work_available_event",
    "event_created_timestamp": "2026-01-01T00:00:00Z",
    "payload": {"project_hash": f"{2:032x}", "stage_uuid": f"{3:032x}", "pending_count": 4, "reason": "other"},
}
BODY = json.dumps(CONTENT).encode()

Dependency = Callable[[Request], Awaitable[TaskNotification]]


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: float(NOW))
    monkeypatch.setenv("ENCORD_WEBHOOK_SECRET", SECRET)


def signed(body: bytes = BODY, secret: str = SECRET, at: int = NOW) -> dict[str, str]:
    return {"x-encord-signature": sign(body, timestamp=str(at), secret=secret), "x-encord-timestamp": str(at)}


def read(dependency: Dependency, *parts: bytes, headers: dict[str, str] | None = None) -> TaskNotification:
    """Return the notification in a request whose body comes in parts; no more of it may be asked for."""
    left = list(parts)
    given = signed(b"".join(parts)) if headers is None else headers

    async def receive() -> Message:
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    async def asked() -> TaskNotification:
        listed = [(name.encode(), value.encode()) for name, value in given.items()]
        return await dependency(Request({"type": "http", "method": "POST", "headers": listed}, receive))

    return asyncio.run(asked())


def test_a_body_in_parts() -> None:
    """It is put together before it is verified."""
    assert read(dep_task_notification, BODY[:7], b"", BODY[7:]).pending_count == 4


def test_the_body_stays_there() -> None:
    """The route may read the body as well, in any way, and another notification dependency may look at it again."""
    made = app()

    @made.post("/again")
    async def again(
        request: Request,
        one: Annotated[TaskNotification, Depends(dep_task_notification)],
        other: Annotated[TaskNotification, Depends(dep_task_notification_with_args(SECRET))],
    ) -> list[bool]:
        streamed = b"".join([part async for part in request.stream()])
        return [await request.body() == streamed == BODY, await request.json() == CONTENT, one == other]

    status, _, content = call(made, "/again", BODY[:7], BODY[7:], headers=signed())
    assert (status, json.loads(content)) == (200, [True, True, True])


@pytest.mark.parametrize("parts", [[b" " * LONGEST_BODY], [b" " * (LONGEST_BODY - 1), b" "]])
def test_the_longest_body(parts: list[bytes]) -> None:
    """As much as is allowed is read, and then looked at."""
    with pytest.raises(EditorRequestError, match="not JSON") as caught:
        read(dep_task_notification, *parts)
    assert caught.value.status == 422


def test_a_body_that_is_too_long() -> None:
    """It is refused with the limit at the first byte beyond it; the rest is not waited for."""
    taken: list[bytes] = []

    async def receive() -> Message:
        taken.append(b" " * (LONGEST_BODY // 2))
        return {"type": "http.request", "body": taken[-1], "more_body": True}

    async def asked() -> None:
        await dep_task_notification(Request({"type": "http", "method": "POST", "headers": []}, receive))

    with pytest.raises(EditorRequestError, match="1,000,000 bytes") as caught:
        asyncio.run(asked())
    assert (caught.value.status, len(taken)) == (413, 3)


def test_the_secret_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is looked up for each request, so that it may be set, and changed, after the import."""
    monkeypatch.setenv("ENCORD_WEBHOOK_SECRET", "another")
    with pytest.raises(WebhookVerificationError):
        read(dep_task_notification, BODY)
    assert read(dep_task_notification, BODY, headers=signed(secret="another")).pending_count == 4


def test_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """That is the server's trouble and not the sender's: the message names the variable to set."""
    monkeypatch.setenv("ENCORD_WEBHOOK_SECRET", "")
    with pytest.raises(PrintableError, match="Set ENCORD_WEBHOOK_SECRET") as caught:
        read(dep_task_notification, BODY)
    assert not isinstance(caught.value, EditorRequestError)


@pytest.mark.parametrize(("age", "fine"), [(10, True), (11, False), (-10, True), (-11, False)])
def test_a_tolerance_of_ones_own(age: int, fine: bool) -> None:
    """Secret and tolerance of the dependency hold, in place of the environment's and the default."""
    dependency = dep_task_notification_with_args("own", 10)
    headers = signed(secret="own", at=NOW - age)
    if fine:
        assert read(dependency, BODY, headers=headers).pending_count == 4
    else:
        with pytest.raises(WebhookVerificationError, match="10 s"):
            read(dependency, BODY, headers=headers)


@pytest.mark.parametrize(
    "changes",
    [{"uid": "my\nsecret"}, {"uid": "my\nsecret", "source": 1, "event_created_timestamp": "", "payload": {}}],
    ids=["one field", "all fields"],
)
def test_a_notification_that_cannot_be_read(changes: dict[str, Any]) -> None:
    """The answer is one line of so many characters that does not repeat the request; nor does its traceback."""
    with pytest.raises(EditorRequestError, match="The notification cannot be read: ") as caught:
        read(dep_task_notification, json.dumps({**CONTENT, **changes}).encode())
    said = str(caught.value).removeprefix("The notification cannot be read: ")
    assert caught.value.status == 422
    assert (len(said) == 500) == (len(changes) > 1)
    assert "\n" not in said
    assert "secret" not in said
    assert (caught.value.__cause__, caught.value.__suppress_context__) == (None, True)


def app() -> FastAPI:
    made = FastAPI()
    add_notification_handlers(made)

    @made.post("/agent")
    async def receive(notification: Annotated[TaskNotification, Depends(dep_task_notification)]) -> int:
        return notification.pending_count

    return made


@pytest.mark.parametrize(
    ("changes", "secret", "status", "level"),
    [
        ({}, "wrong", 401, "WARNING"),
        ({"event_type": "another"}, SECRET, 200, "INFO"),
        ({"version": 2}, SECRET, 501, "ERROR"),
        ({"uid": ""}, SECRET, 422, None),
    ],
)
def test_answers_and_the_log(
    caplog: pytest.LogCaptureFixture, changes: dict[str, Any], secret: str, status: int, level: str | None
) -> None:
    """An app without more of this library answers each with a sentence, and logs those that concern its owner."""
    caplog.set_level(logging.INFO, notifications.logger.name)
    body = json.dumps({**CONTENT, **changes}).encode()
    answer, _, content = call(app(), "/agent", body, headers=signed(body, secret))
    assert answer == status
    assert json.loads(content)["message"]
    assert [record.levelname for record in caplog.records] == ([] if level is None else [level])


@pytest.mark.parametrize("seconds", [None, 3])
def test_a_label_row_that_is_in_use(seconds: int | None) -> None:
    """A caller who may try again is told when."""
    made = app()

    @made.post("/busy")
    async def busy() -> None:
        raise EditorRequestError("Another agent is at work on it.", status=409, retry_after=seconds)

    status, headers, _ = call(made, "/busy", b"")
    assert (status, headers.get("retry-after")) == (409, None if seconds is None else str(seconds))


def test_a_sender_is_not_told_which_check_failed(caplog: pytest.LogCaptureFixture) -> None:
    """Every refusal has the same answer; the log has the reason."""
    old = signed(at=NOW - 1000)
    contents = [call(app(), "/agent", BODY, headers=headers)[::2] for headers in (signed(secret="x"), old, {})]
    assert len(set(contents)) == 1
    assert ["another one" in caplog.text, "300 s" in caplog.text, "no header" in caplog.text] == [True] * 3


@pytest.mark.parametrize(
    "error", [WebhookVerificationError(""), UnexpectedEventType(""), UnsupportedNotificationVersion("")], ids=type
)
def test_a_sender_writes_no_lines_of_the_log(caplog: pytest.LogCaptureFixture, error: Exception) -> None:
    """Text of a request that is in an error stays on the line that tells of it."""
    caplog.set_level(logging.INFO, notifications.logger.name)
    error.args = ("first\nERROR all is lost" + "<p>page</p>" * 10_000,)
    made = FastAPI()
    add_notification_handlers(made)

    @made.post("/{name}")
    async def receive(name: str) -> None:
        raise error

    call(made, "/agent\nERROR forged")
    (record,) = caplog.records
    assert "all is lost" in record.getMessage()
    assert "\n" not in record.getMessage()
    assert len(record.getMessage()) < 3000
