"""An attempt has context variables of its own, and what its dependencies set, its agent sees, however it is run."""

from __future__ import annotations

import asyncio
import decimal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from encord.workflow.stages.agent import AgentTask
from tests.drivers import DRIVERS, RUNNERS, Driver

from encord_agents.tasks import Depends

if TYPE_CHECKING:
    from tests.conftest import World

drivers = pytest.mark.parametrize("driver", DRIVERS, ids=str)
names = ("plain", "generator", "hidden", "coroutine", "stream")
variables: dict[str, ContextVar[str]] = {name: ContextVar(name, default="") for name in names}
ended: list[str] = []
TASKS = 6


def plain(task: AgentTask) -> None:
    variables["plain"].set(task.data_title)


def generator(task: AgentTask, before: Annotated[None, Depends(plain)]) -> Iterator[None]:
    assert variables["plain"].get() == task.data_title
    token = variables["generator"].set(task.data_title)
    yield
    assert variables["plain"].get() == variables["generator"].get() == task.data_title
    variables["generator"].reset(token)
    ended.append("generator")


async def coroutine(task: AgentTask, before: Annotated[None, Depends(generator)]) -> None:
    assert variables["generator"].get() == task.data_title
    await asyncio.sleep(0)
    variables["coroutine"].set(task.data_title)


def hidden(task: AgentTask, before: Annotated[None, Depends(generator)]) -> Any:
    async def sets() -> None:
        assert variables["generator"].get() == task.data_title
        await asyncio.sleep(0)
        variables["hidden"].set(task.data_title)

    return sets()


async def stream(task: AgentTask, before: Annotated[None, Depends(coroutine)]) -> AsyncIterator[None]:
    assert variables["coroutine"].get() == variables["generator"].get() == task.data_title
    token = variables["stream"].set(task.data_title)
    yield
    assert variables["coroutine"].get() == variables["generator"].get() == task.data_title
    variables["stream"].reset(token)
    ended.append("stream")


def after(task: AgentTask, before: Annotated[None, Depends(stream)]) -> None:
    assert variables["stream"].get() == task.data_title


def seen(*names: str) -> str:
    return " ".join(variables[name].get() for name in names)


def synchronous(
    task: AgentTask, a: Annotated[None, Depends(generator)], b: Annotated[None, Depends(hidden)]
) -> str | None:
    assert seen("plain", "generator", "hidden") == " ".join([task.data_title] * 3)
    return "complete"


def mixed(
    task: AgentTask,
    a: Annotated[None, Depends(hidden)],
    b: Annotated[None, Depends(stream)],
    c: Annotated[None, Depends(after)],
) -> str:
    assert seen(*names) == " ".join([task.data_title] * 5)
    return "complete"


async def asynchronous(
    task: AgentTask,
    a: Annotated[None, Depends(hidden)],
    b: Annotated[None, Depends(stream)],
    c: Annotated[None, Depends(after)],
) -> str:
    await asyncio.sleep(0)
    return mixed(task, a, b, c)


@drivers
@pytest.mark.parametrize("agent", [synchronous, mixed, asynchronous])
def test_what_dependencies_set_their_agent_sees(world: World, driver: Driver, agent: Callable[..., Any]) -> None:
    """Whether they are functions, generators, coroutines or async generators, and whether it is async; tokens are good
    in the teardown; and the caller sees nothing of it."""
    world.project.add_placeholders(TASKS, title="file {index}")
    ended.clear()
    told = driver.run(world, agent)
    assert (told.counts, told.errors) == ({"moved": TASKS}, [])
    assert len(ended) == (TASKS if agent is synchronous else 2 * TASKS)
    assert seen(*names).strip() == ""


def first_only(task: AgentTask) -> None:
    if task.data_title == "file 0":
        variables["plain"].set("set for file 0")


async def first_only_async(task: AgentTask) -> None:
    first_only(task)


@drivers
@pytest.mark.parametrize("dependency", [first_only, first_only_async])
def test_nobody_else_sees_it(world: World, driver: Driver, dependency: Callable[..., Any]) -> None:
    """Not the next task, though it may run in the same thread, nor the caller."""
    found: dict[str, str] = {}

    def agent(task: AgentTask, before: Annotated[None, Depends(dependency)]) -> None:
        found[task.data_title] = variables["plain"].get()
        variables["plain"].set("set by the agent")

    world.project.add_placeholders(TASKS, title="file {index}")
    assert driver.run(world, agent).counts == {"held": TASKS}
    assert found == {f"file {index}": "set for file 0" if index == 0 else "" for index in range(TASKS)}
    assert variables["plain"].get() == ""


@pytest.mark.parametrize("driver", [driver for driver in DRIVERS if str(driver) != "celery"], ids=str)
@pytest.mark.parametrize("is_async", [False, True])
def test_what_the_caller_set_is_seen(world: World, driver: Driver, is_async: bool) -> None:
    """In agents and dependencies of either scope, in whatever thread they run. (A Celery task is called by Celery.)"""
    found: list[str] = []

    def run_scoped() -> None:
        found.append(variables["plain"].get())

    async def coroutine() -> None:
        found.append(variables["plain"].get())

    def hidden() -> Any:
        return coroutine()

    def agent(
        task: AgentTask,
        a: Annotated[None, Depends(run_scoped, scope="run")],
        b: Annotated[None, Depends(coroutine if is_async else hidden)],
    ) -> None:
        found.append(variables["plain"].get())

    world.project.add_placeholders(TASKS)
    token = variables["plain"].set("the caller's")
    try:
        assert driver.run(world, agent).counts == {"held": TASKS}
    finally:
        variables["plain"].reset(token)
    assert found == ["the caller's"] * (1 + 2 * TASKS)


@pytest.mark.parametrize("driver", RUNNERS, ids=str)
def test_observers_see_the_callers_too(world: World, driver: Driver) -> None:
    """Those that bind their log's fields before a run find them, in whatever thread of the engine they are called."""
    found: set[str] = set()
    runner = world.agent(lambda: None)
    runner.observers.append(lambda event: found.add(variables["plain"].get()))
    world.project.add_placeholders(TASKS)
    token = variables["plain"].set("the caller's")
    try:
        runner(progress="none", **driver.options)
    finally:
        variables["plain"].reset(token)
    assert found == {"the caller's"}


def tenant() -> Iterator[None]:
    token = variables["generator"].set("of the run")
    yield
    variables["generator"].reset(token)
    ended.append("tenant")


async def stream_of_the_run() -> AsyncIterator[None]:
    token = variables["stream"].set("of the run")
    yield
    variables["stream"].reset(token)
    ended.append("stream")


@drivers
@pytest.mark.parametrize("is_async", [False, True])
def test_what_run_scoped_dependencies_set(world: World, driver: Driver, is_async: bool) -> None:
    """Each attempt that uses them sees it; their tokens are good in the teardown; the caller sees nothing of it."""
    used = stream_of_the_run if is_async else tenant
    name = "stream" if is_async else "generator"

    def agent(task: AgentTask, of_the_run: Annotated[None, Depends(used, scope="run")]) -> None:
        assert variables[name].get() == "of the run"

    world.project.add_placeholders(TASKS)
    ended.clear()
    told = driver.run(world, agent)
    assert (told.counts, told.errors) == ({"held": TASKS}, [])
    assert len(ended) == 1
    assert variables[name].get() == ""


@drivers
@pytest.mark.parametrize("is_async", [False, True])
def test_the_precision_of_decimals(world: World, driver: Driver, is_async: bool) -> None:
    """It is a context variable in disguise: each attempt computes with its own, and the caller's is as before."""
    found: dict[str, int] = {}

    def agent(task: AgentTask) -> None:
        decimal.getcontext().prec += int(task.data_title)
        everybody.wait()
        found[task.data_title] = len(str(decimal.Decimal(1) / 3)) - 2

    async def agent_async(task: AgentTask) -> None:
        agent(task)

    # Concurrent attempts compute only when each of a pair has set its precision; the others wait for nobody.
    everybody = threading.Barrier(2 if str(driver) == "workers" and not is_async else 1)
    world.project.add_placeholders(TASKS, title="{index}")
    with decimal.localcontext(prec=10):
        driver.run(world, agent_async if is_async else agent)
        assert decimal.getcontext().prec == 10
    base = 28 if str(driver) == "celery" else 10  # a Celery task is called by Celery
    assert found == {str(index): base + index for index in range(TASKS)}
