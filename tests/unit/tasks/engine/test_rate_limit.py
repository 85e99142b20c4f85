"""What an exception says of a rate limit, and how long a stage keeps quiet, as tables."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock
from urllib.error import HTTPError

import numpy
import pytest
import requests
import urllib3

from encord_agents.tasks.engine.rate_limit import quota_is_used_up, rate_limit_of

NOW = 1_700_000_000.0
NONE: Any = None


def error(**attributes: Any) -> Exception:
    made = RuntimeError("no")
    made.__dict__.update(attributes)
    return made


def response(status: object = 429, **headers: str) -> SimpleNamespace:
    return SimpleNamespace(status_code=status, headers={key.replace("_", "-"): value for key, value in headers.items()})


def of_requests(status: int, **headers: str) -> requests.HTTPError:
    answer = requests.Response()
    answer.status_code = status
    answer.headers.update({key.replace("_", "-"): value for key, value in headers.items()})
    assert not answer  # such a response is false, and must be looked at all the same
    return requests.HTTPError("no", response=answer)


def repeated(status: int) -> urllib3.exceptions.MaxRetryError:
    """As an adapter with `urllib3.Retry` raises it when it gives up."""
    return urllib3.exceptions.MaxRetryError(
        NONE, "/", urllib3.exceptions.ResponseError(f"too many {status} error responses")
    )


def date(seconds: float) -> str:
    return datetime.fromtimestamp(NOW + seconds, UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")


def botocore(code: str, status: int, **headers: str) -> Exception:
    metadata = {"HTTPStatusCode": status, "HTTPHeaders": {key.replace("_", "-"): v for key, v in headers.items()}}
    return error(response={"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": metadata})


class StatusCode(Enum):
    RESOURCE_EXHAUSTED = 8
    NOT_FOUND = 5


@dataclass
class Duration:
    seconds: int
    nanos: int = 0


GENAI = {
    "error": {"code": 429, "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "13s"}]}
}


@pytest.mark.parametrize(
    ("raised", "after"),
    [
        (error(retry_after=3), 3.0),
        (error(retry_after=2.5), 2.5),
        (error(retry_after="7"), 7.0),
        (error(retry_after=b"7"), 7.0),
        (error(retry_after="1.5s"), 1.5),
        (error(retry_after="250ms"), 0.25),
        (error(retry_after=timedelta(seconds=4)), 4.0),
        (error(retry_after=Decimal(2)), NONE),  # no real number, as Python has it
        (error(retry_after=numpy.float32(2)), 2.0),
        (error(retry_after=date(9)), 9.0),
        (error(retry_after=datetime.fromtimestamp(NOW + 5, UTC)), 5.0),
        (error(retry_after=datetime.fromtimestamp(NOW + 5)), 5.0),
        (error(retry_after=datetime.fromtimestamp(NOW + 5, UTC).isoformat()), 5.0),
        (error(retry_after="+7"), 7.0),
        (error(retry_after="7, 7"), 7.0),  # the header came twice
        (error(retry_after=86_400), 86_400.0),
        (error(retry_after=math.inf), math.inf),
        (error(response=response(retry_after="6")), 6.0),
        (error(response=response(Retry_After="6")), 6.0),
        (error(response=response(RETRY_AFTER=date(6))), 6.0),
        (error(response=response(retry_after_ms="1500", retry_after="2")), 1.5),
        (error(response=response(500, retry_after="6")), 6.0),
        (error(response=SimpleNamespace(headers=[(b"Retry-After", b"6")])), 6.0),
        (of_requests(429, Retry_After="8"), 8.0),
        (error(status=429, headers={"Retry-After": "5"}), 5.0),  # aiohttp
        (botocore("ThrottlingException", 429, retry_after="5"), 5.0),
        (error(status_code=429, litellm_response_headers={"retry-after": "5"}), 5.0),
        (error(code=429, details=GENAI), 13.0),
        (error(code=429, details=[SimpleNamespace(retry_delay=Duration(2, 500_000_000))]), 2.5),
        (HTTPError("http://x", 503, "no", {"Retry-After": "5"}, None), 5.0),  # type: ignore[arg-type]
    ],
)
def test_a_time_is_believed(raised: Exception, after: float | None) -> None:
    """Whatever form a client gives it."""
    assert rate_limit_of(raised, now=lambda: NOW) == after


@pytest.mark.parametrize(
    "raised",
    [
        error(status_code=429),
        error(status_code=503),
        error(status_code=529),
        error(status="429"),
        error(status=429),
        error(http_status=429),
        error(code=429),
        error(code=lambda: StatusCode.RESOURCE_EXHAUSTED),
        error(grpc_status_code=StatusCode.RESOURCE_EXHAUSTED),
        error(status="RESOURCE_EXHAUSTED"),
        # in a stream that began with status 200, as of Anthropic, OpenAI, OpenRouter and AWS
        error(status_code=200, body={"type": "error", "error": {"type": "overloaded_error"}}),
        error(status_code=200, body={"type": "error", "error": {"type": "rate_limit_error"}}),
        error(code="rate_limit_exceeded", type="tokens"),
        error(body={"type": "tokens", "code": "rate_limit_exceeded"}),
        error(body={"error": {"code": 429}}),
        botocore("throttlingException", NONE),
        botocore("serviceUnavailableException", NONE),
        botocore("LimitExceededException", 400),
        error(response=response(429)),
        of_requests(503),
        botocore("ThrottlingException", 400),
        botocore("Unknown", 429),
        HTTPError("http://x", 429, "no", {}, None),  # type: ignore[arg-type]
        requests.exceptions.RetryError(repeated(429)),
        repeated(503),
        error(status_code=429, retry_after=-1),
        error(status_code=429, retry_after=0),
        error(status_code=429, retry_after=math.nan),
        error(status_code=429, retry_after=True),
        error(status_code=429, retry_after="soon"),
        error(status_code=429, retry_after=date(-100)),
        error(status_code=429, retry_after=MagicMock()),
    ],
)
def test_a_status_says_that_it_is_a_limit(raised: Exception) -> None:
    """How long it lasts is not known: not said, or said so that it makes no sense."""
    assert rate_limit_of(raised, now=lambda: NOW) == 0.0


@pytest.mark.parametrize(
    "raised",
    [
        RuntimeError("429"),
        error(status_code=500),
        requests.exceptions.RetryError(repeated(502)),
        error(code="rate"),
        error(code=True),
        error(code=lambda: StatusCode.NOT_FOUND),
        error(code=lambda needs: needs),
        error(retry_after=-3),
        error(retry_after=math.nan),
        error(retry_after=True),
        error(retry_after=None),
        error(retry_after=0),
        error(retry_after="²"),
        error(response=None),
        error(response=MagicMock()),
        error(response={"ResponseMetadata": 3, "Error": []}),
        SystemExit(429),
        None,
    ],
)
def test_anything_else_is_no_limit(raised: BaseException | None) -> None:
    """Nonsense is not believed, and text is not searched."""
    assert rate_limit_of(raised, now=lambda: NOW) is None


def test_the_zone_of_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A `datetime` without one is local, as Python has it; text without one is UTC, as in HTTP."""
    local = datetime.fromtimestamp(NOW + 5, timezone(timedelta(hours=-5))).replace(tzinfo=None)
    monkeypatch.setenv("TZ", "EST5")
    try:
        time.tzset()
        assert rate_limit_of(error(retry_after=local), now=lambda: NOW) == 5.0
        for text in ("Tue, 14 Nov 2023 22:13:25", "2023-11-14T22:13:25"):
            assert rate_limit_of(error(retry_after=text), now=lambda: NOW) == 5.0
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    "raised",
    [
        error(status_code=429, code="insufficient_quota", response=response(retry_after="20")),
        error(status_code=429, code="project_spend_limit_exceeded", type="insufficient_quota"),
        error(status_code=429, type="throttling_error", body={"type": "insufficient_quota"}),
        error(status_code=429, body={"error": {"type": "exceeded_current_quota_error"}}),
    ],
)
def test_a_quota_that_is_used_up_is_no_limit(raised: Exception) -> None:
    """Waiting does not bring it back, whatever the status says; nor does it if the exception is wrapped."""
    wrapped = error(status_code=429)
    wrapped.__cause__ = raised
    for one in (raised, wrapped, ExceptionGroup("several", [raised])):
        assert rate_limit_of(one, now=lambda: NOW) is None
        assert quota_is_used_up(one)


def test_a_limit_is_no_quota_that_is_used_up() -> None:
    """Nor is any other exception, or none."""
    for one in (error(status_code=429), error(status="RESOURCE_EXHAUSTED"), RuntimeError("insufficient_quota"), None):
        assert not quota_is_used_up(one)


def test_a_limit_that_was_dealt_with() -> None:
    """An exception raised ``from None`` hides the one that was handled: it does not count."""
    failed = ValueError("the other model failed")
    failed.__context__ = error(status_code=429, retry_after=5)
    assert rate_limit_of(failed) == 5.0
    failed.__cause__ = None  # as ``from None`` does
    assert rate_limit_of(failed) is None


def test_the_chain_is_looked_at() -> None:
    """Cause, context and members of groups; a time, wherever it is, counts more than a status."""
    told = error(retry_after=5)
    caused = error(status_code=429)
    caused.__cause__ = told
    within = RuntimeError()
    within.__context__ = caused
    group = ExceptionGroup("several", [ValueError(), within])
    looped = error(status_code=429)
    looped.__cause__ = RuntimeError()
    looped.__cause__.__context__ = looped
    assert rate_limit_of(caused) == rate_limit_of(within) == rate_limit_of(group) == 5.0
    assert rate_limit_of(looped) == 0.0


class HostileError(Exception):
    """Raises at whatever is asked of it."""

    def __getattribute__(self, name: str) -> Any:
        raise SystemExit(name)


class HostileValue:
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __float__(self) -> float:
        raise RuntimeError

    def __bool__(self) -> bool:
        raise RuntimeError

    def __eq__(self, other: object) -> bool:
        raise RuntimeError

    __hash__ = None  # type: ignore[assignment]


class HostileMapping(dict[str, object]):
    def get(self, *_: object) -> Any:
        raise RuntimeError

    def items(self) -> Any:
        raise RuntimeError


def endless() -> Any:
    while True:
        yield "x-header", "value"


@pytest.mark.parametrize(
    "value",
    [HostileValue(), HostileMapping(), MagicMock(), object(), [HostileValue()]],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize(
    "name",
    [
        "retry_after",
        "response",
        "headers",
        "status_code",
        "code",
        "details",
        "body",
        "type",
        "raw_response",
        "litellm_response_headers",
    ],
)
def test_nothing_is_raised_whatever_the_attribute(name: str, value: object) -> None:
    """Values that raise, mappings that raise, and what answers to everything."""
    assert rate_limit_of(error(**{name: value})) is None


def test_nothing_is_raised_whatever_the_exception() -> None:
    """One that raises at each attribute, and headers without an end."""
    assert rate_limit_of(HostileError()) is None
    assert not quota_is_used_up(HostileError())
    assert rate_limit_of(error(headers=SimpleNamespace(items=endless))) is None
