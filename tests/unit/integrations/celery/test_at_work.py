"""Leases on tasks: seen by every process, and found lost when their holder is gone."""

from __future__ import annotations

import logging
import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

import pytest
from tests import preloaded
from tests.brokers import PATIENCE, until
from tests.unit.integrations.celery.holders import holder

from encord_agents.integrations.celery.at_work import AtWork, Found, MemoryAtWork, RedisAtWork
from encord_agents.integrations.celery.timing import Timing

if TYPE_CHECKING:
    import redis
    from tests.brokers import Broker

QUEUE = "stage"
KEY = "test:stage:at-work"

HOLD = """
import sys
import redis
from encord_agents.integrations.celery.at_work import RedisAtWork
client = redis.Redis.from_url(sys.argv[1], decode_responses=True)
print(*RedisAtWork(client, "test").begin("stage", ["a"], redelivered=False, sure=False))
sys.stdout.flush()
sys.stdin.read()
"""
"""A process that holds a task until it is killed."""


QUICK = Timing(heartbeat=0.01)


@pytest.fixture
def holds(client: redis.Redis) -> RedisAtWork:
    return holder(client)


def begin(holds: AtWork, *tasks: str, redelivered: bool = False, sure: bool = False) -> list[Found]:
    return holds.begin(QUEUE, tasks or ["a"], redelivered=redelivered, sure=sure)


def hold_of(client: redis.Redis, **changes: Any) -> str:
    """Change a task's hold in Redis, and return it. Negative times are before now."""
    until_, host, process, delivery = str(client.hget(KEY, "a")).split(" ")
    if "until" in changes:
        seconds, _ = client.time()
        until_ = str(seconds + changes["until"])
    text = f"{until_} {changes.get('host', host)} {changes.get('process', process)} {delivery}"
    client.hset(KEY, "a", text)
    return text


# In memory


def test_memory_knows_what_this_process_has_at_work() -> None:
    """A second delivery finds a task busy; the next one after the end finds it free."""
    holds = MemoryAtWork()
    assert begin(holds, "a", "b") == [Found.FREE, Found.FREE]
    assert begin(holds, "b", "c", redelivered=True) == [Found.BUSY, Found.LOST]
    assert holds.begin("other", ["a"], redelivered=False, sure=False) == [Found.FREE]
    holds.end(QUEUE, ["a", "b", "never begun"])
    assert begin(holds, "a") == [Found.FREE]
    assert begin(holds, "b") == [Found.FREE]


def test_memory_takes_a_redelivery_for_a_loss() -> None:
    """A lost process takes its knowledge with it. The number of lost workers is in the message only."""
    holds = MemoryAtWork()
    assert begin(holds, redelivered=True) == [Found.LOST]
    assert holds.count_lost(QUEUE, "a", 2) == 3
    holds.forget_lost(QUEUE, ["a"])
    assert holds.abandoned(QUEUE, ["a"]) == set()
    assert begin(holds) == [Found.FREE]


# In Redis


@pytest.mark.parametrize("redelivered", [False, True])
@pytest.mark.parametrize("sure", [False, True])
def test_a_task_that_is_held_is_busy(holds: RedisAtWork, client: redis.Redis, redelivered: bool, sure: bool) -> None:
    """As long as its holder lives, for every worker and whatever the broker says. After the end it is free."""
    other = holder(client)
    assert begin(holds, "a", "b") == [Found.FREE, Found.FREE]
    assert begin(other, "a", "c", redelivered=redelivered, sure=sure) == [Found.BUSY, Found.FREE]
    holds.end(QUEUE, ["a"])
    assert begin(other, "a", "b") == [Found.FREE, Found.BUSY]
    other.end(QUEUE, ["a", "c"])


def test_two_deliveries_in_one_process(holds: RedisAtWork) -> None:
    """Threads of one worker do not have a task at work together either."""
    assert begin(holds) == [Found.FREE]
    assert begin(holds) == [Found.BUSY]


def test_only_its_holder_lets_go_of_a_task(holds: RedisAtWork, client: redis.Redis) -> None:
    """A worker that did not begin a task does not end it."""
    begin(holds)
    holder(client).end(QUEUE, ["a"])
    assert begin(holder(client)) == [Found.BUSY]


def test_an_end_after_a_renewal_that_was_not_answered(holds: RedisAtWork, client: redis.Redis) -> None:
    """Redis may know of a later sign of life than its holder: the delivery counts, not the time."""
    begin(holds)
    hold_of(client, until=100)
    holds.end(QUEUE, ["a"])
    assert client.hgetall(KEY) == {}


def test_a_holder_that_was_killed(holds: RedisAtWork, redis_server: Broker) -> None:
    """Its task is busy while it lives, is found lost once when it was killed, and is free for the next who asks."""
    with preloaded.Popen(
        [sys.executable, "-c", HOLD, redis_server.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "Found.FREE\n"
        assert begin(holds, sure=True) == [Found.BUSY]
        holder.kill()
    assert begin(holds) == [Found.LOST]
    assert begin(holds) == [Found.FREE]


def test_a_process_id_that_is_used_again(holds: RedisAtWork, client: redis.Redis) -> None:
    """A process that started later is not the one that held the task."""
    begin(holder(client))
    namespace, pid, _ = str(client.hget(KEY, "a")).split(" ")[2].split(":")
    hold_of(client, process=f"{namespace}:{pid}:1")
    assert begin(holds) == [Found.LOST]


@pytest.mark.parametrize("change", [{"host": "elsewhere"}, {"process": "1:1:1"}], ids=["host", "container"])
def test_a_holder_that_cannot_be_seen(holds: RedisAtWork, client: redis.Redis, change: dict[str, str]) -> None:
    """On another machine, or in another container: it is busy while it is heard of, then silent, then lost."""
    begin(holder(client))
    hold_of(client, until=20, **change)
    assert begin(holds, sure=True) == [Found.BUSY]
    hold_of(client, until=-1)
    assert begin(holds) == [Found.SILENT]
    assert begin(holds) == [Found.SILENT]
    assert begin(holds, sure=True) == [Found.LOST]
    assert begin(holds) == [Found.FREE]


def test_a_process_that_is_there_and_stuck(holds: RedisAtWork, client: redis.Redis) -> None:
    """One of this machine is believed for some minutes without a sign of life: the broker may have been away."""
    begin(holder(client))
    hold_of(client, until=-Timing().stuck + 10)
    assert begin(holds, sure=True) == [Found.BUSY]
    hold_of(client, until=-Timing().stuck - 10)
    assert begin(holds) == [Found.SILENT]
    assert begin(holds, sure=True) == [Found.LOST]


def test_what_is_abandoned(holds: RedisAtWork, client: redis.Redis) -> None:
    """A task whose holder is gone, or not seen, and silent for a lease: what polling may send again."""
    assert holds.abandoned(QUEUE, []) == holds.abandoned(QUEUE, ["a"]) == set()
    begin(holder(client))
    hold_of(client, until=-Timing().lease - 1)
    assert holds.abandoned(QUEUE, ["a", "b"]) == set(), "its process lives"
    hold_of(client, host="elsewhere", until=-Timing().lease + 5)
    assert holds.abandoned(QUEUE, ["a", "b"]) == set(), "it may be late"
    hold_of(client, until=-Timing().lease - 1)
    assert holds.abandoned(QUEUE, ["a", "b"]) == {"a"}


def test_lost_workers_are_counted(holds: RedisAtWork) -> None:
    """Over all workers, at least as many as the message knows of, until the task comes to an end."""
    assert [holds.count_lost(QUEUE, "a", 0) for _ in range(2)] == [1, 2]
    assert holds.count_lost(QUEUE, "a", 4) == 5
    holds.forget_lost(QUEUE, ["a"])
    holds.forget_lost(QUEUE, [])
    assert holds.count_lost(QUEUE, "a", 0) == 1


def test_a_loss_that_is_counted_again(holds: RedisAtWork, client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """If an answer is lost, redis-py sends the request again: the loss counts once."""
    command = type(client).execute_command

    def twice(self: Any, *given: Any, **options: Any) -> Any:
        command(self, *given, **options)
        return command(self, *given, **options)

    monkeypatch.setattr(type(client), "execute_command", twice)
    assert [holds.count_lost(QUEUE, "a", 0) for _ in range(2)] == [1, 2]


@pytest.fixture
def quick(client: redis.Redis) -> Iterator[RedisAtWork]:
    """Holds with a heartbeat every few milliseconds."""
    found = RedisAtWork(client, "test", QUICK)
    yield found
    found.end(QUEUE, [task for _, task in found._held])


def test_signs_of_life(quick: RedisAtWork, client: redis.Redis) -> None:
    """A hold is renewed by each heartbeat, under the same delivery, and removed at the end."""
    begin(quick)
    first, *_, delivery = str(client.hget(KEY, "a")).split(" ")
    assert until(lambda: str(client.hget(KEY, "a")).split(" ")[0] > first)
    assert str(client.hget(KEY, "a")).split(" ")[-1] == delivery
    quick.end(QUEUE, ["a"])
    # A heartbeat that is under way may say once more that it is held, and the next takes that back.
    assert until(lambda: client.hgetall(KEY) == {})
    assert until(lambda: quick._heartbeat is None), "nothing is held, so the heartbeat stops"


def test_a_redis_that_forgot_everything(quick: RedisAtWork, client: redis.Redis) -> None:
    """It started anew: what is at work is said again."""
    begin(quick)
    client.flushall()
    assert until(lambda: client.hexists(KEY, "a"))
    assert begin(holder(client)) == [Found.BUSY]
    quick.end(QUEUE, ["a"])
    assert until(lambda: client.hgetall(KEY) == {})


def test_anothers_hold_is_left_alone(quick: RedisAtWork, client: redis.Redis) -> None:
    """A task that was taken for lost, and that somebody else began, is theirs: neither renewed nor ended."""
    begin(quick, "a", "b")
    theirs = "99999999999.000 elsewhere 1:1:1 theirs"
    client.hset(KEY, "a", theirs)
    before = client.hget(KEY, "b")
    assert until(lambda: client.hget(KEY, "b") != before)
    quick.end(QUEUE, ["a", "b"])
    assert until(lambda: client.hgetall(KEY) == {"a": theirs})


def test_an_end_that_redis_does_not_hear(
    tmp_path_factory: pytest.TempPathFactory,
    redis_server: Broker,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The work is done, so nothing is raised; what was let go of is said when Redis is there again."""
    import redis
    from tests.brokers import Redis

    broker = Redis(tmp_path_factory.mktemp("away"))
    broker.start()
    with redis.Redis.from_url(broker.url, decode_responses=True) as client:
        holds = RedisAtWork(client, "test", QUICK)
        begin(holds, "a", "b")
        broker.stop()
        with caplog.at_level(logging.WARNING):
            holds.end(QUEUE, ["a"])
        assert "no longer worked on" in caplog.text
        broker.start()
        try:
            assert until(lambda: client.hkeys(KEY) == ["b"])
            holds.end(QUEUE, ["b"])
        finally:
            broker.stop()


def forked(holds: RedisAtWork, end: Connection) -> None:
    """Report how a child process sees its parent's holds."""
    busy = begin(holds, "a", "b")
    end.send((busy, sorted(task for _, task in holds._held), os.getpid() == holds._pid))
    end.recv()
    os._exit(0)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_holds_nothing_of_its_parents(holds: RedisAtWork, client: redis.Redis) -> None:
    """A parent's tasks are busy for its child, which neither renews nor ends its holds; and the other way round."""
    begin(holds, "a")
    here, there = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=forked, args=(holds, there))
    child.start()
    assert here.poll(PATIENCE)
    assert here.recv() == ([Found.BUSY, Found.FREE], ["b"], True)
    assert begin(holds, "b") == [Found.BUSY]
    here.send("end")
    child.join(PATIENCE)
    assert begin(holds, "b") == [Found.LOST], "it did not say that it ended"
    assert begin(holder(client), "a") == [Found.BUSY]


def test_a_lost_answer(client: redis.Redis, holds: RedisAtWork, monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis has done what was asked, and the answer did not come: asked again, the task is held by who asked."""
    swap, calls = holds._swap, []

    def twice(**given: Any) -> Any:
        calls.append(swap(**given))
        return swap(**given)  # as redis-py does when the connection breaks

    monkeypatch.setattr(holds, "_swap", twice)
    assert begin(holds, "a") == [Found.FREE]
    assert calls == [[1]]
    assert (QUEUE, "a") in holds._held
    assert begin(holder(client), "a") == [Found.BUSY]
    holds.end(QUEUE, ["a"])
    assert begin(holds, "a") == [Found.FREE]


def test_no_thread_for_signs_of_life(client: redis.Redis, holds: RedisAtWork, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is held of which nothing would be heard: whoever asked gets the error, and the task is free."""

    def no_more(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_more)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            begin(holds, "a", "b")
    assert not client.hgetall(KEY)
    assert begin(holds, "a", "b") == [Found.FREE, Found.FREE]
