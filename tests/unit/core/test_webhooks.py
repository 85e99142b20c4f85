"""Notifications: who sent them, and what they say."""

from __future__ import annotations

import json
import time
from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError

from encord_agents.core.webhooks import (
    AgentStageWorkReason,
    UnexpectedEventType,
    UnsupportedNotificationVersion,
    WebhookVerificationError,
    parse_notification,
    sign,
    verify_and_parse_notification,
    verify_signature,
)
from encord_agents.exceptions import PrintableError

NOW = 1_800_000_000
SECRET = "a secret"
PROJECT, STAGE = UUID(int=1), UUID(int=2)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: float(NOW))
    monkeypatch.delenv("ENCORD_WEBHOOK_SECRET", raising=False)


def content(**changes: Any) -> dict[str, Any]:
    return {
        "uid": str(UUID(int=3)),
        "version": 1,
        "source": "encord",
        "event_type": "agent_stage_work_available_event",
        "event_created_timestamp": "2026-11-26T22:09:00Z",
        "payload": {
            "project_hash": str(PROJECT),
            "stage_uuid": str(STAGE),
            "pending_count": 3,
            "reason": "batch_size_reached",
        },
    } | changes


BODY = json.dumps(content()).encode()


def headers(body: bytes = BODY, timestamp: str = str(NOW), secret: str = SECRET) -> dict[str, str]:
    return {
        "X-Encord-Signature": sign(body, timestamp=timestamp, secret=secret),
        "X-Encord-Timestamp": timestamp,
    }


def test_a_notification() -> None:
    """One that the platform signed is read."""
    notification = verify_and_parse_notification(BODY, headers(), secret=SECRET)
    assert (notification.project_hash, notification.stage_uuid) == (PROJECT, STAGE)
    assert notification.pending_count == 3
    assert notification.reason is AgentStageWorkReason.BATCH_SIZE_REACHED


def test_a_signature_known_to_be_right() -> None:
    """The signature is HMAC-SHA256 over the timestamp, a dot and the body, in lower-case hexadecimal digits."""
    assert sign(b"{}", timestamp="1", secret="k") == "3dd49b2593d0f9a349e9e71c4bde3e2b862c2be4003fe9b4ba81332029310158"


def test_names_of_headers_in_any_case() -> None:
    """Proxies and serverless platforms change the case of names."""
    for change in (str.lower, str.upper):
        changed = {change(name): value for name, value in headers().items()}
        assert verify_and_parse_notification(BODY, changed, secret=SECRET).stage_uuid == STAGE


@pytest.mark.parametrize("more", [{}, {"X-Encord-Signature": ""}])
def test_a_signature_of_a_later_platform(more: dict[str, str]) -> None:
    """A signature in a header that came after this version is told apart from a missing one: upgrade."""
    later = {"X-Encord-Timestamp": str(NOW), "X-Encord-Signature-V2": "abc", **more}
    with pytest.raises(WebhookVerificationError, match=r"x-encord-signature-v2.*Upgrade"):
        verify_and_parse_notification(BODY, later, secret=SECRET)
    both = {**headers(), "X-Encord-Signature-V2": "abc"}
    assert verify_and_parse_notification(BODY, both, secret=SECRET).stage_uuid == STAGE


def test_the_secret_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an argument the secret is the environment's; with neither, a message says where to get one."""
    for secret in (SECRET, f"{SECRET}\n"):
        monkeypatch.setenv("ENCORD_WEBHOOK_SECRET", secret)
        assert verify_and_parse_notification(BODY, headers()).stage_uuid == STAGE
    monkeypatch.setenv("ENCORD_WEBHOOK_SECRET", "")
    with pytest.raises(PrintableError, match="ENCORD_WEBHOOK_SECRET"):
        verify_and_parse_notification(BODY, headers(secret=""))


@pytest.mark.parametrize(
    "wrong",
    [
        {"body": BODY + b" "},
        {"secret": "another"},
        {"signature": None},
        {"signature": ""},
        {"signature": "é"},
        {"signature": "\ud800"},
        {"signature": "sha256=00"},
        {"timestamp": None},
        {"timestamp": str(NOW + 1)},
        *({"timestamp": text} for text in ("", "soon", "nan", "1.8e9", "-1", "٣", "9" * 5000)),
    ],
    ids=str,
)
def test_who_is_not_the_platform(wrong: dict[str, Any]) -> None:
    """Whatever is missing, malformed or of another body, time or secret, is refused with one kind of error."""
    given = headers()
    signature, timestamp = given["X-Encord-Signature"], given["X-Encord-Timestamp"]
    call = {"signature": signature, "timestamp": timestamp, "secret": SECRET, "body": BODY} | wrong
    with pytest.raises(WebhookVerificationError):
        verify_signature(call.pop("body"), **call)


@pytest.mark.parametrize(("seconds", "fine"), [(-301, False), (-300, True), (0, True), (300, True), (301, False)])
def test_how_old_it_may_be(seconds: int, fine: bool) -> None:
    """A request is good for five minutes around its time, or for as long as the caller says."""
    given = headers(timestamp=str(NOW + seconds))
    if fine:
        verify_and_parse_notification(BODY, given, secret=SECRET)
    else:
        with pytest.raises(WebhookVerificationError, match="300 s"):
            verify_and_parse_notification(BODY, given, secret=SECRET)
        verify_and_parse_notification(BODY, given, secret=SECRET, tolerance_seconds=400)


def test_another_event() -> None:
    """An event of another kind is an error of its own, whatever its version."""
    with pytest.raises(UnexpectedEventType, match="task_submitted_event") as caught:
        parse_notification(json.dumps(content(event_type="task_submitted_event", version=7)))
    assert caught.value.event_type == "task_submitted_event"


@pytest.mark.parametrize("version", [2, "1", None, True])
def test_another_version(version: object) -> None:
    """So is a version that this library cannot read."""
    with pytest.raises(UnsupportedNotificationVersion, match="Upgrade"):
        parse_notification(json.dumps(content(version=version)))


@pytest.mark.parametrize("body", [b"", b"soon", b"\xff", b"[]", b"null", b"[" * 100_000], ids=lambda b: str(b[:8]))
def test_what_is_no_notification(body: bytes) -> None:
    """What is not a JSON object is a `ValueError` with a sentence."""
    with pytest.raises(ValueError, match="is not"):
        parse_notification(body)


def test_a_field_that_is_wrong() -> None:
    """A field that is missing or wrong is pydantic's error, which does not quote what was sent."""
    with pytest.raises(ValidationError) as caught:
        parse_notification(json.dumps(content(uid="my secret")))
    assert "my secret" not in str(caught.value)


def test_what_later_platforms_may_add() -> None:
    """Fields that are not known are left alone, and a reason that is not known is its text."""
    payload = content()["payload"] | {"reason": "full_moon", "more": 1}
    assert parse_notification(json.dumps(content(payload=payload, more=1))).reason == "full_moon"
