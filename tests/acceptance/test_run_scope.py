"""Run-scoped dependencies: the thread they live in, and what becomes of a run whose teardowns go wrong."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from encord.workflow.stages.agent import AgentTask
from tests.drivers import DRIVERS, Driver

from encord_agents.tasks import Depends, QueueRunner
from encord_agents.tasks.engine.signals import stop_on_signals

if TYPE_CHECKING:
    from tests.conftest import World

drivers = pytest.mark.parametrize("driver", DRIVERS, ids=str)
where: list[str] = []
TASKS = 4


def here() -> str:
    return threading.current_thread().name


def database() -> Iterator[sqlite3.Connection]:
    where.append(here())
    with closing(sqlite3.connect(":memory:")) as connection:
        yield connection
        where.append(here())


async def nothing() -> None: ...


def plain(task: AgentTask, db: Annotated[sqlite3.Connection, Depends(database, scope="run")]) -> str:
    db.execute("select 1")
    where.append(here())
    return "complete"


def beside_async(
    task: AgentTask,
    db: Annotated[sqlite3.Connection, Depends(database, scope="run")],
    other: Annotated[None, Depends(nothing)],
) -> str:
    return plain(task, db)


@pytest.mark.parametrize("window", [1, 300])
def test_one_thread_where_attempts_come_one_at_a_time(world: World, window: int) -> None:
    """It makes, uses and closes what is bound to a thread: the caller's, or one of the run's own beside async parts."""
    world.project.add_placeholders(TASKS)
    where.clear()
    assert world.run(plain, task_batch_size=window, num_retries=0).moved == TASKS
    assert where == [here()] * (TASKS + 2)

    world.project.reset()
    where.clear()
    assert world.run(beside_async, task_batch_size=window, num_retries=0).moved == TASKS
    assert where == ["encord-agents-run"] * (TASKS + 2)


@drivers
def test_it_is_closed_in_the_thread_it_was_made_in(world: World, driver: Driver) -> None:
    """Also where its users are in others. The connection then is one that lets them."""

    def shared() -> Iterator[sqlite3.Connection]:
        made = threading.get_ident()
        with closing(sqlite3.connect(":memory:", check_same_thread=False)) as connection:
            yield connection
        assert threading.get_ident() == made
        where.append("closed")

    def agent(task: AgentTask, db: Annotated[sqlite3.Connection, Depends(shared, scope="run")]) -> str:
        db.execute("select 1")
        return "complete"

    world.project.add_placeholders(TASKS)
    where.clear()
    told = driver.run(world, agent)
    assert (told.counts, told.errors) == ({"moved": TASKS}, [])
    assert where == ["closed"]


def test_an_async_one_serves_async_agents(world: World) -> None:
    """It lives on the thread of the event loop, where they do."""

    async def database() -> AsyncIterator[sqlite3.Connection]:
        with closing(sqlite3.connect(":memory:")) as connection:
            yield connection

    async def agent(task: AgentTask, db: Annotated[sqlite3.Connection, Depends(database, scope="run")]) -> str:
        db.execute("select 1")
        return "complete"

    world.project.add_placeholders(TASKS)
    report = world.run(agent, max_workers=4, num_retries=0)
    assert (report.moved, report.teardown_errors) == (TASKS, [])


@pytest.mark.parametrize("max_workers", [1, 4])
def test_a_thread_local_of_an_attempt(world: World, max_workers: int) -> None:
    """The synchronous agent of an attempt finds thread-local data of its synchronous dependencies."""
    local = threading.local()

    def mode(task: AgentTask) -> Iterator[None]:
        local.mode = task.uuid
        yield
        assert local.mode == task.uuid
        del local.mode

    def agent(task: AgentTask, m: Annotated[None, Depends(mode)], other: Annotated[None, Depends(nothing)]) -> str:
        assert local.mode == task.uuid
        return "complete"

    world.project.add_placeholders(2 * TASKS)
    assert world.run(agent, max_workers=max_workers, num_retries=0).moved == 2 * TASKS


@drivers
@pytest.mark.parametrize("is_async", [False, True])
def test_a_teardown_that_raises_is_told_and_fails_nothing(
    world: World, driver: Driver, is_async: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """After the last write, it is too late for that: the log has it with its traceback, and so has the report."""
    torn_down: list[str] = []

    def good() -> Iterator[None]:
        yield
        torn_down.append("good")

    def bad(g: Annotated[None, Depends(good, scope="run")]) -> Iterator[None]:
        yield
        raise OSError("the disk is gone")

    async def bad_async(g: Annotated[None, Depends(good, scope="run")]) -> AsyncIterator[None]:
        yield
        raise OSError("the disk is gone")

    used: Any = bad_async if is_async else bad

    def agent(task: AgentTask, b: Annotated[None, Depends(used, scope="run")]) -> str:
        return "complete"

    world.project.add_placeholders(TASKS)
    with caplog.at_level(logging.ERROR, logger="encord_agents"):
        told = driver.run(world, agent)
    assert (told.counts, torn_down) == ({"moved": TASKS}, ["good"])
    (record,) = [record for record in caplog.records if "torn down" in record.getMessage()]
    assert record.levelno == logging.ERROR
    assert "OSError: the disk is gone" in record.getMessage()
    assert f"in {used.__name__}" in record.getMessage()
    if (report := told.report) is not None:
        name = used.__qualname__.rpartition("<locals>.")[2]
        assert report.teardown_errors == [f"{name}(): OSError: the disk is gone"]
        assert f"{name}(): OSError: the disk is gone" in str(report)
        assert report.to_dict()["teardown_errors"] == report.teardown_errors
        assert (report.exit_code, report.stopped) == (0, None)
        report.raise_for_failures()


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("which", ["sync", "async", "in a thread"])
def test_an_interrupt_in_a_teardown_leaves_the_others_theirs(world: World, which: str) -> None:
    """Ctrl-C in one of them ends that one, where it can be ended, and is raised when all have had theirs."""
    log: list[str] = []
    waiting = threading.Event()

    def first() -> Iterator[None]:
        yield
        log.append("first")

    def second(a: Annotated[None, Depends(first, scope="run")]) -> Iterator[None]:
        yield
        interrupt()
        waiting.wait(0 if which == "in a thread" else 30)
        log.append("second")

    async def second_async(a: Annotated[None, Depends(first, scope="run")]) -> AsyncIterator[None]:
        yield
        try:
            interrupt()
            await asyncio.Event().wait()
        finally:
            log.append("second is cleaned up")

    def third() -> Iterator[None]:
        yield
        log.append("third")

    used: Any = second_async if which == "async" else second

    def agent(b: Annotated[None, Depends(used, scope="run")], c: Annotated[None, Depends(third, scope="run")]) -> str:
        return "complete"

    world.project.add_placeholders(TASKS)
    runner = world.agent(agent)
    with pytest.raises(KeyboardInterrupt):
        runner(progress="none", max_workers=2 if which == "in a thread" else 1)
    assert log == ["third", *{"sync": [], "async": ["second is cleaned up"], "in a thread": ["second"]}[which], "first"]
    assert runner.report is not None
    assert (runner.report.moved, runner.report.stopped) == (TASKS, "interrupted")


def test_on_the_command_line_too(world: World) -> None:
    """Its signal handler interrupts a teardown as it interrupts an agent."""
    log: list[str] = []

    def first() -> Iterator[None]:
        yield
        log.append("first")

    def second(a: Annotated[None, Depends(first, scope="run")]) -> Iterator[None]:
        yield
        interrupt()
        log.append("second")

    def agent(b: Annotated[None, Depends(second, scope="run")]) -> str:
        return "complete"

    world.project.add_placeholders(TASKS)
    runner = world.agent(agent)
    with stop_on_signals() as stop, pytest.raises(KeyboardInterrupt):
        runner(progress="none", stop=stop)
    assert (log, stop.reason) == (["first"], "interrupt")


@pytest.mark.parametrize("is_async", [False, True])
def test_an_interrupt_in_the_close_of_a_queue_runner(world: World, is_async: bool) -> None:
    """The same holds there."""
    log: list[str] = []

    def first() -> Iterator[None]:
        yield
        log.append("first")

    def second(a: Annotated[None, Depends(first, scope="run")]) -> Iterator[None]:
        yield
        interrupt()

    async def second_async(a: Annotated[None, Depends(first, scope="run")]) -> AsyncIterator[None]:
        yield
        interrupt()
        await asyncio.Event().wait()

    runner = QueueRunner(world.project.project_hash, user_client=world.client)

    @runner.stage("Pre-label")
    def agent(b: Annotated[None, Depends(second_async if is_async else second, scope="run")]) -> str:
        return "complete"

    world.project.add_placeholders(1)
    agent(list(agent.waiting()))
    with pytest.raises(KeyboardInterrupt):
        runner.close()
    assert log == ["first"]


def test_an_interrupt_in_a_teardown_of_an_attempt(world: World) -> None:
    """The other teardowns of the attempt, and those of the run, have their turn; the task keeps its place."""
    log: list[str] = []

    def of_the_run() -> Iterator[None]:
        yield
        log.append("run")

    def first() -> Iterator[None]:
        try:
            yield
        finally:
            log.append("first")

    def second(a: Annotated[None, Depends(first)]) -> Iterator[None]:
        yield
        interrupt()

    def agent(a: Annotated[None, Depends(of_the_run, scope="run")], b: Annotated[None, Depends(second)]) -> str:
        return "complete"

    world.project.add_placeholders(1)
    with pytest.raises(KeyboardInterrupt):
        world.run(agent, task_batch_size=1)
    assert log == ["first", "run"]
    assert world.count("Pre-label") == 1
