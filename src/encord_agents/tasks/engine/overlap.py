"""Load ahead, write behind: while agents run, the next tasks are loaded and finished ones written, in threads."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from _thread import start_new_thread
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any, Final

from encord_agents.core.dependencies.solve import Attempt
from encord_agents.core.vision import make_ready
from encord_agents.exceptions import NoRoomError
from encord_agents.tasks.engine.backlog import Waiting
from encord_agents.tasks.engine.context import Context, Result
from encord_agents.tasks.engine.event_loop import EventLoop, Going
from encord_agents.tasks.engine.execute import was_cancelled
from encord_agents.tasks.engine.files_ahead import FilesAhead
from encord_agents.tasks.engine.interpreter import old_objects_left_alone, quick_switches
from encord_agents.tasks.engine.loading import BackgroundLoader
from encord_agents.tasks.engine.outcome import Failed, Fault, Outcome, Skipped
from encord_agents.tasks.engine.reading import BackgroundReader
from encord_agents.tasks.engine.ready_queue import ReadyQueue
from encord_agents.tasks.engine.stage_run import StageRun
from encord_agents.tasks.engine.stop import Leaving, next_of
from encord_agents.tasks.engine.thread_pool import PoolClosedError, ThreadPool
from encord_agents.tasks.engine.window import Window
from encord_agents.tasks.engine.write_behind import WriteBehind

__all__ = ["Pipeline"]

FIRST_ENDS = 10
"""Attempts that show whether agents wait for anything."""
WAITING = 0.003
"""Seconds that an attempt takes whose agent probably waits for something."""
LAST_ENDS = 20
"""Tasks, about, whose average says how fast they are now: one that takes a minute is soon forgotten."""


class _HandedBack:
    """In place of what an attempt brought: it did not begin, because the task has to wait, or to be asked about."""


HANDED_BACK: Final = _HandedBack()


class Pipeline:
    """Drives one stage: a poller, loaders, downloaders and writers in threads, agents where the caller says.

    One lock guards everything that is shared. A *slot* of the window is taken when a task's loading starts and given
    back when its outcome is known.

    Args:
        feed: In place of the stage's pages: returns some tasks, or none after so many seconds without any; ``None``
            when there will be no more.
    """

    def __init__(
        self,
        run: StageRun,
        window: int,
        max_workers: int = 1,
        loop: EventLoop | None = None,
        feed: Callable[[float], Sequence[Waiting] | None] | None = None,
    ) -> None:
        self.run = run
        self._timing, self._limits = run.gate.timing, run.gate.limits
        self._loop = loop
        self._window = Window(run, window, min(max_workers, window), lambda: self._queue.is_idle())
        self._files = FilesAhead(self._window)
        self._writes = WriteBehind(self._window, self._close_slot)
        self._queue = ReadyQueue(
            self._window, self._files, is_async=loop is not None, in_writing=lambda: self._writes.waiting
        )
        self._loading = BackgroundLoader(self._window, self._files)
        self._reading = BackgroundReader(self._window, feed)
        self._caller = contextvars.copy_context()  # observers, and what logs, see what the caller set
        # Between the caller's thread and the engine's there are only queues of this kind, which hold no lock.
        self._given: SimpleQueue[bool] = SimpleQueue()  # one for each of the tasks below; false: no more will come
        self._to_attempt: deque[Context] = deque()
        self._attempted: SimpleQueue[tuple[Context, Attempt | Fault | _HandedBack | None] | None] = SimpleQueue()
        self._judged: SimpleQueue[None] = SimpleQueue()  # one for each attempt, where the caller's thread makes them
        self._attempted_all: SimpleQueue[None] = SimpleQueue()
        self._a_thread_ended: SimpleQueue[None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._ended_threads: list[threading.Thread] = []
        self._all_started = False
        self._claims: list[bool] = []  # the first says whether the engine's threads were to be started, for good
        self._reloads = ThreadPool(self._window.workers, "encord-agents-reload")

    # The caller's thread

    def drive(self) -> None:
        """Until every task has its outcome and every write its answer, or the run is stopped.

        The caller's thread makes attempts, or waits, and nothing else: an interrupt may come between any two of its
        steps, and must find no lock held and no book half kept.

        Raises:
            SetUpError, NoRoomError, OutageError: What ended it; what was finished before that is written where it could
                be.
            KeyboardInterrupt: Likewise.
        """
        interrupted = False
        # An interrupt comes at a call or at a jump backwards, so none comes between `finally` and the inner `try`.
        try:
            try:
                # Not `Thread.start()`: who is interrupted in there may leave a lock held that the thread waits for.
                start_new_thread(self._start, ())
                self._serve()
            except KeyboardInterrupt:
                interrupted = True
                self.run.stop.request("interrupt")
        finally:
            while True:
                try:
                    self._see_threads_end()
                    self._put_away()
                    break
                except KeyboardInterrupt:
                    if interrupted or self.run.stop.requested:
                        self.run.stop.leave()
                    interrupted = True
                    self.run.stop.request("interrupt")
        error = None if isinstance(self._window.error, Leaving) and self.run.stop.requested else self._window.error
        if interrupted:
            raise KeyboardInterrupt from error
        if error is not None:
            raise error

    def _start(self) -> None:
        """In a thread of its own: start the others, unless the caller was interrupted before this one could begin."""
        self._claims.append(True)
        if not self._claims[0]:
            return
        try:
            self._start_all()
        except BaseException as error:  # noqa: BLE001 - such as: the system has no more threads
            self._window.fail(error)
            with self._window.lock:
                self._window.give_up = self._window.executed = True
            for _ in range(self._window.workers):  # whoever would have said so may not be there
                self._given.put(False)
                self._attempted.put(None)
            self._attempted_all.put(None)
        finally:
            self._all_started = True
            self._a_thread_ended.put(None)

    def _start_all(self) -> None:
        works = [
            (self._reading.read, 1),
            (self._give, 1),
            (self._take_back, 1),
            (self._loading.load, self._limits.loaders),
        ]
        works.append((self._writes.write, self._limits.writers))
        if self._loop is None and self._window.workers > 1:
            works.append((self._attempt_all, self._window.workers))
        for work, number in works:
            for i in range(number):
                name = f"encord-agents-{work.__name__.strip('_')}-{i}"
                thread = threading.Thread(target=self._in_thread, args=(work,), name=name, daemon=True)
                thread.start()
                self._threads.append(thread)  # not before: one that could not be started never ends
        if self.run.agent.needs_asset:  # while the first page is on its way
            with contextlib.suppress(PoolClosedError):  # the run is over
                self._files.downloads.start_all()
                if self.run.agent.wants_first_frame:
                    self._files.downloads.submit(make_ready)

    @property
    def _attempts_here(self) -> bool:
        """True if the caller's thread makes the attempts."""
        return self._loop is None and self._window.workers == 1

    def _serve(self) -> None:
        """In the caller's thread, until nothing more is to be attempted."""
        if self._attempts_here:
            self._attempt_all()
        else:
            next_of(self._attempted_all)

    def _attempt_all(self) -> None:
        """Attempt what is given, one after the other, until there will be no more."""
        given, attempted = self._given, self._attempted
        unheard = 0
        while next_of(given):
            context = self._to_attempt.popleft()
            # In one expression: what an attempt brought is with the engine before an interrupt can come between.
            attempted.put((context, ended := None if self._window.is_over else self._attempt(context)))
            if not self._attempts_here:
                continue
            unheard += 1
            if not self.run.executor.looks_done(context, ended):
                # What was handed over ahead waits: the task's next attempt comes first.
                while unheard and not self._window.is_over:
                    with contextlib.suppress(Empty):
                        self._judged.get(timeout=self._timing.tick)
                        unheard -= 1
        attempted.put(None)

    def _attempt(self, context: Context) -> Attempt | Fault | _HandedBack | None:
        try:
            if self._has_to_wait(context):
                return HANDED_BACK
            if not self._before(context):
                return None
            ended = self.run.executor.attempt(context)
            if not self._attempts_here:  # else whoever has it judged waits for that
                self.run.listen(context, ended)
            return ended
        except KeyboardInterrupt:
            if threading.current_thread() is threading.main_thread():
                raise
            self._window.fail(KeyboardInterrupt())  # by the user's own doing: signals do not come here
        except BaseException as error:  # noqa: BLE001 - a thread's trouble is the run's, and is raised by it
            self._window.fail(error)
        return None

    def _has_to_wait(self, context: Context) -> bool:
        """Return True if a task was handed over too early: a service wants quiet now, or too much time has passed."""
        if self.run.quiet.is_void(context.ticket):
            return True
        if context.handed_back == context.attempts or not self.run.is_stale(context):
            return False
        context.handed_back = context.attempts
        return True

    async def _attempt_async(self, context: Context) -> Attempt | Fault | _HandedBack | None:
        if self._has_to_wait(context):
            return HANDED_BACK
        if context.attempts or context.postponed:
            # Not asyncio's own threads: those are waited for at the end, however long a host keeps silent.
            reloaded: list[bool] = []
            await asyncio.wrap_future(self._reloads.submit(lambda: reloaded.append(self._before(context))))
            if not all(reloaded):
                return None
        else:
            self._before(context)
        return await self.run.executor.attempt_async(context)

    def _before(self, context: Context) -> bool:
        """Prepare an attempt. Return False if it is not to be made."""
        if (context.attempts or context.postponed) and not self.run.reload(context):
            return False
        self.run.start(context)
        return True

    def _see_threads_end(self) -> None:
        """Wait for them, as long as they write what is finished. It can be interrupted and called again.

        They say themselves that they end. To be interrupted in `Thread.is_alive()` has it say no ever after.
        """
        self._claims.append(False)
        if not self._claims[0]:
            return
        if self._attempts_here:
            self._attempted.put(None)  # the caller's thread attempts nothing any more
        over_since: float | None = None
        while not self._all_started or len(self._ended_threads) < len(self._threads):
            if self._window.is_over:
                over_since = over_since or self.run.gate.clock()
                for context in tuple(self._files.fetched_now):
                    if context.asset is not None:
                        context.asset.cancel()
                if self._window.executed:
                    self.run.limit_writing()
                if self._may_leave(over_since):
                    return
            with contextlib.suppress(Empty):
                self._a_thread_ended.get(timeout=self._timing.tick)

    def _may_leave(self, over_since: float) -> bool:
        """Return True if threads that hang may be left: they hold nothing that the process needs to end."""
        if self.run.stop.leaving or (self._window.executed and self.run.gate.overdue):
            return True
        return (
            self._window.executed
            and self._writes.is_saved()
            and self.run.gate.clock() - over_since >= self._timing.grace
        )

    def _put_away(self) -> None:
        """List what is not written, and close what is left, when the threads have ended or are left behind."""
        for pool in (self._files.downloads, self._writes.threads, self._reloads):
            pool.close()
        parts = (self._window, self._files, self._queue)
        with self._window.lock:
            self.run.leave(self._writes.left)
            leftovers = [context for part in parts for context in part.left]
            for part in (self._writes, *parts):
                part.clear()
        for context in leftovers:
            context.close()

    # What is attempted, and what came of it

    def _give(self) -> None:
        """Hand over what is to be attempted, in order, a little ahead of those who attempt."""
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
                        while going:
                            self.run.stop.pause(self._timing.tick)
                finally:
                    self._attempted.put(None)

    def _drop(self, context: Context) -> None:
        """A task is not attempted: it is gone, or the run is to stop."""
        self.run.quiet.end(context.ticket)
        with self._window.lock:
            self._queue.running -= 1
            self._queue.out.pop(id(context), None)
        context.close()
        if context.gone:
            self._settle(context, Skipped(), unused=not context.attempts)

    def _landed(self, context: Context, done: Future[Any]) -> None:
        """On the loop, or in whose place it has ended: an attempt is over."""
        ended: Attempt | Fault | _HandedBack | None = None
        if done.cancelled():
            if not self._window.is_over:  # the agent did it: to itself, or to all tasks of the loop
                ended = was_cancelled(context)
        elif (error := done.exception()) is not None:
            self._window.fail(error)
        else:
            ended = done.result()
        self._attempted.put((context, ended))

    def _take_back(self) -> None:
        """See to what came of attempts, until all who attempt have ended."""
        try:
            with contextlib.ExitStack() as self._while_attempts_end:
                self._take_back_all()
        finally:
            with self._window.lock:
                self._window.executed = True
                if self._window.is_over:
                    self.run.limit_writing()
                self._window.wake_all()
            self._attempted_all.put(None)

    def _take_back_all(self) -> None:
        attempting = self._window.workers if self._loop is None else 1
        while attempting > 0:
            entries = [self._attempted.get()]
            with contextlib.suppress(Empty):
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
                if self._window.may_take():
                    self._window.takeable.notify()

    def _ended(self, context: Context, ended: Attempt | Fault | _HandedBack | None) -> None:
        """An attempt is over; ``None``: there was none, or it was interrupted, and the task has no outcome."""
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
                # It runs or it waits: at no time neither, or the stage could end without its next attempt.
                if isinstance(verdict, float) and not verdict and self._attempts_here:
                    context.ticket = self.run.quiet.begin(self.run.gate.clock())
                    self._to_attempt.appendleft(context)  # before what was handed over ahead
                    self._given.put(True)
                else:
                    self._queue.running -= 1
                    self._queue.out.pop(id(context), None)
                    if isinstance(verdict, float):
                        self._queue.delay(context, verdict)
                    elif isinstance(ended, _HandedBack):
                        self._window.returned.append(context)
        if isinstance(ended, _HandedBack):
            return
        if not isinstance(verdict, float):
            self._window.ends += 1
            if self._window.ends == FIRST_ENDS and self._window.seconds >= WAITING:  # else it would only cost
                self._while_attempts_end.enter_context(quick_switches())
            self._window.seconds += (context.seconds - self._window.seconds) / min(self._window.ends, LAST_ENDS)
            context.close()  # its file makes room for others now; what is left to do needs only the labels
        if isinstance(verdict, Fault):
            self._settle(context, Failed(verdict))
        elif isinstance(verdict, Result):
            with self._window.lock:
                self._writes.finished.append(verdict)

    # Threads

    def _in_thread(self, work: Callable[[], None]) -> None:
        try:
            with old_objects_left_alone():
                self._caller.copy().run(self._window.guarded, work)
        finally:
            self._ended_threads.append(threading.current_thread())
            self._a_thread_ended.put(None)

    def _settle(self, context: Context, outcome: Outcome, *, unused: bool = False) -> None:
        self._close_slot(context, outcome, unused=unused)
        with self._window.lock:
            if self._window.may_take():
                self._window.takeable.notify()

    def _close_slot(self, context: Context, outcome: Outcome, *, unused: bool = False) -> None:
        self.run.finish(context, outcome)
        with self._window.lock:
            self._window.leave(context.task.uuid, unused=unused)
