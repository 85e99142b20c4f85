"""Load ahead, write behind: while agents run, the next tasks are loaded and finished ones written, in threads."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import heapq
import itertools
import sys
import threading
from _thread import start_new_thread
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Final
from uuid import UUID

from encord.workflow.stages.agent import AgentTask

from encord_agents.core.dependencies.solve import Attempt
from encord_agents.core.vision import make_ready
from encord_agents.exceptions import NoRoomError, OutageError
from encord_agents.tasks.engine.backlog import Waiting
from encord_agents.tasks.engine.context import Context, Result
from encord_agents.tasks.engine.crew import Crew, SentHomeError
from encord_agents.tasks.engine.event_loop import EventLoop, Going
from encord_agents.tasks.engine.execute import was_cancelled
from encord_agents.tasks.engine.gate import SetUpError
from encord_agents.tasks.engine.interpreter import old_objects_left_alone, quick_switches
from encord_agents.tasks.engine.outcome import Failed, Fault, Outcome, Skipped
from encord_agents.tasks.engine.pace import Pace
from encord_agents.tasks.engine.poll import AT_ONCE, StageReader
from encord_agents.tasks.engine.prefetch import fetch
from encord_agents.tasks.engine.slots import Slots
from encord_agents.tasks.engine.stage_run import StageRun
from encord_agents.tasks.engine.stop import Leaving, next_of
from encord_agents.tasks.engine.write import MAX_AT_ONCE, Writer, in_turn

__all__ = ["Pipeline"]

FIRST_ENDS = 10
"""Attempts that show whether agents wait for anything."""
WAITING = 0.003
"""Seconds that an attempt takes whose agent probably waits for something."""
STILL_FOR = 1.0
"""Seconds without a task that came or went after which one is taken to be waited for that may take long."""
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
        self._feed = feed
        self._timing, self._limits = run.gate.timing, run.gate.limits
        self._window = window
        self._loop = loop
        self._workers = min(max_workers, window)
        self._caller = contextvars.copy_context()  # observers, and what logs, see what the caller set
        # One lock, and who waits on it for what: waking everybody for everything costs more than the work.
        self._lock = threading.RLock()
        self._runnable = threading.Condition(self._lock)  # who hands over: something to attempt
        self._takeable = threading.Condition(self._lock)  # loaders: tasks, and slots for them
        self._writable = threading.Condition(self._lock)  # writers: results
        self._room = threading.Condition(self._lock)  # the poller: fewer tasks waiting
        self._backlog = run.backlog()
        self._reread = False  # the stage is about to be read again, as soon as no moves are under way
        # In the window.
        self._open: set[UUID] = set()
        self._chunks = 0
        self._loading = 0
        self._next = 0  # the number the next task taken gets
        self._turn = 0  # the number whose first attempt is next
        self._ready: dict[int, Context | None] = {}
        self._fetching: deque[tuple[int, Context]] = deque()
        self._fetches: set[int] = set()  # the numbers of those whose files are on their way
        self._passed: set[int] = set()  # of these, those that have let others pass
        self._waited_for, self._waited_since = -1, 0.0
        self._files = 0
        self._bytes = 0
        self._arriving = 0  # of those, being downloaded or about to be
        self._most_files = self._limits.files_ahead
        # Attempts broken off because this machine had no room, and how many may be made at once since.
        self._short: deque[Context] = deque()
        self._most_running = sys.maxsize
        self._alone: Context | None = None  # what is attempted while nothing else of ours takes up room
        self._delayed: list[tuple[float, int, Context]] = []
        self._returned: deque[Context] = deque()  # handed over, and handed back before they began
        self._first_begun_at: float | None = None
        self._ties = itertools.count()
        self._running = 0  # given, and not ended yet
        self._out: dict[int, Context] = {}  # those
        self._ends = 0
        self._seconds = 0.0  # that the last ones took, on average
        self._finished: deque[Result] = deque()
        self._held: deque[Result] = deque()  # saved, and waiting to move until the stage has been read
        self._writing = 0
        self._batches: list[list[Result]] = []  # what is being written
        self._fetched_now: list[Context] = []
        self._executed = False
        self._error: BaseException | None = None
        self._give_up = False
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
        self._stirred_at = run.gate.clock()
        self._decoders = Slots(self._limits.decoders)
        self._downloads = Crew(self._limits.downloads, "encord-agents-fetch")
        self._besides = Crew(self._limits.writers, "encord-agents-beside")
        self._reloads = Crew(self._workers, "encord-agents-reload")

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
        error = None if isinstance(self._error, Leaving) and self.run.stop.requested else self._error
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
            self._fail(error)
            with self._lock:
                self._give_up = self._executed = True
            for _ in range(self._workers):  # whoever would have said so may not be there
                self._given.put(False)
                self._attempted.put(None)
            self._attempted_all.put(None)
        finally:
            self._all_started = True
            self._a_thread_ended.put(None)

    def _start_all(self) -> None:
        works = [(self._read, 1), (self._give, 1), (self._take_back, 1), (self._load, self._limits.loaders)]
        works.append((self._write, self._limits.writers))
        if self._loop is None and self._workers > 1:
            works.append((self._attempt_all, self._workers))
        for work, number in works:
            for i in range(number):
                name = f"encord-agents-{work.__name__.strip('_')}-{i}"
                thread = threading.Thread(target=self._in_thread, args=(work,), name=name, daemon=True)
                thread.start()
                self._threads.append(thread)  # not before: one that could not be started never ends
        if self.run.agent.needs_asset:  # while the first page is on its way
            with contextlib.suppress(SentHomeError):  # the run is over
                self._downloads.assemble()
                if self.run.agent.wants_first_frame:
                    self._downloads.submit(make_ready)

    @property
    def _attempts_here(self) -> bool:
        """Whether the caller's thread is the one that attempts."""
        return self._loop is None and self._workers == 1

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
            attempted.put((context, ended := None if self._is_over else self._attempt(context)))
            if not self._attempts_here:
                continue
            unheard += 1
            if not self.run.executor.looks_done(context, ended):
                # What was handed over ahead waits: the task's next attempt comes first.
                while unheard and not self._is_over:
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
            self._fail(KeyboardInterrupt())  # by the user's own doing: signals do not come here
        except BaseException as error:  # noqa: BLE001 - a thread's trouble is the run's, and is raised by it
            self._fail(error)
        return None

    def _has_to_wait(self, context: Context) -> bool:
        """Whether a task was handed over too early: a service wants quiet now, or too much time has gone by."""
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
        """Whether there is to be the attempt."""
        if (context.attempts or context.postponed) and not self.run.reload(context):
            return False
        self.run.start(context)
        return True

    @property
    def _is_over(self) -> bool:
        return self.run.stop.requested or self._error is not None

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
            if self._is_over:
                over_since = over_since or self.run.gate.clock()
                for context in tuple(self._fetched_now):
                    if context.asset is not None:
                        context.asset.cancel()
                if self._executed:
                    self.run.limit_writing()
                if self._may_leave(over_since):
                    return
            with contextlib.suppress(Empty):
                self._a_thread_ended.get(timeout=self._timing.tick)

    def _may_leave(self, over_since: float) -> bool:
        """Whether what hangs may be left hanging: it holds nothing that the process needs to end."""
        if self.run.stop.leaving or (self._executed and self.run.gate.overdue):
            return True
        return self._executed and self._is_saved() and self.run.gate.clock() - over_since >= self._timing.grace

    def _put_away(self) -> None:
        """What is left when the threads have ended, or are left behind."""
        self._downloads.close()
        self._besides.close()
        self._reloads.close()
        with self._lock:
            self.run.leave([*self._finished, *self._held, *(result for batch in self._batches for result in batch)])
            leftovers = [context for context in self._ready.values() if context is not None]
            leftovers += [context for _, context in self._fetching] + [context for _, _, context in self._delayed]
            leftovers += [*self._out.values(), *self._returned, *self._short]
            self._finished.clear()
            self._held.clear()
            self._batches.clear()
            self._fetching.clear()
            self._ready.clear()
            self._returned.clear()
            self._out.clear()
            self._delayed.clear()
            self._short.clear()
        for context in leftovers:
            context.close()

    # What is attempted, and what came of it

    def _give(self) -> None:
        """Hand over what is to be attempted, in order, a little ahead of those who attempt."""
        going: set[Going] = set()
        try:
            for context in self._contexts():
                if not self.run.is_fresh([context, *self._next_stale(context)]):
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
            for _ in range(self._workers):
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

    def _next_stale(self, context: Context) -> list[Context]:
        """Those that wait for their turn behind a stale one, and are stale too: they are asked for with it."""
        if not self.run.is_stale(context):
            return []
        with self._lock:
            number = self._pace.soon - 1
            following = (self._ready.get(turn) for turn in range(self._turn, min(self._next, self._turn + number)))
            return [other for other in following if other is not None and self.run.is_stale(other)]

    def _drop(self, context: Context) -> None:
        """A task is not attempted: it is gone, or the run is to stop."""
        self.run.quiet.end(context.ticket)
        with self._lock:
            self._running -= 1
            self._out.pop(id(context), None)
        context.close()
        if context.gone:
            self._settle(context, Skipped(), unused=not context.attempts)

    def _landed(self, context: Context, done: Future[Any]) -> None:
        """On the loop, or in whose place it has ended: an attempt is over."""
        ended: Attempt | Fault | _HandedBack | None = None
        if done.cancelled():
            if not self._is_over:  # the agent did it: to itself, or to all tasks of the loop
                ended = was_cancelled(context)
        elif (error := done.exception()) is not None:
            self._fail(error)
        else:
            ended = done.result()
        self._attempted.put((context, ended))

    def _take_back(self) -> None:
        """See to what came of attempts, until all who attempt have ended."""
        try:
            with contextlib.ExitStack() as self._while_attempts_end:
                self._take_back_all()
        finally:
            with self._lock:
                self._executed = True
                if self._is_over:
                    self.run.limit_writing()
                self._wake_all()
            self._attempted_all.put(None)

    def _take_back_all(self) -> None:
        attempting = self._workers if self._loop is None else 1
        while attempting > 0:
            entries = [self._attempted.get()]
            with contextlib.suppress(Empty):
                while True:
                    entries.append(self._attempted.get_nowait())
            attempting -= entries.count(None)
            for entry in entries:
                if entry is not None:
                    self._guarded(self._ended, *entry)
                    self._judged.put(None)
            with self._lock:
                self._runnable.notify()
                if self._finished and self._should_write():
                    self._writable.notify()
                if self._may_take():
                    self._takeable.notify()

    def _ended(self, context: Context, ended: Attempt | Fault | _HandedBack | None) -> None:
        """An attempt is over; ``None``: there was none, or it was interrupted, and the task has no outcome."""
        verdict: Result | Fault | float | None = None
        try:
            if isinstance(ended, Attempt | Fault):
                verdict = self.run.judge(context, ended)
            else:
                self.run.listen(context, None)
        except NoRoomError as error:
            if not self._await_room(context, error):
                raise
            return
        finally:
            with self._lock:
                # It runs or it waits: at no time neither, or the stage could end without its next attempt.
                if isinstance(verdict, float) and not verdict and self._attempts_here:
                    context.ticket = self.run.quiet.begin(self.run.gate.clock())
                    self._to_attempt.appendleft(context)  # before what was handed over ahead
                    self._given.put(True)
                else:
                    self._running -= 1
                    self._out.pop(id(context), None)
                    if isinstance(verdict, float):
                        heapq.heappush(self._delayed, (self.run.gate.clock() + verdict, next(self._ties), context))
                    elif isinstance(ended, _HandedBack):
                        self._returned.append(context)
        if isinstance(ended, _HandedBack):
            return
        if not isinstance(verdict, float):
            self._ends += 1
            if self._ends == FIRST_ENDS and self._seconds >= WAITING:  # else it would only cost
                self._while_attempts_end.enter_context(quick_switches())
            self._seconds += (context.seconds - self._seconds) / min(self._ends, LAST_ENDS)
            context.close()  # its file makes room for others now; what is left to do needs only the labels
        if isinstance(verdict, Fault):
            self._settle(context, Failed(verdict))
        elif isinstance(verdict, Result):
            with self._lock:
                self._finished.append(verdict)

    def _await_room(self, context: Context, error: NoRoomError) -> bool:
        """Have an attempt made again when files of others are removed. False if there is nothing to wait for."""
        context.close_file()
        with self._lock:
            if not error.may_pass or self._alone is context:
                return False
            self._most_files = 0
            self._most_running = max(1, min(self._most_running, self._running - 1))
            self._short.append(context)
            return True

    @property
    def _may_run(self) -> int:
        """How many may be with the workers."""
        agent = self.run.agent
        proven = agent.has_named_a_pathway and not agent.failures_in_a_row
        return min(
            self._most_running,
            self._pace.handed_over(
                proven=proven and self._loop is None and not self.run.quiet.is_kept,
                patient=agent.failure_pathway is not None,
            ),
        )

    @property
    def _pace(self) -> Pace:
        seconds: float | None = self._seconds
        if not self._ends:
            # As long as none has ended, what is known is how long the first one takes at least.
            begun = self._first_begun_at
            seconds = None if begun is None else self.run.gate.clock() - begun
        return Pace(self._window, self._workers, self._timing.load_ahead, seconds, bool(self._ends))

    def _contexts(self) -> Iterator[Context]:
        """What to attempt next: a task whose delay is over, else the next in order; while a worker is free, and no
        service wants quiet."""
        while True:
            with self._lock:
                while True:
                    if self._is_over:
                        return
                    wait = self._timing.tick
                    if self._running < self._may_run:
                        now = self.run.gate.clock()
                        ticket = self.run.quiet.begin(now)
                        if ticket is None:
                            wait = min(wait, self.run.quiet.wait(now))
                        elif (found := self._next_delayed(now) or self._next_short() or self._next_ready()) is not None:
                            context = found
                            break
                        else:
                            self.run.quiet.end(ticket)
                            if self._delayed:
                                wait = min(wait, max(0.0, self._delayed[0][0] - now))
                        if self._drained():
                            return
                    self._runnable.wait(wait)
                context.ticket = ticket
                self._running += 1
                self._out[id(context)] = context
                self._alone = context if self._running == 1 and not self._arriving else None
            yield context

    def _next_delayed(self, now: float) -> Context | None:
        """A task whose delay is over. Of those that a service has refused, the one that it has refused least often: so
        that it takes long until one of them has no attempts left."""
        due = [entry for entry in self._delayed if entry[0] <= now] if self.run.quiet.is_kept else self._delayed[:1]
        if not due or due[0][0] > now:
            return None
        chosen = min(due, key=lambda entry: (entry[2].attempts, entry[:2])) if len(due) > 1 else due[0]
        self._delayed.remove(chosen)
        heapq.heapify(self._delayed)
        return chosen[2]

    def _next_short(self) -> Context | None:
        """A task for whose file there was no room, when no download takes up any that may come free."""
        return self._short.popleft() if self._short and not self._arriving else None

    def _next_ready(self) -> Context | None:
        if self._returned:
            return self._returned.popleft()
        self._let_pass()
        while self._turn in self._ready:
            context = self._ready.pop(self._turn)
            self._turn += 1
            self._first_begun_at = self._first_begun_at or self.run.gate.clock()
            self._pump()
            if context is not None:
                return context
        return None

    def _let_pass(self) -> None:
        """Have a task whose file is slow let others pass whose files are there: it is attempted when its own is."""
        while self._turn not in self._ready and self._turn in self._fetches and self._ready:
            now = self.run.gate.clock()
            if self._waited_for != self._turn:
                self._waited_for, self._waited_since = self._turn, now
            if now - self._waited_since < self._timing.slow_file:
                return
            self._passed.add(self._turn)
            self._turn += 1
            self._pump()

    def _drained(self) -> bool:
        """Nothing runs, nothing waits to run, and nothing more will come."""
        if self._loading or self._running or self._delayed or self._returned or self._passed or self._short:
            return False
        if self._turn != self._next:
            return False
        return self._backlog.exhausted

    # Threads

    def _guarded(self, work: Callable[..., None], *args: Any) -> None:
        try:
            work(*args)
        except BaseException as error:  # noqa: BLE001 - a thread's trouble is the run's, and is raised by it
            self._fail(error)

    def _in_thread(self, work: Callable[[], None]) -> None:
        try:
            with old_objects_left_alone():
                self._caller.copy().run(self._guarded, work)
        finally:
            self._ended_threads.append(threading.current_thread())
            self._a_thread_ended.put(None)

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            if self._error is None or isinstance(self._error, Leaving):
                self._error = error
            if isinstance(error, OutageError | Leaving):
                self._give_up = True
            self._wake_all()

    def _wake_all(self) -> None:
        for condition in (self._runnable, self._takeable, self._writable, self._room):
            condition.notify_all()

    @property
    def _closing(self) -> bool:
        return self._is_over or self._executed

    def _read(self) -> None:
        """Read the pages as fast as they come, and again until nothing moves meanwhile."""
        if self._feed is not None:
            self._take_fed(self._feed)
            return
        run, backlog = self.run, self._backlog
        reader = StageReader(run.agent.stage, run.gate, backlog, run.events, self._lock)
        again = 0
        try:
            while self._await_reading(again):
                while True:
                    reader.read(AT_ONCE)
                    with self._lock:
                        self._reread = False
                        if not backlog.reading:
                            self._wake_all()
                            break
                        if self._may_take():
                            self._takeable.notify()
                        # Tasks that turn out to have left make room again.
                        while not backlog.wants_more and not self._closing:
                            self._room.wait(self._timing.tick)
                        if self._closing:
                            return
                again += 1
        finally:
            with self._lock:
                self._reread = False
                self._wake_all()

    def _take_fed(self, feed: Callable[[float], Sequence[Waiting] | None]) -> None:
        """Take tasks that somebody else has found, until there are no more."""
        while not self._closing and (fed := feed(self._timing.tick)) is not None:
            with self._lock:
                for waiting in fed:
                    self._backlog.add(waiting.task, waiting.seen_at)
                if fed:
                    self._takeable.notify()
        with self._lock:
            self._backlog.close()
            self._wake_all()

    def _await_reading(self, again: int) -> bool:
        """Wait until it is time to read the stage, for the first time or again. Return False if it never will be.

        It is when all that was found is done; or when nothing waits to be loaded, and one task seems to take its time:
        then moves are held meanwhile. Where a reading took so long that moves could not wait for it, there is a pause
        before the next.
        """
        clock, over_at = self.run.gate.clock, self.run.gate.clock()
        with self._lock:
            while self._backlog.must_be_read and not self._closing:
                rested = again <= 1 or clock() - over_at >= self._timing.hold_moves
                due = not self._open or (self._stands_still and rested)
                self._reread = again > 0 and due and not self._backlog.available
                if not again or (self._reread and not self._backlog.moving):
                    return True
                self._room.wait(self._timing.tick)
            return False

    @property
    def _stands_still(self) -> bool:
        """True if no task has come or gone for a while: there is one that takes its time, or waits for its retry."""
        return self.run.gate.clock() - self._stirred_at >= STILL_FOR

    @property
    def _are_idle(self) -> bool:
        """True if somebody could attempt something, and nothing is there."""
        out = len(self._finished) + len(self._held) + self._writing
        out += self._running + len(self._delayed) + len(self._short)
        return self._running < self._workers and len(self._open) <= out

    def _load(self) -> None:
        while (chunk := self._take()) is not None:
            first, tasks, polled_at = chunk
            try:
                contexts, left = self.run.load(tasks, polled_at)
            except BaseException:
                with self._lock:
                    self._loading -= 1
                raise
            by_uuid = {context.task.uuid: context for context in contexts}
            for task in left:
                self.run.skip(task)
            with self._lock:
                self._loading -= 1
                for number, task in enumerate(tasks, first):
                    context = by_uuid.get(task.uuid)
                    if context is None:
                        self._ready[number] = None
                        self._leave(task.uuid, unused=True)
                    elif context.asset is not None:
                        self._fetching.append((number, context))
                    else:
                        self._ready[number] = context
                self._fetching = deque(sorted(self._fetching, key=lambda entry: entry[0]))
                self._pump()
                self._wake_all()

    def _take(self) -> tuple[int, list[AgentTask], float] | None:
        """The next chunk to load, when there are tasks and slots for one; ``None`` when there will be no more."""
        with self._lock:
            while True:
                if self._closing:
                    return None
                room = self._window - len(self._open)
                if self._may_take() and (taken := self._backlog.take(min(self._to_take, room))):
                    break
                self._takeable.wait(self._timing.tick)
            self._open.update(waiting.task.uuid for waiting in taken)
            self._stirred_at = self.run.gate.clock()
            first = self._next
            self._next += len(taken)
            self._chunks += 1
            self._loading += 1
            self._room.notify()
            if self._may_take():
                self._takeable.notify()
            return first, [waiting.task for waiting in taken], min(waiting.seen_at for waiting in taken)

    def _may_take(self) -> bool:
        available = self._backlog.available
        if not available or self._loading >= self._limits.loaders:
            return False
        pace = self._pace
        wanted = pace.to_load(self._chunks)
        if available < wanted and self._more_soon:
            return False
        if not pace.may_load(min(wanted, available), self._next - self._turn, self._chunks):
            return False
        room = self._window - len(self._open)
        return room >= min(wanted, available) or (room > 0 and self._are_idle and self._stands_still)

    @property
    def _to_take(self) -> int:
        """How many tasks to load now, slots aside."""
        return min(self._pace.to_load(self._chunks), self._backlog.available)

    @property
    def _more_soon(self) -> bool:
        """True if more tasks may come at any moment, and may be taken then."""
        return self._backlog.reading and self._backlog.wants_more

    def _pump(self) -> None:
        """Start downloads, in order, as far ahead as is allowed; the task whose turn it is always gets its file."""
        while self._fetching:
            number, context = self._fetching[0]
            ahead = self._files < self._most_files and self._bytes < self._limits.bytes_ahead
            if not (ahead or number <= self._turn):
                return
            self._fetching.popleft()
            if not ahead and self._most_files < self._limits.files_ahead:
                # There is no room for another. Its attempt downloads it, and may have those removed that are not used.
                self._is_there(number, context)
                continue
            promised = self._promised(context)
            self._files += 1
            self._arriving += 1
            self._alone = None
            self._bytes += promised
            self._fetches.add(number)
            try:
                self._downloads.submit(partial(self._guarded, self._fetch, number, context, promised))
            except RuntimeError as error:  # the system has no more threads; or the run is over
                self._fetching.appendleft((number, context))
                self._fetches.discard(number)
                self._arriving -= 1
                if not isinstance(error, SentHomeError):
                    self._fail(error)
                return

    def _promised(self, context: Context) -> int:
        """About how many bytes a file, and its first frame, will take: they are counted before they are there."""
        item = context.item
        if item is None:
            return 0
        frame = 3 * (item.width or 0) * (item.height or 0) if self.run.agent.wants_first_frame else 0
        return (item.file_size or 0) + frame

    def _fetch(self, number: int, context: Context, promised: int) -> None:
        """Download a file ahead and, where the agent wants its first frame, decode that too."""
        assert context.asset is not None
        has_room = True
        if not self._closing:
            self._fetched_now.append(context)
            try:
                slot = self.run.gate.slot(self._decoders)
                has_room = fetch(context, first_frame=self.run.agent.wants_first_frame, decoding=slot)
            finally:
                self._fetched_now.remove(context)
        if not has_room:
            self._put_off(number, context, promised)
            return
        held = context.asset.nbytes

        def release() -> None:
            with self._lock:
                self._files -= 1
                self._bytes -= held
                self._pump()

        with self._lock:
            self._arriving -= 1
            self._bytes += held - promised
            context.release.append(release)
            self._is_there(number, context)

    def _is_there(self, number: int, context: Context) -> None:
        """All is there that is fetched ahead for a task."""
        self._fetches.discard(number)
        if number in self._passed:
            self._passed.discard(number)
            self._returned.append(context)
        else:
            self._ready[number] = context
        if number <= self._turn:
            self._runnable.notify()

    def _put_off(self, number: int, context: Context, promised: int) -> None:
        """There was no room for a file: from now on, no more are downloaded ahead than are there or on their way."""
        with self._lock:
            self._files -= 1
            self._arriving -= 1
            self._bytes -= promised
            self._most_files = min(self._most_files, self._files)
            self._fetches.discard(number)
            if number in self._passed:
                self._is_there(number, context)
            else:
                self._fetching = deque(sorted([*self._fetching, (number, context)], key=lambda entry: entry[0]))
            self._pump()

    def _write(self) -> None:
        writer = self.run.writer(self._beside)
        while (batch := self._take_finished()) is not None:
            size = len(batch)
            try:
                self._write_batch(batch, writer)
            finally:
                with self._lock:
                    if batch in self._batches:
                        self._batches.remove(batch)
                        self.run.leave(batch)
                    self._writing -= size
                    if self._executed or self._may_take():
                        self._wake_all()
                    else:
                        self._room.notify()  # who waits for nothing to move

    def _write_batch(self, batch: list[Result], writer: Writer) -> None:
        moves = False

        def may_move() -> bool:
            nonlocal moves
            with self._lock:
                if not moves and self._must_hold(batch):
                    return False
                if not moves:
                    self._backlog.begin_move()
                moves = True
                return True

        try:
            self._write_results(batch, writer, may_move)
            if not moves:
                with self._lock:  # what is left waits until it may move
                    self._held.extend(batch)
                    batch.clear()
        finally:
            if moves:
                with self._lock:
                    self._backlog.end_move()

    def _write_results(self, batch: list[Result], writer: Writer, may_move: Callable[[], bool]) -> None:
        def settle(result: Result, outcome: Outcome) -> None:
            self._close_slot(result.context, outcome)

        try:
            self.run.write(batch, settle, writer, may_move)
        except (SetUpError, OutageError):
            raise
        except Exception as error:  # noqa: BLE001 - cut off from outside, maybe between a request and its answer
            self._fail(error)
            self.run.write(batch, settle, writer, may_move)

    def _take_finished(self) -> list[Result] | None:
        """Results to write; ``None`` when there will be no more."""
        with self._lock:
            while True:
                if self._give_up or (self._executed and not self._finished and not self._held):
                    return None
                if self._held and not self._must_hold(self._held):
                    results = self._held
                    break
                if self._finished and self._should_write():
                    results = self._finished
                    break
                self._writable.wait(self._timing.tick)
            batch = [results.popleft() for _ in range(min(len(results), MAX_AT_ONCE))]
            self._writing += len(batch)
            self._batches.append(batch)
            return batch

    def _must_hold(self, results: Sequence[Result]) -> bool:
        """True if moves have to wait, since pages that are being read, or are about to be, might skip tasks then.

        Not for longer than the first of them may, nor where their slots are what loading waits for.
        """
        backlog = self._backlog
        if self._closing or self.run.dry_run or not (backlog.reading_again or self._reread):
            return False
        if self._window - len(self._open) < self._to_take:
            return False
        return self.run.gate.clock() - results[0].finished_at < self._timing.hold_moves

    def _should_write(self) -> bool:
        """There are enough results, or one has waited long enough, or nothing else can go on."""
        if len(self._finished) >= self._pace.at_once or self._executed:
            return True
        if len(self._open) == len(self._finished) + len(self._held) + self._writing and not self._may_take():
            more_soon = self._more_soon and 0 < self._backlog.available < self._pace.to_load(self._chunks)
            if not more_soon:
                return True
        return self._is_old()

    def _is_old(self) -> bool:
        """Whether the result that was finished first has waited long enough."""
        return bool(self._finished) and (self.run.gate.clock() - self._finished[0].finished_at >= self._timing.gather)

    def _beside(self, first: Callable[[], None], second: Callable[[], None]) -> None:
        try:
            other = self._besides.submit(second)
        except RuntimeError:  # the system has no more threads
            in_turn(first, second)
            return
        try:
            first()
        finally:
            other.exception()  # wait for it, whatever became of the first
        other.result()

    def _is_saved(self) -> bool:
        """Whether nothing that is finished waits to be written, or for its answer."""
        with self._lock:
            return not self._finished and not self._held and not self._batches

    def _settle(self, context: Context, outcome: Outcome, *, unused: bool = False) -> None:
        self._close_slot(context, outcome, unused=unused)
        with self._lock:
            if self._may_take():
                self._takeable.notify()

    def _close_slot(self, context: Context, outcome: Outcome, *, unused: bool = False) -> None:
        self.run.finish(context, outcome)
        with self._lock:
            self._leave(context.task.uuid, unused=unused)

    def _leave(self, uuid: UUID, *, unused: bool = False) -> None:
        self._open.discard(uuid)
        self._backlog.release(uuid, unused=unused)
        self._stirred_at = self.run.gate.clock()
