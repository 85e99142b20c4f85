"""The meaning of exceptions: what to do next, and whose fault they are."""

from __future__ import annotations

import pytest
from encord.exceptions import (
    AuthenticationError,
    AuthorisationError,
    EncordException,
    GenericServerError,
    InvalidArgumentsError,
    PayloadTooLargeError,
    RateLimitExceededError,
    RequestException,
    UnknownException,
)

from encord_agents.exceptions import AssetDownloadError, CertificateError
from encord_agents.tasks.engine.verdict import END_ALL, Verdict, is_lost_file, is_platform_trouble, verdict


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RequestException("timeout"), Verdict.OUTAGE),
        (UnknownException("bad gateway"), Verdict.OUTAGE),
        (UnknownException([{"type": "missing"}]), Verdict.REFUSED),  # type: ignore[arg-type]
        (GenericServerError("<html>502</html>"), Verdict.OUTAGE),
        (GenericServerError("Server returned an error of type `['INTERNAL_SERVER_ERROR']`"), Verdict.OUTAGE),
        (GenericServerError("Server returned an error of type `['ANSWER_INVALID']`"), Verdict.REFUSED),
        (RateLimitExceededError(retry_after=2), Verdict.RATE_LIMIT),
        (PayloadTooLargeError("too much"), Verdict.TOO_LARGE),
        (AuthenticationError("who?"), Verdict.CREDENTIALS),
        (AuthorisationError("no"), Verdict.FORBIDDEN),
        (InvalidArgumentsError("no"), Verdict.REFUSED),
        (CertificateError("not trusted"), Verdict.UNTRUSTED),
        (ValueError("ours"), Verdict.REFUSED),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value.name,
)
def test_verdicts(error: Exception, expected: Verdict) -> None:
    """What an exception means for what to do next; only outages and rate limits are the platform's trouble."""
    assert verdict(error) is expected
    trouble = isinstance(error, EncordException) and expected in (Verdict.OUTAGE, Verdict.RATE_LIMIT)
    assert is_platform_trouble(error) is trouble


@pytest.mark.parametrize(("status", "is_trouble"), [(None, True), (429, True), (503, True), (404, False), (403, False)])
def test_files(status: int | None, is_trouble: bool) -> None:
    """Their host may be in trouble, as the platform may be; a dead address is the file's own."""
    error = AssetDownloadError("a.png", "uuid", "no", status=status)
    assert (is_platform_trouble(error), is_lost_file(error)) == (is_trouble, is_trouble)
    assert not is_lost_file(RequestException("timeout"))


def test_what_ends_all() -> None:
    """No other request would be answered either."""
    assert {verdict(AuthenticationError("who?")), verdict(CertificateError("not trusted"))} == END_ALL
