"""Time limits and task groups that async dependencies open around their ``yield`` hold for the attempt, or the run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

import anyio
import pytest
from encord.workflow.stages.agent import AgentTask
from tests.drivers import DRIVERS, Driver

from encord_agents.tasks import Depends

if TYPE_CHECKING:
    from tests.conftest import World

drivers = pytest.mark.parametrize("driver", DRIVERS, ids=str)
BAD = "image-00001.png"


@asynccontextmanager
async def task_group() -> AsyncIterator[None]:
    async def heartbeat() -> None:
        raise ConnectionError("no heartbeat")

    async with asyncio.TaskGroup() as group:
        group.create_task(heartbeat())
        yield


@asynccontextmanager
async def fail_after() -> AsyncIterator[None]:
    with anyio.fail_after(0):
        yield


SCOPES: dict[str, tuple[Callable[[], AbstractAsyncContextManager[Any]], str]] = {
    "timeout": (lambda: asyncio.timeout(0), "TimeoutError"),
    "group": (task_group, "ExceptionGroup: unhandled errors in a TaskGroup (1 sub-exception)"),
    "anyio": (fail_after, "TimeoutError"),
}


@drivers
@pytest.mark.parametrize("name", SCOPES)
def test_around_an_attempt(world: World, driver: Driver, name: str) -> None:
    """The exception of the scope is the error of the attempt that it cancels, for dependencies outside of it too; no
    other attempt is affected."""
    world.project.add_placeholders(4)
    scope, error = SCOPES[name]
    seen: list[str] = []

    async def outside(task: AgentTask) -> AsyncIterator[None]:
        try:
            yield
        except BaseException as exception:
            seen.append(type(exception).__name__)
            raise

    async def within(task: AgentTask, _: Annotated[None, Depends(outside)]) -> AsyncIterator[None]:
        if task.data_title != BAD:
            yield
            return
        async with scope():
            yield

    async def wait(task: AgentTask, _: Annotated[None, Depends(within)]) -> None:
        await asyncio.sleep(3600 if task.data_title == BAD else 0)

    def agent(_: Annotated[None, Depends(wait)]) -> str:
        return "complete"

    told = driver.run(world, agent, num_retries=1)
    assert told.counts == {"moved": 3, "failed": 1}
    assert error in told.failures[BAD]
    assert seen == [error.partition(":")[0]] * 2


@drivers
def test_around_the_run(world: World, driver: Driver) -> None:
    """One whose background task fails ends before the run does: the next attempt has it made anew, and its error is
    told as that of a teardown."""
    world.project.add_placeholders(6)
    made: list[asyncio.Event] = []

    async def until_lost(lost: asyncio.Event) -> None:
        await lost.wait()
        raise ConnectionError("no heartbeat")

    async def connection() -> AsyncIterator[asyncio.Event]:
        lost = asyncio.Event()
        made.append(lost)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(until_lost(lost))
            yield lost
            task.cancel()

    async def use(lost: Annotated[asyncio.Event, Depends(connection, scope="run")]) -> None:
        assert not lost.is_set()
        if len(made) == 1:
            lost.set()
            await asyncio.sleep(0.01)

    def agent(_: Annotated[None, Depends(use)]) -> str:
        return "complete"

    told = driver.run(world, agent, num_retries=1)
    assert told.counts == {"moved": 6}
    assert len(made) == 2
    if told.report is not None:
        assert ["ExceptionGroup" in error for error in told.report.teardown_errors] == [True]


@drivers
def test_a_task_factory_of_the_programs_own(world: World, driver: Driver) -> None:
    """An event loop whose factory takes no context runs attempts all the same."""
    world.project.add_placeholders(3)

    async def instrument() -> AsyncIterator[None]:
        asyncio.get_running_loop().set_task_factory(lambda loop, work: asyncio.Task(work, loop=loop))
        yield

    async def use(_: Annotated[None, Depends(instrument)]) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(0))

    def agent(_: Annotated[None, Depends(use)]) -> str:
        return "complete"

    assert driver.run(world, agent).counts == {"moved": 3}
