"""The driver without threads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from encord.objects import LabelRowV2
from encord.workflow.stages.agent import AgentTask
from tests.stage_runs import stage_run, waiting

from encord_agents.exceptions import UnknownPathwayError
from encord_agents.tasks.engine.events import Event, TaskFinished
from encord_agents.tasks.engine.gate import SetUpError
from encord_agents.tasks.engine.one_by_one import run_chunk, run_one_by_one
from encord_agents.tasks.engine.outcome import Held, Moved, Skipped

if TYPE_CHECKING:
    from tests.conftest import World


def outcomes(events: list[Event]) -> list[type]:
    return [type(event.outcome) for event in events if isinstance(event, TaskFinished)]


def test_a_chunk_is_loaded_and_written_together(world: World) -> None:
    """One request of each kind for all of its tasks."""
    world.project.add_placeholders(5)

    def agent(label_row: LabelRowV2) -> str:
        return "complete"

    events: list[Event] = []
    run = stage_run(world, agent, events=events)
    tasks = waiting(run)
    world.platform.journal.clear()
    assert run_chunk(run, tasks, polled_at=run.gate.clock()) == 5
    assert outcomes(events) == [Moved] * 5
    assert [len(world.requests(kind)) for kind in ("rows", "label_create", "actions")] == [1, 1, 1]


def test_tasks_that_left_before_they_were_loaded_are_skipped(world: World) -> None:
    """They are not counted as given to the agent."""
    world.project.add_placeholders(2)
    events: list[Event] = []
    run = stage_run(world, lambda: None, events=events)
    tasks = waiting(run)
    tasks[0].proceed(pathway_name="review")
    polled_long_ago = run.gate.clock() - run.gate.timing.stale_after
    assert run_chunk(run, tasks, polled_at=polled_long_ago) == 1
    assert outcomes(events) == [Skipped, Held]


def test_finished_tasks_are_written_whatever_ends_the_chunk(world: World) -> None:
    """An interrupt in the second task leaves the first one written."""
    world.project.add_placeholders(3)
    calls = []

    def agent(task: AgentTask) -> str:
        calls.append(task)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return "complete"

    run = stage_run(world, agent)
    with pytest.raises(KeyboardInterrupt):
        run_chunk(run, waiting(run), polled_at=run.gate.clock())
    assert (world.count("Done"), run.unwritten) == (1, [])
    assert run.stop.reason == "interrupt"


def test_each_task_is_written_before_the_next_is_loaded(world: World) -> None:
    """A window of one."""
    world.project.add_placeholders(3)

    def agent(label_row: LabelRowV2) -> str:
        return "complete"

    run = stage_run(world, agent)
    run_one_by_one(run)
    assert world.requests("rows", "actions") == ["rows", "actions"] * 3


def test_a_stage_whose_tasks_moved_is_read_again(world: World) -> None:
    """Until a reading had no moves: here the second one."""
    world.numbers |= {"read_ahead": 1, "read_together": 1}
    world.project.add_placeholders(2)
    run = stage_run(world, lambda: "complete")
    run_one_by_one(run)
    assert world.count("Done") == 2
    assert world.requests("tasks", "actions")[-1] == "tasks"


def test_a_set_up_error_ends_it(world: World) -> None:
    """An agent that names no pathway of its stage does so for every task."""
    world.project.add_placeholders(3)
    run = stage_run(world, lambda: "nowhere")
    with pytest.raises(SetUpError) as caught:
        run_one_by_one(run)
    assert isinstance(caught.value.error, UnknownPathwayError)
    assert world.count("Pre-label") == 3
