"""A stage read in the background, and again."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tests.stage_runs import Clock, stage_run, waiting
from tests.waiting import until

from encord_agents.tasks.engine.backlog import Waiting
from encord_agents.tasks.engine.reading import read_pages, take_fed
from encord_agents.tasks.engine.window import Window

if TYPE_CHECKING:
    from tests.conftest import World


def window_of(world: World, tasks: int, clock: Clock | None = None) -> Window:
    world.project.add_placeholders(tasks)
    return Window(stage_run(world, lambda: None, clock=clock), 100, 1, lambda: False)


def in_thread(window: Window) -> threading.Thread:
    thread = threading.Thread(target=read_pages, args=(window,), daemon=True)
    thread.start()
    return thread


def test_a_reading_without_moves_is_the_last(world: World) -> None:
    """Nothing can have been passed over."""
    window = window_of(world, 3)
    read_pages(window)
    assert (window.backlog.shown, window.backlog.must_be_read) == (3, False)


def test_after_moves_the_stage_is_read_again(world: World) -> None:
    """When all that was found is done, and the moves are over."""
    world.numbers |= {"read_together": 1}
    window = window_of(world, 2)
    backlog = window.backlog
    begun, original = threading.Event(), backlog.end_reading

    def end_reading() -> None:
        if not begun.is_set():  # in the first reading
            backlog.begin_move()
            begun.set()
        original()

    backlog.end_reading = end_reading  # type: ignore[method-assign]
    thread = in_thread(window)
    assert begun.wait(150)
    assert until(lambda: not backlog.reading)
    with window.lock:
        for waiting_task in backlog.take(2):
            backlog.release(waiting_task.task.uuid)
    assert until(lambda: window.reread)
    assert thread.is_alive()
    with window.lock:
        backlog.end_move()
        window.wake_all()
    thread.join(150)
    assert not thread.is_alive()
    assert not window.reread
    assert backlog.exhausted


def test_it_ends_with_the_run(world: World) -> None:
    """Although the stage was to be read again."""
    window = window_of(world, 1)
    window.backlog.begin_move()  # so that no reading is exact
    thread = in_thread(window)
    assert until(lambda: window.backlog.shown == 1 and not window.backlog.reading)
    window.run.stop.request()
    thread.join(150)
    assert not thread.is_alive()


def test_tasks_that_somebody_else_found(world: World) -> None:
    """They keep the time at which they were seen; after the last, nothing more will come."""
    window = window_of(world, 2)
    tasks = waiting(window.run)
    fed: list[Sequence[Waiting] | None] = [[Waiting(tasks[0], 5.0)], (), [Waiting(tasks[1], 7.0)], None]
    world.platform.journal.clear()
    take_fed(window, lambda _: fed.pop(0))
    assert [one.seen_at for one in window.backlog.take(9)] == [5.0, 7.0]
    assert not window.backlog.must_be_read
    assert world.requests() == []
