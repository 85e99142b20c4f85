"""An interrupt may come between any two steps of the caller: nothing hangs, is left behind or is done twice."""

from __future__ import annotations

import asyncio
import random
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import pytest
from encord.objects import LabelRowV2
from encord.project import Project
from tests.conftest import World
from tests.interrupts import Interrupter, Place, exiting_on_sigterm, interrupt
from tests.thorough import THOROUGH
from tests.waiting import until

from encord_agents.local import AgentStage, LocalPlatform, Stage, Workflow
from encord_agents.tasks import Depends
from encord_agents.tasks.models import TaskAgentReturnStruct

if TYPE_CHECKING:
    from encord_agents.tasks.engine.report import RunReport

TASKS = 4
POINTS = 24
WORKFLOW = Workflow(
    [AgentStage("Pre-label", {"complete": "Done"}), Stage("Done", "done")],
)


@pytest.fixture(scope="module")
def platform() -> Iterator[LocalPlatform]:
    with LocalPlatform(journal_body=200_000) as platform:
        yield platform


def run(
    platform: LocalPlatform,
    at: Place | None,
    is_async: bool,
    bundle_saves: bool = False,
    handler: Callable[..., NoReturn] = interrupt,
    **options: Any,
) -> Interrupter:
    """A run that is interrupted there, and everything that must be so afterwards."""
    project = platform.create_project(workflow=WORKFLOW)
    project.add_placeholders(TASKS)
    world = World(platform, project, platform.client(retries=False))
    platform.journal.clear()
    events: Counter[str] = Counter()

    def dependency() -> Iterator[None]:
        events["up"] += 1
        try:
            yield
        finally:
            events["down"] += 1

    def agent(label_row: LabelRowV2, _: Annotated[None, Depends(dependency)]) -> TaskAgentReturnStruct:
        return TaskAgentReturnStruct(pathway="complete", label_row=label_row, label_row_priority=0.5)

    async def async_agent(label_row: LabelRowV2, _: Annotated[None, Depends(dependency)]) -> TaskAgentReturnStruct:
        await asyncio.sleep(0)
        return TaskAgentReturnStruct(pathway="complete", label_row=label_row, label_row_priority=0.5)

    saved: set[str] = set()

    def saving_agent(label_row: LabelRowV2, project: Project, _: Annotated[None, Depends(dependency)]) -> str:
        label_row.save()
        saved.add(label_row.data_hash)
        project.list_label_rows_v2(data_hashes=[label_row.data_hash])
        label_row.save()
        label_row.set_priority(0.5)
        return "complete"

    async def async_saving_agent(
        label_row: LabelRowV2, project: Project, _: Annotated[None, Depends(dependency)]
    ) -> str:
        await asyncio.sleep(0)
        return saving_agent(label_row, project, _)

    agents = {
        (False, False): agent,
        (True, False): async_agent,
        (False, True): saving_agent,
        (True, True): async_saving_agent,
    }
    runner = world.agent(agents[is_async, bundle_saves])
    interval = sys.getswitchinterval()
    interrupted = False
    before = set(threading.enumerate())
    with Interrupter(at, handler) as interrupter:
        try:
            runner(progress="none", bundle_saves=bundle_saves, **options)
        except (KeyboardInterrupt, SystemExit) as raised:
            interrupted = isinstance(raised, KeyboardInterrupt) == (handler is interrupt)
    where = f"{at} {interrupter.where}"
    assert interrupted == bool(interrupter.where), where
    assert until(lambda: not threads_left(before)), f"{where}: {threads_left(before)}"
    assert sys.getswitchinterval() == interval, where
    assert events["up"] == events["down"], where
    report = runner.report
    if report is not None:
        was_over = report.moved == TASKS and report.passes == 1
        assert bool(report.stopped) == interrupted or was_over, where
        agrees(report, world, where)
        unwritten = {str(task.data_hash) for task in report.unwritten}
        assert all(project.saves(data_hash) for data_hash in saved - unwritten), where
    for task in project.tasks():
        asked = sum(task.uuid in entry.body for entry in platform.journal.of("actions"))
        assert asked == project.moves(task.uuid), f"{where}: moved {project.moves(task.uuid)} times, asked {asked}"
        assert asked <= 1, where
        assert task.stage_title in {"Pre-label", "Done"}
    return interrupter


def agrees(report: RunReport, world: World, where: str) -> None:
    done = {task.data_hash for task in world.project.tasks("Done")}
    unwritten = {str(task.data_hash) for task in report.unwritten}
    moved = {str(record.data_hash) for record in report.records if record.outcome == "moved"}
    assert len(unwritten) == len(report.unwritten), where
    assert moved == done, where
    assert moved.isdisjoint(unwritten), where
    assert (report.failed, report.skipped) == (0, 0), where
    assert report.moved == len(moved), where


def threads_left(before: set[threading.Thread]) -> list[str]:
    """Return the names of the engine's threads that there were not before: other tests may have left some."""
    return [one.name for one in set(threading.enumerate()) - before if one.name.startswith("encord-agents")]


@pytest.fixture(params=["ctrl-c", "own-handler"])
def handler(request: pytest.FixtureRequest) -> Iterator[Callable[..., NoReturn]]:
    """The source of the interrupt: Python's own handler of Ctrl-C, or a program's handler of SIGTERM."""
    if request.param == "ctrl-c":
        yield interrupt
        return
    with exiting_on_sigterm() as leave:
        yield leave


@pytest.mark.timeout(600)
@pytest.mark.parametrize("bundle_saves", [False, True])
@pytest.mark.parametrize(
    ("window", "workers", "is_async"), [(1, 1, False), (300, 1, False), (300, 4, False), (2, 1, False), (300, 4, True)]
)
def test_an_interrupt_at_any_point(
    platform: LocalPlatform,
    window: int,
    workers: int,
    is_async: bool,
    bundle_saves: bool,
    handler: Callable[..., NoReturn],
) -> None:
    """Afterwards no thread lives, every task was moved once or is in its stage, no move was sent for a task that had
    moved, each dependency was torn down, the report says what the platform says, and what an agent saved by its own
    hand is there, or listed. The same exception is raised again."""
    options: dict[str, Any] = {"task_batch_size": window, "max_workers": workers, "is_async": is_async}
    options |= {"bundle_saves": bundle_saves, "handler": handler}
    places = sorted(run(platform, None, **options).places)
    assert len(places) > 5 * POINTS
    if not THOROUGH:
        seed = f"{window} {workers} {is_async} {bundle_saves}"
        places = random.Random(seed if handler is interrupt else f"{seed} own").sample(places, POINTS)
    for place in places:
        run(platform, place, **options)
