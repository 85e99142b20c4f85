"""Marks of the tasks that are in a queue, so that polling sends no task a second time; and counts of outcomes."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol
from uuid import uuid4

__all__ = ["InFlight", "MemoryInFlight", "RedisInFlight"]


class InFlight(Protocol):
    """The marks of tasks, by queue (each stage has one) and task uuid. An expired mark counts as absent.

    A task is *in flight* from the time it is sent until it has ended, and *failed* for a while if it ended badly. A
    failed task that is sent again counts as in flight, and as failed if it is released before a worker has begun it.
    """

    def claim(
        self,
        queue: str,
        tasks: Sequence[str],
        seconds: float,
        *,
        most: int | None = None,
        failed: bool = False,
        again: bool = False,
    ) -> list[bool]:
        """Mark free tasks as in flight. Return, for each task, True if it was marked.

        Args:
            most: The maximum number of tasks to mark. ``None``: all that are free.
            failed: Count tasks marked as failed as free.
            again: Count all tasks as free.
        """

    def release(self, queue: str, tasks: Sequence[str]) -> None:
        """Mark tasks as no longer in flight, so that they can be sent when next seen in the stage."""

    def extend(self, queue: str, tasks: Sequence[str], seconds: float) -> None:
        """Mark tasks that a worker has begun as in flight, for that many seconds from now, and no longer as failed."""

    def fail(self, queue: str, tasks: Sequence[str], seconds: float) -> None:
        """Mark tasks as failed for good, for that many seconds."""

    def ended(self, queue: str, counts: Mapping[str, int]) -> None:
        """Count outcomes: ``moved``, ``held``, ``skipped``, ``failed``."""

    def marked(self, queue: str) -> tuple[set[str], set[str]]:
        """Return the tasks in flight, and those that failed."""

    def counts(self, queue: str) -> dict[str, int]:
        """Return the counts of outcomes since the beginning."""


class MemoryInFlight:
    """Marks in this process's memory, for brokers other than Redis. Other processes never see them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._in_flight: dict[tuple[str, str], float] = {}
        self._failed: dict[tuple[str, str], float] = {}
        self._counts: dict[str, dict[str, int]] = {}

    def claim(
        self,
        queue: str,
        tasks: Sequence[str],
        seconds: float,
        *,
        most: int | None = None,
        failed: bool = False,
        again: bool = False,
    ) -> list[bool]:
        now = self._clock()
        taken = []
        left = len(tasks) if most is None else most
        # One critical section for all: of two threads that fill the queue, only one may claim a task.
        with self._lock:
            for key in [(queue, task) for task in tasks]:
                is_sent, has_failed = self._in_flight.get(key, now) > now, self._failed.get(key, now) > now
                is_free = again or not (is_sent or (has_failed and not failed))
                taken.append(is_free and left > 0)
                if taken[-1]:
                    self._in_flight[key] = now + seconds
                    left -= 1
        return taken

    def release(self, queue: str, tasks: Sequence[str]) -> None:
        with self._lock:
            for task in tasks:
                self._in_flight.pop((queue, task), None)

    def extend(self, queue: str, tasks: Sequence[str], seconds: float) -> None:
        self._mark(self._in_flight, queue, tasks, seconds)

    def fail(self, queue: str, tasks: Sequence[str], seconds: float) -> None:
        self._mark(self._failed, queue, tasks, seconds)

    def _mark(self, marks: dict[tuple[str, str], float], queue: str, tasks: Sequence[str], seconds: float) -> None:
        until = self._clock() + seconds
        with self._lock:
            for key in [(queue, task) for task in tasks]:
                self._in_flight.pop(key, None)
                self._failed.pop(key, None)
                marks[key] = until

    def ended(self, queue: str, counts: Mapping[str, int]) -> None:
        with self._lock:
            own = self._counts.setdefault(queue, {})
            for outcome, number in counts.items():
                own[outcome] = own.get(outcome, 0) + number

    def marked(self, queue: str) -> tuple[set[str], set[str]]:
        now = self._clock()
        with self._lock:
            # The only place where expired marks are removed: without that, a long-lived process would keep them all.
            self._in_flight = {key: until for key, until in self._in_flight.items() if until > now}
            self._failed = {key: until for key, until in self._failed.items() if until > now}
            going, lately = ({task for own, task in marks if own == queue} for marks in (self._in_flight, self._failed))
        return going, lately - going

    def counts(self, queue: str) -> dict[str, int]:
        with self._lock:
            return dict(self._counts.get(queue, {}))


COUNT = """
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', ARGV[2] - 600)
if redis.call('ZADD', KEYS[2], 'NX', ARGV[2], ARGV[1]) == 1 then
  for i = 3, #ARGV, 2 do
    redis.call('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 1])
  end
end
"""
"""For a request's name, the time, and pairs of an outcome and a number: add the numbers, unless this was done already.

A client whose connection broke before the answer came sends it again. Names are kept for ten minutes.
"""


class RedisInFlight:
    """Marks in the broker's own Redis, for all processes that share it.

    Each queue has two sorted sets, of task uuids by expiry time, a hash of counts, and a sorted set of the requests
    that were counted. Since the marks are lost together with the broker's messages, lost tasks are sent again.

    Args:
        client: A `redis.Redis` that decodes responses.
        prefix: The prefix of all keys.
    """

    def __init__(self, client: Any, prefix: str, clock: Callable[[], float] = time.time) -> None:
        self._client = client
        self._prefix = prefix
        self._clock = clock
        self._count = client.register_script(COUNT)

    def claim(
        self,
        queue: str,
        tasks: Sequence[str],
        seconds: float,
        *,
        most: int | None = None,
        failed: bool = False,
        again: bool = False,
    ) -> list[bool]:
        if not tasks:
            return []
        now = self._clock()
        in_flight, lately = self._key(queue, "in-flight"), self._key(queue, "failed")
        pipe = self._client.pipeline(transaction=True)
        # Redis does not expire single members, so expired marks are removed here.
        pipe.zremrangebyscore(in_flight, "-inf", now)
        pipe.zremrangebyscore(lately, "-inf", now)
        pipe.zmscore(in_flight, list(tasks))
        pipe.zmscore(lately, list(tasks))
        marks = zip(tasks, *pipe.execute()[-2:], strict=True)
        free = [task for task, sent, ended in marks if again or (sent is None and (failed or ended is None))][:most]
        if not free:
            return [False] * len(tasks)
        # Random, so that it tells the marks of this call from all others: redis-py repeats a request whose answer was
        # lost, and then the marks are there already.
        until = now + seconds + random.random()
        pipe = self._client.pipeline(transaction=True)
        # `nx` decides races between processes: the one that adds the member sends the task, the others see it there.
        pipe.zadd(in_flight, dict.fromkeys(free, until), nx=not again)
        pipe.zmscore(in_flight, free)
        try:
            scores = pipe.execute()[-1]
        except BaseException:  # also an interrupt: the caller would not know which tasks to release
            with contextlib.suppress(Exception):
                self._client.zremrangebyscore(in_flight, until, until)
            raise
        mine = {task for task, score in zip(free, scores, strict=True) if score == until}
        return [task in mine for task in tasks]

    def release(self, queue: str, tasks: Sequence[str]) -> None:
        if tasks:
            self._client.zrem(self._key(queue, "in-flight"), *tasks)

    def extend(self, queue: str, tasks: Sequence[str], seconds: float) -> None:
        if tasks:
            pipe = self._client.pipeline(transaction=True)
            # Even if the mark has expired meanwhile: the worker that extends it is working on the task.
            pipe.zadd(self._key(queue, "in-flight"), dict.fromkeys(tasks, self._clock() + seconds))
            pipe.zrem(self._key(queue, "failed"), *tasks)
            pipe.execute()

    def fail(self, queue: str, tasks: Sequence[str], seconds: float) -> None:
        if tasks:
            # In a transaction, so that no filler finds a task unmarked between the two.
            pipe = self._client.pipeline(transaction=True)
            pipe.zrem(self._key(queue, "in-flight"), *tasks)
            pipe.zadd(self._key(queue, "failed"), dict.fromkeys(tasks, self._clock() + seconds))
            pipe.execute()

    def ended(self, queue: str, counts: Mapping[str, int]) -> None:
        if counts:
            added = [part for pair in counts.items() for part in pair]
            keys = [self._key(queue, "counts"), self._key(queue, "counted")]
            self._count(keys=keys, args=[uuid4().hex, self._clock(), *added])

    def marked(self, queue: str) -> tuple[set[str], set[str]]:
        now = self._clock()
        going = self._members(queue, "in-flight", now)
        return going, self._members(queue, "failed", now) - going

    def counts(self, queue: str) -> dict[str, int]:
        found = self._client.hgetall(self._key(queue, "counts"))
        return {outcome: int(number) for outcome, number in found.items()}

    def _members(self, queue: str, kind: str, now: float) -> set[str]:
        return set(self._client.zrangebyscore(self._key(queue, kind), f"({now}", "+inf"))

    def _key(self, queue: str, kind: str) -> str:
        return f"{self._prefix}:{queue}:{kind}"
