"""Errors of the local platform itself, and refusals of requests."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Sequence

from encord_agents.exceptions import PrintableError


class LocalPlatformError(PrintableError):
    """The local platform cannot fulfil its user's request: a port is taken, a file is not an image, ..."""


class WorkflowError(LocalPlatformError):
    """A workflow is not valid: an unknown destination, a duplicate pathway, no agent stage, ..."""


class UnknownRequestError(LocalPlatformError):
    """The platform received requests that it does not know, and answered them with 501.

    Attributes:
        requests: The requests, one line each.
    """

    def __init__(self, requests: Sequence[str]) -> None:
        self.requests = tuple(requests)
        lines = "\n".join(f"  - {request}" for request in self.requests)
        super().__init__(
            f"The local platform was asked for what it does not know:\n{lines}\n"
            "If it should know one, that is an operation to add in encord_agents.local.routes_v1 or routes_v2."
        )


class Refusal(Exception):  # noqa: N818 -- an answer, not a failure of the platform
    """A request is refused. Each of the two protocols has its own form of the answer.

    Attributes:
        status: The HTTP status (v1: the status in the envelope).
        message: The reason, for a person.
        name: The v1 error name; derived from the status when not given.
    """

    def __init__(self, status: int, message: str, *, name: str | None = None) -> None:
        self.status = status
        self.message = message
        self.name = name or _NAMES.get(status, "UNKNOWN_ERROR")
        super().__init__(message)


class NotKnown(Refusal):
    """The platform does not support a request. It is remembered, so that a test can fail on it.

    Args:
        what: The request.
        remedy: A sentence that suggests an alternative.
    """

    def __init__(self, what: str, remedy: str = "") -> None:
        message = f"The local platform does not know {what} {remedy}".rstrip()
        super().__init__(501, message, name="NOT_IMPLEMENTED_ERROR")
        self.what = what


_NAMES = {
    400: "INVALID_ARGUMENTS_ERROR",
    401: "AUTHENTICATION_ERROR",
    403: "AUTHORISATION_ERROR",
    404: "RESOURCE_NOT_FOUND_ERROR",
    405: "METHOD_NOT_ALLOWED_ERROR",
    409: "RESOURCE_EXISTS_ERROR",
    429: "RATE_LIMIT_ERROR",
}


def malformed(message: str) -> Refusal:
    return Refusal(400, message)


def forbidden(message: str) -> Refusal:
    """Return a 403, both for unknown and for forbidden ids, so that clients cannot find out which ids exist."""
    return Refusal(403, message)


def corrupted(message: str) -> Refusal:
    """Return the refusal of labels that cannot be stored."""
    return Refusal(400, message, name="CORRUPTED_LABEL_ERROR")


_FULL = (errno.ENOSPC, errno.EDQUOT)
_SQLITE = {
    sqlite3.SQLITE_FULL: (507, "There is no room on the disk of the platform's data directory. Nothing was changed."),
    sqlite3.SQLITE_BUSY: (503, "Another process has kept the platform's database for too long. Nothing was changed."),
    sqlite3.SQLITE_READONLY: (507, "The platform's database cannot be written to. Nothing was changed."),
    sqlite3.SQLITE_IOERR: (507, "The disk of the platform's data directory does not work. Nothing was changed."),
    sqlite3.SQLITE_CORRUPT: (507, "The platform's database is damaged: use another data directory."),
}


def machine_trouble(error: BaseException) -> Refusal | None:
    """Return the answer to an error that is the machine's fault, not the platform's; ``None`` for other errors."""
    if isinstance(error, sqlite3.Error):
        known = _SQLITE.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
        return None if known is None else Refusal(*known)
    if isinstance(error, OSError) and error.errno in _FULL:
        return Refusal(507, "There is no room on the disk of the platform's data directory. Nothing was changed.")
    return None
