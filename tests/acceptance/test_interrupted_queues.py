"""An interrupt between any two steps of whoever drains, or calls a queue function: no work is lost, nothing waits."""

from __future__ import annotations

import importlib
import multiprocessing
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any, NoReturn

import pytest
from encord.objects import LabelRowV2
from tests import preloaded
from tests.acceptance.test_interrupts import WORKFLOW, agrees, handler, threads_left
from tests.conftest import World
from tests.interrupts import Interrupter, Place, interrupt
from tests.waiting import until

from encord_agents.local import LocalPlatform
from encord_agents.tasks import Depends, QueueRunner
from encord_agents.tasks.models import TaskAgentReturnStruct
from encord_agents.tasks.runner.executor_pool import ExecutorPool

__all__ = ["handler"]

Handler = Callable[..., NoReturn]

TASKS = 8
PLACES = 40
"""Of a few hundred: which ones is decided by the seed, not by how fast the machine is."""
LIKE_FOREVER = 30.0
"""Seconds: whoever waits for so long has not heard of the stop."""


@pytest.fixture(scope="module")
def platform() -> Iterator[LocalPlatform]:
    with LocalPlatform(journal_body=200_000) as platform:
        yield platform


@pytest.fixture
def told_to_stop(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Set when the workers of an executor have been told to begin nothing more."""
    told, stop = threading.Event(), ExecutorPool.stop

    def stop_and_tell(self: ExecutorPool) -> None:
        stop(self)
        told.set()

    monkeypatch.setattr(ExecutorPool, "stop", stop_and_tell)
    yield told
    told.set()


class Run:
    """Agents of one run, and what must be so after it, wherever it was interrupted."""

    def __init__(self, platform: LocalPlatform, at: Place | None, handler: Handler) -> None:
        project = platform.create_project(workflow=WORKFLOW)
        project.add_placeholders(TASKS)
        self.world = World(platform, project, platform.client(retries=False))
        platform.journal.clear()
        self.runner = QueueRunner(project.project_hash, user_client=self.world.client)
        self.interrupter = Interrupter(at, handler)
        self._kind: type[BaseException] = KeyboardInterrupt if handler is interrupt else SystemExit
        self.interrupted = False
        self.begun_late: list[bool] = []
        self._events: Counter[str] = Counter()
        self._told: threading.Event | None = None
        self._threads_before = set(threading.enumerate())

    def add_agent(self, *, is_async: bool = False, told: threading.Event | None = None) -> Any:
        """Add one agent, with a dependency of each kind. After the interrupt it waits until the workers are told."""
        self._told = told

        def up_and_down() -> Iterator[None]:
            self._events["up"] += 1
            try:
                yield
            finally:
                self._events["down"] += 1

        def once_a_run() -> Iterator[None]:
            yield from up_and_down()

        def agent(
            label_row: LabelRowV2,
            _: Annotated[None, Depends(up_and_down)],
            __: Annotated[None, Depends(once_a_run, scope="run")],
        ) -> TaskAgentReturnStruct:
            if self.interrupter.where and self._told is not None:
                self.begun_late.append(self._told.wait(LIKE_FOREVER))
            return TaskAgentReturnStruct(pathway="complete", label_row=label_row, label_row_priority=0.5)

        async def async_agent(
            label_row: LabelRowV2,
            a: Annotated[None, Depends(up_and_down)],
            b: Annotated[None, Depends(once_a_run, scope="run")],
        ) -> TaskAgentReturnStruct:
            return agent(label_row, a, b)

        return self.runner.stage("Pre-label")(async_agent if is_async else agent)

    def interrupt(self, work: Callable[[], object]) -> None:
        with self.interrupter:
            try:
                work()
            except self._kind:
                self.interrupted = True

    @property
    def where(self) -> str:
        return self.interrupter.where

    def check(self) -> None:
        """After the runner was closed."""
        assert self.interrupted == bool(self.where), self.where
        assert until(lambda: not threads_left(self._threads_before)), self.where
        assert self._events["up"] == self._events["down"], self.where
        world = self.world
        for task in world.project.tasks():
            asked = sum(task.uuid in entry.body for entry in world.platform.journal.of("actions"))
            assert asked == world.project.moves(task.uuid) <= 1, self.where
            assert task.stage_title in {"Pre-label", "Done"}


def chosen(run: Run, number: int = PLACES) -> list[Place]:
    elsewhere = ("/core/dependencies/", "/engine/event_loop.py", "threading.py")  # of which others tell
    places = [place for place in run.interrupter.places if not any(part in place[0] for part in elsewhere)]
    return random.Random(len(places)).sample(places, min(number, len(places)))


def drained(platform: LocalPlatform, told: threading.Event, at: Place | None, handler: Handler) -> Run:
    told.clear()
    run = Run(platform, at, handler)
    run.add_agent(told=told)
    with ThreadPoolExecutor(2, thread_name_prefix="given") as pool:
        run.interrupt(lambda: run.runner.drain(executor=pool, batch_size=2, progress="none"))
        assert all(run.begun_late), f"{run.where}: an agent was begun, and nobody was told to stop"
        assert len(run.begun_late) <= 2, run.where  # one for each worker
        report = run.runner.report
        if report is not None:
            was_over = report.moved == TASKS and report.passes == 1
            assert bool(report.stopped) == run.interrupted or was_over, run.where
            agrees(report, run.world, run.where)
        if report is None or not report.tasks:
            run.runner.close()  # it may have been interrupted before there was a run to end
        run.check()
        told.set()
        run.runner.drain(executor=pool, progress="none")
    assert run.world.count("Done") == TASKS, run.where
    return run


def test_a_drain_that_is_interrupted_at_any_point(
    platform: LocalPlatform, told_to_stop: threading.Event, handler: Handler
) -> None:
    """The workers are told at once, what they finish is written and reported, what lives as long as the run is torn
    down, and the next drain does the rest."""
    for at in chosen(drained(platform, told_to_stop, None, handler)):
        drained(platform, told_to_stop, at, handler)


MODULE = """
from encord_agents.tasks import QueueRunner
runner = QueueRunner({project!r})
@runner.stage("Pre-label")
def interrupted():
    return "complete"
"""


def test_a_drain_over_processes_that_is_interrupted(
    platform: LocalPlatform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever its caller waits: for the work, and for the workers to end. No process is left."""
    for name, value in platform.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.syspath_prepend(tmp_path)
    waits: list[Place | None] = [None]
    for number, at in enumerate(waits):
        project = platform.create_project(workflow=WORKFLOW)
        project.add_placeholders(TASKS)
        (tmp_path / f"interrupted_{number}.py").write_text(MODULE.format(project=project.project_hash))
        runner = importlib.import_module(f"interrupted_{number}").runner
        with preloaded.spawning(), Interrupter(at) as interrupter:
            try:
                runner.drain(workers=1, batch_size=2, progress="none")
            except KeyboardInterrupt:
                assert interrupter.where
        assert multiprocessing.active_children() == [], interrupter.where
        assert runner.report.stopped == ("interrupted" if interrupter.where else None), interrupter.where
        assert runner.report.moved == project.stage("Done").tasks, interrupter.where
        if at is None:
            first = {place[1]: place for place in reversed(interrupter.places)}
            waits += [first[name] for name in ("Apart.wait", "QueueRunner._end_drain", "Processes.close")]
        else:
            assert interrupter.where


def called(platform: LocalPlatform, at: Place | None, is_async: bool, handler: Handler) -> Run:
    run = Run(platform, at, handler)
    function = run.add_agent(is_async=is_async)
    specs = list(function.waiting())
    run.interrupt(lambda: function(specs))
    run.runner.close()
    run.check()
    function(list(function.waiting()))
    run.runner.close()
    assert run.world.count("Done") == TASKS, run.where
    return run


# One that is interrupted before it is handed to the event loop.
@pytest.mark.filterwarnings("ignore:.*never awaited", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("is_async", [False, True])
def test_a_call_that_is_interrupted_at_any_point(platform: LocalPlatform, is_async: bool, handler: Handler) -> None:
    """Nothing is moved twice, nothing is left open, and the runner can be closed and used again."""
    for at in chosen(called(platform, None, is_async, handler)):
        called(platform, at, is_async, handler)
