"""Attempts while other tasks are loaded and written: their workers, and the path of their results.

Three kinds of threads meet here. One thread *hands over* tasks in the order of the ready queue, a little ahead. The
*workers* make the attempts: the caller's thread, some threads of the engine, or the event loop. Another thread *takes
back* ended attempts and judges them, so that no thread that an interrupt can reach uses the engine's locks or changes
its bookkeeping.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from concurrent.futures import Future
from typing import Any, Final, Literal

from encord_agents.core.dependencies.solve import Attempt
from encord_agents.core.queues import Empty, SimpleQueue
from encord_agents.exceptions import NoRoomError
from encord_agents.tasks.engine.context import Context, Result
from encord_agents.tasks.engine.event_loop import EventLoop, Going
from encord_agents.tasks.engine.execute import was_cancelled
from encord_agents.tasks.engine.interpreter import quick_switches
from encord_agents.tasks.engine.outcome import Failed, Fault, Skipped
from encord_agents.tasks.engine.ready_queue import ReadyQueue
from encord_agents.tasks.engine.stop import Leaving, next_of
from encord_agents.tasks.engine.thread_pool import ThreadPool
from encord_agents.tasks.engine.window import Window
from encord_agents.tasks.engine.write_behind import WriteBehind

__all__ = ["Attempts"]


HANDED_BACK: Final = "handed back"
"""In place of an attempt that did not begin: the task has to wait, or the platform must be asked about it."""

Ended = Attempt | Fault | Literal["handed back"] | None
"""The end of an attempt; ``None``: there was none, or it was interrupted, and the task has no outcome."""


class Attempts:
    """The attempts of one stage.

    Args:
        loop: The event loop of async agents. Default: the agent is not async, and threads make the attempts.
    """

    def __init__(self, window: Window, queue: ReadyQueue, writes: WriteBehind, loop: EventLoop | None) -> None:
        self.run = window.run
        self._window = window
        self._queue = queue
        self._writes = writes
        self._loop = loop
        self._timing, self._limits = window.run.gate.timing, window.run.gate.limits
        # The caller's thread and the engine's share only queues of this kind, which hold no lock: an interrupt inside
        # `queue.Queue` or `Future.result()` may leave a lock held that another thread waits for.
        self._given: SimpleQueue[bool] = SimpleQueue()  # True for each of the tasks below; False: no more will come
        self._to_attempt: deque[Context] = deque()  # so that a retry can go before tasks handed over ahead
        self._attempted: SimpleQueue[tuple[Context, Ended] | None] = SimpleQueue()
        self._judged: SimpleQueue[None] = SimpleQueue()  # one for each judged attempt, for the caller's thread
        self._all_ended: SimpleQueue[None] = SimpleQueue()
        self.reloads = ThreadPool(window.workers, "encord-agents-reload")

    @property
    def are_made_here(self) -> bool:
        """True if the caller's thread makes the attempts."""
        return self._loop is None and self._window.workers == 1

    @property
    def threads(self) -> int:
        """The number of engine threads that make attempts."""
        return self._window.workers if self._loop is None and self._window.workers > 1 else 0

    # The workers

    def serve(self) -> None:
        """Make the attempts in the caller's thread, or wait there while others make them, until there are no more."""
        if self.are_made_here:
            self.attempt()
        else:
            next_of(self._all_ended, self._timing.tick)

    def attempt(self) -> None:
        """Attempt the tasks handed over, one after the other, until no more will come."""
        given, attempted, tick = self._given, self._attempted, self._timing.tick
        unheard = 0
        while next_of(given, tick):
            context = self._to_attempt.popleft()
            # In one expression, so that no interrupt can come in between and lose the end of an attempt.
            attempted.put((context, ended := None if self._window.is_over else self._attempt(context)))
            if not self.are_made_here:
                continue
            unheard += 1
            if not self.run.executor.looks_done(context, ended):
                # Tasks handed over ahead wait: this one's next attempt comes first.
                while unheard and not self._window.is_over:
                    with contextlib.suppress(Empty):
                        self._judged.get(timeout=tick)
                        unheard -= 1
        attempted.put(None)

    def _attempt(self, context: Context) -> Ended:
        try:
            if self._has_to_wait(context):
                return HANDED_BACK
            if not self._prepare(context):
                return None
            ended = self.run.executor.attempt(context)
            # At once, so that other workers are held back too; the caller's thread waits for `judge` instead.
            if not self.are_made_here:
                self.run.listen(context, ended)
            return ended
        except BaseException as error:
            if threading.current_thread() is threading.main_thread() and not isinstance(error, Exception | Leaving):
                raise  # a Ctrl-C's, or another signal's: signals reach this thread only
            self._window.fail(error)  # a thread's trouble is the run's, and is raised by it
        return None

    async def _attempt_async(self, context: Context) -> Ended:
        if self._has_to_wait(context):
            return HANDED_BACK
        if context.attempts or context.postponed:
            # Not asyncio's own thread pool, which is joined at the end, however long a host does not answer.
            if not await asyncio.wrap_future(self.reloads.submit(lambda: self._prepare(context))):
                return None
        else:
            self._prepare(context)
        return await self.run.executor.attempt_async(context)

    def _has_to_wait(self, context: Context) -> bool:
        """Return True if a task was handed over too early: a service is over its limits now, or the task is stale."""
        if self.run.quiet.is_void(context.ticket):
            return True
        # Once per attempt: if the platform refuses to say where a task is, it stays stale however often it is asked.
        if context.handed_back == context.attempts or not self.run.is_stale(context):
            return False
        context.handed_back = context.attempts
        return True

    def _prepare(self, context: Context) -> bool:
        """Prepare an attempt. Return False if it must not be made."""
        if (context.attempts or context.postponed) and not self.run.reload(context):
            return False
        self.run.start(context)
        return True

    # Handing over

    def hand_over(self) -> None:
        """Hand over tasks to attempt, in order, until no more will come."""
        going: set[Going] = set()
        try:
            for context in self._queue.contexts():
                if not self.run.is_fresh([context, *self._queue.next_stale(context)]):
                    self._drop(context)
                    continue
                if self._loop is None:
                    self._to_attempt.append(context)
                    self._given.put(True)
                    continue
                one = self._loop.submit(self._attempt_async(context))
                going.add(one)
                one.add_done_callback(lambda done, context=context: self._landed(context, done))  # type: ignore[misc]
                one.add_done_callback(going.discard)
        finally:
            for _ in range(self._window.workers):
                self._given.put(False)
            if self._loop is not None:
                try:
                    for one in tuple(going):
                        one.cancel()
                    with contextlib.suppress(Leaving):
                        while going:  # cancelled coroutines still tear down their dependencies
                            self.run.stop.pause(self._timing.tick)
                finally:
                    self._attempted.put(None)

    def _drop(self, context: Context) -> None:
        """Take back a task that is not attempted: it is gone, or the run is stopping."""
        self.run.quiet.end(context.ticket)
        with self._window.lock:
            self._queue.land(context)
        context.close()
        if context.gone:
            self._window.settle(context, Skipped(), unused=not context.attempts)
            self._notify_loaders()

    def _landed(self, context: Context, done: Future[Any]) -> None:
        """Pass on the end of a coroutine, on the loop, or after the loop has ended."""
        ended: Ended = None
        if done.cancelled():
            if not self._window.is_over:  # an agent cancelled it: itself, or all tasks of the loop
                ended = was_cancelled(context)
        elif (error := done.exception()) is not None:
            self._window.fail(error)
        else:
            ended = done.result()
        self._attempted.put((context, ended))

    # Taking back

    def take_back(self) -> None:
        """Judge ended attempts until all workers have ended."""
        try:
            with contextlib.ExitStack() as self._while_attempts_end:
                self._take_back_all()
        finally:
            with self._window.lock:
                self._window.executed = True
                if self._window.is_over:
                    self.run.limit_writing()
                self._window.wake_all()
            self._all_ended.put(None)

    def _take_back_all(self) -> None:
        attempting = self._window.workers if self._loop is None else 1
        while attempting > 0:
            entries = [self._attempted.get()]
            with contextlib.suppress(Empty):  # drain the queue, since each round wakes other threads once
                while True:
                    entries.append(self._attempted.get_nowait())
            attempting -= entries.count(None)
            for entry in entries:
                if entry is not None:
                    self._window.guarded(self._ended, *entry)
                    self._judged.put(None)
            with self._window.lock:
                self._window.runnable.notify()
                if self._writes.finished and self._writes.should_write():
                    self._window.writable.notify()
                self._notify_loaders()

    def _ended(self, context: Context, ended: Ended) -> None:
        verdict: Result | Fault | float | None = None
        try:
            if isinstance(ended, Attempt | Fault):
                verdict = self.run.judge(context, ended)
            else:
                self.run.listen(context, None)
        except NoRoomError as error:
            if not self._queue.await_room(context, error):
                raise
            return
        finally:
            with self._window.lock:
                # One step: a task that neither runs nor waits, even briefly, could let the stage end without its retry.
                if isinstance(verdict, float) and not verdict and self.are_made_here:
                    context.ticket = self.run.quiet.begin(self.run.gate.clock())
                    self._to_attempt.appendleft(context)  # before the tasks that were handed over ahead
                    self._given.put(True)
                else:
                    self._queue.land(context)
                    if isinstance(verdict, float):
                        self._queue.delay(context, verdict)
                    elif ended is HANDED_BACK:
                        self._window.returned.append(context)
        if ended is HANDED_BACK:
            return
        if not isinstance(verdict, float):
            self._measure(context)
            context.close()  # its file makes room for others now: writing needs only the labels
        if isinstance(verdict, Fault):
            self._window.settle(context, Failed(verdict))
        elif isinstance(verdict, Result):
            with self._window.lock:
                self._writes.finished.append(verdict)

    def _measure(self, context: Context) -> None:
        """Include a task's attempts in the average duration, on which the pace depends."""
        window = self._window
        window.ends += 1
        if window.ends == self._limits.first_ends and window.seconds >= self._timing.waiting_attempt:
            self._while_attempts_end.enter_context(quick_switches())  # would only cost time if no agent waits
        window.seconds += (context.seconds - window.seconds) / min(window.ends, self._limits.last_ends)

    def _notify_loaders(self) -> None:
        with self._window.lock:
            if self._window.may_take():
                self._window.takeable.notify()

    # The end

    def start_no_more(self) -> None:
        """Report that the caller's thread makes no more attempts, in case an interrupt kept `attempt` from it."""
        if self.are_made_here:
            self._attempted.put(None)

    def abandon(self) -> None:
        """Release all threads that wait for threads which could not be started."""
        for _ in range(self._window.workers):
            self._given.put(False)
            self._attempted.put(None)
        self._all_ended.put(None)
