"""Which worker has which task at work just now: so that a message that comes twice is not run twice at a time.

Brokers deliver again what was not acknowledged: because the worker was lost, but also because its connection was, or
because it took longer than Redis' visibility timeout. Only in the first case is the task free. So whoever runs a task
holds it, says again and again that it is still there, and lets go at the end. What nobody let go of, and whose holder
is gone, was lost with its worker.
"""

from __future__ import annotations

import contextlib
import enum
import logging
import os
import socket
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from encord_agents.integrations.celery.store import Seldom

__all__ = ["BEAT", "LEASE", "AtWork", "Found", "MemoryAtWork", "RedisAtWork"]

logger = logging.getLogger(__name__)

_seldom = Seldom()

LEASE = 30.0
"""Seconds after which a holder of whom nothing was heard is taken for lost."""
BEAT = 5.0
"""Seconds between two signs of life."""
STUCK = 300.0
"""Seconds of silence after which a process that is there is not believed to be at the task still."""


class Found(enum.Enum):
    """How a task was found that a worker wants to begin."""

    FREE = "free"
    """It is held now by who asked."""
    BUSY = "busy"
    """Another delivery has it at work."""
    SILENT = "silent"
    """Nothing was heard of its holder for a while. It may be lost, or it could not reach the broker either."""
    LOST = "lost"
    """Its holder is gone. It is free for the next who asks."""


class AtWork(Protocol):
    """The tasks of some queues that workers have at work."""

    def begin(self, queue: str, tasks: Sequence[str], *, redelivered: bool, sure: bool) -> list[Found]:
        """Hold the tasks that are free. For each: how it was found.

        Args:
            redelivered: The broker says that the message was delivered before.
            sure: Those whose holder is silent have been waited for: they are lost.
        """
        ...

    def end(self, queue: str, tasks: Sequence[str]) -> None:
        """Let go of tasks."""
        ...

    def count_lost(self, queue: str, task: str, at_least: int) -> int:
        """A worker was lost over a task. How many that makes, given how many its message knows of."""
        ...

    def forget_lost(self, queue: str, tasks: Sequence[str]) -> None:
        """Tasks have come to an end, whichever."""
        ...

    def abandoned(self, queue: str, tasks: Sequence[str]) -> set[str]:
        """Those of the tasks whose holder is long gone: their message may be, too."""
        ...


class MemoryAtWork:
    """What this process has at work: for a broker that is no Redis. It knows nothing of other processes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: set[tuple[str, str]] = set()

    def begin(self, queue: str, tasks: Sequence[str], *, redelivered: bool, sure: bool) -> list[Found]:
        found = []
        with self._lock:
            for task in tasks:
                if (queue, task) in self._held:
                    found.append(Found.BUSY)
                elif redelivered:  # what a lost process knew is lost with it, so the worst is assumed
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
"""For triples of a task, the value expected and the one wanted ('' is none): writes where what is there is expected.

A client whose connection broke before the answer came sends it again: what is wanted is then there already.
"""

LET_GO = """
for i = 1, #ARGV, 2 do
  local held = redis.call('HGET', KEYS[1], ARGV[i]) or ''
  if string.sub(held, -#ARGV[i + 1]) == ARGV[i + 1] then
    redis.call('HDEL', KEYS[1], ARGV[i])
  end
end
"""
"""For pairs of a task and a delivery: removes what that delivery holds, until whenever it may say."""


@dataclass(frozen=True, slots=True)
class _Hold:
    """Who holds a task, and until when, by the clock of Redis."""

    until: float
    host: str
    process: str
    """Its namespace, id, and start; ids are used again."""
    delivery: str = field(default_factory=lambda: uuid4().hex)

    @classmethod
    def of(cls, text: str) -> _Hold:
        until, host, process, delivery = text.split(" ")
        return cls(float(until), host, process, delivery)

    def __str__(self) -> str:
        return f"{self.until:.3f} {self.host} {self.process} {self.delivery}"

    def lives(self) -> bool | None:
        """Whether its process is there; ``None``: that cannot be told from here."""
        namespace, pid, _ = self.process.split(":")
        if self.host != _host() or namespace != _namespace():
            return None
        return _process(int(pid)) == self.process


class RedisAtWork:
    """What all workers have at work, in the broker's Redis: a hash for each queue, from task to holder.

    Args:
        client: A `redis.Redis`.
        prefix: Of the keys' names.
    """

    def __init__(self, client: Any, prefix: str) -> None:
        self._client = client
        self._prefix = prefix
        self._swap = client.register_script(SWAP)
        self._remove = client.register_script(LET_GO)
        self._lock = threading.Lock()
        self._held: dict[tuple[str, str], str] = {}
        self._ended: dict[tuple[str, str], str] = {}
        """What was let go of, and Redis does not know so yet."""
        self._heart: threading.Thread | None = None
        self._pid = os.getpid()

    def begin(self, queue: str, tasks: Sequence[str], *, redelivered: bool, sure: bool) -> list[Found]:
        now, held = self._look(queue, tasks)
        mine = str(_Hold(now + LEASE, _host(), _process(os.getpid()) or ""))
        found, swaps = [], []
        for task, text in zip(tasks, held, strict=True):
            found.append(_judge(text, now, sure=sure))
            if found[-1] in (Found.FREE, Found.LOST):
                swaps.append((task, text, mine if found[-1] is Found.FREE else ""))
        try:
            swapped = dict(zip((task for task, _, _ in swaps), self._try(queue, swaps), strict=True))
        except Exception:  # perhaps only the answer is lost, and nobody would let go of what is held then
            with self._lock:
                self._after_fork()
                self._ended |= {(queue, task): mine for task, _, wanted in swaps if wanted}
                self._beat()
            raise
        with self._lock:
            self._after_fork()
            for task, _, wanted in swaps:
                if swapped[task] and wanted:
                    self._held[queue, task] = mine
                elif not swapped[task]:  # somebody else was quicker
                    found[list(tasks).index(task)] = Found.BUSY
            trouble = self._beat()
        if trouble is not None:  # of whom nothing will be heard must hold nothing
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
        except Exception as error:  # noqa: BLE001 - the work is done; the next beat says so
            if _seldom(f"end {type(error)}"):
                logger.warning("Could not say that tasks are not at work any more, yet: %s", error)

    def count_lost(self, queue: str, task: str, at_least: int) -> int:
        return max(at_least + 1, int(self._client.hincrby(self._key(queue, "lost"), task, 1)))

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
            if text and (hold := _Hold.of(text)).until < now - LEASE and not hold.lives()
        }

    def _look(self, queue: str, tasks: Sequence[str]) -> tuple[float, list[str]]:
        pipe = self._client.pipeline(transaction=False)
        pipe.time()
        pipe.hmget(self._key(queue, "at-work"), list(tasks))
        (seconds, micros), held = pipe.execute()
        return seconds + micros / 1e6, [text.decode() if isinstance(text, bytes) else text or "" for text in held]

    def _try(self, queue: str, swaps: Sequence[tuple[str, str, str]]) -> list[bool]:
        if not swaps:
            return []
        args = [part for swap in swaps for part in swap]
        return [bool(done) for done in self._swap(keys=[self._key(queue, "at-work")], args=args)]

    def _key(self, queue: str, kind: str) -> str:
        return f"{self._prefix}:{queue}:{kind}"

    def _after_fork(self) -> None:
        """What the parent holds is the parent's."""
        if self._pid != os.getpid():
            self._pid, self._held, self._ended, self._heart = os.getpid(), {}, {}, None

    def _beat(self) -> RuntimeError | None:
        """Have signs of life given; or why they cannot be: the system has no more threads."""
        if (self._held or self._ended) and (self._heart is None or not self._heart.is_alive()):
            self._heart = threading.Thread(target=self._keep_beating, name="encord-agents-at-work", daemon=True)
            try:
                self._heart.start()
            except RuntimeError as error:
                return error
        return None

    def _keep_beating(self) -> None:
        pause = threading.Event()
        while not pause.wait(BEAT):
            with self._lock:
                if not self._held and not self._ended:
                    self._heart = None
                    return
            try:
                self._let_go()
                self._renew()
            except Exception as error:  # noqa: BLE001 - whatever it is, the next beat may do better
                if _seldom(f"beat {type(error)}"):
                    logger.warning("Could not say that tasks are still at work: %s", error)

    def _let_go(self) -> None:
        with self._lock:
            ended = dict(self._ended)
        for queue, tasks in _by_queue(ended).items():
            args = [part for task in tasks for part in (task, _Hold.of(ended[queue, task]).delivery)]
            self._remove(keys=[self._key(queue, "at-work")], args=args)
            with self._lock:
                for key in [(queue, task) for task in tasks]:
                    if self._ended.get(key) == ended[key]:  # else it was renewed meanwhile: let go again
                        del self._ended[key]

    def _renew(self) -> None:
        with self._lock:
            held = dict(self._held)
        for queue, tasks in _by_queue(held).items():
            now, there = self._look(queue, tasks)
            renewed = []
            for task, text in zip(tasks, there, strict=True):
                old = _Hold.of(held[queue, task])
                # One that is not there was forgotten by a Redis that started anew; another's is the other's.
                if not text or _Hold.of(text).delivery == old.delivery:
                    new = _Hold(now + LEASE, old.host, old.process, old.delivery)
                    renewed.append((task, text, str(new)))
            for (task, _, new_text), done in zip(renewed, self._try(queue, renewed), strict=True):
                if done:
                    with self._lock:
                        going_on = (queue, task) in self._held
                        (self._held if going_on else self._ended)[queue, task] = new_text


def _by_queue(keys: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for queue, task in keys:
        found.setdefault(queue, []).append(task)
    return found


def _judge(text: str, now: float, *, sure: bool) -> Found:
    if not text:
        return Found.FREE
    hold = _Hold.of(text)
    lives = hold.lives()
    if lives is False:
        return Found.LOST
    if hold.until > now or (lives and hold.until > now - STUCK):
        return Found.BUSY
    return Found.LOST if sure else Found.SILENT


@cache
def _host() -> str:
    return socket.gethostname().replace(" ", "-") or "localhost"


def _namespace() -> str:
    """Containers may share a host's name, and have process ids of their own."""
    with contextlib.suppress(OSError):
        return Path("/proc/self/ns/pid").readlink().name.strip("pid:[]")
    return ""


def _process(pid: int) -> str | None:
    """A process, so that it can be told from a later one with the same id; ``None``: there is none."""
    try:
        # Fields after the command, which is in parentheses; the 22nd of all is the time at which it started.
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
