"""A lease on each task that is being worked on, so that a redelivered message is not run twice at the same time.

Brokers redeliver a message that was not acknowledged: because the worker was lost, but also because its connection
was, or because the work took longer than Redis' visibility timeout. Only in the first case is the task free. A worker
therefore holds a lease on each task it runs, renews it with a heartbeat, and releases it at the end. A lease that was
not released and whose holder is gone belonged to a lost worker.
"""

from __future__ import annotations

import contextlib
import enum
import os
import socket
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from encord_agents.core.legible import on_a_line
from encord_agents.core.logs import get_logger
from encord_agents.core.tracebacks import described
from encord_agents.integrations.celery.store import Seldom
from encord_agents.integrations.celery.timing import Timing

__all__ = ["AtWork", "Found", "MemoryAtWork", "RedisAtWork"]

logger = get_logger(__name__)

_seldom = Seldom()


class Found(enum.Enum):
    """The state in which a worker finds a task that it wants to begin."""

    FREE = "free"
    """It was free; the caller holds it now."""
    BUSY = "busy"
    """Another delivery is working on it."""
    SILENT = "silent"
    """Its holder has sent no heartbeat for a while: it may be lost, or unable to reach the broker."""
    LOST = "lost"
    """Its holder is gone. The next caller finds it free."""


class AtWork(Protocol):
    """The tasks of some queues that workers are working on."""

    def begin(self, queue: str, tasks: Sequence[str], *, redelivered: bool, sure: bool) -> list[Found]:
        """Hold the tasks that are free, and return the state in which each was found.

        Args:
            redelivered: The broker says that the message was delivered before.
            sure: Tasks with a silent holder have been waited for: count them as lost.
        """

    def end(self, queue: str, tasks: Sequence[str]) -> None:
        """Release tasks."""

    def count_lost(self, queue: str, task: str, at_least: int) -> int:
        """Count a worker lost over a task, and return the total, at least one more than its message says."""

    def forget_lost(self, queue: str, tasks: Sequence[str]) -> None:
        """Forget the lost workers of tasks that have ended, however they ended."""

    def abandoned(self, queue: str, tasks: Sequence[str]) -> set[str]:
        """Return the tasks whose holder is long gone, since their message may be gone too."""


class MemoryAtWork:
    """The tasks this process is working on, for brokers other than Redis. Other processes are unknown to it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # Celery's thread pool runs several deliveries in one process
        self._held: set[tuple[str, str]] = set()

    def begin(self, queue: str, tasks: Sequence[str], *, redelivered: bool, sure: bool) -> list[Found]:
        found = []
        with self._lock:
            for task in tasks:
                if (queue, task) in self._held:
                    found.append(Found.BUSY)
                elif redelivered:  # a lost process takes its knowledge with it, so assume the worst
                    found.append(Found.LOST)
                else:
                    self._held.add((queue, task))
                    found.append(Found.FREE)
        return found

    def end(self, queue: str, tasks: Sequence[str]) -> None:
        with self._lock:
            self._held -= {(queue, task) for task in tasks}

    def count_lost(self, queue: str, task: str, at_least: int) -> int:
        return at_least + 1

    def forget_lost(self, queue: str, tasks: Sequence[str]) -> None:
        pass

    def abandoned(self, queue: str, tasks: Sequence[str]) -> set[str]:
        return set()


# Scripts run atomically in Redis: two workers that look at a task at the same time must not both take it.

SWAP = """
local swapped = {}
for i = 1, #ARGV, 3 do
  local held = redis.call('HGET', KEYS[1], ARGV[i]) or ''
  if held == ARGV[i + 2] and held ~= '' then
    swapped[#swapped + 1] = 1
  elseif held ~= ARGV[i + 1] then
    swapped[#swapped + 1] = 0
  else
    if ARGV[i + 2] == '' then
      redis.call('HDEL', KEYS[1], ARGV[i])
    else
      redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 2])
    end
    swapped[#swapped + 1] = 1
  end
end
return swapped
"""
"""For triples of a task, an expected and a wanted value ('' for none): write where the current value is as expected.

A client whose connection broke before the answer came sends it again, and then finds the wanted value already there.
"""

LET_GO = """
for i = 1, #ARGV, 2 do
  local held = redis.call('HGET', KEYS[1], ARGV[i]) or ''
  if string.sub(held, -#ARGV[i + 1]) == ARGV[i + 1] then
    redis.call('HDEL', KEYS[1], ARGV[i])
  end
end
"""
"""For pairs of a task and a delivery: remove the hold if it is that delivery's, whatever its expiry."""


@dataclass(frozen=True, slots=True)
class _Hold:
    """The holder of a task, and the end of its lease by the clock of Redis."""

    until: float
    host: str
    process: str
    """Its namespace, id and start time, since ids are reused."""
    delivery: str = field(default_factory=lambda: uuid4().hex)

    @classmethod
    def of(cls, text: str) -> _Hold:
        until, host, process, delivery = text.split(" ")
        return cls(float(until), host, process, delivery)

    def __str__(self) -> str:
        return f"{self.until:.3f} {self.host} {self.process} {self.delivery}"

    def lives(self) -> bool | None:
        """Return True if the holder's process exists, or ``None`` if that cannot be seen from here."""
        namespace, pid, _ = self.process.split(":")
        if self.host != _host() or namespace != _namespace():
            return None
        return _process(int(pid)) == self.process


class RedisAtWork:
    """The tasks all workers are working on, in the broker's Redis: one hash per queue, from task to holder.

    Args:
        client: A `redis.Redis` that decodes responses.
        prefix: The prefix of all keys.
    """

    def __init__(self, client: Any, prefix: str, timing: Timing | None = None) -> None:
        self._client = client
        self._prefix = prefix
        self._timing = timing or Timing()
        self._swap = client.register_script(SWAP)
        self._remove = client.register_script(LET_GO)
        self._lock = threading.Lock()  # deliveries may run in several threads, and the heartbeat is another
        self._held: dict[tuple[str, str], str] = {}
        self._ended: dict[tuple[str, str], str] = {}
        """Holds that were released here, but not yet in Redis."""
        self._heartbeat: threading.Thread | None = None
        self._pid = os.getpid()

    def begin(self, queue: str, tasks: Sequence[str], *, redelivered: bool, sure: bool) -> list[Found]:
        now, held = self._look(queue, tasks)
        mine = str(_Hold(now + self._timing.lease, _host(), _process(os.getpid()) or ""))
        found, swaps = [], []
        for task, text in zip(tasks, held, strict=True):
            found.append(self._judge(text, now, sure=sure))
            if found[-1] in (Found.FREE, Found.LOST):
                # The hold of a lost task is removed: one caller finds it lost and counts that, the next finds it free.
                swaps.append((task, text, mine if found[-1] is Found.FREE else ""))
        try:
            swapped = dict(zip((task for task, _, _ in swaps), self._try(queue, swaps), strict=True))
        except Exception:  # perhaps only the answer was lost: without this, nobody would release the holds
            with self._lock:
                self._after_fork()
                self._ended |= {(queue, task): mine for task, _, wanted in swaps if wanted}
                self._start_heartbeat()
            raise
        with self._lock:
            self._after_fork()
            for task, _, wanted in swaps:
                if swapped[task] and wanted:
                    self._held[queue, task] = mine
                elif not swapped[task]:  # another worker was quicker
                    found[list(tasks).index(task)] = Found.BUSY
            trouble = self._start_heartbeat()
        if trouble is not None:  # without heartbeats the holds would look lost while the work goes on
            self.end(queue, [task for task, _, wanted in swaps if wanted])
            raise trouble
        return found

    def end(self, queue: str, tasks: Sequence[str]) -> None:
        with self._lock:
            for key in [(queue, task) for task in tasks]:
                if key in self._held:
                    self._ended[key] = self._held.pop(key)
        try:
            self._let_go()
        except Exception as error:  # noqa: BLE001 - the work is done; the next heartbeat releases them
            if _seldom(f"end {type(error)}"):
                logger.warning(
                    "Could not release tasks that are no longer worked on; trying again. %s",
                    on_a_line(described(error)),
                )

    def count_lost(self, queue: str, task: str, at_least: int) -> int:
        key = self._key(queue, "lost")
        # Not HINCRBY, which counts twice if its answer is lost and redis-py sends it again. Nobody else counts at the
        # same time: one caller only finds the task lost.
        times = max(at_least, int(self._client.hget(key, task) or 0)) + 1
        self._client.hset(key, task, times)
        return times

    def forget_lost(self, queue: str, tasks: Sequence[str]) -> None:
        if tasks:
            self._client.hdel(self._key(queue, "lost"), *tasks)

    def abandoned(self, queue: str, tasks: Sequence[str]) -> set[str]:
        if not tasks:
            return set()
        now, held = self._look(queue, tasks)
        return {
            task
            for task, text in zip(tasks, held, strict=True)
            if text and (hold := _Hold.of(text)).until < now - self._timing.lease and not hold.lives()
        }

    def _judge(self, text: str, now: float, *, sure: bool) -> Found:
        if not text:
            return Found.FREE
        hold = _Hold.of(text)
        lives = hold.lives()
        if lives is False:  # no need to wait for the end of the lease of a process of this machine
            return Found.LOST
        if hold.until > now or (lives and hold.until > now - self._timing.stuck):
            return Found.BUSY
        return Found.LOST if sure else Found.SILENT

    def _look(self, queue: str, tasks: Sequence[str]) -> tuple[float, list[str]]:
        pipe = self._client.pipeline(transaction=False)
        pipe.time()
        pipe.hmget(self._key(queue, "at-work"), list(tasks))
        (seconds, micros), held = pipe.execute()
        return seconds + micros / 1e6, [text or "" for text in held]

    def _try(self, queue: str, swaps: Sequence[tuple[str, str, str]]) -> list[bool]:
        if not swaps:
            return []
        args = [part for swap in swaps for part in swap]
        return [bool(done) for done in self._swap(keys=[self._key(queue, "at-work")], args=args)]

    def _key(self, queue: str, kind: str) -> str:
        return f"{self._prefix}:{queue}:{kind}"

    def _after_fork(self) -> None:
        """In a forked child, forget the parent's holds: the parent renews and releases those."""
        if self._pid != os.getpid():
            self._pid, self._held, self._ended, self._heartbeat = os.getpid(), {}, {}, None

    def _start_heartbeat(self) -> RuntimeError | None:
        """Start the heartbeat if it is needed. Return the error if the system has no more threads."""
        # The caller has the lock, so that no two threads start a heartbeat each. It is a daemon: a worker that exits
        # must not wait for it.
        if (self._held or self._ended) and (self._heartbeat is None or not self._heartbeat.is_alive()):
            self._heartbeat = threading.Thread(target=self._send_heartbeats, name="encord-agents-at-work", daemon=True)
            try:
                self._heartbeat.start()
            except RuntimeError as error:
                return error
        return None

    def _send_heartbeats(self) -> None:
        pause = threading.Event()
        while not pause.wait(self._timing.heartbeat):
            with self._lock:
                if not self._held and not self._ended:
                    self._heartbeat = None  # under the lock, so that a task begun from now on starts another
                    return
            try:
                self._let_go()  # releases that could not be sent when their work ended
                self._renew()
            except Exception as error:  # noqa: BLE001 - whatever it is, the next heartbeat may get through
                if _seldom(f"beat {type(error)}"):
                    logger.warning(
                        "Could not renew the hold on tasks that are worked on: %s", on_a_line(described(error))
                    )

    def _let_go(self) -> None:
        with self._lock:
            ended = dict(self._ended)
        for queue, tasks in _by_queue(ended).items():
            args = [part for task in tasks for part in (task, _Hold.of(ended[queue, task]).delivery)]
            self._remove(keys=[self._key(queue, "at-work")], args=args)
            with self._lock:
                for key in [(queue, task) for task in tasks]:
                    if self._ended.get(key) == ended[key]:  # otherwise it was renewed meanwhile: release it again
                        del self._ended[key]

    def _renew(self) -> None:
        with self._lock:  # a copy, so that no delivery waits for a request to Redis
            held = dict(self._held)
        for queue, tasks in _by_queue(held).items():
            now, there = self._look(queue, tasks)
            with self._lock:
                ended = {task for task in tasks if (queue, task) not in self._held}
            renewed = []
            for task, text in zip(tasks, there, strict=True):
                if task in ended:  # its hold is missing because it was released, not because Redis forgot it
                    continue
                old = _Hold.of(held[queue, task])
                # A missing hold was forgotten by a Redis that restarted; one of another delivery is not ours to renew.
                if not text or _Hold.of(text).delivery == old.delivery:
                    new = _Hold(now + self._timing.lease, old.host, old.process, old.delivery)
                    renewed.append((task, text, str(new)))
            for (task, _, new_text), done in zip(renewed, self._try(queue, renewed), strict=True):
                if done:
                    # A task that ended during the request must be released under its new text.
                    with self._lock:
                        going_on = (queue, task) in self._held
                        (self._held if going_on else self._ended)[queue, task] = new_text


def _by_queue(keys: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for queue, task in keys:
        found.setdefault(queue, []).append(task)
    return found


@cache
def _host() -> str:
    return socket.gethostname().replace(" ", "-") or "localhost"


def _namespace() -> str:
    """Return the namespace of process ids: containers may share a host's name, but not its process ids."""
    with contextlib.suppress(OSError):
        return Path("/proc/self/ns/pid").readlink().name.strip("pid:[]")
    return ""


def _process(pid: int) -> str | None:
    """Identify a process, so that a later one with the same id differs from it; ``None`` if there is none."""
    try:
        # The fields after the command, which is in parentheses; the 22nd field of the line is the start time.
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        if Path("/proc/self").exists():
            return None
    except OSError:
        pass
    else:
        return None if state in "ZX" else f"{_namespace()}:{pid}:{rest[18]}"
    with contextlib.suppress(PermissionError):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
    return f"{_namespace()}:{pid}:"
