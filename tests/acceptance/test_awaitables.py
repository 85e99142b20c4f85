"""Awaitables are awaited, whoever hides them, in all ways to run an agent."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from encord.workflow.stages.agent import AgentTask
from tests.drivers import DRIVERS, Driver, Processes

from encord_agents.tasks import Depends

if TYPE_CHECKING:
    from tests.conftest import World

drivers = pytest.mark.parametrize("driver", DRIVERS, ids=str)
TASKS = 4


def timed(function: Callable[..., Any]) -> Callable[..., Any]:
    """A plain decorator, as people write it."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


class Counted:
    """A decorator that is a class."""

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self.function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)


class Answer:
    def __await__(self) -> Any:
        yield from asyncio.sleep(0).__await__()
        return "complete"


@timed
async def number(task: AgentTask) -> int:
    await asyncio.sleep(0)
    return len(task.data_title)


async def answer(task: AgentTask, n: Annotated[int, Depends(number)]) -> str:
    await asyncio.sleep(0)
    return "complete" if n == len(task.data_title) else "review"


def of_a_function(task: AgentTask, n: Annotated[int, Depends(number)]) -> Any:
    return answer(task, n)


def of_an_object(task: AgentTask) -> Any:
    return Answer()


AGENTS: dict[str, Callable[..., Any]] = {
    "wraps": timed(answer),
    "an object": Counted(answer),
    "a function": of_a_function,
    "an awaitable object": of_an_object,
}


@drivers
@pytest.mark.parametrize("name", AGENTS)
def test_they_are_awaited(world: World, driver: Driver, name: str) -> None:
    """An agent and a dependency whose decorator hides that they are async do what they would do without it."""
    world.project.add_placeholders(TASKS)
    told = driver.run(world, AGENTS[name])
    assert (told.counts, told.errors) == ({"moved": TASKS}, [])
    assert world.count("Done") == TASKS


def test_they_are_awaited_in_worker_processes(world: World, tmp_path: Path) -> None:
    """There too."""
    world.project.add_placeholders(TASKS)
    assert Processes(tmp_path).run(world, of_a_function).counts == {"moved": TASKS}


@drivers
def test_a_cached_coroutine(world: World, driver: Driver) -> None:
    """It is good for one task; the others fail with the reason, at once and each for itself."""

    @functools.cache
    def load() -> Any:
        async def seven() -> int:
            return 7

        return seven()

    def agent(task: AgentTask, n: Annotated[int, Depends(load)]) -> None:
        assert n == 7

    world.project.add_placeholders(TASKS)
    told = driver.run(world, agent)
    assert told.counts == {"held": 1, "failed": TASKS - 1}
    assert sum("returned a coroutine for the second time" in error for error in told.errors) == TASKS - 1
