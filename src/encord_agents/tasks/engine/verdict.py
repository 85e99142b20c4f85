"""The meaning of exceptions: their cause, and the next step."""

from __future__ import annotations

from enum import Enum

from encord.exceptions import (
    AuthenticationError,
    AuthorisationError,
    EncordException,
    GenericServerError,
    PayloadTooLargeError,
    RateLimitExceededError,
    RequestException,
    SshKeyNotFound,
    UnknownException,
)

from encord_agents.core.sdk.messages import NOTHING, foreign_answer, names_a_refusal
from encord_agents.core.tracebacks import is_a
from encord_agents.exceptions import AssetDownloadError, CertificateError

__all__ = ["END_ALL", "Verdict", "is_lost_file", "is_platform_trouble", "verdict"]


class Verdict(Enum):
    """The meaning of a request's exception: the next step."""

    OUTAGE = "wait and ask again"
    RATE_LIMIT = "wait as long as the platform says and ask again; nothing was done"
    TOO_LARGE = "ask for less at once"
    CREDENTIALS = "the key is refused: nothing will work"
    FORBIDDEN = "this, or everything, is not permitted"
    UNTRUSTED = "the platform's certificate is not accepted: nothing can be asked"
    REFUSED = "the platform says no; asking again would not help"


END_ALL = frozenset({Verdict.CREDENTIALS, Verdict.UNTRUSTED})
"""Verdicts after which no request will succeed."""


def verdict(error: BaseException) -> Verdict:
    """Return the meaning of an exception. Anything that does not come from the platform counts as refused."""
    if is_a(error, CertificateError):
        return Verdict.UNTRUSTED
    if is_a(error, RateLimitExceededError):
        return Verdict.RATE_LIMIT
    if is_a(error, PayloadTooLargeError):
        return Verdict.TOO_LARGE
    if is_a(error, EncordException) and foreign_answer(error) not in (None, NOTHING):
        return Verdict.OUTAGE  # the page of a server in front of the platform, whatever its status
    if is_a(error, (AuthenticationError, SshKeyNotFound)):
        return Verdict.CREDENTIALS
    if is_a(error, AuthorisationError):
        return Verdict.FORBIDDEN
    if is_a(error, UnknownException):
        # Every status without a class of its own, including 422. The message of a 422 is a list of errors.
        detail: object = error.message
        return Verdict.OUTAGE if isinstance(detail, str) else Verdict.REFUSED
    if is_a(error, GenericServerError):
        return Verdict.REFUSED if names_a_refusal(error) else Verdict.OUTAGE
    if is_a(error, RequestException):
        return Verdict.OUTAGE
    return Verdict.REFUSED


def is_lost_file(error: BaseException) -> bool:
    """Return True if a file is missing because of its host, after many retries."""
    return is_a(error, AssetDownloadError) and is_platform_trouble(error)


def is_platform_trouble(error: BaseException) -> bool:
    """Return True if the platform, or the host of its files, caused an exception, and not the request itself."""
    if is_a(error, AssetDownloadError):
        return error.status is None or error.status == 429 or error.status >= 500
    return is_a(error, EncordException) and verdict(error) in (Verdict.OUTAGE, Verdict.RATE_LIMIT)
