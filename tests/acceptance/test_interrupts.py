"""An interrupt may come between any two steps of the caller: nothing hangs, is left behind or is done twice."""

from __future__ import annotations

import asyncio
import dis
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from encord.objects import LabelRowV2
from tests.conftest import World

from encord_agents.local import AgentStage, LocalPlatform, Stage, Workflow
from encord_agents.tasks import Depends
from encord_agents.tasks.models import TaskAgentReturnStruct

if TYPE_CHECKING:
    from encord_agents.tasks.engine.report import RunReport

OURS = ("/tasks/engine/", "/tasks/runner/", "/core/dependencies/", "/core/assets.py")
THEIRS = ("threading.py", "/concurrent/futures/", "contextlib.py")
"""Modules of the standard library that are no better protected."""
CHECKPOINTS = frozenset({"CALL", "CALL_FUNCTION_EX", "CALL_KW", "RESUME", "JUMP_BACKWARD", "SEND", "YIELD_VALUE"})
"""After these, and only after these, does Python look whether a signal has come."""
TASKS = 4
POINTS = 24
WORKFLOW = Workflow(
    [AgentStage("Pre-label", {"complete": "Done"}), Stage("Done", "done")],
)


class Interrupter:
    """Raises `KeyboardInterrupt` in this thread at the checkpoint of a number, as a signal handler would."""

    def __init__(self, at: int | None) -> None:
        self.at = at
        self.passed = 0
        self.where = ""
        self._operations: dict[CodeType, dict[int, str]] = {}
        self._handlers: dict[CodeType, list[Any]] = {}
        self._before: dict[FrameType, int] = {}

    def __enter__(self) -> Interrupter:
        self._outer = sys.gettrace()
        sys.settrace(self._enter)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._outer)
        self._before.clear()

    def _enter(self, frame: FrameType, event: str, _: object) -> Any:
        name = frame.f_code.co_filename
        ours = "encord_agents" in name and any(part in name for part in OURS)
        # Of theirs, what ours call: not what the SDK calls, nor finalizers, in which Python ignores whatever is raised.
        called = frame.f_back is not None and frame.f_back.f_trace is not None
        if not ours and not (called and any(part in name for part in THEIRS)):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._step

    def _step(self, frame: FrameType, event: str, _: object) -> Any:
        if event == "return":
            self._before.pop(frame, None)
        if event != "opcode":
            return self._step
        here, before = frame.f_lasti, self._before.get(frame)
        self._before[frame] = here
        if before is None or not self._is_checkpoint(frame.f_code, before, here):
            return self._step
        self.passed += 1
        if self.passed == self.at:
            self.where = f"{name_of(frame)} < {name_of(frame.f_back)}"
            raise KeyboardInterrupt
        return self._step

    def _is_checkpoint(self, code: CodeType, before: int, here: int) -> bool:
        if code not in self._operations:
            self._operations[code] = {step.offset: step.opname for step in dis.get_instructions(code)}
            self._handlers[code] = list(dis._parse_exception_table(code))  # type: ignore[attr-defined]
        if self._operations[code].get(before) not in CHECKPOINTS:
            return False
        # Python would raise it at the operation before, so whoever handles that one must be who handles this one.
        return self._handler(code, before) == self._handler(code, here)

    def _handler(self, code: CodeType, offset: int) -> object:
        return next((entry.target for entry in self._handlers[code] if entry.start <= offset < entry.end), None)


def name_of(frame: FrameType | None) -> str:
    return "" if frame is None else f"{frame.f_code.co_qualname}:{frame.f_lineno}"


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
        left = [thread.name for thread in threading.enumerate() if thread.name.startswith("encord-agents")]
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
