"""Reading a stage in the background, and again when that is due, while its tasks are loaded, attempted and written."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from encord_agents.tasks.engine.backlog import Waiting
from encord_agents.tasks.engine.poll import StageReader
from encord_agents.tasks.engine.window import Window

__all__ = ["Feed", "read_pages", "take_fed"]

Feed = Callable[[float], Sequence[Waiting] | None]
"""Takes a timeout in seconds. Returns some tasks, none after the timeout, or ``None`` when no more will come."""


def read_pages(window: Window) -> None:
    """Read the stage's pages into the backlog as fast as they come, and again until a reading had no moves."""
    run, backlog = window.run, window.backlog
    reader = StageReader(run.agent.stage, run.gate, backlog, run.events, window.lock)
    again = 0
    try:
        while _await_reading(window, again):
            while True:
                reader.read(run.gate.limits.read_together)
                with window.lock:
                    window.reread = False
                    if not backlog.reading:
                        window.wake_all()
                        break
                    if window.may_take():
                        window.takeable.notify()
                    # It may want more again: tasks that turn out to have left do not count towards the budget.
                    while not backlog.wants_more and not window.closing:
                        window.room.wait(run.gate.timing.tick)
                    if window.closing:
                        return
            again += 1
    finally:
        with window.lock:
            window.reread = False  # after an error too: moves must not wait for a reading that never comes
            window.wake_all()


def _await_reading(window: Window, again: int) -> bool:
    """Wait until it is time to read the stage, for the first time or again. Return False if it never will be.

    It is time when all tasks found so far are done; or when none waits to be loaded, and one seems to take a long time:
    then moves are held meanwhile. If a reading took so long that moves could not wait for it, there is a pause before
    the next.
    """
    clock, timing, backlog = window.run.gate.clock, window.run.gate.timing, window.backlog
    over_at = clock()
    with window.lock:
        while backlog.must_be_read and not window.closing:
            # Otherwise a stage whose readings take long would hold its moves nearly all the time.
            rested = again <= 1 or clock() - over_at >= timing.hold_moves
            due = not window.open or (window.stands_still and rested)
            # Set before the moves in flight have ended, so that no new ones begin.
            window.reread = again > 0 and due and not backlog.available
            # A reading that begins while moves are in flight could not be exact, and would be wasted.
            if not again or (window.reread and not backlog.moving):
                return True
            window.room.wait(timing.tick)
        return False


def take_fed(window: Window, feed: Feed) -> None:
    """Add tasks from a feed to the backlog, until no more will come."""
    while not window.closing and (fed := feed(window.run.gate.timing.tick)) is not None:
        with window.lock:
            for waiting in fed:
                window.backlog.add(waiting.task, waiting.seen_at)
            if fed:
                window.takeable.notify()
    with window.lock:
        window.backlog.close()
        window.wake_all()
