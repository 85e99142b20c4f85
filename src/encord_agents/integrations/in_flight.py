"""Which tasks are in a queue already: so that polling again sends none a second time, and what became of the others."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

__all__ = ["InFlight", "MemoryInFlight", "RedisInFlight"]

PREFIX = "encord-agents"


class InFlight(Protocol):
    """The tasks of some queues (a *queue* is a stage's), by their uuids. An entry that expires was never there.

    A task is *in flight* from when it is sent until it has ended well, and *failed* for a while when it has not: in
    both cases it is not sent again.
    """

    def claim(self, queue: str, tasks: Sequence[str], seconds: float, *, again: bool = False) -> list[bool]:
        """Mark tasks as in flight. For each: whether it was not yet; with ``again``, all are taken."""
        ...

    def release(self, queue: str, tasks: Sequence[str]) -> None:
        """Tasks that can be sent again when they are seen again."""
        ...

    def extend(self, queue: str, tasks: Sequence[str], seconds: float) -> None:
        """Tasks are on their way still: their marks hold for so long from now."""
        ...

    def begin(self, queue: str, message: str, tasks: Sequence[str], seconds: float) -> None:
        """A worker begins a message: its tasks' marks hold for so long."""
        ...

    def end(self, queue: str, message: str) -> None:
        """A worker has come to the end of a message, well or not."""
        ...

    def was_begun(self, queue: str, message: str) -> bool:
        """Whether a message that is delivered again was begun before: then a worker was lost over it."""
        ...

    def ended(self, queue: str, counts: Mapping[str, int]) -> None:
        """Count outcomes: ``moved``, ``held``, ``skipped``, ``failed``."""
        ...

    def failed(self, queue: str, tasks: Sequence[str], seconds: float) -> None:
        """Tasks have failed for good, and are not to be sent again for so long."""
        ...

    def marked(self, queue: str) -> tuple[set[str], set[str]]:
        """The tasks in flight, and those that failed."""
        ...

    def counts(self, queue: str) -> dict[str, int]:
        """The counts of outcomes since the beginning."""
        ...


class MemoryInFlight:
    """Marks in this process: for a broker that is no Redis. Other processes, and the next one, know nothing of them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._marks: dict[tuple[str, str], tuple[float, str]] = {}
        self._counts: dict[str, dict[str, int]] = {}

    def claim(self, queue: str, tasks: Sequence[str], seconds: float, *, again: bool = False) -> list[bool]:
        now = self._clock()
        taken = []
        for task in tasks:
            until, _ = self._marks.get((queue, task), (0.0, ""))
            taken.append(again or until <= now)
            if taken[-1]:
                self._marks[queue, task] = now + seconds, "in flight"
        return taken

    def release(self, queue: str, tasks: Sequence[str]) -> None:
        for task in tasks:
            self._marks.pop((queue, task), None)

    def extend(self, queue: str, tasks: Sequence[str], seconds: float) -> None:
        for task in tasks:
            self._marks[queue, task] = self._clock() + seconds, "in flight"

    def begin(self, queue: str, message: str, tasks: Sequence[str], seconds: float) -> None:
        self.extend(queue, tasks, seconds)

    def end(self, queue: str, message: str) -> None:
        pass

    def was_begun(self, queue: str, message: str) -> bool:
        return True  # what a lost process knew is lost with it, so the worst is assumed

    def failed(self, queue: str, tasks: Sequence[str], seconds: float) -> None:
        for task in tasks:
            self._marks[queue, task] = self._clock() + seconds, "failed"

    def ended(self, queue: str, counts: Mapping[str, int]) -> None:
        own = self._counts.setdefault(queue, {})
        for outcome, number in counts.items():
            own[outcome] = own.get(outcome, 0) + number

    def marked(self, queue: str) -> tuple[set[str], set[str]]:
        now = self._clock()
        self._marks = {key: mark for key, mark in self._marks.items() if mark[0] > now}
        own = [(task, kind) for (other, task), (_, kind) in self._marks.items() if other == queue]
        return {task for task, kind in own if kind == "in flight"}, {task for task, kind in own if kind == "failed"}

    def counts(self, queue: str) -> dict[str, int]:
        return dict(self._counts.get(queue, {}))


class RedisInFlight:
    """Marks in the broker's own Redis, for all processes that share it.

    Two sorted sets for each queue, of task uuids by the time at which they expire, and a hash of counts. Whatever
    loses the broker's messages loses the marks too, so that lost tasks are sent again.

    Args:
        client: A `redis.Redis`.
    """

    def __init__(self, client: Any, clock: Callable[[], float] = time.time) -> None:
        self._client = client
        self._clock = clock

    def claim(self, queue: str, tasks: Sequence[str], seconds: float, *, again: bool = False) -> list[bool]:
        if not tasks:
            return []
        now = self._clock()
        in_flight, failed = self._key(queue, "in-flight"), self._key(queue, "failed")
        pipe = self._client.pipeline(transaction=True)
        pipe.zremrangebyscore(in_flight, "-inf", now)
        pipe.zremrangebyscore(failed, "-inf", now)
        if again:
            pipe.zrem(failed, *tasks)
            pipe.zadd(in_flight, dict.fromkeys(tasks, now + seconds))
            pipe.execute()
            return [True] * len(tasks)
        pipe.zmscore(failed, list(tasks))
        has_failed = [score is not None for score in pipe.execute()[-1]]
        # Whoever adds a member is the one who sends it; the others see that it was there.
        pipe = self._client.pipeline(transaction=True)
        candidates = [task for task, skip in zip(tasks, has_failed, strict=True) if not skip]
        for task in candidates:
            pipe.zadd(in_flight, {task: now + seconds}, nx=True)
        added = dict(zip(candidates, pipe.execute(), strict=True))
        return [bool(added.get(task)) for task in tasks]

    def release(self, queue: str, tasks: Sequence[str]) -> None:
        if tasks:
            self._client.zrem(self._key(queue, "in-flight"), *tasks)

    def extend(self, queue: str, tasks: Sequence[str], seconds: float) -> None:
        if tasks:
            self._client.zadd(self._key(queue, "in-flight"), dict.fromkeys(tasks, self._clock() + seconds))

    def begin(self, queue: str, message: str, tasks: Sequence[str], seconds: float) -> None:
        self._client.zadd(self._key(queue, "begun"), {message: self._clock()})
        self.extend(queue, tasks, seconds)

    def end(self, queue: str, message: str) -> None:
        self._client.zrem(self._key(queue, "begun"), message)

    def was_begun(self, queue: str, message: str) -> bool:
        return self._client.zscore(self._key(queue, "begun"), message) is not None

    def failed(self, queue: str, tasks: Sequence[str], seconds: float) -> None:
        if tasks:
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
        return (self._members(queue, "in-flight", now), self._members(queue, "failed", now))

    def counts(self, queue: str) -> dict[str, int]:
        found = self._client.hgetall(self._key(queue, "counts"))
        return {_text(outcome): int(number) for outcome, number in found.items()}

    def _members(self, queue: str, kind: str, now: float) -> set[str]:
        return {_text(task) for task in self._client.zrangebyscore(self._key(queue, kind), f"({now}", "+inf")}

    @staticmethod
    def _key(queue: str, kind: str) -> str:
        return f"{PREFIX}:{queue}:{kind}"


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
