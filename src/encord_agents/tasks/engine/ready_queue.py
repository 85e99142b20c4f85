"""The ready queue: which loaded task is attempted next, and how many are in flight."""

from __future__ import annotations

import heapq
import itertools
import sys
from collections import deque
from collections.abc import Callable, Iterator

from encord_agents.exceptions import NoRoomError
from encord_agents.tasks.engine.context import Context
from encord_agents.tasks.engine.files_ahead import FilesAhead
from encord_agents.tasks.engine.window import Window

__all__ = ["ReadyQueue"]


class ReadyQueue:
    """The tasks of a window that wait for an attempt or are being attempted.

    Args:
        in_writing: Returns the number of tasks that have been attempted and are not written yet.

    Attributes:
        delayed: A heap of tasks that wait for a retry: when it is due, a tie-breaker, the task.
        short: Tasks whose attempts were aborted because this machine had no room.
        most_running: The number of attempts allowed at once since then.
    """

    def __init__(self, window: Window, files: FilesAhead, *, is_async: bool, in_writing: Callable[[], int]) -> None:
        self.run = window.run
        self._window = window
        self._files = files
        self._is_async = is_async
        self._in_writing = in_writing
        self._timing = window.run.gate.timing
        self.delayed: list[tuple[float, int, Context]] = []
        self.short: deque[Context] = deque()
        self.most_running = sys.maxsize
        self._out: dict[int, Context] = {}  # handed over and not ended yet, by id
        self._ties = itertools.count()
        self._waited_for, self._waited_since = -1, 0.0

    def delay(self, context: Context, seconds: float) -> None:
        """Schedule a task's next attempt, after some seconds."""
        heapq.heappush(self.delayed, (self.run.gate.clock() + seconds, next(self._ties), context))

    @property
    def running(self) -> int:
        """The number of tasks in flight: handed over and not ended yet."""
        return len(self._out)

    def land(self, context: Context) -> None:
        """Record that a task is no longer in flight."""
        self._out.pop(id(context), None)

    @property
    def _may_run(self) -> int:
        """The number of tasks that may be in flight."""
        agent = self.run.agent
        proven = agent.history.does_well
        return min(
            self.most_running,
            self._window.pace.handed_over(
                proven=proven and not self._is_async and not self.run.quiet.is_kept,
                patient=agent.failure_pathway is not None,
            ),
        )

    def contexts(self) -> Iterator[Context]:
        """Yield tasks to attempt, while a worker is free and no service is over its limits: a task whose delay is over
        or, if there is none, the next in order."""
        while True:
            # Held from the choice of a task until it is noted as in flight: in between, it would be in no place, and
            # other threads would miss it. Not over the `yield`: the caller may ask the platform about the task.
            with self._window.lock:
                while True:
                    if self._window.is_over:
                        return
                    wait = self._timing.tick
                    if self.running < self._may_run:
                        now = self.run.gate.clock()
                        # The ticket comes first: without one, no task may leave its place in the order.
                        ticket = self.run.quiet.begin(now)
                        if ticket is None:
                            wait = min(wait, self.run.quiet.wait(now))
                        elif (found := self._next_delayed(now) or self._next_short() or self._next_ready()) is not None:
                            context = found
                            break
                        else:
                            self.run.quiet.end(ticket)
                            if self.delayed:
                                wait = min(wait, max(0.0, self.delayed[0][0] - now))
                        if self._drained():
                            return
                    self._window.runnable.wait(wait)  # never longer than a tick, since a stop notifies no condition
                context.ticket = ticket
                self._out[id(context)] = context
                self._window.alone = context if self.running == 1 and not self._files.fetches else None
            yield context

    def _next_delayed(self, now: float) -> Context | None:
        """Return a task whose delay is over. While a service limits the stage, it is the task with the fewest attempts,
        so that it takes long until one of them has none left."""
        due = [entry for entry in self.delayed if entry[0] <= now] if self.run.quiet.is_kept else self.delayed[:1]
        if not due or due[0][0] > now:
            return None
        chosen = min(due, key=lambda entry: (entry[2].attempts, entry[:2])) if len(due) > 1 else due[0]
        self.delayed.remove(chosen)
        heapq.heapify(self.delayed)
        return chosen[2]

    def _next_short(self) -> Context | None:
        """Return a task for whose file there was no room, once no download in flight takes up room."""
        return self.short.popleft() if self.short and not self._files.fetches else None

    def _next_ready(self) -> Context | None:
        if self._window.returned:
            return self._window.returned.popleft()
        self._let_pass()
        while self._window.first in self._window.ready:
            context = self._window.ready.pop(self._window.first)
            self._window.first += 1
            # From here on the pace has a lower bound, even if the first attempt takes hours.
            self._window.first_begun_at = self._window.first_begun_at or self.run.gate.clock()
            self._files.pump()
            if context is not None:
                return context
        return None

    def _let_pass(self) -> None:
        """Let tasks whose files are here overtake one whose file is slow. It is attempted when its file arrives."""
        while (
            self._window.first not in self._window.ready
            and self._window.first in self._files.fetches
            and self._window.ready
        ):
            now = self.run.gate.clock()
            if self._waited_for != self._window.first:
                self._waited_for, self._waited_since = self._window.first, now
            if now - self._waited_since < self._timing.slow_file:
                return
            self._files.passed.add(self._window.first)
            self._window.first += 1
            self._files.pump()

    def _drained(self) -> bool:
        """Return True if nothing runs, nothing waits to run, and nothing more will come."""
        if (
            self._window.loading
            or self.running
            or self.delayed
            or self._window.returned
            or self._files.passed
            or self.short
        ):
            return False
        if self._window.first != self._window.next:
            return False
        return self._window.backlog.exhausted

    def next_stale(self, context: Context) -> list[Context]:
        """Return the tasks that wait behind a stale one and are stale too, to be checked with the platform together."""
        if not self.run.is_stale(context):
            return []
        with self._window.lock:
            number = self._window.pace.soon - 1
            following = (
                self._window.ready.get(at)
                for at in range(self._window.first, min(self._window.next, self._window.first + number))
            )
            return [other for other in following if other is not None and self.run.is_stale(other)]

    def await_room(self, context: Context, error: NoRoomError) -> bool:
        """Put an attempt off until files of others are removed. Return False if there is nothing to wait for."""
        context.close_file()
        with self._window.lock:
            # Alone, it has had all the room there is: no other file of this run could make more.
            if not error.may_pass or self._window.alone is context:
                return False
            self._files.most_files = 0  # prefetched files take the room that attempts lack
            self.most_running = max(1, min(self.most_running, self.running - 1))
            self.short.append(context)
            return True

    def is_idle(self) -> bool:
        """Return True if a worker is free and there is nothing to attempt."""
        out = self._in_writing()
        out += self.running + len(self.delayed) + len(self.short)
        return self.running < self._window.workers and len(self._window.open) <= out

    @property
    def left(self) -> list[Context]:
        """The tasks that will not be attempted any more."""
        return [*(context for _, _, context in self.delayed), *self._out.values(), *self.short]
