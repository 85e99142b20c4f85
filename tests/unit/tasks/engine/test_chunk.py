"""Attempts of a few tasks: in order, or all at once on an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from encord.workflow.stages.agent import AgentTask
from tests.stage_runs import Clock, stage_run, waiting

from encord_agents.tasks.engine.chunk import attempt_all
from encord_agents.tasks.engine.context import Result
from encord_agents.tasks.engine.event_loop import EventLoop
from encord_agents.tasks.engine.events import Event, TaskFinished, TaskStarted
from encord_agents.tasks.engine.outcome import Failed, Skipped

if TYPE_CHECKING:
    from tests.conftest import World


@pytest.fixture
def loop() -> Iterator[EventLoop]:
    loop = EventLoop()
    yield loop
    loop.close()


def started(events: list[Event]) -> list[tuple[str, int]]:
    return [(event.task.data_title, event.attempt) for event in events if isinstance(event, TaskStarted)]


def test_in_order_and_each_until_it_is_done(world: World) -> None:
    """A task's second attempt comes before the next task's first."""
    world.project.add_placeholders(3)
    failed = set()

    def agent(task: AgentTask) -> str:
        if task.uuid not in failed:
            failed.add(task.uuid)
            raise LookupError
        return "complete"

    events: list[Event] = []
    run = stage_run(world, agent, events=events, num_retries=1)
    contexts, _ = run.load(waiting(run), run.gate.clock())
    results: list[Result] = []
    attempt_all(run, contexts, None, results)
    titles = [context.task.data_title for context in contexts]
    assert started(events) == [(title, attempt) for title in titles for attempt in (1, 2)]
    assert [result.context for result in results] == contexts


def test_on_a_loop_all_at_once(world: World, loop: EventLoop) -> None:
    """Each waits for the others, and the results are in the order of the tasks."""
    world.project.add_placeholders(3)
    here = 0

    async def agent(task: AgentTask) -> str:
        nonlocal here
        here += 1
        while here < 3:
            await asyncio.sleep(0)
        return "complete"

    run = stage_run(world, agent)
    contexts, _ = run.load(waiting(run), run.gate.clock())
    results: list[Result] = []
    attempt_all(run, contexts, loop, results)
    assert [result.context for result in results] == contexts


@pytest.mark.parametrize("asynchronous", [False, True])
def test_failures_have_their_outcome_at_once(world: World, loop: EventLoop, asynchronous: bool) -> None:
    """They are no results: nothing of them is to be written."""
    world.project.add_placeholders(2)

    def agent(task: AgentTask) -> str:
        raise LookupError

    async def async_agent(task: AgentTask) -> str:
        raise LookupError

    events: list[Event] = []
    run = stage_run(world, async_agent if asynchronous else agent, events=events)
    contexts, _ = run.load(waiting(run), run.gate.clock())
    results: list[Result] = []
    attempt_all(run, contexts, loop if asynchronous else None, results)
    assert results == []
    outcomes = [event.outcome for event in events if isinstance(event, TaskFinished)]
    assert [type(outcome) for outcome in outcomes] == [Failed, Failed]


def test_no_attempt_begins_after_a_stop(world: World) -> None:
    """The task that asked for it is finished; the others have no outcome."""
    world.project.add_placeholders(3)

    def agent(task: AgentTask) -> str:
        run.stop.request()
        return "complete"

    events: list[Event] = []
    run = stage_run(world, agent, events=events)
    contexts, _ = run.load(waiting(run), run.gate.clock())
    results: list[Result] = []
    attempt_all(run, contexts, None, results)
    assert len(started(events)) == len(results) == 1


def test_a_task_that_has_left_is_not_attempted(world: World, loop: EventLoop) -> None:
    """Stale tasks whose attempts are about to begin are asked about together, once more about those that are missing;
    those that left are skipped."""
    world.project.add_placeholders(3)
    events: list[Event] = []
    clock = Clock()

    async def agent() -> str:
        return "complete"

    run = stage_run(world, agent, events=events, clock=clock)
    contexts, _ = run.load(waiting(run), clock())
    contexts[0].task.proceed(pathway_name="review")
    clock.now += run.gate.timing.stale_after
    world.platform.journal.clear()
    results: list[Result] = []
    attempt_all(run, contexts, loop, results)
    assert [result.context for result in results] == contexts[1:]
    (skipped,) = (event for event in events if isinstance(event, TaskFinished))
    assert (skipped.task.uuid, type(skipped.outcome)) == (contexts[0].task.uuid, Skipped)
    assert world.requests() == ["tasks", "tasks"]
