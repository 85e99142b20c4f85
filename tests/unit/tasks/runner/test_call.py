"""One call of a queue function: a result for each task, whatever becomes of it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from encord.exceptions import AuthenticationError
from encord.objects import LabelRowV2
from tests.waiting import until

from encord_agents.exceptions import OutageError, PrintableError
from encord_agents.local import Fault
from encord_agents.tasks import QueueRunner
from encord_agents.tasks.engine.stop import Leaving
from encord_agents.tasks.engine.write import Writer
from encord_agents.tasks.models import TaskAgentReturnStruct, TaskResult
from encord_agents.tasks.runner.apart import Apart
from encord_agents.tasks.runner.call import Call, not_done
from encord_agents.tasks.runner.specs import Spec, read_specs

if TYPE_CHECKING:
    from tests.conftest import World

SPEC = Spec(UUID(int=1), UUID(int=2))


@pytest.mark.parametrize(
    ("trouble", "retryable", "has_traceback"),
    [
        (OutageError(5.0, TimeoutError("late")), True, False),
        (AuthenticationError("no such key"), False, False),
        (PrintableError("the set-up is wrong"), False, False),
        (Leaving(), True, False),
        (TimeoutError("cut off"), True, True),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_task_without_an_outcome_of_its_own(trouble: BaseException, retryable: bool, has_traceback: bool) -> None:
    """It has failed, and may be tried again unless somebody has to change something first."""
    result = not_done(SPEC, trouble, phase="load")
    assert (result.outcome, result.phase, result.retryable) == ("failed", "load", retryable)
    assert (result.traceback is not None) == has_traceback
    assert "unconfirmed" in (not_done(SPEC, trouble, phase="move").error or "")


def test_a_result_for_each_task(world: World, runner: QueueRunner) -> None:
    """Moved, skipped, malformed; and one that is asked about without having been given."""
    function = runner.stage("Pre-label")(lambda: "complete")
    world.project.add_placeholders(2)
    here, gone = read_specs(list(function.waiting()))
    world.project.move(str(gone.uuid), "Done")
    with runner._in_use() as connection:
        call = Call(connection, connection.agent(runner.agents[0]), None, final=True, bundle_saves=False)
        malformed = Spec(UUID(int=3), UUID(int=3), "This is no task")
        call.run([here, gone, malformed])
        assert [call.result(one).outcome for one in (here, gone, malformed)] == ["moved", "skipped", "failed"]
        assert "It is not known what became of the task" in (call.result(SPEC).error or "")


def test_trouble_after_a_task_was_found_gone(world: World, runner: QueueRunner) -> None:
    """The task is skipped all the same, and is not tried again; the others have failed."""

    @runner.stage("Pre-label")
    def function(label_row: LabelRowV2) -> str:
        return "complete"

    world.project.add_placeholders(2)
    here, gone = read_specs(list(function.waiting()))
    world.project.move(str(gone.uuid), "Done")
    world.platform.faults.add(Fault("rows", times=None, action="envelope", error="AUTHENTICATION_ERROR"))
    with runner._in_use() as connection:
        call = Call(connection, connection.agent(runner.agents[0]), None, final=True, bundle_saves=False)
        call.run([here, gone])
        assert [call.result(one).outcome for one in (here, gone)] == ["failed", "skipped"]


def test_two_tasks_of_one_row(world: World, runner: QueueRunner) -> None:
    """The second is loaded after the first is written."""
    function = runner.stage("Pre-label")(lambda: "complete")
    (unit,) = world.project.add_placeholders(1)
    world.project.add_task(unit)
    specs = read_specs(list(function.waiting()))
    world.platform.journal.clear()
    with runner._in_use() as connection:
        call = Call(connection, connection.agent(runner.agents[0]), None, final=True, bundle_saves=False)
        call.run(specs)
    assert world.requests("tasks", "actions") == ["tasks", "actions", "actions"]


class Written:
    """A call whose task has labels and a priority to be written."""

    def __init__(self, world: World, runner: QueueRunner) -> None:
        self.world = world
        (self.unit,) = world.project.add_placeholders(1)

        @runner.stage("Pre-label")
        def agent(row: LabelRowV2) -> TaskAgentReturnStruct:
            world.mark(row)
            return TaskAgentReturnStruct(pathway="complete", label_row=row, label_row_priority=0.5)

        self.specs = read_specs(list(agent.waiting()))
        world.platform.journal.clear()
        self.runner = runner

    def call(self) -> TaskResult:
        with self.runner._in_use() as connection:
            agent = connection.agent(self.runner.agents[0])
            call = Call(connection, agent, None, final=True, bundle_saves=False)
            call.run(self.specs)
        return call.result(self.specs[0])

    @property
    def is_written(self) -> bool:
        priority = self.world.project.tasks()[0].priority
        return bool(self.world.marks(self.unit)) and priority == 0.5 and self.world.count("Done") == 1


@pytest.mark.parametrize("slow", ["save", "priorities"])
def test_labels_and_priorities_are_written_at_the_same_time(world: World, runner: QueueRunner, slow: str) -> None:
    """Neither waits for the other's answer, and the task moves when it has both."""
    written = Written(world, runner)
    world.platform.faults.add(Fault(slow, action="stall", seconds=3600.0))
    with ThreadPoolExecutor(1) as threads:
        called = threads.submit(written.call)
        other = {"save", "priorities"} - {slow}
        assert until(lambda: world.requests(*other))
        assert not world.requests("actions")
        world.platform.faults.clear()
        assert called.result().outcome == "moved"
    assert written.is_written


@pytest.mark.parametrize("kind", ["save", "priorities"])
def test_one_of_them_is_refused(world: World, runner: QueueRunner, kind: str) -> None:
    """The task fails, in phase ``save``, and does not move; the other one was written all the same."""
    written = Written(world, runner)
    action, error = ("envelope", "CORRUPTED_LABEL_ERROR") if kind == "save" else ("status", "")
    world.platform.faults.add(Fault(kind, times=None, action=action, status=400, error=error))  # type: ignore[arg-type]
    result = written.call()
    assert (result.outcome, result.phase, result.retryable) == ("failed", "save", False)
    assert world.requests("actions") == []
    assert bool(world.marks(written.unit)) == (kind != "save")
    assert world.project.tasks()[0].priority == (0.5 if kind == "save" else None)


@pytest.mark.parametrize("kind", ["save", "priorities"])
def test_one_of_them_is_cut_off(world: World, runner: QueueRunner, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """As by an engine's time limit: what was finished is written all the same, and the task may be tried again."""
    written, cut_off = Written(world, runner), []
    name = {"save": "_save", "priorities": "_prioritise"}[kind]
    write = getattr(Writer, name)

    def once_too_long(*given: Any) -> None:
        if not cut_off:
            cut_off.append(kind)
            raise TimeoutError("the time limit")
        write(*given)

    monkeypatch.setattr(Writer, name, once_too_long)
    written.call()
    assert cut_off
    assert written.is_written


def test_no_thread_for_the_second(world: World, runner: QueueRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are written one after the other."""

    def start(_: Apart) -> None:
        raise RuntimeError("can't start new thread")

    written = Written(world, runner)
    monkeypatch.setattr(Apart, "start", start)
    assert written.call().outcome == "moved"
    assert world.requests("save", "priorities", "actions") == ["save", "priorities", "actions"]
    assert written.is_written
