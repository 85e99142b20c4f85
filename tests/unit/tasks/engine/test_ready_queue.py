"""Which task is attempted next, and how many are in flight."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.stage_runs import Clock, stage_run, waiting

from encord_agents.exceptions import NoRoomError
from encord_agents.tasks.engine.context import Context
from encord_agents.tasks.engine.files_ahead import FilesAhead
from encord_agents.tasks.engine.ready_queue import ReadyQueue
from encord_agents.tasks.engine.window import Window

if TYPE_CHECKING:
    from tests.conftest import World


class Queue:
    """A ready queue with loaded tasks, whose workers the test plays."""

    def __init__(self, world: World, tasks: int, workers: int = 1) -> None:
        world.project.add_placeholders(tasks)
        self.clock = Clock()
        run = stage_run(world, lambda: "complete", clock=self.clock)
        self.window = Window(run, 10, workers, lambda: False)
        self.files = FilesAhead(self.window)
        self.queue = ReadyQueue(self.window, self.files, is_async=False, in_writing=lambda: 0)
        self.loaded, _ = run.load(waiting(run), self.clock())
        self.window.ready = dict(enumerate(self.loaded))
        self.window.next = tasks
        self.contexts = self.queue.contexts()
        self.run = run

    def next(self) -> Context:
        return next(self.contexts)

    def end(self) -> None:
        """No task comes any more."""
        self.window.backlog.close()


def test_in_the_order_in_which_they_were_taken(world: World) -> None:
    """A task that was gone when it was to be loaded leaves no gap."""
    played = Queue(world, 3)
    played.window.ready[1] = None
    first = played.next()
    played.queue.land(first)
    assert [first, played.next()] == [played.loaded[0], played.loaded[2]]


def test_so_many_in_flight_as_there_are_workers(world: World) -> None:
    """Until the agent is known to work: all might fail alike."""
    played = Queue(world, 3, workers=2)
    flying = [played.next(), played.next()]
    assert played.queue.running == 2
    played.run.stop.request()  # instead of waiting for a worker for ever
    with pytest.raises(StopIteration):
        played.next()
    for context in flying:
        played.queue.land(context)
    assert played.queue.running == 0


def test_a_retry_that_is_due_comes_first(world: World) -> None:
    """And not before it is due."""
    played = Queue(world, 3)
    failed = played.next()
    played.queue.land(failed)
    played.queue.delay(failed, 5.0)
    second = played.next()
    assert second is played.loaded[1]
    played.queue.land(second)
    played.clock.now += 5.0
    assert played.next() is failed


def test_of_refused_tasks_the_one_refused_least_often(world: World) -> None:
    """So that it takes long until one of them has no attempts left."""
    played = Queue(world, 2)
    often, seldom = played.next(), played.loaded[1]
    played.queue.land(often)
    played.window.ready.clear()
    often.attempts, seldom.attempts = 3, 1
    played.run.quiet.refuse(often.ticket, 1.0, played.clock())
    played.queue.delay(often, 1.0)
    played.queue.delay(seldom, 2.0)
    played.clock.now += 2.0
    assert played.next() is seldom


def test_it_ends_when_nothing_is_left(world: World) -> None:
    """Nothing in flight, nothing delayed, and nothing more to come."""
    played = Queue(world, 1)
    played.end()
    played.queue.land(played.next())
    with pytest.raises(StopIteration):
        played.next()


def test_a_slow_file_lets_others_pass(world: World) -> None:
    """After some seconds; the task is attempted when its file is there."""
    played = Queue(world, 2)
    slow = played.window.ready.pop(0)
    assert slow is not None
    played.files.fetches[0] = slow
    assert played.queue._next_ready() is None
    played.clock.now += played.run.gate.timing.slow_file
    assert played.queue._next_ready() is played.loaded[1]
    with played.window.lock:
        played.files._is_there(0, slow)
    assert played.queue._next_ready() is slow


def test_no_room_means_fewer_at_once(world: World) -> None:
    """The attempt is made again; alone, it has nothing to wait for."""
    played = Queue(world, 3, workers=3)
    flying = [played.next() for _ in range(3)]
    error = NoRoomError("There is no room", OSError("full"))
    assert played.queue.await_room(flying[0], error)
    assert played.queue.most_running == 2
    alone = Queue(world, 1)
    context = alone.next()
    assert alone.window.alone is context
    assert not alone.queue.await_room(context, error)


def test_stale_tasks_are_asked_about_with_the_first(world: World) -> None:
    """Those that come soon, and no others."""
    played = Queue(world, 3)
    first = played.next()
    assert played.queue.next_stale(first) == []
    played.clock.now += played.run.gate.timing.stale_after
    played.window.ends, played.window.seconds = 1, 0.1
    assert played.queue.next_stale(first) == played.loaded[1:]
    played.window.seconds = 3600.0
    assert played.queue.next_stale(first) == []
