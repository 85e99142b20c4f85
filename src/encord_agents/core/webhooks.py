"""Verification and parsing of the notifications that the platform sends when tasks wait in an agent stage.

::

    notification = verify_and_parse_notification(body, headers)  # the body as it was received
    runner.run_stage(notification.stage_uuid, project_hash=notification.project_hash)

It needs no key, and makes no request.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import time
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from encord_agents.core.constants import WEBHOOK_SIGNATURE_HEADER, WEBHOOK_TIMESTAMP_HEADER
from encord_agents.core.legible import quotable
from encord_agents.core.settings import WebhookSettings
from encord_agents.exceptions import EncordAgentsError, PrintableError

__all__ = [
    "AGENT_STAGE_WORK_AVAILABLE_EVENT",
    "DEFAULT_TIMESTAMP_TOLERANCE_SECONDS",
    "SUPPORTED_NOTIFICATION_VERSION",
    "WEBHOOK_SIGNATURE_HEADER",
    "WEBHOOK_TIMESTAMP_HEADER",
    "AgentStageWorkReason",
    "StageWorkAvailable",
    "TaskNotification",
    "UnexpectedEventType",
    "UnsupportedNotificationVersion",
    "WebhookVerificationError",
    "parse_notification",
    "sign",
    "verify_and_parse_notification",
    "verify_signature",
]

DEFAULT_TIMESTAMP_TOLERANCE_SECONDS = 300
"""The most seconds between the time of signing and now, either way; a request that is replayed later is rejected."""
AGENT_STAGE_WORK_AVAILABLE_EVENT = "agent_stage_work_available_event"
SUPPORTED_NOTIFICATION_VERSION = 1


class WebhookVerificationError(EncordAgentsError):
    """Nothing shows that the platform sent the request. Respond with 401, and do not read its body."""


class UnexpectedEventType(EncordAgentsError):  # noqa: N818  (the name that existing code catches)
    """The platform sent another kind of event, since an address may be registered for several. Respond with 200.

    Attributes:
        event_type: The kind.
    """

    def __init__(self, event_type: str) -> None:
        self.event_type = event_type
        super().__init__(
            f"The event is of type {quotable(str(event_type))}, where {AGENT_STAGE_WORK_AVAILABLE_EVENT!r} is expected."
        )


class UnsupportedNotificationVersion(EncordAgentsError):  # noqa: N818  (the name that existing code catches)
    """The notification is of a version that this library cannot read.

    Attributes:
        version: The version.
    """

    def __init__(self, version: Any) -> None:
        self.version = version
        super().__init__(
            f"The notification is of version {quotable(str(version))}, and this library reads version "
            f"{SUPPORTED_NOTIFICATION_VERSION}. Upgrade encord-agents."
        )


class AgentStageWorkReason(StrEnum):
    """The condition that made the platform send a notification."""

    BATCH_SIZE_REACHED = "batch_size_reached"
    MAX_WAIT_ELAPSED = "max_wait_elapsed"


class StageWorkAvailable(BaseModel):
    """The stage in which tasks wait.

    Attributes:
        project_hash: The project.
        stage_uuid: The stage.
        pending_count: How many tasks waited at the time; by now there may be more, or none.
        reason: The condition; plain text if it is one that this library does not know.
    """

    model_config = ConfigDict(hide_input_in_errors=True)

    project_hash: UUID
    stage_uuid: UUID
    pending_count: int
    reason: AgentStageWorkReason | str = Field(union_mode="left_to_right")


class TaskNotification(BaseModel):
    """The notification that tasks wait in an agent stage. It does not name them: run the stage.

    Attributes:
        uid: The id of this delivery. While tasks wait, the platform sends further ones, each with its own id.
        version: The version of its format.
        source: The sender.
        event_type: The kind of event.
        event_created_timestamp: The time of the event.
        payload: The stage and its waiting tasks.
    """

    model_config = ConfigDict(hide_input_in_errors=True)

    uid: UUID
    version: int
    source: str
    event_type: str
    event_created_timestamp: datetime
    payload: StageWorkAvailable

    @property
    def project_hash(self) -> UUID:
        """The project."""
        return self.payload.project_hash

    @property
    def stage_uuid(self) -> UUID:
        """The stage."""
        return self.payload.stage_uuid

    @property
    def pending_count(self) -> int:
        """The number of tasks that waited at the time."""
        return self.payload.pending_count

    @property
    def reason(self) -> AgentStageWorkReason | str:
        """The condition that made the platform send it."""
        return self.payload.reason


def sign(body: bytes, *, timestamp: str, secret: str) -> str:
    """Return the signature of a body: HMAC-SHA256 over the timestamp, a dot and the body, in hexadecimal digits.

    For tests, and for your own senders.
    """
    return hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def verify_signature(
    body: bytes,
    *,
    signature: str | None,
    timestamp: str | None,
    secret: str | None = None,
    tolerance_seconds: int = DEFAULT_TIMESTAMP_TOLERANCE_SECONDS,
) -> None:
    """Check that the platform sent a body, and recently.

    Args:
        body: The body, byte by byte as it was received.
        signature: The header ``X-Encord-Signature``.
        timestamp: The header ``X-Encord-Timestamp``.
        secret: The secret that the platform shows for the address. Default: ``ENCORD_WEBHOOK_SECRET``.
        tolerance_seconds: Seconds between the timestamp and now, either way.

    Raises:
        WebhookVerificationError: The signature or timestamp is missing, does not fit, or is out of tolerance.
        PrintableError: There is no secret.
    """
    secret = secret or WebhookSettings().webhook_secret
    if not secret:
        raise PrintableError(
            "There is no secret to verify notifications with. Set ENCORD_WEBHOOK_SECRET to the one that the platform "
            "shows for the address, or pass secret=..."
        )
    for name, value in ((WEBHOOK_SIGNATURE_HEADER, signature), (WEBHOOK_TIMESTAMP_HEADER, timestamp)):
        if not value:
            raise WebhookVerificationError(f"The request has no header {name}: it is not from the platform.")
    assert signature is not None
    assert timestamp is not None
    if re.fullmatch(r"[0-9]{1,12}", timestamp.strip()) is None:
        raise WebhookVerificationError(f"The header {WEBHOOK_TIMESTAMP_HEADER} holds no time, in seconds since 1970.")
    # The signature first: until it is verified, the timestamp may be anyone's.
    expected = sign(body, timestamp=timestamp, secret=secret)
    if not hmac.compare_digest(expected.encode(), signature.encode("utf-8", "surrogatepass")):
        raise WebhookVerificationError(
            "The signature does not fit the body: the secret is another one, or the body was changed on its way."
        )
    if abs(time.time() - int(timestamp)) > tolerance_seconds:
        raise WebhookVerificationError(
            f"The request was signed more than {tolerance_seconds} s from now. Check this machine's clock."
        )


def parse_notification(body: bytes | str) -> TaskNotification:
    """Parse the body of a notification, without verifying it.

    Raises:
        UnexpectedEventType: It is another kind of event.
        UnsupportedNotificationVersion: It is of a later version.
        ValueError: It is not a JSON object, or (as a `pydantic.ValidationError`) a field is missing or wrong.
    """
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        raise ValueError("The body of the notification is not JSON.") from None
    if not isinstance(content, dict):
        raise ValueError("The body of the notification is not a JSON object.")
    if content.get("event_type") != AGENT_STAGE_WORK_AVAILABLE_EVENT:
        raise UnexpectedEventType(content.get("event_type"))  # type: ignore[arg-type]
    version = content.get("version")
    if version is True or version != SUPPORTED_NOTIFICATION_VERSION:
        raise UnsupportedNotificationVersion(version)
    return TaskNotification.model_validate(content)


def verify_and_parse_notification(
    body: bytes,
    headers: Mapping[str, str],
    *,
    secret: str | None = None,
    tolerance_seconds: int = DEFAULT_TIMESTAMP_TOLERANCE_SECONDS,
) -> TaskNotification:
    """Verify a request, and return the notification in it.

    Args:
        body: The body, byte by byte as it was received.
        headers: The headers. The case of their names does not matter.
        secret: The secret that the platform shows for the address. Default: ``ENCORD_WEBHOOK_SECRET``.
        tolerance_seconds: Seconds between the time of signing and now, either way.

    Raises:
        WebhookVerificationError: Nothing shows that the platform sent it.
        UnexpectedEventType: It is another kind of event.
        UnsupportedNotificationVersion: It is of a later version.
        ValueError: The platform sent a body that cannot be parsed.
        PrintableError: There is no secret.
    """
    by_name = {name.lower(): value for name, value in headers.items()}
    signature = by_name.get(WEBHOOK_SIGNATURE_HEADER.lower())
    newer = sorted(name for name in by_name if name.startswith(f"{WEBHOOK_SIGNATURE_HEADER.lower()}-"))
    if not signature and newer:
        raise WebhookVerificationError(
            f"The request is signed in {quotable(', '.join(newer))}, which this version of encord-agents cannot "
            "verify. Upgrade it."
        )
    verify_signature(
        body,
        signature=signature,
        timestamp=by_name.get(WEBHOOK_TIMESTAMP_HEADER.lower()),
        secret=secret,
        tolerance_seconds=tolerance_seconds,
    )
    return parse_notification(body)
