"""Draining: a QueueRunner's stages over processes, or over an executor; and what a worker that dies costs."""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from encord.exceptions import AuthorisationError, EncordException
from encord.objects import LabelRowV2
from encord.workflow.stages.agent import AgentTask
from tests import preloaded
from tests.waiting import PATIENCE, until

from encord_agents.exceptions import (
    DependencyError,
    OutageError,
    PrintableError,
    UnknownPathwayError,
    UnknownStageError,
)
from encord_agents.local import Fault
from encord_agents.tasks import Depends, QueueRunner
from encord_agents.tasks.engine.dead_letter import FAILURES_IN_A_ROW
from encord_agents.tasks.engine.events import (
    AttemptFailed,
    PassFinished,
    StagePolled,
    StageStarted,
    TaskFinished,
    TaskStarted,
    TaskWouldWrite,
)
from encord_agents.tasks.engine.timing import Limits, Timing
from encord_agents.tasks.models import TaskAgentReturnStruct
from encord_agents.tasks.runner import drain
from encord_agents.tasks.runner.messages import portable

if TYPE_CHECKING:
    from tests.conftest import World

# In threads


@pytest.fixture
def queue(world: World) -> Iterator[QueueRunner]:
    runner = QueueRunner(world.project.project_hash, user_client=world.client, max_outage=0.2)
    yield runner
    runner.close()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(3) as pool:
        yield pool


def test_threads(world: World, queue: QueueRunner, threads: ThreadPoolExecutor) -> None:
    """Any executor will do. It is not shut down, and what lives as long as the run is torn down at its end."""
    world.project.add_placeholders(25)

    @queue.stage("Pre-label")
    def agent(label_row: LabelRowV2) -> TaskAgentReturnStruct:
        world.mark(label_row)
        return TaskAgentReturnStruct("complete", label_row, 0.5)

    report = queue.drain(executor=threads, progress="none")
    assert queue.report is report
    assert (report.moved, report.attempts, report.passes, report.stopped) == (25, 25, 1, None)
    assert report.loading > 0
    assert report.writing > 0
    assert world.count("Done") == 25
    assert world.requests("actions") == ["actions"] * 3
    assert threads.submit(lambda: 1).result() == 1
    assert queue._connection is None


def test_only_what_failed_is_tried_again(world: World, queue: QueueRunner, threads: ThreadPoolExecutor) -> None:
    """Three retries are four attempts; a task that recovers is moved; the record says what the other failed with."""
    world.project.add_placeholders(12, title="file {index}")
    calls: Counter[str] = Counter()

    @queue.stage("Pre-label", raise_on_failure=True)
    def agent(task: AgentTask) -> str:
        calls[task.data_title] += 1
        if task.data_title == "file 3" or (task.data_title == "file 4" and calls["file 4"] < 3):
            raise ValueError("bad pixels")
        return "complete"

    events: list[Any] = []
    queue.observers.append(events.append)
    report = queue.drain(executor=threads, progress="none")
    assert calls == {f"file {i}": {3: 4, 4: 3}.get(i, 1) for i in range(12)}
    assert (report.moved, report.failed, report.attempts) == (11, 1, 17)
    (failure,) = report.failures
    assert (failure.data_title, failure.phase, failure.attempts) == ("file 3", "agent", 4)
    assert isinstance(failure.exception, drain.WorkerError)
    assert str(failure.exception) == "ValueError: bad pixels"
    assert failure.traceback is not None
    assert 'raise ValueError("bad pixels")' in failure.traceback
    assert [e.retry_in for e in events if isinstance(e, AttemptFailed) and e.task.data_title == "file 3"] == [
        *(0.0, 0.0, 0.0),
        None,
    ]
    assert sum(isinstance(e, TaskFinished) for e in events) == 12
    assert [(e.moved, e.failed) for e in events if isinstance(e, PassFinished)] == [(11, 1)]
    assert [e.tasks for e in events if isinstance(e, StagePolled) and e.complete] == [12]


def test_what_is_given_up_on_is_not_tried_again(world: World, queue: QueueRunner, threads: ThreadPoolExecutor) -> None:
    """A failure pathway is taken at once by what is permanent, and after the last attempt by everything else."""
    world.project.add_placeholders(1, title="good")
    world.project.add_placeholders(3, title="file {index}")
    calls: Counter[str] = Counter()

    @queue.stage("Pre-label", give_up_on=(KeyError,), failure_pathway="review")
    def agent(task: AgentTask) -> str:
        calls[task.data_title] += 1
        if task.data_title == "good":
            return "complete"
        raise {"file 0": KeyError, "file 1": ValueError, "file 2": OSError}[task.data_title]("bad")

    report = queue.drain(executor=threads, num_retries=1, progress="none")
    assert calls == {"good": 1, "file 0": 1, "file 1": 2, "file 2": 2}
    assert (report.moved, report.failed, report.attempts) == (1, 3, 6)
    assert {record.pathway for record in report.failures} == {"review"}
    assert world.count("Review") == 3


def test_an_agent_that_has_not_succeeded_sends_nothing_down(
    world: World, queue: QueueRunner, threads: ThreadPoolExecutor
) -> None:
    """Tasks that fail before the stage's first success in a run stay, and after 20 in a row the run ends and says why:
    as with a Runner, over all workers together."""
    world.project.add_placeholders(60, title="file {index}")

    @queue.stage("Pre-label", failure_pathway="review")
    def agent(task: AgentTask) -> str:
        raise ValueError("a bug")

    report = queue.drain(executor=threads, batch_size=3, num_retries=0, progress="none")
    assert (world.count("Review"), report.moved) == (0, 0)
    assert FAILURES_IN_A_ROW <= report.failed < 60
    assert "20 tasks of stage 'Pre-label' failed in a row" in (report.stopped or "")


def test_an_agent_that_breaks_sends_no_more_than_19_down(world: World, queue: QueueRunner) -> None:
    """From the 20th failure in a row on the agent is to blame, not the tasks."""
    world.project.add_placeholders(1, title="good")
    world.project.add_placeholders(60, title="file {index}")

    @queue.stage("Pre-label", failure_pathway="review")
    def agent(task: AgentTask) -> str:
        if task.data_title == "good":
            return "complete"
        raise ValueError("a bug")

    with ThreadPoolExecutor(1) as pool:
        report = queue.drain(executor=pool, batch_size=7, num_retries=0, progress="none")
    assert world.count("Review") == FAILURES_IN_A_ROW - 1
    assert report.moved == 1
    assert "failed in a row" in (report.stopped or "")


def test_a_failure_pathway_in_an_outage(world: World, queue: QueueRunner, threads: ThreadPoolExecutor) -> None:
    """Tasks that could not be moved down it are listed, with the outage that ended the run."""
    world.project.add_placeholders(1, title="good")
    world.project.add_placeholders(1, title="bad")

    @queue.stage("Pre-label", failure_pathway="review")
    def agent(task: AgentTask) -> str | None:
        if task.data_title == "bad":
            world.platform.faults.add(Fault("actions", status=503, times=None))
            raise ValueError
        return None

    with pytest.raises(OutageError):
        queue.drain(executor=threads, num_retries=0, progress="none")
    assert queue.report is not None
    assert [task.data_title for task in queue.report.unwritten] == ["bad"]


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_an_agent_that_exits(
    world: World, queue: QueueRunner, threads: ThreadPoolExecutor, error: type[BaseException]
) -> None:
    """It is that task's failure: it ends neither the run nor what the others of its batch have done."""
    world.project.add_placeholders(5, title="file {index}")

    @queue.stage("Pre-label")
    def agent(task: AgentTask) -> str:
        if task.data_title == "file 2":
            raise error(3)
        return "complete"

    @queue.stage("Triage")
    async def waits(task: AgentTask) -> str:
        if task.data_title == "file 2":
            raise error(3)
        return "ok"

    report = queue.drain(executor=threads, num_retries=1, progress="none")
    assert (report.moved, report.failed, report.stopped) == (4, 1, None)
    said = "RuntimeError: agent() wanted the process to exit, with 3" if error is SystemExit else "KeyboardInterrupt: 3"
    assert str(report.failures[0].exception) == said


def test_an_executor_that_raises_what_is_no_exception(world: World, queue: QueueRunner) -> None:
    """The report names the exception that ended the run, even if it is no `Exception`."""
    world.project.add_placeholders(1)
    queue.stage("Pre-label")(lambda: "complete")

    class Exits(ThreadPoolExecutor):
        def submit(self, *args: Any, **kwargs: Any) -> Future[Any]:
            raise SystemExit(3)

    with Exits(1) as pool, pytest.raises(SystemExit):
        queue.drain(executor=pool, progress="none")
    assert queue.report is not None
    assert queue.report.stopped == "SystemExit: 3"


def test_a_good_pathway_counts_though_its_labels_were_refused(
    world: World, queue: QueueRunner, threads: ThreadPoolExecutor
) -> None:
    """An unknown pathway after it fails its task, and does not end the run."""
    world.project.add_placeholders(2, title="file {index}")

    @queue.stage("Pre-label")
    def agent(task: AgentTask, label_row: LabelRowV2) -> TaskAgentReturnStruct:
        return TaskAgentReturnStruct("complete" if task.data_title == "file 0" else "compleet", label_row)

    world.platform.faults.add(Fault("save", times=None, action="envelope", status=400, error="CORRUPTED_LABEL_ERROR"))
    report = queue.drain(executor=threads, batch_size=2, num_retries=0, progress="none")
    assert sorted(record.phase or "" for record in report.failures) == ["pathway", "save"]


class Cancels(ThreadPoolExecutor):
    """Cancels some of its batches, as a person at a dashboard may: before they are begun, or after."""

    def __init__(self, *numbers: int, after: bool = False) -> None:
        super().__init__(1)
        self._numbers = numbers
        self._after = after
        self._submitted = 0

    def submit(self, *args: Any, **kwargs: Any) -> Future[Any]:
        self._submitted += 1
        if self._submitted not in self._numbers:
            return super().submit(*args, **kwargs)
        if self._after:
            super().submit(*args, **kwargs).result()
        future: Future[Any] = Future()
        future.cancel()
        future.set_running_or_notify_cancel()
        return future


def test_a_batch_that_somebody_cancels(world: World, queue: QueueRunner) -> None:
    """It is sent once more; if that is cancelled too, its tasks fail, and say so. None is passed over in silence."""
    world.project.add_placeholders(20)
    queue.stage("Pre-label")(lambda: "complete")
    with Cancels(3) as pool:
        report = queue.drain(executor=pool, batch_size=5, progress="none")
    assert (report.moved, report.failed) == (20, 0)
    world.project.add_placeholders(5)
    with Cancels(*range(2, 9)) as pool:
        report = queue.drain(executor=pool, batch_size=5, progress="none")
    assert (report.moved, report.failed) == (0, 5)
    assert "cancelled twice" in str(report.failures[0].exception)


def test_answers_that_are_lost(world: World, queue: QueueRunner) -> None:
    """A task that was moved, though nobody could say so, is found where its pathway leads: moved, not confirmed."""
    world.project.add_placeholders(4, title="file {index}")

    @queue.stage("Pre-label")
    def agent(task: AgentTask) -> str:
        return "review" if task.data_title == "file 0" else "complete"

    with Cancels(2, after=True) as pool:
        report = queue.drain(executor=pool, progress="none")
    assert (report.moved, report.skipped) == (4, 0)
    assert {(record.data_title, record.pathway, record.confirmed) for record in report.records} == {
        ("file 0", "review", False),
        *((f"file {i}", "complete", False) for i in (1, 2, 3)),
    }


def test_batches_that_never_seem_to_run(world: World, queue: QueueRunner) -> None:
    """There are executors that never say that a batch is at work. Then none is called back when the run is stopped:
    what is out is waited for, and counted."""
    world.project.add_placeholders(600)

    class Quiet(ThreadPoolExecutor):
        def submit(self, function: Any, *args: Any, **kwargs: Any) -> Future[Any]:
            outer: Future[Any] = Future()

            def done(inner: Future[Any]) -> None:
                if not outer.cancelled():
                    outer.set_result(inner.result())

            super().submit(function, *args, **kwargs).add_done_callback(done)
            return outer

    begun = []

    @queue.stage("Pre-label")
    def agent(task: AgentTask) -> str:
        begun.append(task)
        if len(begun) == 6:
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.02)
        return "complete"

    with Quiet(1) as pool, pytest.raises(KeyboardInterrupt):
        queue.drain(executor=pool, batch_size=500, progress="none")
    assert queue.report is not None
    assert queue.report.moved == len(begun) == world.count("Done")


def test_what_is_no_executor(queue: QueueRunner) -> None:
    """Told at once, with what to give."""
    queue.stage("Pre-label")(lambda: "complete")
    with pytest.raises(PrintableError, match="has no submit"):
        queue.drain(executor=4)  # type: ignore[arg-type]


def test_what_does_not_reach_other_processes(world: World, queue: QueueRunner) -> None:
    """Agents that a given process pool could not import, agents of a script for loky, and overridden dependencies."""
    from loky import ProcessPoolExecutor as Loky

    function = queue.stage("Pre-label")(lambda: "complete")
    with ProcessPoolExecutor(1) as pool, pytest.raises(PrintableError, match="cannot be sent to other processes"):
        queue.drain(executor=pool)
    queue.dependency_overrides[print] = len
    with ProcessPoolExecutor(1) as pool, pytest.raises(PrintableError, match="dependency_overrides"):
        queue.drain(executor=pool)
    with pytest.raises(PrintableError, match="dependency_overrides"):
        queue.drain()
    queue.dependency_overrides.clear()
    function.__module__, function.__qualname__ = "__main__", "unused"
    sys.modules["__main__"].unused = function  # type: ignore[attr-defined]
    try:
        with pytest.raises(PrintableError, match="loky's workers do not import the script"):
            queue.drain(executor=Loky(1))
    finally:
        del sys.modules["__main__"].unused  # type: ignore[attr-defined]


def test_stages_in_order(world: World, queue: QueueRunner, threads: ThreadPoolExecutor) -> None:
    """A stage is polled when the one before is through, so a task goes down both in one pass."""
    world.project.add_placeholders(30)
    order = []

    @queue.stage("Pre-label")
    def first() -> str:
        order.append(1)
        return "triage"

    @queue.stage("Triage")
    def second() -> str:
        order.append(2)
        return "ok"

    events: list[Any] = []
    queue.observers.append(events.append)
    report = queue.drain(executor=threads, progress="none")
    assert order == [1] * 30 + [2] * 30
    assert [(s.title, s.function, s.moved) for s in report.stages] == [
        ("Pre-label", "first", 30),
        ("Triage", "second", 30),
    ]
    assert [e.stage for e in events if isinstance(e, StageStarted)] == ["Pre-label", "Triage"]
    assert world.count("Done") == 30


@pytest.mark.parametrize("batch_size", [1, 4, 10])
def test_max_tasks_is_exact(world: World, queue: QueueRunner, threads: ThreadPoolExecutor, batch_size: int) -> None:
    """So many tasks are given to the agent, retries aside; one that had left when its turn came does not count."""
    world.project.add_placeholders(30, title="file {index}")
    gone = {task.uuid for task in world.project.tasks("Pre-label") if task.data_title in ("file 2", "file 5")}
    given = set()

    def leave(event: object) -> None:
        if isinstance(event, StagePolled) and world.count("Review") == 0:
            for uuid in gone:
                world.project.move(uuid, "Review")

    queue.observers.append(leave)

    @queue.stage("Pre-label")
    def agent(task: AgentTask) -> str:
        given.add(task.data_title)
        if task.data_title == "file 1":
            raise ValueError
        return "complete"

    options: Any = {"executor": threads, "batch_size": batch_size, "max_tasks_per_stage": 9, "progress": "none"}
    report = queue.drain(**options)
    assert given == {f"file {i}" for i in range(11)} - {"file 2", "file 5"}
    assert (report.moved, report.failed, report.skipped) == (8, 1, 2)
    assert queue.drain(**options).tasks == 9


def test_passes(world: World, queue: QueueRunner) -> None:
    """Pass after pass; what was held comes after what is new."""
    world.project.add_placeholders(3, title="old {index}")
    calls: list[str] = []

    @queue.stage("Pre-label")
    def agent(task: AgentTask) -> str | None:
        calls.append(task.data_title)
        return None if task.data_title.startswith("old") else "complete"

    def between(event: object) -> None:
        if isinstance(event, PassFinished):
            assert event.next_in is not None
            if event.number == 2:
                os.kill(os.getpid(), signal.SIGINT)
            world.project.add_placeholders(1, title="new")

    queue.observers.append(between)
    with ThreadPoolExecutor(1) as pool, pytest.raises(KeyboardInterrupt):
        queue.drain(executor=pool, batch_size=1, refresh_every=1, progress="none")
    assert sorted(calls[:3]) == ["old 0", "old 1", "old 2"]
    assert calls[3] == "new"
    assert len(calls) == 7
    assert queue.report is not None
    assert (queue.report.moved, queue.report.held, queue.report.stopped) == (1, 3, "interrupted")


@pytest.mark.parametrize("tokens", ["keyset", "offset"])
def test_pages_lose_no_task(world: World, queue: QueueRunner, threads: ThreadPoolExecutor, tokens: Any) -> None:
    """A stage whose pages were still being read while its tasks moved is asked again."""
    queue.limits = Limits(read_ahead=4)
    world.platform.settings.page_size = 4
    world.platform.settings.page_tokens = tokens
    world.platform.settings.latency = 0.01
    world.project.add_placeholders(40)
    queue.stage("Pre-label")(lambda: "complete")
    report = queue.drain(executor=threads, batch_size=2, progress="none")
    assert report.moved == 40
    assert world.count("Done") == 40


def test_two_tasks_of_one_row_are_not_out_together(
    world: World, queue: QueueRunner, threads: ThreadPoolExecutor
) -> None:
    """The second goes out when the first is written, so no labels are lost."""
    units = world.project.add_placeholders(3)
    for unit in units:
        world.project.add_task(unit)

    @queue.stage("Pre-label")
    def agent(label_row: LabelRowV2) -> TaskAgentReturnStruct:
        world.mark(label_row, x=0.1 * (1 + len(label_row.get_object_instances())))
        return TaskAgentReturnStruct("complete", label_row)

    assert queue.drain(executor=threads, batch_size=2, progress="none").moved == 6
    assert [world.marks(unit) for unit in units] == [pytest.approx([0.1, 0.2])] * 3


def test_few_batches_are_out(world: World, queue: QueueRunner) -> None:
    """Two for each worker, however many tasks there are: one that it works on, and the next."""
    world.project.add_placeholders(60)
    out: set[Future[Any]] = set()
    most = 0

    class Counting(ThreadPoolExecutor):
        def submit(self, *args: Any, **kwargs: Any) -> Future[Any]:
            nonlocal most
            future = super().submit(*args, **kwargs)
            out.add(future)
            most = max(most, sum(not one.done() for one in out))
            return future

    queue.stage("Pre-label")(lambda: "complete")
    with Counting(2) as pool:
        assert queue.drain(executor=pool, batch_size=3, progress="none").moved == 60
    assert 2 <= most <= 4


def test_an_interrupt_finishes_what_is_worked_on(world: World, queue: QueueRunner) -> None:
    """No task is begun any more, what was finished of a batch is written and counted, and the interrupt goes on."""
    world.project.add_placeholders(600)
    begun = []

    @queue.stage("Pre-label")
    def agent(task: AgentTask) -> str:
        begun.append(task)
        if len(begun) == 6:
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)
        return "complete"

    with ThreadPoolExecutor(1) as pool, pytest.raises(KeyboardInterrupt):
        queue.drain(executor=pool, batch_size=500, progress="none")
    report = queue.report
    assert report is not None
    assert (report.moved, report.stopped, report.unwritten) == (len(begun), "interrupted", ())
    assert 6 <= len(begun) == world.count("Done") < 500


def test_an_interrupt_ends_an_outage(world: World, threads: ThreadPoolExecutor) -> None:
    """It is not waited out any longer than writing may take, and what could not be written is listed."""
    world.project.add_placeholders(4)
    world.platform.faults.add(Fault("actions", status=503, times=None))
    runner = QueueRunner(world.project.project_hash, user_client=world.client)
    runner.timing = Timing(time_to_write=0.3)
    runner.stage("Pre-label")(lambda: os.kill(os.getpid(), signal.SIGINT) or "complete")  # type: ignore[func-returns-value]
    with pytest.raises(KeyboardInterrupt):
        runner.drain(executor=threads, progress="none", batch_size=1)
    report = runner.report
    assert report is not None
    assert (report.moved, report.failed, report.stopped) == (0, 0, "interrupted")
    assert 1 <= len(report.unwritten) <= 3


def test_an_outage_ends_the_run(world: World, queue: QueueRunner, threads: ThreadPoolExecutor) -> None:
    """The run ends if the platform does not come back in time, and lists finished tasks that were not written."""
    world.project.add_placeholders(4)
    queue.stage("Pre-label")(lambda: "complete")
    world.platform.faults.add(Fault("actions", status=503, times=None))
    with pytest.raises(OutageError):
        queue.drain(executor=threads, progress="none")
    world.platform.faults.clear()
    assert queue.report is not None
    assert len(queue.report.unwritten) == 4
    assert "has not answered" in (queue.report.stopped or "")
    assert queue.drain(executor=threads, progress="none").moved == 4


def test_credentials_that_are_refused_on_the_way(world: World, queue: QueueRunner, threads: ThreadPoolExecutor) -> None:
    """An error that concerns every task ends the run and is raised as the SDK raises it, with advice."""
    world.project.add_placeholders(4)

    @queue.stage("Pre-label")
    def agent(label_row: LabelRowV2) -> str:
        return "complete"

    world.platform.faults.add(Fault("rows", times=None, action="envelope", status=403, error="AUTHORISATION_ERROR"))
    with pytest.raises(AuthorisationError) as raised:
        queue.drain(executor=threads, progress="none")
    assert "may not run agents in project" in "".join(raised.value.__notes__)
    assert world.count("Pre-label") == 4


def test_what_no_task_can_survive(world: World, queue: QueueRunner, threads: ThreadPoolExecutor) -> None:
    """A pathway that does not exist, or a model that does not load, ends the run, if no task has done better."""
    world.project.add_placeholders(30, title="file {index}")
    made = []

    def model() -> str:
        made.append(1)
        raise OSError("no such weights")

    @queue.stage("Pre-label")
    def agent() -> str:
        return "compleet"

    with pytest.raises(UnknownPathwayError, match="Did you mean 'complete'"):
        queue.drain(executor=threads, batch_size=1, progress="none")

    @queue.stage("Pre-label", overwrite=True)
    def loading(loaded: Annotated[str, Depends(model, scope="run")]) -> str:
        return "complete"

    with pytest.raises(DependencyError, match="in 4 attempts: OSError"):
        queue.drain(executor=threads, batch_size=1, progress="none")
    assert len(made) < 40
    assert world.count("Pre-label") == 30

    @queue.stage("Pre-label", overwrite=True)
    def sometimes(task: AgentTask) -> str:
        return "compleet" if task.data_title == "file 0" else "complete"

    report = queue.drain(executor=threads, num_retries=0, progress="none")
    assert (report.moved, report.failed) == (29, 1)


def test_a_given_executor_that_breaks(world: World, queue: QueueRunner, caplog: pytest.LogCaptureFixture) -> None:
    """It is not ours to mend: the run ends with what it raises."""
    world.project.add_placeholders(4)
    queue.stage("Pre-label")(lambda: "complete")

    def fail() -> None:
        raise RuntimeError("no GPU")

    with ThreadPoolExecutor(1, initializer=fail) as pool, pytest.raises(BrokenExecutor):
        queue.drain(executor=pool, progress="none")
    assert queue.report is not None
    assert "BrokenThreadPool" in (queue.report.stopped or "")
    with ThreadPoolExecutor(1) as closed:
        pass
    with pytest.raises(RuntimeError, match="shutdown"):
        queue.drain(executor=closed, progress="none")


def test_set_up_errors_come_first(world: World, queue: QueueRunner) -> None:
    """Numbers, then agents, then the project, and nothing is sent anywhere."""
    numbers = ["workers", "batch_size", "max_tasks_per_stage"]
    world.platform.journal.clear()
    with pytest.raises(PrintableError, match="no agent"):
        queue.drain()
    queue.stage("Nowhere")(lambda: "complete")
    for number in numbers:
        with pytest.raises(PrintableError, match=f"{number}=0 is out of range"):
            queue.drain(**{number: 0})  # type: ignore[arg-type]
    with pytest.raises(PrintableError, match="num_retries=-1 is out of range"):
        queue.drain(num_retries=-1)
    with pytest.raises(PrintableError, match="refresh_every=-1 is out of range"):
        queue.drain(refresh_every=-1)
    assert world.requests() == []
    with ThreadPoolExecutor(1) as pool, pytest.raises(UnknownStageError, match="Nowhere"):
        queue.drain(executor=pool)


def test_functions_that_cannot_be_imported(world: World, queue: QueueRunner) -> None:
    """Told before anything runs, with what to do instead."""

    @queue.stage("Pre-label")
    def agent() -> str:
        return "complete"

    world.platform.journal.clear()
    with pytest.raises(PrintableError, match="ThreadPoolExecutor") as raised:
        queue.drain()
    assert "<locals>.agent" in str(raised.value)
    assert world.requests() == []


def test_errors_that_cannot_be_sent() -> None:
    """An exception that could not be made anew in another process is sent as its text."""

    class OddError(Exception):
        def __init__(self, one: int, other: int) -> None:
            super().__init__(f"{one} and {other}")

    sent = portable(OddError(1, 2))
    assert isinstance(sent, PrintableError)
    assert "OddError: 1 and 2" in str(pickle.loads(pickle.dumps(sent)))
    refused = EncordException("no")
    refused.add_note("do this")
    assert pickle.loads(pickle.dumps(portable(refused))).__notes__ == ["do this"]


# In processes

AGENTS = """
import json, os, signal, time
from collections.abc import Iterator
from typing import Annotated

from encord.workflow.stages.agent import AgentTask
from encord_agents.tasks import Depends, QueueRunner

HOME = int(os.environ["TEST_HOME"])

def note(what: str) -> None:
    with open(os.environ["TEST_NOTES"], "a") as notes:
        notes.write(json.dumps([os.getpid(), what]) + "\\n")

def connected(runner: QueueRunner) -> None:
    if os.environ.get("TEST_BAD_WORKERS") and os.getpid() != HOME:
        raise RuntimeError("no GPU here")

runner = QueueRunner(os.environ["TEST_PROJECT"], pre_execution_callback=connected)

def model() -> Iterator[str]:
    note("made")
    yield "model"
    note("torn down")

@runner.stage("Pre-label", failure_pathway=os.environ.get("TEST_FAILURE_PATHWAY"))
def pre_label(task: AgentTask, loaded: Annotated[str, Depends(model, scope="run")]) -> str:
    note(task.data_title)
    if task.data_title == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if task.data_title == "fails":
        raise ValueError("bad pixels")
    time.sleep(float(os.environ["TEST_SLEEP"]))
    return "triage"

@runner.stage("Triage")
def triage(task: AgentTask) -> str:
    return "ok"
"""

MAIN = """
if __name__ == "__main__":
    try:
        report = runner.drain(workers=2, batch_size=3, progress="none")
    finally:
        note("report " + runner.report.to_json())
"""


FORKS = """
from encord_agents.tasks.engine.events import TaskFinished

def fork_once(event: object) -> None:
    if isinstance(event, TaskFinished):
        if not forked:
            forked.append(True)
            if os.fork() == 0:
                note("forked")
                time.sleep(60)
                os._exit(0)

forked = []
runner.observers.append(fork_once)
"""

KEEPS_A_POOL = """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

executors = []

@runner.stage("Pre-label", overwrite=True)
def in_a_pool(task: AgentTask) -> str:
    if not executors:
        executors.append(ProcessPoolExecutor(1, multiprocessing.get_context("spawn")))
    note(f"pool {executors[0].submit(os.getpid).result()}")
    return "triage"
"""

KILLED_ONCE = """
@runner.stage("Pre-label", overwrite=True)
def killed_once(task: AgentTask) -> str:
    note(task.data_title)
    if task.data_title == "killed" and sum("killed" in line for line in open(os.environ["TEST_NOTES"])) == 1:
        (stage,) = [one for one in runner.get_agent_stages() if one.title == "Pre-label"]
        while len(list(stage.get_tasks())) > 1:  # until the others are written
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGKILL)
    return "complete"
"""

DIES_AT_ITS_THIRD_START = """
if os.getpid() != HOME:
    starts = os.path.join(os.path.dirname(os.environ["TEST_NOTES"]), "starts")
    with open(starts, "a") as file:
        file.write("x")
    if os.path.getsize(starts) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
"""


class Processes:
    """A module of agents that worker processes can import, and what they note."""

    def __init__(self, world: World, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory = directory
        self._notes = directory / "notes"
        self._notes.touch()
        self.environment = {
            **world.platform.environment(),
            "TEST_PROJECT": world.project.project_hash,
            "TEST_NOTES": str(self._notes),
            "TEST_HOME": str(os.getpid()),
            "TEST_SLEEP": "0.02",
            "PYTHONWARNINGS": "ignore",
        }
        monkeypatch.delenv("ENCORD_SSH_KEY_FILE", raising=False)
        for name, value in self.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.syspath_prepend(str(directory))
        (directory / "some_agents.py").write_text(AGENTS)

    @property
    def runner(self) -> QueueRunner:
        sys.modules.pop("some_agents", None)
        runner: QueueRunner = importlib.import_module("some_agents").runner
        return runner

    def script(self, main: str = MAIN) -> subprocess.Popen[str]:
        (self.directory / "script.py").write_text(AGENTS + main)
        return self.run()

    def run(self) -> subprocess.Popen[str]:
        return preloaded.Popen(
            [sys.executable, str(self.directory / "script.py")],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            spawning=True,
            start_new_session=True,  # what Ctrl-C in a terminal reaches: the process and its workers
        )

    def notes(self) -> list[tuple[int, str]]:
        return [(pid, what) for pid, what in map(json.loads, self._notes.read_text().splitlines())]

    def pids(self, what: str) -> list[int]:
        return [pid for pid, noted in self.notes() if noted == what]


@pytest.fixture
def processes(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Processes]:
    with preloaded.spawning():
        yield Processes(world, tmp_path, monkeypatch)
    sys.modules.pop("some_agents", None)


def eventually(holds: Callable[[], bool]) -> None:
    assert until(holds)


def is_alive(pid: int) -> bool:
    try:
        return "(zombie)" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_processes(
    world: World, processes: Processes, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By default over processes: each connects once and tears down at its end, failed tasks are tried again, and what
    became of a task is told once."""
    monkeypatch.setenv("TEST_SLEEP", "0.2")  # else the first worker may do all of it while the second one starts
    world.project.add_placeholders(39, title="file {index}")
    world.project.add_placeholders(1, title="fails")
    report = processes.runner.drain(workers=2, batch_size=5, num_retries=2, progress="none")
    assert [(s.moved, s.failed, s.attempts) for s in report.stages] == [(39, 1, 42), (39, 0, 39)]
    assert world.count("Done") == 39
    assert len(processes.pids("fails")) == 3
    workers = set(processes.pids("made"))
    assert len(workers) == 2
    assert os.getpid() not in workers
    assert sorted(processes.pids("torn down")) == sorted(workers) == sorted(processes.pids("made"))
    assert not any(is_alive(pid) for pid in workers)
    (failure,) = report.failures
    assert str(failure.exception) == "ValueError: bad pixels"
    assert "some_agents.py" in (failure.traceback or "")
    assert capfd.readouterr().err.count("fails (") <= 1


def test_poison(world: World, processes: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that kills its worker each time is found, and fails; everything else is done. Only the task whose attempt
    had begun and not ended is suspected. It goes down the failure pathway, like any task that fails for good."""
    monkeypatch.setenv("TEST_FAILURE_PATHWAY", "review")
    world.project.add_placeholders(20, title="file {index}")
    world.project.add_placeholders(1, title="killed")
    world.project.add_placeholders(39, title="more {index}")
    started: Counter[str] = Counter()

    def count(event: object) -> None:
        if isinstance(event, TaskStarted) and event.task.stage == "Pre-label":
            started[event.task.data_title] += 1

    runner = processes.runner
    runner.observers.append(count)
    report = runner.drain(workers=2, batch_size=5, progress="none")
    assert (report.stages[0].moved, report.stages[0].failed) == (59, 1)
    (failure,) = report.failures
    assert (failure.data_title, failure.pathway) == ("killed", "review")
    assert world.titles("Review") == ["killed"]
    assert len(processes.pids("killed")) == 3
    assert (failure.phase, failure.attempts) == ("agent", 1)
    assert isinstance(failure.exception, drain.WorkerDiedError)
    assert "killed by SIGKILL" in str(failure.exception)
    assert started["killed"] == 3
    assert len(processes.pids("made")) <= 2 + 3  # each death has taken one worker, and no other


class Repeats(Executor):
    """An executor that runs a call again if its process has died, as Dask does."""

    def __init__(self, threads: ThreadPoolExecutor) -> None:
        self._threads = threads

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return self._threads.submit(self._run, partial(function, *args, **kwargs))

    def _run(self, call: Callable[[], Any]) -> Any:
        while True:
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool, suppress(BrokenProcessPool):
                return pool.submit(call).result()


def test_an_executor_that_runs_a_batch_again(world: World, processes: Processes, threads: ThreadPoolExecutor) -> None:
    """Tasks that its worker moved before it died are reported as moved, though nobody could confirm it."""
    world.project.add_placeholders(3, title="file {index}")
    world.project.add_placeholders(1, title="killed")
    with (processes.directory / "some_agents.py").open("a") as module:
        module.write(KILLED_ONCE)
    report = processes.runner.drain(executor=Repeats(threads), workers=1, progress="none")
    assert (report.moved, report.skipped, world.count("Done")) == (4, 0, 4)
    assert {record.data_title: record.confirmed for record in report.records} == {
        **{f"file {index}": False for index in range(3)},
        "killed": True,
    }
    assert sorted(what for _, what in processes.notes() if what.startswith(("file", "killed"))) == [
        *(f"file {index}" for index in range(3)),
        *("killed", "killed"),
    ]


def test_workers_do_their_requests_while_agents_run(
    world: World, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker whose first moves take long has given further batches to the agent by then, and loaded their files."""
    monkeypatch.setenv("TEST_SLEEP", "0")
    world.project.add_placeholders(12)
    world.platform.faults.add(Fault("actions", times=None, action="stall", seconds=3600))
    process = processes.script(MAIN.replace("workers=2", "workers=1"))
    eventually(lambda: len([what for _, what in processes.notes() if what.startswith("image")]) >= 6)
    assert world.count("Pre-label") == 12
    world.platform.faults.clear()
    process.communicate(timeout=PATIENCE)
    assert world.count("Done") == 12


def test_a_service_manager_terminates_all(world: World, processes: Processes) -> None:
    """A SIGTERM ends the process that drains. Its workers get one too: they finish the task at work, write and end."""
    world.project.add_placeholders(60)
    process = processes.script(MAIN.replace("batch_size=3", "batch_size=30"))
    eventually(lambda: len(processes.notes()) >= 12)
    os.killpg(process.pid, signal.SIGTERM)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGTERM
    eventually(lambda: not any(map(is_alive, processes.pids("made"))))
    begun = [what for _, what in processes.notes() if what.startswith("image")]
    assert len(begun) == len(set(begun)) == world.count("Triage") < 60
    assert sorted(processes.pids("torn down")) == sorted(processes.pids("made"))


def test_trouble_in_the_workers_set_up(world: World, processes: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error in a worker's set-up fails no task: it is raised, and no task is touched."""
    world.project.add_placeholders(5)
    monkeypatch.setenv("TEST_BAD_WORKERS", "1")
    runner = processes.runner
    with pytest.raises(RuntimeError, match="no GPU here") as raised:
        runner.drain(workers=1, progress="none")
    assert "In a worker" in "".join(raised.value.__notes__)
    assert runner.report is not None
    assert runner.report.stopped == "RuntimeError: no GPU here"
    assert world.count("Pre-label") == 5


def test_a_script_that_drains_when_it_is_imported(world: World, processes: Processes) -> None:
    """Its workers cannot start, and the error says what to write."""
    world.project.add_placeholders(1)
    process = processes.script('runner.drain(workers=1, progress="none")')
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "PrintableError: The worker processes ended before they were ready" in output
    assert 'if __name__ == "__main__":' in output
    assert world.count("Pre-label") == 1


def test_agents_below_the_main_guard(world: World, processes: Processes) -> None:
    """Workers import the script without them, so the error says where to define them."""
    world.project.add_placeholders(1)
    top, decorator, agents = AGENTS.partition("@runner.stage")
    guarded = textwrap.indent(f"{decorator}{agents}\nrunner.drain(workers=1, progress='none')\n", "    ")
    (processes.directory / "script.py").write_text(f'{top}\nif __name__ == "__main__":\n{guarded}')
    process = processes.run()
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "PrintableError: __main__.pre_label cannot be sent to other processes" in output
    assert 'outside `if __name__ == "__main__":`' in output
    assert world.count("Pre-label") == 1


def test_a_module_that_workers_cannot_import(world: World, processes: Processes) -> None:
    """The error says so, with the worker's traceback."""
    world.project.add_placeholders(1)
    with (processes.directory / "some_agents.py").open("a") as module:
        module.write("if os.getpid() != HOME:\n    raise LookupError('no weights')\n")
    with pytest.raises(PrintableError, match="imported in a worker process: LookupError: no weights") as error:
        processes.runner.drain(workers=1, progress="none")
    assert "some_agents.py" in "".join(error.value.__notes__)
    assert world.count("Pre-label") == 1


def test_agents_that_keep_a_process_pool(world: World, processes: Processes) -> None:
    """Nobody shuts it down, and the drain returns with its report all the same. The pool's processes end, too."""
    world.project.add_placeholders(2)
    process = processes.script(KEEPS_A_POOL + MAIN.replace("workers=2", "workers=1"))
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output
    (text,) = [what for _, what in processes.notes() if what.startswith("report ")]
    assert json.loads(text.removeprefix("report "))["moved"] == 4
    pooled = {int(what.split()[1]) for _, what in processes.notes() if what.startswith("pool ")}
    assert len(pooled) == 1
    assert not any(map(is_alive, pooled))


def test_ctrl_c_in_a_terminal(world: World, processes: Processes) -> None:
    """It reaches the workers too, but they finish the task at work; what they have is written, counted, torn down."""
    world.project.add_placeholders(60)
    process = processes.script(MAIN.replace("batch_size=3", "batch_size=30"))
    eventually(lambda: len(processes.notes()) >= 12)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGINT, output
    assert output.count("Traceback") == 1, output  # the script's own
    (text,) = [what for _, what in processes.notes() if what.startswith("report ")]
    report = json.loads(text.removeprefix("report "))
    begun = Counter(what for _, what in processes.notes() if what.startswith("image"))
    assert (report["moved"], report["stopped"], report["unwritten"]) == (len(begun), "interrupted", [])
    assert world.count("Triage") == len(begun) < 60
    assert set(begun.values()) == {1}
    assert sorted(processes.pids("torn down")) == sorted(processes.pids("made"))


def test_workers_do_not_outlive_the_run(world: World, processes: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a `kill -9` of the process that drains, they finish their batch and end."""
    monkeypatch.setenv("TEST_SLEEP", "0.1")
    world.project.add_placeholders(60)
    process = processes.script(MAIN.replace("workers=2", "workers=1"))
    eventually(lambda: len(processes.pids("made")) == 1)
    workers = processes.pids("made")
    process.kill()
    process.communicate()
    eventually(lambda: not any(map(is_alive, workers)))
    begun = [what for _, what in processes.notes() if what.startswith("image")]
    assert len(begun) == len(set(begun)) == world.count("Triage") < 60
    assert sorted(processes.pids("torn down")) == sorted(workers)


def test_workers_do_not_outlive_the_run_whatever_it_has_started(
    world: World, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that the process that drains has forked holds the workers' pipes open, so they do not break with it."""
    monkeypatch.setenv("TEST_SLEEP", "0.1")
    world.project.add_placeholders(60)
    process = processes.script(FORKS + MAIN)
    eventually(lambda: bool(processes.pids("forked")))
    process.kill()
    eventually(lambda: not any(map(is_alive, processes.pids("made"))))
    assert sorted(processes.pids("torn down")) == sorted(processes.pids("made"))
    (child,) = processes.pids("forked")
    os.kill(child, signal.SIGKILL)
    process.communicate()


def test_a_worker_that_dies_at_its_start(world: World, processes: Processes) -> None:
    """As the one may that is started in place of another, when memory is short: those that live go on."""
    world.project.add_placeholders(20, title="file {index}")
    world.project.add_placeholders(1, title="killed")
    world.project.add_placeholders(39, title="more {index}")
    module = processes.directory / "some_agents.py"
    module.write_text(module.read_text() + DIES_AT_ITS_THIRD_START)
    report = processes.runner.drain(workers=2, batch_size=5, progress="none")
    assert (report.stages[0].moved, report.stages[0].failed) == (59, 1)
    assert report.stopped is None
    assert len((processes.directory / "starts").read_text()) >= 4


@pytest.mark.parametrize("executor", ["", "EXECUTOR = ThreadPoolExecutor(2); EXECUTOR.submit(int).result()"])
def test_two_interrupts_while_workers_tear_down(world: World, processes: Processes, executor: str) -> None:
    """The first waits for that, the second does not: nobody is left."""
    world.project.add_placeholders(6)
    agents = AGENTS.replace('    note("torn down")', '    note("tearing down")\n    time.sleep(3600)')
    imports = f"from concurrent.futures import ThreadPoolExecutor\n{executor}\nimport json, os"
    agents = agents.replace("import json, os", imports)
    (processes.directory / "script.py").write_text(agents + MAIN.replace("workers=2", "workers=1"))
    process = processes.run()
    eventually(lambda: bool(processes.pids("tearing down")))
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(1)
    assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=PATIENCE)
    eventually(lambda: not any(map(is_alive, processes.pids("made"))))


# As a Runner

OF_A_RUNNER = """
import time
from encord.workflow.stages.agent import AgentTask
from encord_agents.tasks import QueueRunner

runner = QueueRunner(os.environ["TEST_PROJECT"])
tried = {}

@runner.stage("Pre-label", failure_pathway="review")
def agent(task: AgentTask) -> str:
    '''Finds cats.'''
    tried[task.data_title] = tried.get(task.data_title, 0) + 1
    if task.data_title == "fails" or (task.data_title == "recovers" and tried["recovers"] < 3):
        raise ValueError("bad pixels")
    return "complete"
"""


@pytest.fixture
def like_a_runner(world: World, processes: Processes) -> QueueRunner:
    """A runner with an agent of which one task fails, and one recovers in its third attempt."""
    world.project.add_placeholders(5, title="file {index}")
    world.project.add_placeholders(1, title="fails")
    world.project.add_placeholders(1, title="recovers")
    (processes.directory / "some_agents.py").write_text("import os\n" + OF_A_RUNNER)
    return processes.runner


def test_observers_hear_what_they_hear_in_a_runner(like_a_runner: QueueRunner) -> None:
    """Each attempt begins, fails with its delay or not, and each task ends once; in the order of its own task."""
    events: list[tuple[str, str, Any]] = []

    def note(event: object) -> None:
        if isinstance(event, TaskStarted):
            events.append((event.task.data_title, "started", event.attempt))
        elif isinstance(event, AttemptFailed):
            events.append((event.task.data_title, "failed", event.retry_in is not None))
        elif isinstance(event, TaskFinished):
            events.append((event.task.data_title, "finished", event.attempts))

    like_a_runner.observers.append(note)
    report = like_a_runner.drain(workers=1, batch_size=3, num_retries=2, retry_delay=0.01, progress="none")
    assert (report.moved, report.failed, report.attempts) == (6, 1, 5 + 3 + 3)
    tries = [("started", 1), ("failed", True), ("started", 2), ("failed", True), ("started", 3)]
    assert [event[1:] for event in events if event[0] == "recovers"] == [*tries, ("finished", 3)]
    assert [event[1:] for event in events if event[0] == "fails"] == [*tries, ("failed", False), ("finished", 3)]
    assert [event[1:] for event in events if event[0] == "file 2"] == [("started", 1), ("finished", 1)]
    (failure,) = report.failures
    assert failure.pathway == "review"


@pytest.mark.parametrize("where", ["processes", "threads"])
def test_a_dry_run_writes_nothing(world: World, like_a_runner: QueueRunner, where: str) -> None:
    """It says what would have been written for each task; the report file has a line for each."""
    executor = None if where == "processes" else ThreadPoolExecutor(1)
    would: dict[str, str] = {}

    def note(event: object) -> None:
        if isinstance(event, TaskWouldWrite):
            would[event.task.data_title] = event.summary

    like_a_runner.observers.append(note)
    world.platform.journal.clear()
    file = Path(os.environ["TEST_NOTES"]).with_name("report.jsonl")
    report = like_a_runner.drain(
        workers=None if executor else 1, executor=executor, num_retries=0, dry_run=True, report=file, progress="none"
    )
    assert (report.moved, report.failed) == (5, 2)
    assert world.count("Pre-label") == 7
    assert not world.requests("save", "actions", "priorities")
    assert would.pop("fails").startswith("would move along 'review'")
    assert would.pop("recovers").startswith("would move along 'review'")
    assert set(would.values()) == {"would move along 'complete'"}
    assert len(file.read_text().splitlines()) == 7
    if executor is not None:
        executor.shutdown()
    with pytest.raises(PrintableError, match="dry run"):
        like_a_runner.drain(dry_run=True, refresh_every=1)


def test_max_outage_is_the_drains_own(world: World, like_a_runner: QueueRunner) -> None:
    """A worker waits for so long, whatever the runner was made with."""
    world.platform.faults.add(Fault("actions", status=503, times=None))
    with pytest.raises(OutageError):
        like_a_runner.drain(workers=1, max_outage=0.2, num_retries=3, progress="none")
    assert like_a_runner.report is not None
    assert like_a_runner.report.unwritten
    with pytest.raises(PrintableError, match="max_outage=-1 is out of range"):
        like_a_runner.drain(max_outage=-1)


def test_a_command_line(world: World, processes: Processes, like_a_runner: QueueRunner) -> None:
    """`runner.run()` drains, with its options; it shows the first failure and the table, and exits with 1."""
    (processes.directory / "script.py").write_text(
        "import os\n" + OF_A_RUNNER + 'if __name__ == "__main__":\n    runner.run()\n'
    )
    script = [sys.executable, str(processes.directory / "script.py")]
    shown = preloaded.run([*script, "--help"], capture_output=True, text=True, check=True, timeout=PATIENCE)
    assert "--workers" in shown.stdout
    assert "Pre-label: agent() - Finds cats." in shown.stdout
    wrong = preloaded.run([*script, "--workers", "0"], capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert wrong.returncode == 2
    assert "workers=0 is out of range" in " ".join(wrong.stderr.split())
    assert world.count("Pre-label") == 7
    ended = preloaded.run(
        [*script, "--workers", "2", "--num-retries", "2", "--progress", "none"],
        capture_output=True,
        text=True,
        check=False,
        spawning=True,
        timeout=PATIENCE,
    )
    assert ended.returncode == 1, ended.stderr
    assert "bad pixels" in ended.stderr
    assert "Pre-label" in ended.stdout
    assert (world.count("Done"), world.count("Review")) == (6, 1)


def test_a_command_line_that_is_interrupted(world: World, processes: Processes) -> None:
    """Ctrl-C has each worker finish the task at work; what they have is written; the exit code is 130."""
    world.project.add_placeholders(60)
    agents = AGENTS + '\nif __name__ == "__main__":\n    runner.run()\n'
    (processes.directory / "script.py").write_text(agents)
    process = preloaded.Popen(
        [sys.executable, str(processes.directory / "script.py"), "--workers", "2", "--progress", "none"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        spawning=True,
        start_new_session=True,
    )
    eventually(lambda: len(processes.notes()) >= 12)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, output
    assert "Traceback" not in output
    begun = [what for _, what in processes.notes() if what.startswith("image")]
    assert len(begun) == len(set(begun)) == world.count("Triage") + world.count("Done")
    assert sorted(processes.pids("torn down")) == sorted(processes.pids("made"))
