"""Attempts while other tasks are loaded and written: what becomes of their ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.stage_runs import stage_run, waiting

from encord_agents.core.dependencies.solve import Attempt
from encord_agents.exceptions import NoRoomError
from encord_agents.tasks.engine.attempts import HANDED_BACK, Attempts
from encord_agents.tasks.engine.context import Context
from encord_agents.tasks.engine.events import Event, TaskFinished
from encord_agents.tasks.engine.files_ahead import FilesAhead
from encord_agents.tasks.engine.ready_queue import ReadyQueue
from encord_agents.tasks.engine.window import Window
from encord_agents.tasks.engine.write_behind import WriteBehind

if TYPE_CHECKING:
    from tests.conftest import World


class Playing:
    """The attempts of some loaded tasks, whose threads the test plays."""

    def __init__(self, world: World, tasks: int = 1, *, workers: int = 1, **options: Any) -> None:
        world.project.add_placeholders(tasks)
        self.events: list[Event] = []
        self.run = stage_run(world, lambda: "complete", events=self.events, **options)
        self.window = Window(self.run, 10, workers, lambda: False)
        files = FilesAhead(self.window)
        self.writes = WriteBehind(self.window)
        self.queue = ReadyQueue(self.window, files, is_async=False, in_writing=lambda: self.writes.waiting)
        self.attempts = Attempts(self.window, self.queue, self.writes, None)
        backlog = self.window.backlog
        for task in waiting(self.run):
            backlog.add(task, self.run.gate.clock())
        backlog.close()
        taken = backlog.take(tasks)
        contexts, _ = self.run.load([one.task for one in taken], self.run.gate.clock())
        self.window.ready, self.window.next = dict(enumerate(contexts)), tasks
        self._contexts = self.queue.contexts()

    def next(self) -> Context:
        return next(self._contexts)

    def ends(self, context: Context, error: BaseException | None = None) -> None:
        """An attempt is over, well or with an error."""
        context.attempts += 1
        self.attempts._ended(context, Attempt("complete") if error is None else Attempt(None, "agent", error))


def test_a_result_is_to_be_written(world: World) -> None:
    """The task keeps its slot until it is; it is not in flight any more."""
    played = Playing(world)
    context = played.next()
    played.ends(context)
    assert [result.context for result in played.writes.finished] == [context]
    assert (played.queue.running, played.window.open) == (0, {context.task.uuid})
    assert played.window.ends == 1


def test_a_final_failure_gives_the_slot_back(world: World) -> None:
    """Nothing of it is to be written."""
    played = Playing(world)
    played.ends(played.next(), LookupError())
    assert (played.window.open, list(played.writes.finished)) == (set(), [])
    assert [type(event.outcome).__name__ for event in played.events if isinstance(event, TaskFinished)] == ["Failed"]


def test_without_a_delay_the_next_attempt_is_the_callers_next_task(world: World) -> None:
    """Before those that were handed over ahead; it stays in flight."""
    played = Playing(world, 2, num_retries=1)
    context = played.next()
    played.attempts._to_attempt.append(played.window.ready[1])  # type: ignore[arg-type]
    played.ends(context, LookupError())
    assert played.attempts._to_attempt[0] is context
    assert played.queue.running == 1


def test_in_threads_the_next_attempt_goes_through_the_queue(world: World) -> None:
    """At no time is the task in no place: the stage could end without it."""
    played = Playing(world, num_retries=1, workers=2)
    context = played.next()
    played.ends(context, LookupError())
    assert played.queue.running == 0
    assert played.next() is context


def test_a_task_handed_over_too_early_comes_again(world: World) -> None:
    """No attempt was made, so none is counted."""
    played = Playing(world)
    context = played.next()
    played.attempts._ended(context, HANDED_BACK)
    assert (context.attempts, played.window.ends) == (0, 0)
    assert played.next() is context


def test_the_machines_lack_of_room_is_no_tasks_failure(world: World) -> None:
    """Where others may make room, the attempt is made again; alone, it ends the run."""
    error = NoRoomError("There is no room", OSError("full"))
    played = Playing(world, 2, workers=2)
    first, _ = played.next(), played.next()
    played.ends(first, error)
    assert list(played.queue.short) == [first]
    alone = Playing(world)
    with pytest.raises(NoRoomError):
        alone.ends(alone.next(), error)


def test_an_interrupted_attempt_has_no_outcome(world: World) -> None:
    """The task is still in its stage, and the next run finds it there."""
    played = Playing(world)
    context = played.next()
    played.attempts._ended(context, None)
    assert played.queue.running == 0
    assert not any(isinstance(event, TaskFinished) for event in played.events)


def test_who_makes_them(world: World) -> None:
    """One worker: the caller's thread. Several: threads of the engine."""
    here, there = Playing(world).attempts, Playing(world, workers=3).attempts
    assert (here.are_made_here, here.threads) == (True, 0)
    assert (there.are_made_here, there.threads) == (False, 3)


def test_abandoned_workers_end(world: World) -> None:
    """Where the engine's threads could not be started, nobody waits for them."""
    played = Playing(world)
    played.attempts.abandon()
    played.attempts.serve()
    played.attempts.take_back()
    assert played.window.executed
