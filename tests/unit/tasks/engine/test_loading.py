"""Tasks on their way from the backlog into the window."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.stage_runs import stage_run, waiting

from encord_agents.tasks.engine.events import Event, TaskFinished
from encord_agents.tasks.engine.files_ahead import FilesAhead
from encord_agents.tasks.engine.loading import load_ahead, load_next
from encord_agents.tasks.engine.outcome import Skipped
from encord_agents.tasks.engine.window import Window

if TYPE_CHECKING:
    from tests.conftest import World


class Loading:
    """A window with so many tasks in its backlog, whose loader is the test's own thread."""

    def __init__(self, world: World, tasks: int, *, age: float = 0.0) -> None:
        world.project.add_placeholders(tasks)
        self.events: list[Event] = []
        self.run = stage_run(world, lambda: "complete", events=self.events)
        self.window = Window(self.run, 100, 1, lambda: False)
        self.files = FilesAhead(self.window)
        self.tasks = waiting(self.run)
        for task in self.tasks:
            self.window.backlog.add(task, self.run.gate.clock() - age)
        self.window.backlog.close()

    def load(self) -> None:
        """Load one chunk, as one turn of the thread does."""
        assert load_next(self.window, self.files)


def test_loaded_tasks_are_ready_in_order(world: World) -> None:
    """Each has a slot of the window and a number, from when its loading starts."""
    played = Loading(world, 3)
    played.load()
    loaded = [played.window.ready[number] for number in range(3)]
    assert [context and context.task.uuid for context in loaded] == [task.uuid for task in played.tasks]
    assert played.window.open == {task.uuid for task in played.tasks}
    assert (played.window.next, played.window.loading) == (3, 0)


def test_tasks_that_left_give_their_slots_back(world: World) -> None:
    """They are skipped, and leave no gap in the order."""
    played = Loading(world, 3, age=1000.0)
    played.tasks[1].proceed(pathway_name="review")
    played.load()
    assert played.window.ready[1] is None
    assert played.window.open == {played.tasks[0].uuid, played.tasks[2].uuid}
    (skipped,) = (event for event in played.events if isinstance(event, TaskFinished))
    assert (skipped.task.uuid, type(skipped.outcome)) == (played.tasks[1].uuid, Skipped)


def test_a_loader_that_fails_does_not_count_as_loading(world: World) -> None:
    """Else the stage would wait for its tasks for ever."""
    played = Loading(world, 1)
    played.run.loader.load = None  # type: ignore[assignment,method-assign]
    with pytest.raises(TypeError):
        played.load()
    assert played.window.loading == 0


def test_nothing_is_taken_after_a_stop(world: World) -> None:
    """The threads end."""
    played = Loading(world, 1)
    played.run.stop.request()
    load_ahead(played.window, played.files)
    assert played.window.open == set()
