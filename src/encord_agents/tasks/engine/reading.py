"""Reading a stage in the background, while its tasks are loaded, attempted and written: and again, when that is due."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from encord_agents.tasks.engine.backlog import Waiting
from encord_agents.tasks.engine.poll import StageReader
from encord_agents.tasks.engine.window import Window

__all__ = ["BackgroundReader", "Feed"]

Feed = Callable[[float], Sequence[Waiting] | None]
"""Returns some tasks, or none after so many seconds without any; ``None`` when there will be no more."""


class BackgroundReader:
    """Fills the backlog of a window, in a thread.

    Args:
        feed: In place of the stage's pages: tasks that somebody else has found.
    """

    def __init__(self, window: Window, feed: Feed | None = None) -> None:
        self.run = window.run
        self._window = window
        self._feed = feed
        self._timing = window.run.gate.timing

    def read(self) -> None:
        """Read the pages as fast as they come, and again until nothing moves meanwhile."""
        if self._feed is not None:
            self._take_fed(self._feed)
            return
        run, backlog = self.run, self._window.backlog
        reader = StageReader(run.agent.stage, run.gate, backlog, run.events, self._window.lock)
        again = 0
        try:
            while self._await_reading(again):
                while True:
                    reader.read(run.gate.limits.read_together)
                    with self._window.lock:
                        self._window.reread = False
                        if not backlog.reading:
                            self._window.wake_all()
                            break
                        if self._window.may_take():
                            self._window.takeable.notify()
                        # Tasks that turn out to have left make room again.
                        while not backlog.wants_more and not self._window.closing:
                            self._window.room.wait(self._timing.tick)
                        if self._window.closing:
                            return
                again += 1
        finally:
            with self._window.lock:
                self._window.reread = False  # after an error too: moves must not wait for a reading that never comes
                self._window.wake_all()

    def _take_fed(self, feed: Feed) -> None:
        """Take tasks that somebody else has found, until there are no more."""
        while not self._window.closing and (fed := feed(self._timing.tick)) is not None:
            with self._window.lock:
                for waiting in fed:
                    self._window.backlog.add(waiting.task, waiting.seen_at)
                if fed:
                    self._window.takeable.notify()
        with self._window.lock:
            self._window.backlog.close()
            self._window.wake_all()

    def _await_reading(self, again: int) -> bool:
        """Wait until it is time to read the stage, for the first time or again. Return False if it never will be.

        It is when all that was found is done; or when nothing waits to be loaded, and one task seems to take its time:
        then moves are held meanwhile. Where a reading took so long that moves could not wait for it, there is a pause
        before the next.
        """
        clock, over_at = self.run.gate.clock, self.run.gate.clock()
        with self._window.lock:
            while self._window.backlog.must_be_read and not self._window.closing:
                # Else a stage whose readings take long would hold its moves nearly all the time.
                rested = again <= 1 or clock() - over_at >= self._timing.hold_moves
                due = not self._window.open or (self._window.stands_still and rested)
                self._window.reread = again > 0 and due and not self._window.backlog.available
                # A reading that begins while moves are under way could not be exact, and would be for nothing.
                if not again or (self._window.reread and not self._window.backlog.moving):
                    return True
                self._window.room.wait(self._timing.tick)
            return False
