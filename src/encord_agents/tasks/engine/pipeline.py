"""The way of a stage's tasks: load, execute, write. Reading this is reading the product.

Two drivers share everything but the order in time. `run_chunk` does the three one after the other in the caller's
thread: for queue functions, and for a runner whose window is a single task. `Pipeline` overlaps them: while the agent
runs, the next tasks are loaded and finished ones written, in threads, and never more than the window at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import heapq
import itertools
import logging
import random
import sys
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from encord.project import Project
from encord.user_client import EncordUserClient
from encord.workflow.stages.agent import AgentTask

from encord_agents.core.legible import described
from encord_agents.exceptions import DependencyError, OutageError, UnknownPathwayError
from encord_agents.tasks.dependencies import dep_single_frame
from encord_agents.tasks.engine.context import Agent, Context, Result
from encord_agents.tasks.engine.dead_letter import DeadLetters
from encord_agents.tasks.engine.execute import Executor
from encord_agents.tasks.engine.gate import Gate, SetUpError
from encord_agents.tasks.engine.load import Loader
from encord_agents.tasks.engine.outcome import Failed, Fault, Held, Moved, Outcome, Phase, Skipped
from encord_agents.tasks.engine.poll import MAX_POLLS, TasksInStage, poll
from encord_agents.tasks.engine.report import (
    AttemptFailed,
    ChunkLoaded,
    ChunkWritten,
    Events,
    StagePolled,
    TaskFinished,
    TaskRef,
    TaskStarted,
    TaskWouldWrite,
)
from encord_agents.tasks.engine.retry import decide, retryable
from encord_agents.tasks.engine.stop import Leaving, Stop
from encord_agents.tasks.engine.write import MAX_AT_ONCE, STALE_AFTER, Writer, dry_summary, in_turn

__all__ = ["EventLoop", "Pipeline", "StageRun", "run_chunk", "run_one_by_one"]

logger = logging.getLogger(__name__)

LOADERS = 4
WRITERS = 3
DOWNLOADS = 16
FILES_AHEAD = 64
BYTES_AHEAD = 512 * 1024 * 1024
FIRST_CHUNKS = (25, 50)
"""Small, so that the first agent starts soon."""
SOON_LOADED = 50
"""Tasks to load at once where answers take their time."""
FRESH_FOR = 1.0
"""Seconds a finished result waits for others to be written with."""
FAST_ANSWERS = 0.015
"""Seconds. Where a request can be answered sooner than this, more threads only get in each other's way."""
TIME_TO_WRITE = 30.0
"""Seconds that writing may take once the run is to stop."""
READ_AHEAD = 1000
"""Tasks read from the pages between two chunks, where nothing reads them in the background."""
SWITCH_INTERVAL = 0.0005
"""Seconds a thread may go on while others wait for the interpreter."""
TICK = 0.1
"""Seconds between two looks at whether the run is to stop."""


@dataclass(eq=False)
class StageRun:
    """One agent's turn: what both drivers need, and what they do alike.

    Attributes:
        strict: Whether what no task of the stage can survive ends the run. Queue functions answer with results instead.
        final: Whether a task that fails now will not be tried again by whoever called.
        dead_letters: Whether a task that failed for good goes down the failure pathway; else whoever called sees to it.
    """

    agent: Agent
    project: Project
    client: EncordUserClient
    gate: Gate
    stop: Stop
    events: Events
    executor: Executor
    max_tasks: int | None = None
    dry_run: bool = False
    strict: bool = True
    final: bool = True
    dead_letters: bool = True
    files: Path | None = None
    jitter: Callable[[], float] = random.random
    unwritten: list[TaskRef] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._dead_letters = DeadLetters(self.agent, self.stop, self.strict)
        self.loader = Loader(self.agent, self.project, self.client, self.gate, self.files)
        self.in_stage = TasksInStage(self.gate)

    @property
    def halted(self) -> str | None:
        """Why the agent has ended the run, if it has."""
        return self._dead_letters.halted

    def load(self, tasks: Sequence[AgentTask], polled_at: float) -> tuple[list[Context], list[AgentTask]]:
        """Contexts for tasks, and the tasks that have left the stage since they were polled, if that is a while ago."""
        started = self.gate.clock()
        left: list[AgentTask] = []
        if started - polled_at >= STALE_AFTER:
            there = self.in_stage(self.agent.stage, tasks)
            left = [task for task in tasks if task.uuid not in there]
            tasks = [there[task.uuid] for task in tasks if task.uuid in there]
            polled_at = started
        contexts = self.loader.load(tasks, seen_at=polled_at)
        self.emit_loaded(len(contexts), self.gate.clock() - started)
        return contexts, left

    def emit_loaded(self, tasks: int, seconds: float) -> None:
        self.events.emit(ChunkLoaded(self.agent.stage.uuid, self.agent.stage.title, tasks, seconds))

    def start(self, context: Context) -> None:
        self.events.emit(TaskStarted(context.ref, context.attempts + 1))

    def judge(self, context: Context, ended: Result | Fault) -> Result | Fault | float:
        """After an attempt: what to write, what it finally failed with, or the seconds until the next attempt.

        Raises:
            SetUpError: No task of this stage can succeed.
        """
        agent = self.agent
        if isinstance(ended, Result):
            self._dead_letters.succeeded()
            return ended
        fault = ended
        delay = decide(agent.policy, fault, jitter=self.jitter)
        self.events.emit(AttemptFailed(context.ref, fault, delay))
        if delay is not None:
            return delay
        is_unknown = isinstance(fault.exception, UnknownPathwayError) and fault.phase is Phase.PATHWAY
        if self.strict and is_unknown and not agent.has_named_a_pathway and not self.stop.requested:
            self.finish(context, Failed(fault))
            raise SetUpError(fault.exception)  # type: ignore[arg-type]
        if self.strict and fault.run_scoped and not self.stop.requested:
            self.finish(context, Failed(fault))
            raise SetUpError(_never_made(agent, fault))
        return self._dead_letter(context, fault)

    def _dead_letter(self, context: Context, fault: Fault) -> Result | Fault:
        tried_again = not self.final and retryable(self.agent.policy, fault)
        if not self.dead_letters or tried_again or not self._dead_letters.take(fault):
            return fault
        return Result(context, self.agent.failure_pathway, fault=fault, finished_at=self.gate.clock())

    def finish(self, context: Context, outcome: Outcome) -> None:
        """A task has its outcome."""
        context.close()
        # Queue functions have no order of their own, and their processes live long.
        if self.strict and (isinstance(outcome, Held) or (isinstance(outcome, Failed) and outcome.moved_to is None)):
            self.agent.known.add(context.task.uuid)
        self.events.emit(TaskFinished(context.ref, outcome, context.attempts, context.seconds))

    def skip(self, task: AgentTask) -> None:
        self.events.emit(TaskFinished(self.agent.ref(task), Skipped(), 0, 0.0))

    def write(self, results: list[Result], settle: Callable[[Result, Outcome], None], writer: Writer) -> None:
        """Write results, and take those that are settled out of the list: what raises leaves the others in it."""
        if not results:
            return
        started, before = self.gate.clock(), len(results)

        def settle_once(result: Result, outcome: Outcome) -> None:
            results.remove(result)
            settle(result, outcome)

        try:
            if self.dry_run:
                self._pretend(tuple(results), settle_once)
            else:
                writer.write(tuple(results), settle_once)
        finally:
            stage = self.agent.stage
            seconds = self.gate.clock() - started
            self.events.emit(ChunkWritten(stage.uuid, stage.title, before - len(results), seconds))

    def _pretend(self, results: Sequence[Result], settle: Callable[[Result, Outcome], None]) -> None:
        for result in results:
            self.events.emit(TaskWouldWrite(result.context.ref, dry_summary(result)))
            if result.fault is not None:
                settle(result, Failed(result.fault))
            else:
                settle(result, Moved(result.pathway) if result.pathway else Held())

    def writer(self, beside: Callable[[Callable[[], None], Callable[[], None]], None] = in_turn) -> Writer:
        return Writer(self.agent, self.project, self.client, self.gate, beside)


def _never_made(agent: Agent, fault: Fault) -> DependencyError:
    error = DependencyError(
        f"A run-scoped dependency of {agent.plan.name}() could not be made, in {fault.attempt} attempts: "
        f"{described(fault.exception)}\n"
        "Every task needs it, so the run ends here. What was finished is written.",
        function=agent.plan.name,
    )
    error.__cause__ = fault.exception
    return error


# One after the other


def run_chunk(run: StageRun, tasks: Sequence[AgentTask], *, polled_at: float, loop: EventLoop | None = None) -> int:
    """Load tasks together, run them one by one, write them together: all in the caller's thread.

    Async agents are awaited together, on ``loop``. Whatever ends it early, what is finished is written first.

    Returns:
        How many of the tasks were still in the stage, and so given to the agent.
    """
    contexts, left = run.load(tasks, polled_at)
    for task in left:
        run.skip(task)
    results: list[Result] = []
    interrupted = too_late = False
    try:
        if loop is not None:
            _await_together(run, contexts, loop, results)
        else:
            for context in contexts:
                if run.stop.requested:
                    break
                if (result := _run_through(run, context)) is not None:
                    results.append(result)
        if not run.stop.requested:
            _write(run, results)
    except KeyboardInterrupt:
        interrupted = True
        run.stop.request("interrupt")
        raise
    except Leaving:
        too_late = True
        raise
    finally:
        # An interrupt, a set-up error or a stop: what was finished by then is written all the same.
        try:
            if results and not too_late:
                _limit_writing(run)
                _write(run, results)
        except (Leaving, OutageError, SetUpError):
            if not interrupted:  # else the interrupt goes on; what is not written is listed
                raise
        finally:
            run.unwritten += [result.context.ref for result in results]
            for context in contexts:
                context.close()
    return len(contexts)


def _write(run: StageRun, results: list[Result]) -> None:
    run.write(results, lambda result, outcome: run.finish(result.context, outcome), run.writer())


def _limit_writing(run: StageRun) -> None:
    run.gate.give_up_at(run.gate.clock() + TIME_TO_WRITE)


def _run_through(run: StageRun, context: Context) -> Result | None:
    """Attempts of one task until one is good, or the decision is to stop."""
    while True:
        run.start(context)
        verdict = run.judge(context, run.executor.attempt(context))
        if isinstance(verdict, Result):
            return verdict
        if isinstance(verdict, Fault):
            run.finish(context, Failed(verdict))
            return None
        if run.stop.wait(verdict):
            return None
        run.loader.reload(context)


def _await_together(run: StageRun, contexts: Sequence[Context], loop: EventLoop, results: list[Result]) -> None:
    """The same for async agents, all at once; results are added in the order of the tasks."""
    pending = list(contexts)
    while pending and not run.stop.requested:
        going = []
        for context in pending:
            run.start(context)
            going.append((context, loop.submit(run.executor.attempt_async(context))))
        pending, wait = [], 0.0
        try:
            for context, future in going:
                verdict = run.judge(context, future.result())
                if isinstance(verdict, Result):
                    results.append(verdict)
                elif isinstance(verdict, Fault):
                    run.finish(context, Failed(verdict))
                else:
                    pending.append(context)
                    wait = max(wait, verdict)
        finally:
            for _, future in going:
                future.cancel()
        run.stop.wait(wait)
        for context in pending:
            run.loader.reload(context)


def run_one_by_one(run: StageRun) -> None:
    """A window of one: each task is written before the next is loaded, and there are no threads.

    Nothing reads the pages in the background here, so some are read between every two tasks.
    """
    seen: set[UUID] = set()
    given = 0
    for _ in range(MAX_POLLS):
        found = 0
        moved_while_paging = False
        pages = poll(run.agent.stage, run.gate, seen=frozenset(seen))
        waiting: deque[tuple[AgentTask, float]] = deque()
        later: deque[tuple[AgentTask, float]] = deque()
        complete = False
        while not run.stop.requested and (run.max_tasks is None or given < run.max_tasks):
            if not complete:
                batch = list(itertools.islice(pages, READ_AHEAD))
                complete = len(batch) < READ_AHEAD
                now = run.gate.clock()
                for task in batch:
                    (later if task.uuid in run.agent.known else waiting).append((task, now))
                    seen.add(task.uuid)
                found += len(batch)
                run.events.emit(StagePolled(run.agent.stage.uuid, run.agent.stage.title, len(seen), complete))
            if not waiting and complete:
                waiting, later = later, deque()
            if not waiting:
                if complete:
                    break
                continue
            task, polled_at = waiting.popleft()
            given += run_chunk(run, [task], polled_at=polled_at)
            moved_while_paging |= not complete
        if run.stop.requested or not found or not moved_while_paging:
            return


# Beside each other


class EventLoop:
    """One event loop in a thread of its own, so that async agents run under notebooks' loops too."""

    def __init__(self) -> None:
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="encord-agents-loop", daemon=True)
        self._thread.start()
        self._ready.wait()

    def _serve(self) -> None:
        with asyncio.Runner() as runner:
            self._loop = runner.get_loop()
            self._end = asyncio.Event()
            self._loop.call_soon(self._ready.set)
            runner.run(self._end.wait())

    def submit(self, work: Coroutine[Any, Any, Any]) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()


@contextlib.contextmanager
def _threads_take_turns_quickly() -> Iterator[None]:
    """Have an agent that waited go on soon, though a thread is busy with labels: within half a millisecond, not five.

    With agents that wait 5 ms each this is 5 % of the run. A program that has set less is left alone.
    """
    before = sys.getswitchinterval()
    if before <= SWITCH_INTERVAL:
        yield
        return
    sys.setswitchinterval(SWITCH_INTERVAL)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


@contextlib.contextmanager
def _old_objects_left_alone() -> Iterator[None]:
    """Have the garbage collector pass over what there was before.

    Labels are many small objects, so loading them sets off full collections, and each of these would look at the
    hundreds of thousands of objects that importing the SDK left behind: about a sixth of all CPU time, measured with
    1,000 tasks and requests that take no time. A program that has frozen its objects itself is left alone.
    """
    if gc.get_freeze_count():
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


class Pipeline:
    """Drives one stage: a poller, loaders, downloaders and writers in threads, agents where the caller says.

    One lock guards everything that is shared. A *slot* of the window is taken when a task's loading starts and given
    back when its outcome is known.
    """

    def __init__(self, run: StageRun, window: int, max_workers: int = 1, loop: EventLoop | None = None) -> None:
        self.run = run
        self._window = window
        self._loop = loop
        self._workers = min(max_workers, window)
        # A quarter of the window is loaded, or written, at once: so the four quarters can be in different places.
        self._full = max(1, min(MAX_AT_ONCE, window // 4))
        # One lock, and who waits on it for what: waking everybody for everything costs more than the work.
        self._lock = threading.RLock()
        self._runnable = threading.Condition(self._lock)  # the caller's thread: something to attempt
        self._takeable = threading.Condition(self._lock)  # loaders: tasks, and slots for them
        self._writable = threading.Condition(self._lock)  # writers: results
        self._room = threading.Condition(self._lock)  # the poller: fewer tasks waiting
        # Waiting to be loaded: tasks this run has not seen, then those it has held or failed before, then those whose
        # label row is in the window.
        self._waiting: deque[tuple[AgentTask, float]] = deque()
        self._later: deque[tuple[AgentTask, float]] = deque()
        self._deferred: dict[tuple[UUID, str], deque[tuple[AgentTask, float]]] = {}
        self._paging = True  # pages are being read: more may come at any moment
        self._polled = False  # nothing more will come
        self._moving = False
        self._budget = run.max_tasks
        # In the window.
        self._open: dict[UUID, tuple[UUID, str]] = {}  # tasks, and the label row each is about
        self._rows: set[tuple[UUID, str]] = set()
        self._chunks = 0
        self._loading = 0
        self._next = 0  # the number the next task taken gets
        self._turn = 0  # the number whose first attempt is next
        self._ready: dict[int, Context | None] = {}
        self._fetching: deque[tuple[int, Context]] = deque()
        self._files = 0
        self._bytes = 0
        self._delayed: list[tuple[float, int, Context]] = []
        self._ties = itertools.count()
        self._running = 0
        self._finished: deque[Result] = deque()
        self._writing = 0
        self._executed = False
        self._error: BaseException | None = None
        self._give_up = False

    # The caller's thread

    def drive(self) -> None:
        """Until every task has its outcome and every write its answer, or the run is stopped.

        Raises:
            SetUpError, OutageError: What ended it; what was finished before that is written where it could be.
            KeyboardInterrupt: Likewise.
        """
        threads = [
            threading.Thread(target=self._guarded, args=(work,), name=f"encord-agents-{name}-{i}", daemon=True)
            for name, work, n in (
                ("poll", self._poll, 1),
                ("load", self._load, LOADERS),
                ("write", self._write, WRITERS),
            )
            for i in range(n)
        ]
        with (
            _threads_take_turns_quickly(),
            _old_objects_left_alone(),
            ThreadPoolExecutor(DOWNLOADS, thread_name_prefix="encord-agents-fetch") as self._downloads,
            ThreadPoolExecutor(WRITERS, thread_name_prefix="encord-agents-beside") as self._besides,
        ):
            for thread in threads:
                thread.start()
            interrupted = False
            try:
                self._execute()
            except KeyboardInterrupt:
                interrupted = True
                self.run.stop.request("interrupt")
            except BaseException as error:  # noqa: BLE001 - raised again below, when what is finished is written
                self._fail(error)
            finally:
                interrupted |= self._wind_up(threads)
        if interrupted:
            raise KeyboardInterrupt
        if self._error is not None and not (isinstance(self._error, Leaving) and self.run.stop.requested):
            raise self._error

    def _wind_up(self, threads: Sequence[threading.Thread]) -> bool:
        """No more attempts: write what is finished and see the threads end. Whether that was interrupted."""
        interrupted = False
        with self._lock:
            self._executed = True
            if self.run.stop.requested or self._error is not None:
                _limit_writing(self.run)
            self._wake_all()
        for thread in threads:
            while thread.is_alive():
                try:
                    thread.join(TICK)
                except KeyboardInterrupt:
                    if interrupted or self.run.stop.requested:
                        self.run.stop.leave()
                    interrupted = True
                    self.run.stop.request("interrupt")
                    _limit_writing(self.run)
        with self._lock:
            self.run.unwritten += [result.context.ref for result in self._finished]
            leftovers = [context for context in self._ready.values() if context is not None]
            leftovers += [context for _, context in self._fetching] + [context for _, _, context in self._delayed]
            self._fetching.clear()
        for context in leftovers:
            context.close()
        return interrupted

    def _execute(self) -> None:
        if self._loop is not None:
            self._execute_elsewhere(self._start_on_loop)
        elif self._workers == 1:
            for context in self._contexts(1):
                ended: Result | Fault | None = None
                try:
                    ended = self._attempt(context)
                finally:
                    self._ended(context, ended)
        else:
            with ThreadPoolExecutor(self._workers, thread_name_prefix="encord-agents-worker") as pool:
                self._execute_elsewhere(lambda context: pool.submit(self._attempt, context))

    def _execute_elsewhere(self, start: Callable[[Context], Future[Result | Fault]]) -> None:
        """Keep as many attempts going as there are workers; threads are waited for, coroutines cancelled."""
        going: set[Future[Any]] = set()
        try:
            for context in self._contexts(self._workers):
                future = start(context)
                going.add(future)
                future.add_done_callback(going.discard)
                future.add_done_callback(lambda done, context=context: self._guarded(self._landed, context, done))  # type: ignore[misc]
        finally:
            # A future of a thread that runs cannot be cancelled, and is waited for.
            for future in tuple(going):
                future.cancel()
            with self._lock:
                while self._running:
                    self._runnable.wait(TICK)
                    if self.run.stop.leaving:
                        break

    def _start_on_loop(self, context: Context) -> Future[Result | Fault]:
        assert self._loop is not None
        return self._loop.submit(self._attempt_async(context))

    def _landed(self, context: Context, done: Future[Result | Fault]) -> None:
        ended: Result | Fault | None = None
        try:
            ended = None if done.cancelled() else done.result()
        finally:
            self._ended(context, ended)

    def _attempt(self, context: Context) -> Result | Fault:
        self._before(context)
        return self.run.executor.attempt(context)

    async def _attempt_async(self, context: Context) -> Result | Fault:
        if context.attempts:
            await asyncio.to_thread(self._before, context)
        else:
            self._before(context)
        return await self.run.executor.attempt_async(context)

    def _before(self, context: Context) -> None:
        if context.attempts:
            self.run.loader.reload(context)
        self.run.start(context)

    def _ended(self, context: Context, ended: Result | Fault | None) -> None:
        """An attempt is over; ``None``: it was interrupted, and the task has no outcome."""
        try:
            verdict = None if ended is None else self.run.judge(context, ended)
        finally:
            with self._lock:
                self._running -= 1
                self._runnable.notify()
        if not isinstance(verdict, float):
            context.close()  # its file makes room for others now; what is left to do needs only the labels
        if isinstance(verdict, Fault):
            self._settle(context, Failed(verdict))
        elif isinstance(verdict, Result):
            with self._lock:
                self._finished.append(verdict)
                if self._should_write():
                    self._writable.notify()
        elif verdict is not None:
            with self._lock:
                heapq.heappush(self._delayed, (self.run.gate.clock() + verdict, next(self._ties), context))
                self._runnable.notify()

    def _contexts(self, workers: int) -> Iterator[Context]:
        """What to attempt next: a task whose delay is over, else the next in order; while a worker is free."""
        while True:
            with self._lock:
                while True:
                    if self.run.stop.requested or self._error is not None:
                        return
                    wait = TICK
                    if self._running < workers:
                        now = self.run.gate.clock()
                        if self._delayed and self._delayed[0][0] <= now:
                            context = heapq.heappop(self._delayed)[2]
                            break
                        if (ready := self._next_ready()) is not None:
                            context = ready
                            break
                        if self._delayed:
                            wait = min(wait, max(0.0, self._delayed[0][0] - now))
                        if self._drained():
                            return
                    self._runnable.wait(wait)
                self._running += 1
            yield context

    def _next_ready(self) -> Context | None:
        while self._turn in self._ready:
            context = self._ready.pop(self._turn)
            self._turn += 1
            self._pump()
            if context is not None:
                return context
        return None

    def _drained(self) -> bool:
        """Nothing runs, nothing waits to run, and nothing more will come."""
        if self._loading or self._running or self._delayed or self._turn != self._next:
            return False
        return self._budget == 0 or (self._polled and not (self._waiting or self._later or self._deferred))

    # Threads

    def _guarded(self, work: Callable[..., None], *args: Any) -> None:
        try:
            work(*args)
        except BaseException as error:  # noqa: BLE001 - a thread's trouble is the run's, and is raised by it
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            if self._error is None or isinstance(self._error, Leaving):
                self._error = error
            if isinstance(error, OutageError | Leaving):
                self._give_up = True
            _limit_writing(self.run)
            self._wake_all()

    def _wake_all(self) -> None:
        for condition in (self._runnable, self._takeable, self._writable, self._room):
            condition.notify_all()

    @property
    def _closing(self) -> bool:
        return self.run.stop.requested or self._error is not None or self._executed

    def _poll(self) -> None:
        """Read the pages, as fast as they come, and again if tasks moved meanwhile: offset tokens skip some then."""
        run, seen = self.run, set[UUID]()
        stage = run.agent.stage
        try:
            for turn in range(MAX_POLLS):
                found = 0
                self._moving = False
                self._paging = True
                for task in poll(stage, run.gate, seen=frozenset(seen) if turn else ()):
                    if not self._accept(task):
                        return
                    seen.add(task.uuid)
                    found += 1
                    if found % 500 == 0:
                        run.events.emit(StagePolled(stage.uuid, stage.title, len(seen), complete=False))
                run.events.emit(StagePolled(stage.uuid, stage.title, len(seen), complete=True))
                if not found or not self._moving:
                    return
                with self._lock:
                    self._paging = False
                    self._takeable.notify_all()
                    while self._waiting and self._budget != 0 and not self._closing:
                        self._room.wait(TICK)
                    if self._closing or self._budget == 0:
                        return
        finally:
            with self._lock:
                self._paging = False
                self._polled = True
                self._wake_all()

    def _accept(self, task: AgentTask) -> bool:
        with self._lock:
            queue = self._later if task.uuid in self.run.agent.known else self._waiting
            queue.append((task, self.run.gate.clock()))
            if self._may_take():
                self._takeable.notify()
            # Reading on would only cost memory and requests. Tasks that turn out to have left make room again.
            while self._budget is not None and len(self._waiting) >= self._budget and not self._closing:
                self._room.wait(TICK)
            return not self._closing

    def _load(self) -> None:
        while (chunk := self._take()) is not None:
            first, tasks, polled_at = chunk
            try:
                contexts, left = self.run.load(tasks, polled_at)
            finally:
                with self._lock:
                    self._loading -= 1
            by_uuid = {context.task.uuid: context for context in contexts}
            for task in left:
                self.run.skip(task)
            with self._lock:
                for number, task in enumerate(tasks, first):
                    context = by_uuid.get(task.uuid)
                    if context is None:
                        self._ready[number] = None
                        self._leave(task.uuid)
                        if self._budget is not None:
                            self._budget += 1
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
                if self._may_take():
                    break
                self._takeable.wait(TICK)
            size = self._chunk_size()
            tasks: list[AgentTask] = []
            polled_at = self.run.gate.clock()
            queue = self._waiting or self._later
            while queue and len(tasks) < size:
                task, at = queue.popleft()
                key = (task.data_hash, self.run.agent.branch_of(task))
                if key in self._rows:
                    self._deferred.setdefault(key, deque()).append((task, at))
                    continue
                self._open[task.uuid] = key
                self._rows.add(key)
                tasks.append(task)
                polled_at = min(polled_at, at)
            first = self._next
            self._next += len(tasks)
            if self._budget is not None:
                self._budget -= len(tasks)
            self._chunks += 1
            self._loading += 1
            self._room.notify()
            if self._may_take():
                self._takeable.notify()
            return first, tasks, polled_at

    def _chunk_size(self) -> int:
        return min(self._wanted(), self._window - len(self._open))

    def _wanted(self) -> int:
        """How many tasks to load at once. Small chunks hold their slots for less time; big ones take less work."""
        size = self._full if self._answers_fast else min(self._full, SOON_LOADED)
        if self._chunks < len(FIRST_CHUNKS):
            size = min(size, FIRST_CHUNKS[self._chunks])
        return size if self._budget is None else min(size, self._budget)

    @property
    def _answers_fast(self) -> bool:
        return self.run.gate.quickest < FAST_ANSWERS

    def _may_take(self) -> bool:
        if self._budget == 0 or not (self._waiting or self._later):
            return False
        if not self._waiting and not self._polled:
            return False  # what was held or failed before comes after everything new
        if self._loading >= (1 if self._answers_fast else LOADERS):
            return False
        wanted = self._wanted()
        available = len(self._waiting) if not self._polled else len(self._waiting) or len(self._later)
        if available < wanted and self._paging:
            return False
        return self._window - len(self._open) >= min(wanted, available)

    def _pump(self) -> None:
        """Start downloads, in order, as far ahead as is allowed; the task whose turn it is always gets its file."""
        while self._fetching:
            number, context = self._fetching[0]
            ahead = self._files < FILES_AHEAD and self._bytes < BYTES_AHEAD
            if not (ahead or number <= self._turn):
                return
            self._fetching.popleft()
            self._files += 1
            try:
                self._downloads.submit(self._guarded, self._fetch, number, context)
            except RuntimeError:  # the pool is closed: the run is over
                return

    def _fetch(self, number: int, context: Context) -> None:
        """Download a file ahead and, where the agent wants its first frame, decode that too."""
        assert context.asset is not None
        if not self._closing:
            try:
                context.asset.fetch()
            except Exception as error:  # noqa: BLE001 - the first attempt's fault, whatever it is
                context.trouble = Fault(Phase.LOAD, error, 1)
            else:
                if dep_single_frame in self.run.agent.plan.dependencies:
                    try:
                        context.asset.prepare(first_frame=True)
                    except Exception:  # noqa: BLE001 - the dependency will raise it where it belongs: in the attempt
                        logger.debug("The first frame of %s could not be decoded ahead.", context.task.data_title)
        held = context.asset.nbytes

        def release() -> None:
            with self._lock:
                self._files -= 1
                self._bytes -= held
                self._pump()

        with self._lock:
            self._bytes += held
            context.release.append(release)
            self._ready[number] = context
            if number == self._turn:
                self._runnable.notify()

    def _write(self) -> None:
        writer = self.run.writer(self._beside)
        while (batch := self._take_finished()) is not None:
            size = len(batch)
            try:
                self.run.write(batch, lambda result, outcome: self._settle(result.context, outcome), writer)
            finally:
                with self._lock:
                    self.run.unwritten += [result.context.ref for result in batch]
                    self._writing -= size
                    if self._executed or self._may_take():
                        self._wake_all()

    def _take_finished(self) -> list[Result] | None:
        """Results to write; ``None`` when there will be no more."""
        with self._lock:
            while not (self._finished and self._should_write()):
                if self._give_up or (self._executed and not self._finished):
                    return None
                self._writable.wait(TICK)
            if self._give_up:
                return None
            batch = [self._finished.popleft() for _ in range(min(len(self._finished), MAX_AT_ONCE))]
            self._writing += len(batch)
            # Pages that are still being read may skip tasks once others move.
            self._moving |= self._paging and any(result.pathway is not None for result in batch)
            return batch

    def _should_write(self) -> bool:
        """There are enough results, or one has waited long enough, or nothing else can go on."""
        if len(self._finished) >= self._full or self._executed:
            return True
        if len(self._open) == len(self._finished) + self._writing and not self._may_take():
            return not (self._waiting and self._paging)
        return self.run.gate.clock() - self._finished[0].finished_at >= FRESH_FOR

    def _beside(self, first: Callable[[], None], second: Callable[[], None]) -> None:
        other = self._besides.submit(second)
        try:
            first()
        finally:
            other.exception()  # wait for it, whatever became of the first
        other.result()

    def _settle(self, context: Context, outcome: Outcome) -> None:
        self.run.finish(context, outcome)
        with self._lock:
            self._leave(context.task.uuid)
            if self._may_take():
                self._takeable.notify()

    def _leave(self, uuid: UUID) -> None:
        key = self._open.pop(uuid)
        self._rows.discard(key)
        if (others := self._deferred.get(key)) is not None:
            self._waiting.appendleft(others.popleft())
            if not others:
                del self._deferred[key]
