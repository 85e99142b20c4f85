"""The overlapping driver: while agents run, threads load the next tasks and write finished ones."""

from __future__ import annotations

import contextlib
import contextvars
import threading
from _thread import start_new_thread
from collections.abc import Callable
from functools import partial

from encord_agents.core.queues import Empty, SimpleQueue
from encord_agents.core.tracebacks import set_cause
from encord_agents.core.vision import make_ready
from encord_agents.tasks.engine.attempts import Attempts
from encord_agents.tasks.engine.event_loop import EventLoop
from encord_agents.tasks.engine.files_ahead import FilesAhead
from encord_agents.tasks.engine.interpreter import old_objects_left_alone
from encord_agents.tasks.engine.loading import load_ahead
from encord_agents.tasks.engine.reading import Feed, read_pages, take_fed
from encord_agents.tasks.engine.ready_queue import ReadyQueue
from encord_agents.tasks.engine.stage_run import StageRun
from encord_agents.tasks.engine.stop import Leaving
from encord_agents.tasks.engine.thread_pool import PoolClosedError
from encord_agents.tasks.engine.window import Window
from encord_agents.tasks.engine.write_behind import WriteBehind

__all__ = ["Pipeline"]


class Pipeline:
    """Drives one stage: a reader, loaders, downloaders and writers in threads, while workers run the agent.

    A worker is the caller's thread, one of several threads, or the event loop. The parts of the pipeline, each with a
    module, share one `Window`, under one lock. This module manages the lifetime of the threads.

    Args:
        feed: A source of the stage's tasks that replaces its pages.
    """

    def __init__(
        self,
        run: StageRun,
        window: int,
        max_workers: int = 1,
        loop: EventLoop | None = None,
        feed: Feed | None = None,
    ) -> None:
        self.run = run
        # A lambda, since the window and the queue need each other.
        self._window = Window(run, window, min(max_workers, window), lambda: self._queue.is_idle())
        self._files = FilesAhead(self._window)
        self._writes = WriteBehind(self._window)
        self._queue = ReadyQueue(
            self._window, self._files, is_async=loop is not None, in_writing=lambda: self._writes.waiting
        )
        self._attempts = Attempts(self._window, self._queue, self._writes, loop)
        self._read = partial(read_pages, self._window) if feed is None else partial(take_fed, self._window, feed)
        self._caller = contextvars.copy_context()  # observers and log handlers see the caller's variables
        self._a_thread_ended: SimpleQueue[None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._ended_threads: list[threading.Thread] = []
        self._all_started = False
        # The first entry decides for good whether the engine's threads start. Two threads race to append it, which
        # is one atomic step, so that no lock is needed.
        self._claims: list[bool] = []

    def drive(self) -> None:
        """Drive the stage until every task has its outcome and every write its answer, or the run is stopped.

        The caller's thread makes attempts, or waits, and nothing else: an interrupt may come between any two of its
        steps, and must find no lock held and no bookkeeping half done.

        Raises:
            SetUpError, NoRoomError, OutageError: The stage run ended with this error; results that were finished before
                it are written if possible.
            BaseException: Likewise, an exception that came from outside, such as a `KeyboardInterrupt`.
        """
        interrupt: BaseException | None = None
        # Python raises interrupts at calls and backward jumps, so none comes between `finally` and the inner `try`.
        try:
            try:
                # Not `Thread.start()`: an interrupt inside it may leave a lock held that the thread waits for.
                start_new_thread(self._start, ())
                self._attempts.serve()
            except BaseException as error:  # noqa: BLE001 - raised at the end
                interrupt = error
                self.run.stop.interrupt(error)
        finally:
            while True:
                try:
                    self._see_threads_end()
                    self._put_away()
                    break
                except BaseException as error:
                    if self.run.stop.leaving and isinstance(error, Exception):
                        raise
                    if interrupt is not None or self.run.stop.requested:
                        self.run.stop.leave()
                    interrupt = error if interrupt is None else interrupt
                    self.run.stop.interrupt(error)
        trouble = None if isinstance(self._window.error, Leaving) and self.run.stop.requested else self._window.error
        if interrupt is not None:
            if trouble is not None:
                set_cause(interrupt, trouble)
            raise interrupt
        if trouble is not None:
            raise trouble

    def _start(self) -> None:
        """Start the other threads, from a thread of its own, unless the caller was interrupted before it began."""
        self._claims.append(True)
        if not self._claims[0]:
            return
        try:
            self._start_all()
        except BaseException as error:  # noqa: BLE001 - such as: the system has no more threads
            self._window.fail(error)
            with self._window.lock:
                self._window.give_up = self._window.executed = True
            self._attempts.abandon()
        finally:
            self._all_started = True
            self._a_thread_ended.put(None)

    def _start_all(self) -> None:
        limits = self.run.gate.limits
        works: list[tuple[str, Callable[[], None], int]] = [
            ("read", self._read, 1),
            ("hand-over", self._attempts.hand_over, 1),
            ("take-back", self._attempts.take_back, 1),
            ("load", partial(load_ahead, self._window, self._files), limits.loaders),
            ("write", self._writes.write, limits.writers),
            ("attempt", self._attempts.attempt, self._attempts.threads),
        ]
        for name, work, number in works:
            for i in range(number):
                thread = threading.Thread(
                    target=self._in_thread, args=(work,), name=f"encord-agents-{name}-{i}", daemon=True
                )
                thread.start()
                self._threads.append(thread)  # last: a thread that could not be started never reports its end
        if self.run.agent.needs_asset:  # while the first page is in flight
            with contextlib.suppress(PoolClosedError):  # the run is over
                self._files.downloads.start_all()
                if self.run.agent.wants_first_frame:
                    self._files.downloads.submit(make_ready)

    def _in_thread(self, work: Callable[[], None]) -> None:
        try:
            with old_objects_left_alone():
                # A copy for each thread, since only one thread at a time may be inside a context.
                self._caller.copy().run(self._window.guarded, work)
        finally:
            # Before the wake-up, so that the caller's thread counts this one when it wakes.
            self._ended_threads.append(threading.current_thread())
            self._a_thread_ended.put(None)

    def _see_threads_end(self) -> None:
        """Wait for the threads to end, as long as they write finished results. May be interrupted and called again.

        They report their own end: if `Thread.is_alive()` is interrupted by a signal, it returns False from then on.
        """
        self._claims.append(False)
        if not self._claims[0]:
            return
        self._attempts.start_no_more()
        over_since: float | None = None
        while not self._all_started or len(self._ended_threads) < len(self._threads):
            if self._window.is_over:
                over_since = over_since or self.run.gate.clock()
                # `copy()` is atomic; an iterator would fail if another thread changed the dictionary meanwhile.
                for context in self._files.fetches.copy().values():
                    if context.asset is not None:
                        context.asset.cancel()
                if self._window.executed:
                    self.run.limit_writing()
                if self._may_leave(over_since):
                    return
            with contextlib.suppress(Empty):
                self._a_thread_ended.get(timeout=self.run.gate.timing.tick)

    def _may_leave(self, over_since: float) -> bool:
        """Return True if threads that hang may be left behind: they hold nothing that the process needs to end."""
        if self.run.stop.leaving or (self._window.executed and self.run.gate.overdue):
            return True
        return (
            self._window.executed
            and self._writes.is_saved()
            and self.run.gate.clock() - over_since >= self.run.gate.timing.grace
        )

    def _put_away(self) -> None:
        """Record unwritten results, and close files, once the threads have ended or are left behind."""
        for pool in (self._files.downloads, self._writes.threads, self._attempts.reloads):
            pool.close()
        with self._window.lock:
            # A writer that is left behind must not write results that are listed as unwritten.
            self._window.give_up = True
            self.run.leave(self._writes.left)
            leftovers = [*self._window.left, *self._files.left, *self._queue.left]
        for context in leftovers:
            context.close()
