"""An exception that cuts a request off from outside, such as a soft time limit, is no answer of the platform.

Nothing is called refused that the platform has not refused, no task is lost from the report, and what was under way is
asked after.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from encord.exceptions import RequestException
from encord.objects import LabelRowV2
from tests import time_limits
from tests.drivers import DRIVERS, RUNNERS, ByRunner, Driver

from encord_agents.local import Fault
from encord_agents.tasks import QueueRunner
from encord_agents.tasks.engine.context import Context, Result
from encord_agents.tasks.engine.load import Loader
from encord_agents.tasks.engine.stop import Stop
from encord_agents.tasks.engine.write import Writer
from encord_agents.tasks.models import TaskAgentReturnStruct, TaskCompletionResult

if TYPE_CHECKING:
    from tests.conftest import World

TASKS = 4
OTHERS = [driver for driver in DRIVERS if driver not in RUNNERS and str(driver) != "drain"]
"""Queue functions, called by hand and by Celery: they answer."""


def by_itself() -> NoReturn:
    raise time_limits.SoftTimeLimitExceeded


def wrapped() -> NoReturn:
    """As it leaves the SDK where it comes in the middle of sending."""
    try:
        raise time_limits.SoftTimeLimitExceeded
    except time_limits.SoftTimeLimitExceeded as error:
        raise RequestException("Request session.send failed") from error


@pytest.fixture(params=[by_itself, wrapped], ids=lambda raising: raising.__name__)
def raising(request: pytest.FixtureRequest) -> Any:
    return request.param


def agent(label_row: LabelRowV2) -> TaskAgentReturnStruct:
    return TaskAgentReturnStruct(pathway="complete", label_row=label_row)


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def cut(kind: type, name: str, raising: Callable[[], NoReturn]) -> None:
        """Have the first request of a kind carried out, and its answer cut off."""
        original, calls = getattr(kind, name), []

        def request(self: Any, *args: Any) -> None:
            original(self, *args)
            calls.append(1)
            if len(calls) == 1:
                raising()

        monkeypatch.setattr(kind, name, request)

    return cut


PLACES = [(Writer, "_proceed"), (Writer, "_save_bundle"), (Loader, "_initialise_bundle")]


@pytest.mark.parametrize(("kind", "name"), PLACES, ids=lambda value: str(value))
@pytest.mark.parametrize("driver", RUNNERS, ids=str)
def test_a_run(
    world: World,
    driver: ByRunner,
    kind: type,
    name: str,
    raising: Callable[[], NoReturn],
    cut: Callable[..., None],
) -> None:
    """It ends with the exception. What was moved is told as moved, unconfirmed where the answer was cut off; what was
    finished is written; nothing counts as failed or skipped."""
    cut(kind, name, raising)
    world.project.add_placeholders(TASKS)

    async def asynchronous(label_row: LabelRowV2) -> TaskAgentReturnStruct:
        return agent(label_row)

    runner = world.agent(asynchronous if driver.as_async else agent)
    with pytest.raises(time_limits.SoftTimeLimitExceeded):
        runner(progress="none", **driver.options)
    report = runner.report
    assert report is not None
    assert "SoftTimeLimitExceeded" in str(report.stopped)
    assert (report.failed, report.skipped, report.unwritten) == (0, 0, ())
    assert report.moved == world.count("Done")
    assert world.count("Done") >= (0 if kind is Loader else 1)
    unconfirmed = [record for record in report.records if not record.confirmed]
    assert bool(unconfirmed) is (name == "_proceed")


@pytest.mark.parametrize(("kind", "name"), PLACES, ids=lambda value: str(value))
@pytest.mark.parametrize("driver", OTHERS, ids=str)
def test_a_queue_function(
    world: World,
    driver: Driver,
    kind: type,
    name: str,
    raising: Callable[[], NoReturn],
    cut: Callable[..., None],
) -> None:
    """The call ends and answers: what is done is told, what was not reached may be tried again, and then is done."""
    cut(kind, name, raising)
    world.project.add_placeholders(TASKS)
    told = driver.run(world, agent, num_retries=1)
    assert told.counts == {"moved": TASKS}
    assert world.count("Done") == TASKS
    assert [world.project.moves(task.uuid) for task in world.project.tasks("Done")] == [1] * TASKS


def test_the_answer_says_unconfirmed(world: World, cut: Callable[..., None]) -> None:
    """Of a task whose move was cut off, and that has gone; and what a task was left with that was not reached."""
    cut(Writer, "_proceed", by_itself)
    world.project.add_placeholders(TASKS)
    with closing(QueueRunner(world.project.project_hash, user_client=world.client)) as runner:
        function = runner.stage("Pre-label")(agent)
        answer = TaskCompletionResult.model_validate_json(function(list(function.waiting())))
    assert [(result.outcome, result.confirmed) for result in answer.results] == [("moved", False)] * TASKS


def test_drain(world: World, cut: Callable[..., None]) -> None:
    """The run ends with the exception; what the batch had done is told."""
    cut(Writer, "_proceed", by_itself)
    world.project.add_placeholders(TASKS)
    with (
        closing(QueueRunner(world.project.project_hash, user_client=world.client)) as runner,
        ThreadPoolExecutor(1) as pool,
    ):
        runner.stage("Pre-label")(agent)
        with pytest.raises(time_limits.SoftTimeLimitExceeded):
            runner.drain(executor=pool, progress="none")
    report = runner.report
    assert report is not None
    assert (report.moved, report.failed, report.skipped) == (TASKS, 0, 0)
    assert not any(record.confirmed for record in report.records)


@pytest.fixture
def alarm() -> Iterator[Callable[[], None]]:
    """A time limit made of a signal, whose exception is one that a request could bring, too."""

    def time_is_up(number: int, frame: FrameType | None) -> NoReturn:
        raise TimeoutError("time is up")

    before = signal.signal(signal.SIGUSR1, time_is_up)
    yield lambda: signal.raise_signal(signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("place", ["before", "after"])
def test_a_signal_in_a_move(
    world: World, alarm: Callable[[], None], monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Before the platform has done it, the task is moved afterwards; after that, it is not sent again."""
    proceed, calls = Writer._proceed, []

    def request(self: Writer, results: Sequence[Result]) -> None:
        calls.append(1)
        if len(calls) == 1 and place == "before":
            alarm()
        proceed(self, results)
        if len(calls) == 1:
            alarm()

    monkeypatch.setattr(Writer, "_proceed", request)
    world.project.add_placeholders(TASKS)
    with closing(QueueRunner(world.project.project_hash, user_client=world.client)) as runner:
        function = runner.stage("Pre-label")(agent)
        answer = TaskCompletionResult.model_validate_json(function(list(function.waiting())))
    assert [result.outcome for result in answer.results] == ["moved"] * TASKS
    assert {result.confirmed for result in answer.results} == {place == "before"}
    assert [world.project.moves(task.uuid) for task in world.project.tasks("Done")] == [1] * TASKS


def test_a_signal_while_loading(world: World, alarm: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """No task is to blame, and another call may do better."""
    refresh = Loader.refresh

    def interrupted(self: Loader, contexts: Sequence[Context]) -> None:
        alarm()
        refresh(self, contexts)

    monkeypatch.setattr(Loader, "refresh", interrupted)
    world.project.add_placeholders(TASKS)
    with closing(QueueRunner(world.project.project_hash, user_client=world.client)) as runner:
        function = runner.stage("Pre-label")(agent)
        answer = TaskCompletionResult.model_validate_json(function(list(function.waiting())))
    assert [(result.outcome, result.retryable) for result in answer.results] == [("failed", True)] * TASKS
    assert all("TimeoutError: time is up" in str(result.error) for result in answer.results)
    assert all("in interrupted" in str(result.traceback) for result in answer.results)


def test_labels_that_cannot_be_serialised(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exceptions of the labels' own code fail only their task; the others of the bundle are saved with one request."""
    world.project.add_placeholders(TASKS, title="file {index}")
    serialise = LabelRowV2.to_encord_dict

    class OwnError(Exception):
        pass

    def to_encord_dict(row: LabelRowV2, **options: Any) -> Any:
        if row.data_title == "file 2":
            raise OwnError
        return serialise(row, **options)

    monkeypatch.setattr(LabelRowV2, "to_encord_dict", to_encord_dict)
    report = world.run(agent)
    assert (report.moved, report.failed) == (TASKS - 1, 1)
    assert [(record.data_title, record.phase) for record in report.failures] == [("file 2", "save")]
    assert world.requests("save") == ["save"]


# Async queue functions


def interrupt() -> None:
    """As Ctrl-C: the main thread hears it, whatever it waits for."""
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def test_coroutines_are_waited_for(world: World) -> None:
    """A Ctrl-C leaves an async queue function when its coroutines have cleaned up, and not before."""
    world.project.add_placeholders(TASKS)
    events: Counter[str] = Counter()

    async def slow() -> None:
        events["begun"] += 1
        if events["begun"] == TASKS:
            interrupt()
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(20):
                await asyncio.sleep(0)
            events["cleaned up"] += 1

    with closing(QueueRunner(world.project.project_hash, user_client=world.client)) as runner:
        function = runner.stage("Pre-label")(slow)
        with pytest.raises(KeyboardInterrupt):
            function(list(function.waiting()))
        assert events == {"begun": TASKS, "cleaned up": TASKS}


def test_coroutines_whose_clean_up_hangs(world: World) -> None:
    """A second Ctrl-C leaves at once."""
    world.project.add_placeholders(1)
    cleaning = threading.Event()

    async def hanging() -> None:
        interrupt()
        try:
            await asyncio.Event().wait()
        finally:
            cleaning.set()
            interrupt()
            await asyncio.Event().wait()

    with closing(QueueRunner(world.project.project_hash, user_client=world.client)) as runner:
        function = runner.stage("Pre-label")(hanging)
        with pytest.raises(KeyboardInterrupt):
            function(list(function.waiting()))
        assert cleaning.is_set()


@pytest.mark.parametrize("driver", [RUNNERS[-1], *OTHERS], ids=str)
@pytest.mark.parametrize("how", ["itself", "all"])
def test_an_agent_that_cancels(world: World, driver: Driver, how: str) -> None:
    """Itself, or everything on its loop: those tasks have failed, and are in the report."""
    world.project.add_placeholders(TASKS)

    async def cancelling() -> str:
        current = asyncio.current_task()
        for task in asyncio.all_tasks() if how == "all" else ():
            if "attempt" in str(task.get_coro()):
                task.cancel()
        if how == "itself" and current is not None:
            current.cancel()
        await asyncio.sleep(60)
        return "complete"

    if isinstance(driver, ByRunner):
        driver = ByRunner("async", max_workers=3)
    told = driver.run(world, cancelling)
    assert told.counts == {"failed": TASKS}
    assert all("was cancelled" in error for error in told.errors)


@pytest.mark.parametrize("driver", [RUNNERS[-1], *OTHERS], ids=str)
def test_an_agent_that_stops_the_loop(world: World, driver: Driver) -> None:
    """Nothing hangs. A run ends with the error; a queue function answers, and its next call has a new loop."""
    world.project.add_placeholders(TASKS)
    calls: list[int] = []

    async def stopping() -> str:
        calls.append(1)
        if len(calls) == 1:
            asyncio.get_running_loop().stop()
        await asyncio.sleep(0)
        return "complete"

    if isinstance(driver, ByRunner):
        with pytest.raises(RuntimeError, match="event loop of the async agents has ended"):
            ByRunner("async", max_workers=3).run(world, stopping)
        return
    told = driver.run(world, stopping, num_retries=1)
    assert told.counts.get("moved", 0) == TASKS


def test_a_move_in_flight_when_time_is_up(world: World) -> None:
    """Tasks whose move was sent without an answer are listed apart from those that are certainly in their stage."""
    world.numbers |= {"time_to_write": 0.5}
    world.project.add_placeholders(TASKS)
    world.platform.faults.add(Fault("actions", times=None, action="stall", seconds=8))
    world.client = world.platform.client()
    stop = Stop()
    calls: list[int] = []

    def stopping(label_row: LabelRowV2) -> TaskAgentReturnStruct:
        calls.append(1)
        if len(calls) == 2:
            stop.request()
        return agent(label_row)

    report = world.run(stopping, stop=stop)
    assert {task.uuid for task in report.unconfirmed} == {task.uuid for task in report.unwritten}
    assert len(report.unconfirmed) == 2
    assert "without an answer" in str(report)
    assert "still in their stages" not in str(report)
    assert report.to_dict()["unconfirmed"] == [str(task.uuid) for task in report.unconfirmed]
    assert report.exit_code == 1
