"""Rate limits of the services that agents call, recognised in exceptions. `quiet` pauses the stage for them."""

from __future__ import annotations

import math
import numbers
import re
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from itertools import islice
from typing import Any

from encord_agents.core.tracebacks import contained, shown_chain

__all__ = ["USED_UP", "quota_is_used_up", "rate_limit_of"]

STATUSES = frozenset({429, 503, 529})
""""Too many requests", "unavailable", and "overloaded" as some hosted models have it."""
NAMES = frozenset(
    name.lower()  # AWS begins its names with a small letter inside streams
    for name in (
        # of gRPC, repeated as text by Google's clients
        *("RESOURCE_EXHAUSTED", "UNAVAILABLE"),
        # of hosted models, also inside a stream that began with status 200
        *("rate_limit_exceeded", "rate_limit_error", "overloaded_error"),
        # of AWS, as botocore knows them, some of which come with status 400
        *("Throttling", "ThrottlingException", "ThrottledException", "TooManyRequestsException", "SlowDown"),
        *("RequestLimitExceeded", "RequestThrottled", "RequestThrottledException", "ServiceUnavailableException"),
        *("ProvisionedThroughputExceededException", "ModelNotReadyException", "LimitExceededException"),
        *("BandwidthLimitExceeded", "EC2ThrottledException", "PriorRequestNotComplete"),
    )
)
USED_UP = frozenset({"insufficient_quota", "billing_hard_limit_reached", "exceeded_current_quota_error"})
"""Names of a quota that is used up: it comes with status 429, but waiting does not mend it."""
MOST_LINKS = 32
"""The maximum number of exceptions of a chain, and of entries of foreign lists and mappings, that are examined."""
REPEATED = re.compile(r"too many (\d{3}) error responses")
"""The message of urllib3, and so of requests, when it has retried a request itself."""
NUMBER = re.compile(r"\s*+\+?(\d+(?:\.\d+)?)\s*+(ms|s)?\s*+(?:,.*)?", re.ASCII)
"""Seconds or milliseconds; the first ones if the header came twice, and a client has joined its values."""


def rate_limit_of(exception: BaseException | None, *, now: Callable[[], float] = time.time) -> float | None:
    """Return the seconds for which a service that is called too often, or is overloaded, wants no calls.

    An exception, its causes and its contexts are examined, except those that ``raise ... from None`` hides. 0 means
    that the service did not say for how long, ``None`` that none of them reports a rate limit, or that one reports a
    quota that is used up.

    It understands a ``retry_after`` attribute, the headers ``Retry-After`` and ``retry-after-ms``, Google's
    ``RetryInfo``, and the statuses 429, 503 and 529 under the names that HTTP clients, gRPC, botocore and the clients
    of hosted models give them, also in the body of an error. Values that make no sense (a negative number, NaN, a bool)
    are disregarded. Nothing is raised, even if the exception's own code raises.

    Args:
        now: Seconds since the epoch, for headers that hold a date.
    """
    found: float | None = None
    for one in _examined(exception):
        if _is_used_up(one):
            return None
        with contained:
            limit = _limit_of(one, now)
            if limit:
                return limit
            found = limit if found is None else found
    return found


def quota_is_used_up(exception: BaseException | None) -> bool:
    """Return True if an exception, or one behind it, says that the account's quota with a service is used up."""
    return any(map(_is_used_up, _examined(exception)))


def _examined(exception: BaseException | None) -> Iterator[BaseException]:
    for one in islice(shown_chain(exception), MOST_LINKS):
        if not issubclass(type(one), SystemExit | KeyboardInterrupt):  # their `code` means something else
            yield one


def _is_used_up(one: BaseException) -> bool:
    with contained:
        return any(isinstance(value, str) and value in USED_UP for value in _statuses(one))
    return False


def _limit_of(one: BaseException, now: Callable[[], float]) -> float | None:
    after = next((seconds for value in _times(one) if (seconds := _seconds(value, now)) is not None), None)
    if after is not None and after > 0:
        return after
    return 0.0 if any(_says_so(value) for value in _statuses(one)) else None


# Attributes of foreign exceptions: each may raise, or be anything


def _get(value: object, name: str) -> Any:
    with contained:
        return getattr(value, name, None)
    return None


def _item(value: object, *names: str) -> Any:
    """Look up names in nested mappings, one after the other; ``None`` if one is missing."""
    with contained:
        for name in names:
            value = value.get(name) if isinstance(value, Mapping) else None
        return value
    return None


def _times(exception: object) -> Iterator[object]:
    """Yield all values that may say when to retry, the most trustworthy first."""
    for headers in _headers(exception):
        milliseconds = _header(headers, "retry-after-ms")
        if milliseconds is None:
            milliseconds = _header(headers, "x-ms-retry-after-ms")
        if milliseconds is not None:
            yield _as_milliseconds(milliseconds)
        yield _header(headers, "retry-after")
    yield _get(exception, "retry_after")
    yield _item(_get(exception, "response"), "ResponseMetadata", "RetryAfter")
    for detail in _details(exception):
        # Google's RetryInfo: a message with a Duration, or the same as JSON.
        yield _item(detail, "retryDelay")
        delay = _get(detail, "retry_delay")
        seconds = _get(delay, "seconds")
        if isinstance(seconds, int) and not isinstance(seconds, bool):
            nanos = _get(delay, "nanos")
            yield seconds + (nanos / 1e9 if isinstance(nanos, int) else 0.0)
        else:
            yield delay


def _headers(exception: object) -> Iterator[object]:
    response = _get(exception, "response")
    for holder in (response, exception, _get(exception, "raw_response")):
        if (headers := _get(holder, "headers")) is not None:
            yield headers
    for headers in (
        _get(exception, "litellm_response_headers"),
        _item(response, "ResponseMetadata", "HTTPHeaders"),
    ):
        if headers is not None:
            yield headers


def _header(headers: Any, name: str) -> object:
    """Return a header of a response, from a mapping, case-insensitive or not, or from a list of pairs."""
    with contained:
        for spelling in (name, name.title()):
            get = getattr(headers, "get", None)
            if get is not None and (value := get(spelling)) is not None:
                return value
        pairs = headers.items() if hasattr(headers, "items") else headers
        for key, value in islice(pairs, 8 * MOST_LINKS):
            text = key.decode("latin-1") if isinstance(key, bytes) else key
            if isinstance(text, str) and text.lower() == name:
                return value
    return None


def _details(exception: object) -> Iterator[object]:
    details = _get(exception, "details")
    for found in (details, _item(details, "details"), _item(details, "error", "details")):
        if isinstance(found, list | tuple):
            yield from found[:MOST_LINKS]


def _statuses(exception: object) -> Iterator[object]:
    for holder in (exception, _get(exception, "response"), _get(exception, "raw_response")):
        for name in ("status_code", "status", "http_status", "code", "type", "grpc_status_code"):
            value = _get(holder, name)
            if name == "code" and callable(value):  # gRPC's
                with contained:
                    value = value()
            yield value
    response = _get(exception, "response")
    for holder in (exception, *(_get(exception, "args") or ())[:1]):
        if found := REPEATED.search(str(_get(holder, "reason"))):
            yield int(found[1])
    yield _item(response, "ResponseMetadata", "HTTPStatusCode")
    yield _item(response, "Error", "Code")
    body = _get(exception, "body")
    for part in (body, _item(body, "error")):
        yield from (_item(part, "code"), _item(part, "type"))


def _says_so(status: object) -> bool:
    if isinstance(status, bool):
        return False
    if isinstance(status, int):
        return int(status) in STATUSES
    if isinstance(status, str):
        return status.lower() in NAMES or (status.isdecimal() and len(status) == 3 and int(status) in STATUSES)
    return _get(status, "name") in ("RESOURCE_EXHAUSTED", "UNAVAILABLE")


def _as_milliseconds(value: object) -> object:
    text = value.decode("latin-1") if isinstance(value, bytes) else str(value) if _is_number(value) else value
    return f"{text.strip()}ms" if isinstance(text, str) else None


def _is_number(value: object) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _seconds(value: object, now: Callable[[], float]) -> float | None:
    """Return the seconds that a value says to wait, or ``None`` if it makes no sense."""
    with contained:
        seconds = _read(value, now)
        return None if seconds is None or math.isnan(seconds) or seconds < 0 else seconds
    return None


def _read(value: object, now: Callable[[], float]) -> float | None:
    if _is_number(value):
        return float(value)  # type: ignore[arg-type]
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if isinstance(value, str):
        if matched := NUMBER.fullmatch(value):
            return float(matched[1]) / (1000.0 if matched[2] == "ms" else 1.0)
        value = _date(value)
        value = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
    if isinstance(value, datetime):  # without a time zone it is local time, as Python has it
        return value.timestamp() - now()
    return None


def _date(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return parsedate_to_datetime(text)
