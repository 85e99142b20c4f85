"""Marks of the tasks that are in a queue, so that polling sends no task a second time; and counts of outcomes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

__all__ = ["InFlight", "MemoryInFlight", "RedisInFlight"]


class InFlight(Protocol):
    """The marks of tasks, by queue (each stage has one) and task uuid. An expired mark counts as absent.

    A task is *in flight* from the time it is sent until it has ended, and *failed* for a while if it ended badly.
    """

    def claim(
        self, queue: str, tasks: Sequence[str], seconds: float, *, failed: bool = False, again: bool = False
    ) -> list[bool]:
        """Mark tasks as in flight. Return, for each, True if it was free.

        Args:
            failed: Count tasks marked as failed as free.
            again: Count all tasks as free.
        """

    def release(self, queue: str, tasks: Sequence[str]) -> None:
        """Remove the marks of tasks, so that they can be sent when next seen in the stage."""

    def extend(self, queue: str, tasks: Sequence[str], seconds: float) -> None:
        """Mark tasks as still in flight, for that many seconds from now."""

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
        self._marks: dict[tuple[str, str], tuple[float, str]] = {}
        self._counts: dict[str, dict[str, int]] = {}

    def claim(
        self, queue: str, tasks: Sequence[str], seconds: float, *, failed: bool = False, again: bool = False
    ) -> list[bool]:
        now = self._clock()
        taken = []
        # One critical section for all: of two threads that fill the queue, only one may claim a task.
        with self._lock:
            for task in tasks:
                until, kind = self._marks.get((queue, task), (now, ""))
                taken.append(again or until <= now or (failed and kind == "failed"))
                if taken[-1]:
                    self._marks[queue, task] = now + seconds, "in flight"
        return taken

    def release(self, queue: str, tasks: Sequence[str]) -> None:
        with self._lock:
            for task in tasks:
                self._marks.pop((queue, task), None)

    def extend(self, queue: str, tasks: Sequence[str], seconds: float) -> None:
        self._mark(queue, tasks, seconds, "in flight")

    def fail(self, queue: str, tasks: Sequence[str], seconds: float) -> None:
        self._mark(queue, tasks, seconds, "failed")

    def _mark(self, queue: str, tasks: Sequence[str], seconds: float, kind: str) -> None:
        with self._lock:
            for task in tasks:
                self._marks[queue, task] = self._clock() + seconds, kind

    def ended(self, queue: str, counts: Mapping[str, int]) -> None:
        with self._lock:
            own = self._counts.setdefault(queue, {})
            for outcome, number in counts.items():
                own[outcome] = own.get(outcome, 0) + number

    def marked(self, queue: str) -> tuple[set[str], set[str]]:
        now = self._clock()
        with self._lock:
            # The only place where expired marks are removed: without that, a long-lived process would keep them all.
            self._marks = {key: mark for key, mark in self._marks.items() if mark[0] > now}
            own = [(task, kind) for (other, task), (_, kind) in self._marks.items() if other == queue]
        return {task for task, kind in own if kind == "in flight"}, {task for task, kind in own if kind == "failed"}

    def counts(self, queue: str) -> dict[str, int]:
        with self._lock:
            return dict(self._counts.get(queue, {}))


class RedisInFlight:
    """Marks in the broker's own Redis, for all processes that share it.

    Each queue has two sorted sets, of task uuids by expiry time, and a hash of counts. Since the marks are lost
    together with the broker's messages, lost tasks are sent again.

    Args:
        client: A `redis.Redis` that decodes responses.
        prefix: The prefix of all keys.
    """

    def __init__(self, client: Any, prefix: str, clock: Callable[[], float] = time.time) -> None:
        self._client = client
        self._prefix = prefix
        self._clock = clock

    def claim(
        self, queue: str, tasks: Sequence[str], seconds: float, *, failed: bool = False, again: bool = False
    ) -> list[bool]:
        if not tasks:
            return []
        now = self._clock()
        in_flight, lately = self._key(queue, "in-flight"), self._key(queue, "failed")
        pipe = self._client.pipeline(transaction=True)
        # Redis does not expire single members, so expired marks are removed here.
        pipe.zremrangebyscore(in_flight, "-inf", now)
        pipe.zremrangebyscore(lately, "-inf", now)
        if again:
            pipe.zrem(in_flight, *tasks)
        if again or failed:
            pipe.zrem(lately, *tasks)
        pipe.zmscore(lately, list(tasks))
        candidates = [task for task, score in zip(tasks, pipe.execute()[-1], strict=True) if score is None]
        # `nx` decides races between processes: the one that adds the member sends the task, the others see it there.
        pipe = self._client.pipeline(transaction=True)
        for task in candidates:
            pipe.zadd(in_flight, {task: now + seconds}, nx=True)
        added = dict(zip(candidates, pipe.execute(), strict=True))
        return [bool(added.get(task)) for task in tasks]

    def release(self, queue: str, tasks: Sequence[str]) -> None:
        if tasks:
            self._client.zrem(self._key(queue, "in-flight"), *tasks)

    def extend(self, queue: str, tasks: Sequence[str], seconds: float) -> None:
        if tasks:
            # Even if the mark has expired meanwhile: the worker that extends it is working on the task.
            self._client.zadd(self._key(queue, "in-flight"), dict.fromkeys(tasks, self._clock() + seconds))

    def fail(self, queue: str, tasks: Sequence[str], seconds: float) -> None:
        if tasks:
            # In a transaction, so that no filler finds a task unmarked between the two.
            pipe = self._client.pipeline(transaction=True)
            pipe.zrem(self._key(queue, "in-flight"), *tasks)
            pipe.zadd(self._key(queue, "failed"), dict.fromkeys(tasks, self._clock() + seconds))
            pipe.execute()

    def ended(self, queue: str, counts: Mapping[str, int]) -> None:
        pipe = self._client.pipeline(transaction=False)
        for outcome, number in counts.items():
            pipe.hincrby(self._key(queue, "counts"), outcome, number)
        pipe.execute()

    def marked(self, queue: str) -> tuple[set[str], set[str]]:
        now = self._clock()
        return self._members(queue, "in-flight", now), self._members(queue, "failed", now)

    def counts(self, queue: str) -> dict[str, int]:
        found = self._client.hgetall(self._key(queue, "counts"))
        return {outcome: int(number) for outcome, number in found.items()}

    def _members(self, queue: str, kind: str, now: float) -> set[str]:
        return set(self._client.zrangebyscore(self._key(queue, kind), f"({now}", "+inf"))

    def _key(self, queue: str, kind: str) -> str:
        return f"{self._prefix}:{queue}:{kind}"
