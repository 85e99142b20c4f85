"""Every driver tells the same of the same agent."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from encord.workflow.stages.agent import AgentTask
from tests.drivers import DRIVERS, Driver, Processes

if TYPE_CHECKING:
    from tests.conftest import World


def every_third_fails(task: AgentTask) -> str | None:
    number = int(task.data_title.rpartition(" ")[2])
    if number % 3 == 0:
        raise ValueError(f"bad pixels in {number}")
    return "complete" if number % 3 == 1 else None


def check(world: World, driver: Driver) -> None:
    world.project.add_placeholders(9, title="file {index}")
    told = driver.run(world, every_third_fails, num_retries=1)
    assert told.counts == {"moved": 3, "held": 3, "failed": 3}
    assert sorted(error.rpartition("ValueError: ")[2] for error in told.errors) == [
        f"bad pixels in {number}" for number in (0, 3, 6)
    ]
    assert world.count("Done") == 3


class Choosing:
    """An object that can be called has no name of its own."""

    def __call__(self, task: AgentTask, pathway: str = "complete") -> str:
        return pathway


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        return function(*args)

    return wrapper


def choose(task: AgentTask, pathway: str) -> str:
    return pathway


def first(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(task: AgentTask) -> Any:
        return function(task, "complete")

    return wrapper


AGENTS: dict[str, Callable[..., Any]] = {
    "partial": functools.partial(choose, pathway="complete"),
    "object": Choosing(),
    "decorated partial": decorated(functools.partial(choose, pathway="complete")),
    "decorated method": decorated(Choosing().__call__),
    "fewer arguments": first(choose),
    "single dispatch": functools.singledispatch(Choosing().__call__),
}


@pytest.mark.parametrize("name", AGENTS)
@pytest.mark.parametrize("driver", DRIVERS, ids=str)
def test_functions_of_every_kind(world: World, driver: Driver, name: str) -> None:
    """An agent is anything that can be called, with or without a name, whatever its decorators let through."""
    world.project.add_placeholders(2)
    assert driver.run(world, AGENTS[name]).counts == {"moved": 2}


@pytest.mark.parametrize("driver", DRIVERS, ids=str)
def test_outcomes(world: World, driver: Driver) -> None:
    """Moved, held and failed are counted alike, and each failure is told with its error."""
    check(world, driver)


def test_outcomes_over_processes(world: World, tmp_path: Path) -> None:
    """Worker processes tell the same."""
    check(world, Processes(tmp_path))
