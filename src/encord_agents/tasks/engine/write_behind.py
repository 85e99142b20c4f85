"""Write-behind: while agents run, threads gather results, save them, and hold them until they may move."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from encord_agents.exceptions import OutageError
from encord_agents.tasks.engine.context import Result
from encord_agents.tasks.engine.gate import SetUpError
from encord_agents.tasks.engine.outcome import Outcome
from encord_agents.tasks.engine.thread_pool import ThreadPool
from encord_agents.tasks.engine.window import Window
from encord_agents.tasks.engine.write import Writer, sequentially

__all__ = ["WriteBehind"]


class WriteBehind:
    """The results of one stage, from the end of their attempts until they are written.

    Attributes:
        finished: Results that are not written yet, in order.
        held: Results that are saved, and wait to move until the stage has been read.
        batches: Results that are being written, by thread, as long as they have no outcome.
    """

    def __init__(self, window: Window) -> None:
        self.run = window.run
        self._window = window
        self._timing = window.run.gate.timing
        self.finished: deque[Result] = deque()
        self.held: deque[Result] = deque()
        self.batches: list[list[Result]] = []
        self.threads = ThreadPool(window.run.gate.limits.writers, "encord-agents-save")

    @property
    def waiting(self) -> int:
        """The number of tasks that have been attempted and are not written yet."""
        return len(self.finished) + len(self.held) + sum(map(len, self.batches))

    def write(self) -> None:
        writer = self.run.writer(self._concurrently)
        while (batch := self._take_finished()) is not None:
            try:
                self._write_batch(batch, writer)
            finally:
                with self._window.lock:
                    self.batches.remove(batch)
                    self.run.leave(batch)
                    if self._window.executed or self._window.may_take():
                        self._window.wake_all()
                    else:
                        self._window.room.notify()  # the reader may wait for moves to end

    def _write_batch(self, batch: list[Result], writer: Writer) -> None:
        moves = False

        def may_move() -> bool:
            nonlocal moves
            # Checked and noted in one step: a reading that began in between would count as exact.
            with self._window.lock:
                if not moves and self._must_hold(batch):
                    return False
                if not moves:
                    self._window.backlog.begin_move()
                moves = True
                return True

        try:
            self._write_results(batch, writer, may_move)
            if not moves:
                with self._window.lock:  # the others wait until they may move
                    self.held.extend(batch)
                    batch.clear()
        finally:
            if moves:
                with self._window.lock:  # only once the answer is known: until then, tasks may still leave the pages
                    self._window.backlog.end_move()

    def _write_results(self, batch: list[Result], writer: Writer, may_move: Callable[[], bool]) -> None:
        def settle(result: Result, outcome: Outcome) -> None:
            self._window.settle(result.context, outcome)

        try:
            self.run.write(batch, settle, writer, may_move)
        except (SetUpError, OutageError):
            raise
        except Exception as error:  # noqa: BLE001 - cut off from outside, maybe between a request and its answer
            self._window.fail(error)
            self.run.write(batch, settle, writer, may_move)  # asks first about moves without an answer

    def _take_finished(self) -> list[Result] | None:
        """Return results to write, or ``None`` when no more will come."""
        with self._window.lock:
            while True:
                if self._window.give_up or (self._window.executed and not self.finished and not self.held):
                    return None
                # Held results come first: their labels are written, and they have waited longest.
                if self.held and not self._must_hold(self.held):
                    results = self.held
                    break
                if self.finished and self.should_write():
                    results = self.finished
                    break
                self._window.writable.wait(self._timing.tick)
            # In one step: between queue and batch, a result would be in no place, and `is_saved` would miss it.
            batch = [results.popleft() for _ in range(self._window.pace.to_write(len(results)))]
            self.batches.append(batch)
            return batch

    def _must_hold(self, results: Sequence[Result]) -> bool:
        """Return True if moves have to wait, because a reading of the stage, now or soon, might skip tasks otherwise.

        They do not wait longer than the first of them may, nor if loading waits for their slots.
        """
        backlog = self._window.backlog
        if self._window.closing or self.run.dry_run or not (backlog.reading_again or self._window.reread):
            return False
        if self._window.size - len(self._window.open) < self._window.to_take:
            return False
        return self.run.gate.clock() - results[0].finished_at < self._timing.hold_moves

    def should_write(self) -> bool:
        """Return True if there are enough results, one has waited long enough, or nothing else can go on."""
        if len(self.finished) >= self._window.pace.at_once or self._window.executed:
            return True
        if len(self._window.open) == self.waiting and not self._window.may_take():
            more_soon = self._window.more_soon and 0 < self._window.backlog.available < self._window.pace.to_load(
                self._window.loads
            )
            if not more_soon:
                return True
        return bool(self.finished) and self.run.gate.clock() - self.finished[0].finished_at >= self._timing.gather

    def _concurrently(self, first: Callable[[], None], second: Callable[[], None]) -> None:
        try:
            other = self.threads.submit(second)
        except RuntimeError:  # the system has no more threads
            sequentially(first, second)
            return
        try:
            first()
        finally:
            other.exception()  # wait for it even if the first has failed
        other.result()

    def is_saved(self) -> bool:
        """Return True if no result is waiting or being written."""
        with self._window.lock:
            return not self.finished and not self.held and not self.batches

    @property
    def left(self) -> list[Result]:
        """The results that will not be written any more."""
        return [*self.finished, *self.held, *(result for batch in self.batches for result in batch)]
