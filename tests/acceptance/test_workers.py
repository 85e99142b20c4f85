"""Several attempts at once, retries that wait, and what becomes of tasks that finally failed."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from encord.objects import LabelRowV2
from encord.workflow.stages.agent import AgentTask
from tests.waiting import PATIENCE

from encord_agents.exceptions import DependencyError, PrintableError
from encord_agents.local import Fault
from encord_agents.tasks import Depends
from encord_agents.tasks.engine.events import AttemptFailed, Event, TaskStarted
from encord_agents.tasks.engine.report import RunReport
from encord_agents.tasks.models import TaskAgentReturnStruct

if TYPE_CHECKING:
    from tests.conftest import World


class AtOnce:
    """The number of threads inside, and its maximum."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.now = self.most = 0

    def __enter__(self) -> None:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self.now -= 1


# Threads


def test_eight_threads_really_at_once(world: World) -> None:
    """Eight attempts are in progress together, never more, and each task gets its own label row."""
    hashes = world.project.add_placeholders(40)
    together, at_once = threading.Barrier(8), AtOnce()

    def agent(task: AgentTask, label_row: LabelRowV2) -> TaskAgentReturnStruct:
        with at_once:
            together.wait(10)  # nobody goes on before eight are here
        world.mark(label_row, hashes.index(str(task.data_hash)) / 100)
        return TaskAgentReturnStruct(pathway="complete", label_row=label_row)

    report = world.run(agent, max_workers=8)
    assert (report.moved, report.attempts, at_once.most) == (40, 40, 8)
    assert [world.marks(data_hash) for data_hash in hashes] == [[index / 100] for index in range(40)]


def test_one_worker_is_the_callers_thread(world: World) -> None:
    """By default one at a time, in order, where the runner was called."""
    hashes = world.project.add_placeholders(40)
    seen: list[tuple[str, threading.Thread]] = []
    world.run(lambda_with_task(lambda task: seen.append((str(task.data_hash), threading.current_thread()))))
    assert seen == [(data_hash, threading.current_thread()) for data_hash in hashes]


def lambda_with_task(call: Any) -> Any:
    def agent(task: AgentTask) -> str:
        call(task)
        return "complete"

    return agent


def test_no_more_workers_than_the_window(world: World) -> None:
    """The window bounds the tasks in memory, whatever number of workers is asked for."""
    world.project.add_placeholders(20)
    at_once = AtOnce()

    def agent(label_row: LabelRowV2) -> str:
        with at_once:
            time.sleep(0.02)
        return "complete"

    assert world.run(agent, max_workers=16, task_batch_size=3).moved == 20
    assert at_once.most <= 3


def test_a_failure_in_a_thread_is_the_tasks_own(world: World) -> None:
    """The rules hold with workers too: the others go on, attempts are counted, failures are reported."""
    hashes = world.project.add_placeholders(40)

    def agent(task: AgentTask) -> str:
        if str(task.data_hash) == hashes[7]:
            raise LookupError("7")
        return "complete"

    report = world.run(agent, max_workers=8, num_retries=2)
    assert (report.moved, report.failed, report.attempts) == (39, 1, 42)


# Coroutines


def test_coroutines_at_once(world: World) -> None:
    """Async agents share one event loop in a thread of its own, as many at once as was asked for."""
    world.project.add_placeholders(60)
    at_once, all_there, threads, loops = AtOnce(), asyncio.Event(), set(), set()

    async def agent(label_row: LabelRowV2) -> TaskAgentReturnStruct:
        threads.add(threading.current_thread())
        loops.add(id(asyncio.get_running_loop()))
        with at_once:
            if at_once.now == 16:
                all_there.set()
            await asyncio.wait_for(all_there.wait(), PATIENCE)
        return TaskAgentReturnStruct(pathway="complete", label_row=label_row)

    report = world.run(agent, max_workers=16)
    assert (report.moved, report.attempts) == (60, 60)
    assert at_once.most == 16
    assert len(threads) == len(loops) == 1
    assert threading.current_thread() not in threads


@pytest.mark.parametrize("window", [1, 300])
def test_under_a_running_loop(world: World, window: int) -> None:
    """As in a notebook, where a loop runs already."""
    world.project.add_placeholders(5)

    async def agent(label_row: LabelRowV2) -> str:
        await asyncio.sleep(0)
        return "complete"

    async def cell() -> RunReport:
        return world.run(agent, task_batch_size=window, max_workers=3)

    assert asyncio.run(cell()).moved == 5


def test_async_faults_are_retried(world: World) -> None:
    """An attempt that raises on the loop is an attempt like others."""
    world.project.add_placeholders(10)
    tried: Counter[str] = Counter()

    async def agent(task: AgentTask) -> str:
        tried[str(task.data_hash)] += 1
        if tried[str(task.data_hash)] == 1:
            raise LookupError("first")
        return "complete"

    report = world.run(agent, max_workers=4)
    assert (report.moved, report.attempts) == (10, 20)


# Retries


def test_a_waiting_task_keeps_its_slot_and_lets_others_go_on(world: World) -> None:
    """Between two attempts of a task, others run; it keeps its place in the window meanwhile."""
    hashes = world.project.add_placeholders(30)
    order: list[str] = []
    tried = False

    def agent(task: AgentTask, label_row: LabelRowV2) -> str:
        nonlocal tried
        order.append(str(task.data_hash))
        if str(task.data_hash) == hashes[3] and not tried:
            tried = True
            raise LookupError("first")
        return "complete"

    report = world.run(agent, retry_delay=0.4)
    assert (report.moved, report.attempts) == (30, 31)
    first, second = (index for index, data_hash in enumerate(order) if data_hash == hashes[3])
    assert (first, second) == (3, 30)


def test_the_delay_doubles(world: World) -> None:
    """Before each further attempt it waits longer: half of it fixed, half of it random."""
    world.project.add_placeholders(1)
    waits: list[float | None] = []

    def observer(event: Event) -> None:
        if isinstance(event, AttemptFailed):
            waits.append(event.retry_in)

    def agent() -> str:
        raise LookupError("always")

    runner = world.agent(agent)
    runner.observers.append(observer)
    assert runner(progress="none", retry_delay=0.02, num_retries=3).failed == 1
    assert len(waits) == 4
    for wait, ceiling in zip(waits[:3], (0.02, 0.04, 0.08), strict=True):
        assert wait is not None
        assert ceiling / 2 <= wait <= ceiling
    assert waits[3] is None


def test_give_up_on(world: World) -> None:
    """Exceptions in `give_up_on` are not retried; other exceptions are."""
    hashes = world.project.add_placeholders(3)

    def agent(task: AgentTask) -> str:
        if str(task.data_hash) == hashes[0]:
            raise NotImplementedError("a subclass of RuntimeError")
        if str(task.data_hash) == hashes[1]:
            raise LookupError
        return "complete"

    report = world.agent(agent, give_up_on=(RuntimeError,))(progress="none", num_retries=2)
    assert {str(failure.data_hash): failure.attempts for failure in report.failures} == {hashes[0]: 1, hashes[1]: 3}


# The failure pathway


def failing(world: World, failures: set[str], **options: Any) -> Any:
    def agent(task: AgentTask, label_row: LabelRowV2) -> TaskAgentReturnStruct:
        if str(task.data_hash) in failures:
            world.mark(label_row)
            raise LookupError("no")
        return TaskAgentReturnStruct(pathway="complete", label_row=label_row, label_row_priority=0.5)

    return world.agent(agent, failure_pathway="review", **options)


def test_a_failed_task_goes_down_the_failure_pathway(world: World) -> None:
    """It only moves: neither labels nor priority are written; it has failed all the same, and says where it went."""
    hashes = world.project.add_placeholders(10)
    report = failing(world, {hashes[4]})(progress="none", num_retries=1)
    assert (report.moved, report.failed, report.exit_code) == (9, 1, 1)
    (failure,) = report.failures
    assert (str(failure.data_hash), failure.phase, failure.pathway) == (hashes[4], "agent", "review")
    assert world.titles("Review") == ["image-00004.png"]
    assert world.project.saves(hashes[4]) == 0
    assert world.project.priority(hashes[4]) is None


@pytest.mark.parametrize("phase", ["inject", "agent", "teardown", "pathway"])
def test_which_failures_go_there(world: World, phase: str) -> None:
    """Failures for which the user's own code is responsible go down it."""
    hashes = world.project.add_placeholders(10)
    bad = hashes[4]

    def dependency(task: AgentTask) -> Iterator[None]:
        if (str(task.data_hash), phase) == (bad, "inject"):
            raise LookupError
        yield
        if (str(task.data_hash), phase) == (bad, "teardown"):
            raise LookupError

    def agent(task: AgentTask, _: Annotated[None, Depends(dependency)]) -> str:
        if (str(task.data_hash), phase) == (bad, "agent"):
            raise LookupError
        return "nowhere" if (str(task.data_hash), phase) == (bad, "pathway") else "complete"

    report = world.agent(agent, failure_pathway="review")(progress="none", num_retries=0)
    (failure,) = report.failures
    assert (failure.phase, failure.pathway) == (phase, "review")
    assert world.titles("Review") == ["image-00004.png"]


@pytest.mark.parametrize("trouble", ["load", "save"])
def test_which_failures_do_not(world: World, trouble: str) -> None:
    """Trouble with the platform, and labels that it refuses, leave the task where it is."""
    hashes = world.project.add_placeholders(10)
    if trouble == "load":
        world.project.delete_row(hashes[4])
    else:
        world.project.refuse_row(hashes[4])
    report = failing(world, set())(progress="none", num_retries=0)
    (failure,) = report.failures
    assert (failure.phase, failure.pathway) == (trouble, None)
    assert world.count("Review") == 0
    assert world.titles("Pre-label") == ["image-00004.png"]


def test_not_before_the_first_success(world: World) -> None:
    """Until one task has succeeded, nothing says that it is the tasks and not the agent."""
    hashes = world.project.add_placeholders(10)
    report = failing(world, {hashes[0], hashes[1], hashes[5]})(progress="none", num_retries=0)
    went = {str(failure.data_hash): failure.pathway for failure in report.failures}
    assert went == {hashes[0]: None, hashes[1]: None, hashes[5]: "review"}
    assert world.titles("Pre-label") == ["image-00000.png", "image-00001.png"]


@pytest.mark.parametrize("window", [1, 300])
def test_twenty_in_a_row_end_the_run(world: World, window: int) -> None:
    """Then it is the agent. The run stops, says so, exits 1, and sends nothing more down the failure pathway."""
    hashes = world.project.add_placeholders(60)
    report = failing(world, set(hashes[5:]))(progress="none", num_retries=0, task_batch_size=window)
    assert report.exit_code == 1
    assert report.stopped is not None
    assert "20 tasks of stage 'Pre-label' failed in a row" in report.stopped
    assert (report.moved, report.failed) == (5, 20)
    assert world.count("Done") == 5
    # One by one, those before the twentieth had gone already; together, none had.
    gone = 19 if window == 1 else 0
    assert (world.count("Review"), world.count("Pre-label")) == (gone, 55 - gone)
    assert sum(failure.pathway == "review" for failure in report.failures) == gone


def test_a_success_in_between_starts_the_count_again(world: World) -> None:
    """Many failures are not twenty in a row."""
    hashes = world.project.add_placeholders(61)
    report = failing(world, {h for i, h in enumerate(hashes) if i % 15})(progress="none", num_retries=0)
    assert (report.moved, report.failed, report.stopped) == (5, 56, None)
    assert world.count("Review") == 56


# What lives as long as the run


@pytest.mark.parametrize("workers", [1, 8])
@pytest.mark.parametrize("is_async", [False, True])
def test_run_scoped(world: World, is_async: bool, workers: int) -> None:
    """Made once, by the first attempt that needs it, and torn down after the last write."""
    world.project.add_placeholders(30)
    events: list[str] = []

    def model() -> Iterator[str]:
        events.append("up")
        yield "model"
        events.append(f"down after {world.platform.journal.count('actions')}, done {world.count('Done')}")

    async def async_model() -> AsyncIterator[str]:
        events.append("up")
        yield "model"
        events.append(f"down after {world.platform.journal.count('actions')}, done {world.count('Done')}")

    def agent(label_row: LabelRowV2, given: Annotated[str, Depends(model, scope="run")]) -> str:
        assert given == "model"
        return "complete"

    async def async_agent(label_row: LabelRowV2, given: Annotated[str, Depends(async_model, scope="run")]) -> str:
        assert given == "model"
        return "complete"

    report = world.run(async_agent if is_async else agent, max_workers=workers)
    assert report.moved == 30
    assert events == ["up", f"down after {world.platform.journal.count('actions')}, done 30"]


def test_what_belongs_to_an_event_loop(world: World) -> None:
    """A lock that an earlier call has used fails, with a note; made as the note says, it works in every call."""
    world.project.add_placeholders(4)
    older = asyncio.Event()

    async def event() -> asyncio.Event:
        return asyncio.Event()

    async def use(it: asyncio.Event) -> str:
        asyncio.get_running_loop().call_soon(it.set)
        await it.wait()
        it.clear()
        return "complete"

    async def without() -> str:
        return await use(older)

    async def agent(it: Annotated[asyncio.Event, Depends(event, scope="run")]) -> str:
        return await use(it)

    runner = world.agent(without)
    assert runner(max_tasks_per_stage=1, progress="none").moved == 1
    (failure,) = runner(max_tasks_per_stage=1, num_retries=0, progress="none").failures
    assert "scope='run'" in (failure.traceback or "")
    runner.stage("Pre-label", overwrite=True)(agent)
    for _ in range(2):
        assert runner(max_tasks_per_stage=1, progress="none").moved == 1


def test_a_model_that_does_not_load(world: World) -> None:
    """Failing through all attempts of the first task ends the run: it is not loaded once per task."""
    world.project.add_placeholders(30)
    loaded = 0

    def model() -> str:
        nonlocal loaded
        loaded += 1
        raise OSError("no weights")

    def agent(given: Annotated[str, Depends(model, scope="run")]) -> str:
        return "complete"

    with pytest.raises(DependencyError, match="no weights") as caught:
        world.run(agent, num_retries=2)
    assert loaded == 3
    assert isinstance(caught.value, PrintableError)
    assert world.count("Pre-label") == 30


def test_attempts_are_announced(world: World) -> None:
    """An observer hears of each attempt, also of those in other threads, one event at a time."""
    world.project.add_placeholders(20)
    inside = AtOnce()
    started: list[int] = []

    def observer(event: Event) -> None:
        with inside:
            if isinstance(event, TaskStarted):
                started.append(event.attempt)

    runner = world.agent(lambda: "complete")
    runner.observers.append(observer)
    runner(progress="none", max_workers=8)
    assert started == [1] * 20
    assert inside.most == 1


def test_trouble_of_the_platform_is_no_attempt_in_threads(world: World) -> None:
    """Nor does it stop other workers."""
    world.project.add_placeholders(60)
    world.platform.faults.add(Fault("save", times=2))
    world.platform.faults.add(Fault("actions", times=1, action="drop_after"))

    def agent(label_row: LabelRowV2) -> TaskAgentReturnStruct:
        return TaskAgentReturnStruct(pathway="complete", label_row=label_row)

    report = world.run(agent, max_workers=8)
    assert (report.moved, report.attempts) == (60, 60)
    assert {world.project.moves(task.uuid) for task in world.project.tasks()} == {1}
