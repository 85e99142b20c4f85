"""What cuts a request off from outside is told from what the request itself brings."""

from __future__ import annotations

import ctypes
import functools
import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NoReturn

import dateutil.parser
import orjson
import pytest
from encord.exceptions import InvalidArgumentsError, RequestException
from pydantic import TypeAdapter
from requests import ConnectionError as RequestsConnectionError
from tests import time_limits
from urllib3.exceptions import ProtocolError

from encord_agents.core.interrupts import raised_by_signal
from encord_agents.tasks.engine.interruption import interruption

SIGNAL = signal.SIGUSR1


class TimeIsUp(Exception):  # noqa: N818 - as engines name theirs
    """A time limit's exception, from a package that makes no requests."""


def raise_time_is_up(number: int, frame: FrameType | None) -> NoReturn:
    raise TimeIsUp


def raise_timeout(number: int, frame: FrameType | None) -> NoReturn:
    """As recipes with `signal.alarm` do: with an exception that a request could bring, too."""
    raise TimeoutError("time is up")


class Limit:
    def handle(self, number: int, frame: FrameType | None) -> NoReturn:
        raise_timeout(number, frame)

    def __call__(self, number: int, frame: FrameType | None) -> NoReturn:
        raise_timeout(number, frame)


def with_one_more(_: object, number: int, frame: FrameType | None) -> NoReturn:
    raise_timeout(number, frame)


@pytest.fixture
def handler() -> Iterator[Callable[[Any], None]]:
    before = signal.getsignal(SIGNAL)
    yield lambda handler: signal.signal(SIGNAL, handler)
    signal.signal(SIGNAL, before)


def raised(work: Callable[[], object]) -> Exception:
    try:
        work()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def wrapped() -> None:
    """As the SDK sends: whatever comes out is wrapped."""
    try:
        try:
            signal.raise_signal(SIGNAL)
        except OSError as error:  # as urllib3 does with timeouts
            raise ProtocolError("connection broken") from error
    except Exception as error:
        raise RequestException("Request session.send failed") from error


HANDLERS = [
    raise_time_is_up,
    raise_timeout,
    Limit().handle,
    Limit(),
    functools.partial(with_one_more, None),
]


@pytest.mark.parametrize("function", HANDLERS, ids=["foreign", "function", "method", "object", "partial"])
@pytest.mark.parametrize("work", [lambda: signal.raise_signal(SIGNAL), wrapped], ids=["bare", "wrapped"])
def test_what_a_signal_handler_raises(
    handler: Callable[[Any], None], function: Callable[..., NoReturn], work: Callable[[], None]
) -> None:
    """It comes from outside, whatever its class, whatever kind of handler raised it, and however it was wrapped."""
    handler(function)
    error = raised(work)
    found = interruption(error)
    assert type(found) is (TimeIsUp if function is raise_time_is_up else TimeoutError)
    assert raised_by_signal(error) is found


def test_what_a_request_brings(handler: Callable[[Any], None]) -> None:
    """Answers, broken connections, and what serialising and parsing raise."""
    handler(raise_timeout)

    def connection_lost() -> None:
        try:
            raise RequestsConnectionError(ProtocolError("reset", ConnectionResetError()))
        except RequestsConnectionError as error:
            raise RequestException("Request session.send failed") from error

    for work in (connection_lost, lambda: json.loads("{"), lambda: json.dumps(object()), lambda: {}["answer"]):
        assert interruption(raised(work)) is None
    assert interruption(InvalidArgumentsError("no")) is None


@pytest.mark.parametrize(
    "read",
    [
        lambda: orjson.loads("<html>502 Bad Gateway</html>"),
        lambda: dateutil.parser.parse("Invalid Date"),
        lambda: TypeAdapter(int).validate_json("[]"),
    ],
    ids=["orjson", "dateutil", "pydantic"],
)
def test_what_libraries_raise_about_an_answer(read: Callable[[], object]) -> None:
    """It is the request's own, bare or wrapped by the SDK, whichever package it is of: the code that ran uses it."""
    error = raised(read)
    assert interruption(error) is None
    wrapping = RequestException("Error parsing JSON response")
    wrapping.__cause__ = error
    assert interruption(wrapping) is None


def test_an_exception_of_another_package() -> None:
    """It comes from outside, bare or wrapped by the SDK, though no handler of this process has raised it."""

    def answered() -> None:
        me = ctypes.c_ulong(threading.get_ident())
        ctypes.pythonapi.PyThreadState_SetAsyncExc(me, ctypes.py_object(time_limits.SoftTimeLimitExceeded))
        while True:
            json.loads("{}")

    error = raised(answered)
    assert type(error) is time_limits.SoftTimeLimitExceeded
    assert interruption(error) is error
    wrapping = RequestException("Request session.send failed")
    wrapping.__cause__ = error
    assert interruption(wrapping) is error


def test_what_was_being_handled_before(handler: Callable[[Any], None]) -> None:
    """A request that is made while a time limit's exception is on its way, so that finished work is written, is not cut
    off by it."""
    handler(raise_time_is_up)
    seen: list[tuple[Exception, BaseException | None]] = []

    def request() -> None:
        raise InvalidArgumentsError("no")

    def work() -> None:
        try:
            signal.raise_signal(SIGNAL)
        finally:
            seen.append((raised(request), sys.exception()))

    before = raised(work)
    ((error, handled),) = seen
    assert error.__context__ is handled is before
    assert interruption(error, handled=handled) is None
    assert interruption(error) is before
