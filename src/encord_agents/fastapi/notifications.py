"""Notifications that tasks wait in an agent stage, verified and parsed, and the answers to rejected requests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from encord_agents.core.legible import on_a_line, on_one_line
from encord_agents.core.logs import get_logger
from encord_agents.core.webhooks import (
    DEFAULT_TIMESTAMP_TOLERANCE_SECONDS,
    TaskNotification,
    UnexpectedEventType,
    UnsupportedNotificationVersion,
    WebhookVerificationError,
    verify_and_parse_notification,
)
from encord_agents.exceptions import EditorRequestError, PrintableError
from encord_agents.fastapi.answering import answer_error

__all__ = ["add_notification_handlers", "dep_task_notification", "dep_task_notification_with_args"]

logger = get_logger(__name__)

LONGEST_BODY = 1_000_000
"""Bytes; a notification has a few hundred."""


def dep_task_notification_with_args(
    secret: str | None = None, tolerance_seconds: int = DEFAULT_TIMESTAMP_TOLERANCE_SECONDS
) -> Callable[[Request], Awaitable[TaskNotification]]:
    """Make a dependency that returns the notification in the request, once it is verified.

    Args:
        secret: The secret that the platform shows for the address. Default: ``ENCORD_WEBHOOK_SECRET``.
        tolerance_seconds: The maximum number of seconds between the time of signing and now, either way.
    """

    async def get_notification(request: Request) -> TaskNotification:
        body = await _read(request)
        try:
            return verify_and_parse_notification(
                body, request.headers, secret=secret, tolerance_seconds=tolerance_seconds
            )
        except PrintableError:
            raise
        except ValueError as error:
            raise EditorRequestError(
                f"The notification cannot be read: {on_one_line(error)[:500]}", status=422
            ) from None

    return get_notification


async def _read(request: Request) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > LONGEST_BODY:
            raise EditorRequestError(f"A notification has at most {LONGEST_BODY:,} bytes.", status=413)
    # Starlette's own `body()` keeps it here, too: the route, and other dependencies, may read it as well.
    request._body = bytes(body)
    return request._body


async def dep_task_notification(request: Request) -> TaskNotification:
    """Return the notification in the request, once it is verified with the secret in ``ENCORD_WEBHOOK_SECRET``.

    It says where tasks wait, but not whether this server may serve that project: check the project before the work.

    Raises:
        WebhookVerificationError: Nothing shows that the platform sent it.
        UnexpectedEventType: It is another kind of event.
        UnsupportedNotificationVersion: It is of a later version.
        EditorRequestError: The platform sent something that cannot be read.
    """
    return await _from_environment(request)


_from_environment = dep_task_notification_with_args()


def add_notification_handlers(app: FastAPI) -> None:
    """Add handlers to an app that answer requests that are not a notification for it. `get_encord_app` calls this."""
    app.add_exception_handler(WebhookVerificationError, _refuse)
    app.add_exception_handler(UnexpectedEventType, _acknowledge)
    app.add_exception_handler(UnsupportedNotificationVersion, _cannot_read)
    app.add_exception_handler(EditorRequestError, answer_error)


def _refuse(request: Request, error: Exception) -> JSONResponse:
    # Only the log tells which check failed.
    logger.warning("Refused a request to %s: %s", on_a_line(request.url.path), on_a_line(error))
    return JSONResponse({"message": "The request could not be verified as one of the platform's."}, status_code=401)


def _acknowledge(request: Request, error: Exception) -> JSONResponse:
    logger.info("Acknowledged an event that is for others: %s", on_a_line(error))
    return JSONResponse({"message": str(error)})


def _cannot_read(request: Request, error: Exception) -> JSONResponse:
    logger.error("%s", on_a_line(error))
    return JSONResponse({"message": str(error)}, status_code=501)
