"""The window of a stage: the state shared by the threads of an overlapping run, under one lock."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any
from uuid import UUID

from encord_agents.exceptions import OutageError
from encord_agents.tasks.engine.context import Context
from encord_agents.tasks.engine.outcome import Outcome
from encord_agents.tasks.engine.pace import Pace
from encord_agents.tasks.engine.stage_run import StageRun
from encord_agents.tasks.engine.stop import Leaving

__all__ = ["Window"]


class Window:
    """The state shared by the threads of one stage run.

    The lock guards everything in here, and the state of `FilesAhead`, `ReadyQueue` and `WriteBehind`. A *slot* is taken
    when a task's loading starts, and released when its outcome is known.

    Args:
        size: The number of slots.
        workers: The number of attempts at once.
        is_idle: Returns True if a worker is free and there is nothing to attempt.

    Attributes:
        open: The tasks that have a slot: the ones taken from the backlog.
        first, next: The number of the first task in line for its first attempt, and the one for the next task taken.
        ready: Tasks that are loaded and whose files are here, by number; ``None``: the task had left the stage.
        returned: Tasks handed back before their attempts began, or overtaken by others while their files were slow.
        alone: The task that is attempted while no other file of this run takes up room.
        seconds: The average duration of the last attempts.
        reread: True if the stage is about to be read again, as soon as no moves are in flight.
        executed: True if no more attempts will be made.
        give_up: True if nothing more may be written.
    """

    def __init__(self, run: StageRun, size: int, workers: int, is_idle: Callable[[], bool]) -> None:
        self.run = run
        self.size = size
        self.workers = workers
        self._is_idle = is_idle
        self._timing, self._limits = run.gate.timing, run.gate.limits
        # One lock, and a condition for each thing that threads wait for: waking all of them for everything costs more
        # than the work itself.
        self.lock = threading.RLock()
        self.runnable = threading.Condition(self.lock)  # something to attempt
        self.takeable = threading.Condition(self.lock)  # tasks to load, and slots for them
        self.writable = threading.Condition(self.lock)  # results
        self.room = threading.Condition(self.lock)  # for the reader: fewer tasks waiting, or no moves in flight
        self.backlog = run.backlog
        self.reread = False
        self.open = self.backlog.taken
        self.loads = 0
        self.loading = 0
        self.next = 0
        self.first = 0
        self.ready: dict[int, Context | None] = {}
        self.returned: deque[Context] = deque()
        self.alone: Context | None = None
        self.first_begun_at: float | None = None
        self.ends = 0
        self.seconds = 0.0
        self._known_pace: Pace | None = None
        self.stirred_at = run.gate.clock()
        self.executed = False
        self.error: BaseException | None = None
        self.give_up = False

    @property
    def left(self) -> list[Context]:
        """The ready tasks that will not be attempted any more."""
        return [*(context for context in self.ready.values() if context is not None), *self.returned]

    @property
    def is_over(self) -> bool:
        return self.run.stop.requested or self.error is not None

    @property
    def closing(self) -> bool:
        return self.is_over or self.executed

    def fail(self, error: BaseException) -> None:
        with self.lock:
            if self.error is None or isinstance(self.error, Leaving):  # any error says more than `Leaving`
                self.error = error
            if isinstance(error, OutageError | Leaving):  # writes would not be answered either
                self.give_up = True
            self.wake_all()

    def wake_all(self) -> None:
        for condition in (self.runnable, self.takeable, self.writable, self.room):
            condition.notify_all()

    def guarded(self, work: Callable[..., None], *args: Any) -> None:
        try:
            work(*args)
        except BaseException as error:  # noqa: BLE001 - a thread's trouble is the run's, and is raised by it
            self.fail(error)

    @property
    def pace(self) -> Pace:
        """The pace, as far as it is known now."""
        if not self.ends:
            # Until an attempt has ended, the time since the first one began is a lower bound.
            begun = self.first_begun_at
            return self._pace_of(None if begun is None else self.run.gate.clock() - begun)
        # Recomputed only when attempts have ended: threads ask for it some twenty times in between.
        if self._known_pace is None or self._known_pace.seconds != self.seconds:
            self._known_pace = self._pace_of(self.seconds)
        return self._known_pace

    def _pace_of(self, seconds: float | None) -> Pace:
        return Pace(self.size, self.workers, seconds, bool(self.ends), self._timing, self._limits)

    @property
    def stands_still(self) -> bool:
        """True if no task has come or gone for a while: one takes a long time, or waits for its retry."""
        return self.run.gate.clock() - self.stirred_at >= self._timing.stands_still

    def may_take(self) -> bool:
        available = self.backlog.available
        if not available or self.loading >= self._limits.loaders:
            return False
        pace = self.pace
        wanted = pace.to_load(self.loads)
        if available < wanted and self.more_soon:  # the next pages may fill the request
            return False
        if not pace.may_load(min(wanted, available), self.next - self.first, self.loads):
            return False
        room = self.size - len(self.open)
        # Fewer tasks than wanted only if a worker is free and no task has come or gone for a while.
        return room >= min(wanted, available) or (room > 0 and self._is_idle() and self.stands_still)

    @property
    def to_take(self) -> int:
        """The number of tasks to load now, regardless of free slots."""
        return min(self.pace.to_load(self.loads), self.backlog.available)

    @property
    def more_soon(self) -> bool:
        """True if more tasks may come at any moment, and may be taken then."""
        return self.backlog.reading and self.backlog.wants_more

    def settle(self, context: Context, outcome: Outcome, *, unused: bool = False) -> None:
        """Record a task's outcome, and release its slot."""
        self.run.finish(context, outcome)  # not under the lock: observers are the user's code
        with self.lock:
            self.leave(context.task.uuid, left=context.gone, unused=unused)

    def leave(self, uuid: UUID, *, left: bool = False, unused: bool = False) -> None:
        """Release a task's slot."""
        self.backlog.release(uuid, left=left, unused=unused)
        self.stirred_at = self.run.gate.clock()
