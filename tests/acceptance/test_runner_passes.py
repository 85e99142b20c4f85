"""The tasks that an agent gets, their order, and their times."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from encord.workflow.stages.agent import AgentTask

from encord_agents.exceptions import UnknownStageError
from encord_agents.local import AgentStage, Fault, Stage, Workflow
from encord_agents.tasks import Runner
from encord_agents.tasks.engine.events import (
    Event,
    PassFinished,
    StageFinished,
    StageStarted,
    TaskFinished,
    TaskStarted,
)
from encord_agents.tasks.engine.stop import Stop

if TYPE_CHECKING:
    from tests.conftest import World

WINDOWS = pytest.mark.parametrize("window", [1, 2, 300])


@WINDOWS
def test_a_task_that_moves_on_is_seen_in_the_same_pass(world: World, window: int) -> None:
    """Stages run in order of definition: the second is polled when every task of the first has its outcome."""
    world.project.add_placeholders(5)
    runner = world.runner()
    ran: list[str] = []

    @runner.stage("Pre-label")
    def pre_label(task: AgentTask) -> str:
        ran.append("Pre-label")
        return "triage"

    @runner.stage("Triage")
    def triage(task: AgentTask) -> str:
        ran.append("Triage")
        return "ok"

    report = runner(progress="none", task_batch_size=window)
    assert ran == ["Pre-label"] * 5 + ["Triage"] * 5
    assert [(stage.title, stage.moved) for stage in report.stages] == [("Pre-label", 5), ("Triage", 5)]
    assert world.count("Done") == 5


def test_the_order_of_definition_decides(world: World) -> None:
    """If the later stage is defined first, it runs first, and tasks that the other moves into it wait."""
    world.project.add_placeholders(2)
    runner = world.runner()
    runner.stage("Triage")(lambda: "ok")
    runner.stage("Pre-label")(lambda: "triage")
    report = runner(progress="none")
    assert [(stage.title, stage.moved) for stage in report.stages] == [("Triage", 0), ("Pre-label", 2)]
    assert world.count("Triage") == 2


@WINDOWS
@pytest.mark.parametrize("retries", [0, 2])
def test_max_tasks_per_stage_is_exact(world: World, window: int, retries: int) -> None:
    """It counts the tasks given to the agent in a pass, whatever became of them; attempts do not count."""
    world.project.add_placeholders(12)
    outcomes = ["complete", None, "fail", "complete"]
    given: list[str] = []

    def agent(task: AgentTask) -> Any:
        if task.data_title not in given:
            given.append(task.data_title)
        outcome = outcomes[int(task.data_title[6:11]) % 4]
        if outcome == "fail":
            raise LookupError
        return outcome

    report = world.run(agent, max_tasks_per_stage=7, task_batch_size=window, num_retries=retries)
    assert len(given) == 7
    assert (report.moved, report.held, report.failed, report.skipped) == (3, 2, 2, 0)
    assert world.count("Pre-label") == 9


@WINDOWS
def test_max_tasks_per_stage_is_per_stage_and_pass(world: World, window: int) -> None:
    """Each stage has its own count, each pass begins anew."""
    world.project.add_placeholders(5)
    runner = world.runner()
    runner.stage("Pre-label")(lambda: "triage")
    runner.stage("Triage")(lambda: "ok")
    for done in (2, 4, 5):
        runner(progress="none", max_tasks_per_stage=2, task_batch_size=window)
        assert world.count("Done") == done


@pytest.mark.parametrize("window", [1, 2])
def test_tasks_that_left_do_not_count(world: World, window: int) -> None:
    """A chunk polled a while ago is asked for again: who has left is skipped, and the limit is filled with others."""
    world.numbers |= {"stale_after": 0.0}
    world.project.add_placeholders(8)
    titles: list[str] = []
    tasks = [task.uuid for task in world.project.tasks("Pre-label")]

    def agent(task: AgentTask) -> str:
        titles.append(task.data_title)
        if task.data_title == "image-00000.png":
            for uuid in tasks[2:4]:
                world.project.move(uuid, "Review")
        return "complete"

    report = world.run(agent, max_tasks_per_stage=4, task_batch_size=window)
    assert titles == [f"image-{i:05d}.png" for i in (0, 1, 4, 5)]
    assert (report.moved, report.failed) == (4, 0)
    assert report.skipped >= 1
    assert world.titles("Review") == ["image-00002.png", "image-00003.png"]


@WINDOWS
def test_first_attempts_are_in_the_platforms_order(world: World, window: int) -> None:
    """Tasks are run in the order in which the stage lists them."""
    world.project.add_placeholders(9)
    world.platform.settings.page_size = 4
    titles: list[str] = []

    def agent(task: AgentTask) -> str:
        titles.append(task.data_title)
        return "complete"

    world.run(agent, task_batch_size=window)
    assert titles == [f"image-{i:05d}.png" for i in range(9)]


@pytest.mark.parametrize("window", [1, 7, 300])
@pytest.mark.parametrize("tokens", ["offset", "keyset"])
def test_pages_lose_no_task(world: World, window: int, tokens: Any) -> None:
    """With either kind of page token, moving tasks while later pages are still to be read skips none."""
    world.project.add_placeholders(40)
    world.platform.settings.page_size = 3
    world.platform.settings.page_tokens = tokens
    report = world.run(lambda: "complete", task_batch_size=window)
    assert (report.moved, report.tasks) == (40, 40)
    assert world.count("Done") == 40


def test_a_window_of_one_reads_again_what_pages_skipped(world: World) -> None:
    """If tasks move between two pages, offsets skip some; the stage is read again for them, and only then."""
    world.numbers |= {"read_ahead": 4}
    world.platform.settings.page_size, world.platform.settings.page_tokens = 4, "offset"
    world.project.add_placeholders(20)
    report = world.run(lambda: "complete", task_batch_size=1)
    assert (report.moved, world.count("Done")) == (20, 20)
    world.project.add_placeholders(3)  # one page, read before anything moves
    world.platform.journal.clear()
    assert world.run(lambda: "complete", task_batch_size=1).moved == 3
    assert world.platform.journal.count("tasks") == 1


def test_slow_pages_with_offsets_lose_no_task(world: World) -> None:
    """The same where pages come slowly, so that tasks move in between."""
    world.project.add_placeholders(40)
    world.platform.settings.page_size = 4
    world.platform.settings.page_tokens = "offset"
    # The sixth page comes when some have moved.
    world.platform.faults.add(Fault("tasks", skip=5, action="stall", seconds=3600))

    def release(event: Event) -> None:
        if isinstance(event, TaskFinished):
            world.platform.faults.clear()

    runner = world.agent(lambda: "complete")
    runner.observers.append(release)
    report = runner(progress="none", task_batch_size=3)
    kinds = world.requests("tasks", "actions")
    moved_while_paging = kinds[: len(kinds) - 1 - kinds[::-1].index("tasks")].count("actions")
    assert moved_while_paging > 0, "or this test shows nothing"
    assert report.moved == report.tasks == 40
    assert world.count("Done") == 40


@pytest.mark.parametrize("window", [1, 300])
def test_a_held_task_is_run_once_in_a_pass(world: World, window: int) -> None:
    """A stage that is polled again shows what was held; it waits for the next pass."""
    world.project.add_placeholders(20)
    world.platform.settings.page_size = 3
    world.platform.settings.page_tokens = "offset"
    calls: list[str] = []

    def agent(task: AgentTask) -> str | None:
        calls.append(task.data_title)
        return "complete" if len(calls) % 2 else None

    report = world.run(agent, task_batch_size=window)
    assert len(calls) == len(set(calls)) == report.tasks == 20


# Polling


def stop_after(stop: Stop, passes: int) -> Callable[[Event], None]:
    """An observer that ends a run after so many passes."""

    def observe(event: Event) -> None:
        if isinstance(event, PassFinished) and event.number >= passes:
            stop.request()

    return observe


@pytest.mark.parametrize("window", [1, 300])
def test_what_arrives_later_waits_for_the_next_pass(world: World, window: int) -> None:
    """The queue is what the poll saw."""
    world.project.add_placeholders(2)
    stop = Stop()

    def agent(task: AgentTask) -> str:
        if task.data_title == "image-00001.png":
            world.project.add_placeholders(1, title="late.png")
        return "complete"

    runner = world.agent(agent)
    per_pass: list[int] = []

    def observe(event: Event) -> None:
        if isinstance(event, PassFinished):
            per_pass.append(event.moved)

    runner.observers += [observe, stop_after(stop, 2)]
    runner(progress="none", refresh_every=1, stop=stop, task_batch_size=window)
    assert per_pass == [2, 1]


def test_refresh_every_counts_from_the_start_of_a_pass(world: World) -> None:
    """The next pass starts so many seconds after the last one started, however long that took; at once if it passed."""
    world.project.add_placeholders(1)
    stop = Stop()
    passes = 0
    waits: list[float | None] = []

    def agent() -> None:
        nonlocal passes
        passes += 1
        time.sleep(1.1 if passes == 2 else 0.4)

    def observe(event: Event) -> None:
        if isinstance(event, PassFinished):
            waits.append(event.next_in)

    runner = world.agent(agent)
    runner.observers += [observe, stop_after(stop, 3)]
    report = runner(progress="none", refresh_every=1, stop=stop, task_batch_size=1)
    assert waits[0] is not None
    assert 0.0 <= waits[0] <= 0.6
    assert waits[1] == 0.0
    assert report.passes == 3


def test_a_stop_ends_the_wait(world: World) -> None:
    """Nobody waits an hour for a run that is to end."""
    stop = Stop()
    runner = world.agent(lambda: None)
    runner.observers.append(stop_after(stop, 1))
    report = runner(progress="none", refresh_every=3600, stop=stop)
    assert report.passes == 1


@pytest.mark.parametrize("window", [1, 300])
def test_later_passes_begin_with_what_is_new(world: World, window: int) -> None:
    """Tasks that this run has held or failed already come after those it has not seen."""
    world.project.add_placeholders(3, title="old-{index}")
    stop = Stop()
    order: list[str] = []

    def agent(task: AgentTask) -> str | None:
        order.append(task.data_title)
        if task.data_title == "old-1":
            raise LookupError
        return None

    def observe(event: Event) -> None:
        if isinstance(event, PassFinished) and event.number == 1:
            world.project.add_placeholders(2, title="new-{index}")

    runner = world.agent(agent)
    runner.observers += [observe, stop_after(stop, 2)]
    report = runner(progress="none", refresh_every=1, stop=stop, num_retries=0, task_batch_size=window)
    assert order == ["old-0", "old-1", "old-2", "new-0", "new-1", "old-0", "old-1", "old-2"]
    assert (report.tasks, report.held, report.failed, report.attempts) == (5, 4, 1, 8), "each task once, by its latest"


# One stage


def test_run_stage_runs_one_stage_once(world: World) -> None:
    """Only that stage, one pass."""
    world.project.add_placeholders(3)
    runner = world.runner()
    runner.stage("Pre-label")(lambda: "triage")
    runner.stage("Triage")(lambda: "ok")
    report = runner.run_stage("Pre-label", max_tasks=2)
    assert [(stage.title, stage.moved) for stage in report.stages] == [("Pre-label", 2)]
    assert (world.count("Pre-label"), world.count("Triage")) == (1, 2)
    report = runner.run_stage(world.project.stage("Triage").uuid, project_hash=world.project.project_hash)
    assert report is runner.report
    assert (report.passes, report.moved, world.count("Done")) == (1, 2, 2)


def test_one_runner_for_several_projects(world: World) -> None:
    """Running a stage asks nothing of the agents of other stages: theirs may be in another project."""
    other = world.platform.create_project(
        workflow=Workflow([AgentStage("Elsewhere", {"go": "Done"}), Stage("Done", "done")])
    )
    runner = Runner(user_client=world.client)
    runner.stage("Pre-label")(lambda: "complete")
    runner.stage("Elsewhere")(lambda: "go")
    for project, stage in [(world.project, "Pre-label"), (other, "Elsewhere"), (world.project, "Pre-label")]:
        project.add_placeholders(1)
        assert runner.run_stage(stage, project_hash=project.project_hash).moved == 1
    runner.stage("In a third one")(lambda: "go")
    with pytest.raises(UnknownStageError, match="Elsewhere"):
        runner(project_hash=world.project.project_hash)


def test_run_stage_refuses_what_it_cannot_run(world: World) -> None:
    """A stage that does not exist, one that nobody serves, and numbers out of range."""
    from encord_agents.exceptions import PrintableError, UnknownStageError

    runner = world.agent(lambda: None)
    with pytest.raises(UnknownStageError, match="Did you mean 'Triage'"):
        runner.run_stage("Triag")
    with pytest.raises(PrintableError, match=r"No function serves stage 'Triage'.*'Pre-label'"):
        runner.run_stage("Triage")
    with pytest.raises(PrintableError, match="max_tasks"):
        runner.run_stage("Pre-label", max_tasks=0)
    with pytest.raises(PrintableError, match="task_batch_size"):
        runner.run_stage("Pre-label", task_batch_size=0)


# Observers


def test_observers_see_the_run(world: World) -> None:
    """They are called with each event, in order, in one thread at a time."""
    world.project.add_placeholders(3)
    events: list[Event] = []
    runner = world.agent(lambda: "complete")
    runner.observers.append(events.append)
    runner(progress="none")
    assert isinstance(events[0], StageStarted)
    assert isinstance(events[-2], StageFinished)
    assert isinstance(events[-1], PassFinished)
    assert [e.task.data_title for e in events if isinstance(e, TaskStarted)] == [f"image-{i:05d}.png" for i in range(3)]
    assert events[-1].moved == 3
    assert events[-1].next_in is None


def test_an_observer_that_raises_is_ignored(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged once, and neither the run nor the other observers suffer."""
    world.project.add_placeholders(3)
    events: list[Event] = []

    def broken(event: Event) -> None:
        raise LookupError("observer")

    runner = world.agent(lambda: "complete")
    runner.observers += [broken, events.append]
    assert runner(progress="none").moved == 3
    assert len([r for r in caplog.records if "observer" in r.getMessage() and r.exc_info]) == 1
    assert isinstance(events[-1], PassFinished)
