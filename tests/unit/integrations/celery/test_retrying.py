"""A Redis that cannot be reached: how long it is waited for, and when that is said."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
from redis import exceptions
from tests.unit.integrations.celery.test_adapter import adapter, connection

from encord_agents.integrations.celery import retrying
from encord_agents.integrations.celery.retrying import Retrying
from encord_agents.integrations.celery.store import Seldom


class Clock:
    """Seconds that pass in pauses, and while a try waits."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(retrying, "time", SimpleNamespace(monotonic=made.monotonic))
    monkeypatch.setattr(retrying, "_seldom", Seldom(made.monotonic))
    monkeypatch.setattr("redis.retry.sleep", made.pass_)
    return made


def failing(clock: Clock, error: Exception, seconds: float = 0.0) -> Callable[[], NoReturn]:
    def do() -> NoReturn:
        clock.pass_(seconds)
        raise error

    return do


def ignore(*_: Any) -> None:
    """Nothing is to be disconnected."""


@pytest.mark.parametrize(
    ("each", "said_after", "lines"),
    [
        (0.0, 1.2, ["Trying again, for about 45 s."]),
        (10.0, 10.0, [f"Trying again, for about {seconds} s." for seconds in (166, 105, 45)]),
    ],
)
def test_a_wait_is_said(
    clock: Clock, caplog: pytest.LogCaptureFixture, each: float, said_after: float, lines: list[str]
) -> None:
    """Soon after it began, once a minute, with its reason and about how long it will last."""
    error, said = exceptions.TimeoutError("Timeout connecting to server"), []

    def fail(*_: Any) -> None:
        said.append((clock.now, len(caplog.messages)))

    with pytest.raises(exceptions.TimeoutError):
        Retrying(12, "x", 1.0).call_with_retry(failing(clock, error, each), fail)
    assert [line.splitlines()[-1] for line in caplog.messages] == lines
    assert caplog.messages[0].startswith("The broker cannot be reached: TimeoutError: Timeout connecting to server\n")
    assert [at for at, number in said if number == 0][-1] == pytest.approx(said_after)
    assert clock.now == pytest.approx(13 * each + 46.0)


def test_a_short_interruption_is_not_said(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """A connection that was closed while nobody used it is made again without a word."""
    answers = iter([exceptions.ConnectionError("Connection closed by server."), None])

    def do() -> str:
        if (error := next(answers)) is not None:
            raise error
        return "PONG"

    assert Retrying(12, "x", 1.0).call_with_retry(do, ignore) == "PONG"
    assert caplog.messages == []


@pytest.mark.parametrize(
    "error",
    [
        exceptions.AuthenticationError("invalid username-password pair"),
        exceptions.ConnectionError("Error 1: [SSL: CERTIFICATE_VERIFY_FAILED]"),
    ],
)
def test_what_waiting_does_not_help(clock: Clock, error: Exception) -> None:
    """It is raised at once."""
    with pytest.raises(type(error)):
        Retrying(12, "x", 1.0).call_with_retry(failing(clock, error), ignore)
    assert clock.now == 0.0


def test_requests_within_requests(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """Are not sent again by themselves: the wait would be many times as long as the line says."""
    found = Retrying(12, "x", 1.0)
    connect = failing(clock, exceptions.TimeoutError("Timeout reading from socket"), 10.0)
    with pytest.raises(exceptions.TimeoutError):
        found.call_with_retry(lambda: found.call_with_retry(connect, ignore), ignore)
    assert clock.now == pytest.approx(13 * 10.0 + 46.0)
    assert "for about 166 s" in caplog.text


def test_requests_for_marks() -> None:
    """They are retried in this way."""
    assert isinstance(connection(adapter("redis://127.0.0.1")).retry, Retrying)
