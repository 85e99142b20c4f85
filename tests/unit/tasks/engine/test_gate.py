"""The gate: what to wait out, for how long, and what to split. The clock is a number that waiting advances."""

from __future__ import annotations

import errno
import math
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from encord.exceptions import (
    AuthenticationError,
    AuthorisationError,
    InvalidArgumentsError,
    PayloadTooLargeError,
    RateLimitExceededError,
    RequestException,
    UnknownException,
)
from tests import time_limits

from encord_agents.exceptions import NoRoomError, OutageError
from encord_agents.tasks.engine.gate import Gate, SetUpError
from encord_agents.tasks.engine.stop import Leaving, Stop
from encord_agents.tasks.engine.timing import Limits, Timing
from encord_agents.tasks.engine.troubles import Troubles
from encord_agents.tasks.engine.verdict import Verdict


class World:
    """A gate whose waiting takes no time."""

    def __init__(self, **options: Any) -> None:
        self.now = 0.0
        self.waits: list[float] = []
        self.stop = Stop()
        self.gate = Gate(self.stop, clock=lambda: self.now, jitter=lambda: 1.0, pause=self.wait, **options)

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


def failing(times: int, error: Exception, value: str = "answer") -> Callable[[], str]:
    """A request that fails so often, then is answered."""
    left = [times]

    def request() -> str:
        left[0] -= 1
        if left[0] >= 0:
            raise error
        return value

    return request


DOWN = RequestException("connection refused")


def no_handle() -> RequestException:
    """What the SDK makes of a connection that cannot be opened because the process has too many files open."""
    error = RequestException("Request session.send failed")
    error.__cause__ = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    return error


def test_no_handles_for_requests() -> None:
    """Requests that have a connection succeed meanwhile; one that has none is waited for, and is no task's trouble."""
    world = World(max_outage=300.0)

    def request(part: Sequence[str]) -> str:
        if "b" in part:
            raise no_handle()
        return "answer"

    with pytest.raises(NoRoomError, match="Too many open files"):
        list(world.gate.each(["a", "b", "c"], request, kind="items"))
    assert world.now >= 300.0


def test_handles_that_come_back() -> None:
    """Then the request is made."""
    world = World()
    assert world.gate.call(failing(20, no_handle()), kind="items") == "answer"


def test_an_outage_is_waited_out_with_backoff() -> None:
    """From 0.5 s, doubling, capped."""
    world = World()
    assert world.gate.call(failing(6, DOWN), kind="rows") == "answer"
    assert world.waits == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]


def test_an_outage_that_lasts_too_long() -> None:
    """The clock starts at the first failure, and is one for all requests of a kind."""
    world = World(max_outage=60.0)
    with pytest.raises(OutageError) as caught:
        world.gate.call(failing(1000, DOWN), kind="rows")
    assert 60 <= world.now < 70
    assert caught.value.__cause__ is DOWN
    assert caught.value.seconds >= 60


def test_a_success_ends_the_outage() -> None:
    """The next one has the whole time again."""
    world = World(max_outage=20.0)
    for _ in range(5):
        world.gate.call(failing(5, DOWN), kind="rows")
    assert world.now > 40


def test_a_refusal_is_an_answer() -> None:
    """It is raised at once, and shows that the platform is there."""
    world = World()
    with pytest.raises(InvalidArgumentsError):
        world.gate.call(failing(1, InvalidArgumentsError("no")), kind="rows")
    assert world.waits == []


def test_retry_after_is_obeyed() -> None:
    """By every request, of whatever kind; the platform says how long."""
    world = World()
    request = failing(1, RateLimitExceededError(retry_after=7))
    assert world.gate.call(request, kind="rows") == "answer"
    assert world.now == 7.0


def test_retry_after_beyond_max_outage() -> None:
    """The run ends, and says how long it would have had to wait: at once, or when less than that is left."""
    world = World(max_outage=300.0)
    with pytest.raises(OutageError, match="asks to wait 86400 s") as caught:
        world.gate.call(failing(1, RateLimitExceededError(retry_after=86_400)), kind="rows")
    assert caught.value.asked == 86_400
    assert world.now == 0.0
    with pytest.raises(OutageError) as caught:
        world.gate.call(failing(9, RateLimitExceededError(retry_after=100)), kind="save")
    assert (world.now, caught.value.seconds) == (300.0, 300.0)
    world.gate.call(failing(2, RateLimitExceededError(retry_after=150)), kind="actions")


def test_long_waits_are_said(caplog: pytest.LogCaptureFixture) -> None:
    """Once each, though every thread is told; short ones are not."""
    world = World()
    world.gate.call(failing(1, RateLimitExceededError(retry_after=9)), kind="rows")
    assert caplog.messages == []
    for kind in ("rows", "save"):  # as two threads
        error = RateLimitExceededError(retry_after=60)
        world.gate.recover(Troubles(kind), error)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "60 s" in caplog.text
    caplog.clear()
    world.now += 60.0
    world.gate.call(failing(20, DOWN), kind="rows")
    world.gate.call(failing(2, DOWN), kind="rows")
    assert len(caplog.records) == 1
    assert "has not answered a rows request" in caplog.text


@pytest.mark.parametrize("wrapped", [False, True])
def test_what_cuts_a_request_off_is_no_answer(wrapped: bool) -> None:
    """It goes on, from a request and out of a bundle, which is not split; nothing is known of the platform."""
    world, sizes = World(), []

    def request(items: Sequence[int] = ()) -> None:
        sizes.append(len(items))
        if not wrapped:
            raise time_limits.SoftTimeLimitExceeded
        try:
            raise time_limits.SoftTimeLimitExceeded
        except time_limits.SoftTimeLimitExceeded as error:
            raise RequestException("Request session.send failed") from error

    with pytest.raises(time_limits.SoftTimeLimitExceeded):
        world.gate.call(request, kind="rows")
    with pytest.raises(time_limits.SoftTimeLimitExceeded):
        world.gate.send(request, kind="rows")
    with pytest.raises(time_limits.SoftTimeLimitExceeded):
        list(world.gate.each(range(8), request, kind="save"))
    assert sizes == [0, 0, 8]
    assert world.waits == []
    assert not world.gate.has_granted("rows")


def test_the_age_of_what_was_seen_before_the_machine_slept() -> None:
    """It has no end, though the clock stood still; what is seen afterwards is as old as the clock says."""
    slept = [5.0]
    world = World(asleep=lambda: slept[0])
    world.now = 100.0
    assert world.gate.age(90.0) == 10.0
    slept[0] += 0.1  # two clocks are never read at the same time
    assert world.gate.age(90.0) == 10.0
    slept[0] += 3600.0
    assert world.gate.age(90.0) == math.inf
    world.now += 1.0
    assert [world.gate.age(at) for at in (99.0, 100.0, 100.5)] == [math.inf, 1.0, 0.5]


def test_reads_that_a_stop_does_not_wait_for() -> None:
    """All within the block are, those after a block inside it too; none after it."""
    world = World()
    world.stop.request()
    with world.gate.optional():
        with world.gate.optional(), pytest.raises(Leaving):
            world.gate.call(lambda: None, kind="rows")
        with pytest.raises(Leaving):
            world.gate.call(lambda: None, kind="rows")
    assert world.gate.call(lambda: "answer", kind="save") == "answer"


def test_one_request_in_trouble_of_its_own() -> None:
    """Where others of its kind succeed, it is not waited for until the run's patience ends."""
    world = World(max_outage=300.0)

    def request() -> str:
        world.gate.call(lambda: "fine", kind="rows")
        raise DOWN

    with pytest.raises(RequestException):
        world.gate.call(request, kind="rows")
    assert 30 <= world.now < 50


def test_leaving_ends_the_wait() -> None:
    """So does the deadline that a stop sets."""
    world = World()
    world.gate.give_up_at(10.0)
    with pytest.raises(Leaving):
        world.gate.call(failing(1000, DOWN), kind="rows")
    assert world.now == 10.0
    world = World()
    world.stop.leave()
    with pytest.raises(Leaving):
        world.gate.call(lambda: "answer", kind="rows")


def test_no_more_in_flight_than_allowed() -> None:
    """Whatever the number of threads."""
    gate = Gate(Stop(), limits=Limits(in_flight=3))
    lock, now, most = threading.Lock(), 0, 0
    there = threading.Barrier(3, timeout=10)

    def request() -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        there.wait()
        with lock:
            now -= 1

    threads = [threading.Thread(target=gate.call, args=(request,), kwargs={"kind": "rows"}) for _ in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 3


# Splitting


def refusing(bad: set[int], error: Exception, log: list[int]) -> Callable[[Sequence[int]], list[int]]:
    def request(items: Sequence[int]) -> list[int]:
        log.append(len(items))
        if bad & set(items):
            raise error
        return list(items)

    return request


def test_culprits_are_alone() -> None:
    """A refused bundle is halved until they are; everyone is answered for once."""
    log: list[int] = []
    replies = list(World().gate.each(range(100), refusing({7, 60}, InvalidArgumentsError("no"), log), kind="save"))
    assert [list(items) for items, reply in replies if reply.error is not None] == [[7], [60]]
    assert sorted(n for items, _ in replies for n in items) == list(range(100))
    assert len(log) <= 1 + 2 * 2 * 7


def test_nothing_is_asked_for_none() -> None:
    """No items, no request."""
    log: list[int] = []
    assert list(World().gate.each([], refusing(set(), ValueError(), log), kind="save")) == []
    assert log == []


def test_everything_forbidden_is_a_set_up_error() -> None:
    """Every one of several alone; a single item that is forbidden is its own trouble."""
    error = AuthorisationError("no")
    with pytest.raises(SetUpError) as caught:
        list(World().gate.each(range(4), refusing(set(range(4)), error, []), kind="save"))
    assert caught.value.error is error
    ((items, reply),) = World().gate.each([1], refusing({1}, error, []), kind="save")
    assert (list(items), reply.error, reply.verdict) == ([1], error, Verdict.FORBIDDEN)
    replies = list(World().gate.each(range(4), refusing({0, 1, 2}, error, []), kind="save"))
    assert [reply.value for _, reply in replies if reply.error is None] == [[3]]


def test_what_was_granted_once_is_no_set_up_error() -> None:
    """After a success of the same kind, all of a bundle may be forbidden, and each is its own trouble."""
    world = World()
    error = AuthorisationError("no")
    request = refusing({0, 1}, error, [])
    assert not world.gate.has_granted("save")
    world.gate.call(lambda: "fine", kind="rows")
    with pytest.raises(SetUpError):
        list(world.gate.each([0, 1], request, kind="save"))
    assert not world.gate.has_granted("save"), "a refusal is an answer, not a success"
    list(world.gate.each([2], request, kind="save"))
    assert world.gate.has_granted("save")
    replies = list(world.gate.each([0, 1], request, kind="save"))
    assert [(list(items), reply.error) for items, reply in replies] == [([0], error), ([1], error)]


def test_a_refused_key_is_a_set_up_error_at_once() -> None:
    """Nothing will work; no halves are tried."""
    log: list[int] = []
    with pytest.raises(SetUpError):
        list(World().gate.each(range(100), refusing({0}, AuthenticationError("who?"), log), kind="save"))
    assert log == [100]


def test_too_large_is_halved_without_waiting() -> None:
    """Until it fits."""
    world = World()

    def request(items: Sequence[int]) -> int:
        if len(items) > 13:
            raise PayloadTooLargeError("too much")
        return len(items)

    replies = list(world.gate.each(range(100), request, kind="save"))
    assert sum(reply.value or 0 for _, reply in replies) == 100
    assert world.waits == []


def test_an_item_that_breaks_the_server() -> None:
    """A bundle that fails again and again is halved, so that one that makes the platform fail costs only itself."""
    world = World(max_outage=10_000)
    replies = list(world.gate.each(range(4), refusing({2}, UnknownException("500"), []), kind="save"))
    assert [list(items) for items, reply in replies if reply.error is not None] == [[2]]
    assert len(world.waits) >= Limits().tries


def test_a_stop_ends_an_outage_in_time() -> None:
    """With a grace, a request that waits when a stop is requested has so many seconds left, and no more."""
    stop = Stop()
    gate = Gate(stop, grace=0.05)
    tries = []

    def request() -> None:
        tries.append(1)
        if len(tries) == 3:
            stop.request()
        raise DOWN

    with pytest.raises(Leaving):
        gate.call(request, kind="actions")
    assert 3 <= len(tries) < 10


def test_an_outage_of_hours() -> None:
    """The wait stays at its limit however often the platform was asked; nothing overflows."""
    world = World(max_outage=20_000.0)

    def down() -> None:
        raise RequestException("down")

    with pytest.raises(OutageError):
        world.gate.call(down, kind="rows")
    assert len(world.waits) > 2_000
    assert max(world.waits) == Timing().longest_backoff
