"""Marks of what is in the queue: in memory, and in a real Redis. Both keep the same promises."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from encord_agents.integrations.celery.marks import InFlight, MemoryInFlight, RedisInFlight

if TYPE_CHECKING:
    import redis

QUEUE = "stage"


class Clock:
    """Seconds that a test lets pass."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "redis"])
def marks(request: pytest.FixtureRequest, clock: Clock) -> InFlight:
    """Each implementation in turn, without marks."""
    if request.param == "memory":
        return MemoryInFlight(clock)
    return RedisInFlight(request.getfixturevalue("client"), "test", clock)


def test_a_task_is_claimed_once(marks: InFlight) -> None:
    """Of two that claim the same tasks, each task is one's only."""
    assert marks.claim(QUEUE, ["a", "b"], 10) == [True, True]
    assert marks.claim(QUEUE, ["b", "c"], 10) == [False, True]
    assert marks.marked(QUEUE) == ({"a", "b", "c"}, set())


def test_claimers_at_the_same_time(marks: InFlight) -> None:
    """However many claim at once, each task is claimed by exactly one."""
    tasks = [f"task {number}" for number in range(200)]
    barrier = threading.Barrier(4)
    taken: list[list[bool]] = []

    def claim() -> None:
        barrier.wait()
        taken.append(marks.claim(QUEUE, tasks, 10))

    threads = [threading.Thread(target=claim) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [sum(own) for own in zip(*taken, strict=True)] == [1] * len(tasks)


def test_no_tasks_are_no_trouble(marks: InFlight) -> None:
    """An empty page asks nothing and changes nothing."""
    assert marks.claim(QUEUE, [], 10) == []
    marks.release(QUEUE, [])
    marks.extend(QUEUE, [], 10)
    marks.fail(QUEUE, [], 10)
    marks.ended(QUEUE, {})
    assert marks.marked(QUEUE) == (set(), set())
    assert marks.counts(QUEUE) == {}


def test_queues_are_apart(marks: InFlight) -> None:
    """The same task in another stage's queue is another mark."""
    marks.claim(QUEUE, ["a"], 10)
    marks.ended(QUEUE, {"moved": 1})
    assert marks.claim("other", ["a"], 10) == [True]
    marks.release("other", ["a"])
    assert marks.marked(QUEUE) == ({"a"}, set())
    assert marks.counts("other") == {}


def test_marks_expire(marks: InFlight, clock: Clock) -> None:
    """A mark that has expired was never there; one that was extended holds longer."""
    marks.claim(QUEUE, ["a", "b"], 10)
    clock.now += 9
    marks.extend(QUEUE, ["b"], 10)
    clock.now += 2
    assert marks.marked(QUEUE) == ({"b"}, set())
    assert marks.claim(QUEUE, ["a", "b"], 10) == [True, False]


def test_what_is_released_is_free(marks: InFlight) -> None:
    """It can be claimed when it is seen again. Releasing what is not marked is harmless."""
    marks.claim(QUEUE, ["a", "b"], 10)
    marks.release(QUEUE, ["a", "never there"])
    assert marks.claim(QUEUE, ["a", "b"], 10) == [True, False]


def test_what_failed(marks: InFlight, clock: Clock) -> None:
    """It is not in flight, not free for polling until its mark expires, and free for who asks for it."""
    marks.claim(QUEUE, ["a", "b"], 100)
    marks.fail(QUEUE, ["a", "b"], 10)
    assert marks.marked(QUEUE) == (set(), {"a", "b"})
    assert marks.claim(QUEUE, ["a"], 100) == [False]
    assert marks.claim(QUEUE, ["a"], 100, failed=True) == [True]
    assert marks.marked(QUEUE) == ({"a"}, {"b"})
    assert marks.claim(QUEUE, ["a"], 100, failed=True) == [False]
    clock.now += 11
    assert marks.marked(QUEUE) == ({"a"}, set())
    assert marks.claim(QUEUE, ["b"], 100) == [True]


def test_everything_again(marks: InFlight) -> None:
    """After a purge, all is free for who says so, and marked anew."""
    marks.claim(QUEUE, ["a", "b"], 10)
    marks.fail(QUEUE, ["b"], 10)
    assert marks.claim(QUEUE, ["a", "b", "c"], 10, again=True) == [True, True, True]
    assert marks.marked(QUEUE) == ({"a", "b", "c"}, set())


def test_so_many_and_no_more(marks: InFlight) -> None:
    """Of the free tasks the first are claimed. The others stay as they were: free, in flight, or failed."""
    marks.claim(QUEUE, ["a"], 10)
    marks.fail(QUEUE, ["b", "c"], 10)
    assert marks.claim(QUEUE, ["a", "b", "c", "d"], 10, most=1, failed=True) == [False, True, False, False]
    assert marks.marked(QUEUE) == ({"a", "b"}, {"c"})
    assert marks.claim(QUEUE, ["d", "a", "c"], 10, most=1, again=True) == [True, False, False]
    assert marks.claim(QUEUE, ["e"], 10, most=0) == [False]
    assert marks.marked(QUEUE) == ({"a", "b", "d"}, {"c"})


def test_a_failed_task_that_was_not_sent(marks: InFlight) -> None:
    """Claimed and released, it is still marked as failed. Once a worker has begun it, it is not."""
    marks.fail(QUEUE, ["a", "b"], 10)
    assert marks.claim(QUEUE, ["a", "b"], 10, failed=True) == [True, True]
    marks.release(QUEUE, ["a"])
    marks.extend(QUEUE, ["b"], 10)
    marks.release(QUEUE, ["b"])
    assert marks.marked(QUEUE) == (set(), {"a"})
    assert marks.claim(QUEUE, ["a", "b"], 10) == [False, True]


def test_counts_add_up(marks: InFlight) -> None:
    """Outcomes are counted from the beginning."""
    marks.ended(QUEUE, {"moved": 9, "held": 1})
    marks.ended(QUEUE, {"moved": 1, "failed": 2})
    assert marks.counts(QUEUE) == {"moved": 10, "held": 1, "failed": 2}


# Requests whose answers do not come


@pytest.fixture
def repeated(client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> redis.Redis:
    """Send every request twice, as redis-py does if the connection breaks before the answer to the first."""
    import redis

    command, pipeline = redis.Redis.execute_command, redis.client.Pipeline.execute

    def command_twice(self: Any, *given: Any, **options: Any) -> Any:
        command(self, *given, **options)
        return command(self, *given, **options)

    def pipeline_twice(self: Any, *given: Any) -> Any:
        commands = list(self.command_stack)
        pipeline(self, *given)
        self.command_stack = commands
        return pipeline(self, *given)

    monkeypatch.setattr(redis.Redis, "execute_command", command_twice)
    monkeypatch.setattr(redis.client.Pipeline, "execute", pipeline_twice)
    return client


def test_a_repeated_claim(repeated: redis.Redis, clock: Clock) -> None:
    """The tasks are the caller's, who sends them; they are not taken for another's."""
    marks = RedisInFlight(repeated, "test", clock)
    assert marks.claim(QUEUE, ["a", "b"], 10, most=1) == [True, False]
    assert marks.claim(QUEUE, ["a", "b"], 10) == [False, True]
    assert marks.claim(QUEUE, ["a", "b"], 10, again=True) == [True, True]


def test_repeated_counts(repeated: redis.Redis, clock: Clock) -> None:
    """Outcomes are counted once. The requests that were counted are forgotten after a while."""
    marks = RedisInFlight(repeated, "test", clock)
    marks.ended(QUEUE, {"moved": 9, "held": 1})
    marks.ended(QUEUE, {"moved": 9})
    assert marks.counts(QUEUE) == {"moved": 18, "held": 1}
    clock.now += 3600
    marks.ended(QUEUE, {"moved": 1})
    assert repeated.zcard(f"test:{QUEUE}:counted") == 1


def test_a_claim_that_is_interrupted(client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupted caller sends nothing, so none of its marks stay. Those of others do."""
    import redis

    marks, execute = RedisInFlight(client, "test"), redis.client.Pipeline.execute
    marks.claim(QUEUE, ["a"], 10)

    def interrupted(self: Any) -> Any:
        is_claim = any("ZADD" in command for command, _ in self.command_stack)
        answer = execute(self)
        if is_claim:
            raise KeyboardInterrupt
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(redis.client.Pipeline, "execute", interrupted)
        with pytest.raises(KeyboardInterrupt):
            marks.claim(QUEUE, ["a", "b"], 10)
    assert marks.marked(QUEUE) == ({"a"}, set())
