"""An interrupt may come between any two steps of the caller: nothing hangs, is left behind or is done twice."""

from __future__ import annotations

import asyncio
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from encord.objects import LabelRowV2
from tests.conftest import World
from tests.interrupts import Interrupter

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


def run(platform: LocalPlatform, at: int | None, is_async: bool, **options: Any) -> Interrupter:
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

    runner = world.agent(async_agent if is_async else agent)
    interval = sys.getswitchinterval()
    interrupted = False
    started = time.monotonic()
    with Interrupter(at) as interrupter:
        try:
            runner(progress="none", **options)
        except KeyboardInterrupt:
            interrupted = True
    where = f"{interrupter.passed} {interrupter.where}"
    if at is not None and interrupter.where:
        assert interrupted, where
        assert time.monotonic() - started < 5, where
    assert threads_left() == [], where
    assert sys.getswitchinterval() == interval, where
    assert events["up"] == events["down"], where
    report = runner.report
    if report is not None:
        assert bool(report.stopped) == interrupted, where
        agrees(report, world, where)
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


def threads_left() -> list[str]:
    deadline = time.monotonic() + 3
    while True:
        names = [thread.name for thread in threading.enumerate() if thread.name.startswith("encord-agents")]
        # Not those of Celery's integration, which end some seconds after other tests.
        left = [name for name in names if name != "encord-agents-at-work"]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.005)


@pytest.mark.parametrize(
    ("window", "workers", "is_async"), [(1, 1, False), (300, 1, False), (300, 4, False), (2, 1, False), (300, 4, True)]
)
def test_an_interrupt_at_any_point(platform: LocalPlatform, window: int, workers: int, is_async: bool) -> None:
    """Afterwards no thread lives, every task was moved once or is in its stage, no move was sent for a task that had
    moved, each dependency was torn down, and the report says what the platform says."""
    options: dict[str, Any] = {"task_batch_size": window, "max_workers": workers, "is_async": is_async}
    points = run(platform, None, **options).passed
    chosen = random.Random(f"{window} {workers} {is_async}").sample(range(1, points), min(POINTS, points - 1))
    for at in sorted(chosen):
        run(platform, at, **options)
