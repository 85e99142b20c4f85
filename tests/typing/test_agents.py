"""Which agents runners take, and which names there are, for mypy: an ignore that is not needed is an error there."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NoReturn
from uuid import UUID

import pytest

from encord_agents.tasks import QueueRunner, Runner
from encord_agents.tasks.models import TaskAgentReturnStruct

if TYPE_CHECKING:
    from encord_agents import Nothing  # type: ignore[attr-defined]  # noqa: F401
    from encord_agents.core.dependencies.serverless import DStorageItem, Nothing4  # type: ignore[attr-defined]  # noqa: F401
    from encord_agents.core.rich_columns import Nothing5  # type: ignore[attr-defined]  # noqa: F401
    from encord_agents.local import LocalPlatfrom  # type: ignore[attr-defined]  # noqa: F401
    from encord_agents.tasks import Runer  # type: ignore[attr-defined]  # noqa: F401
    from encord_agents.tasks.dependencies import Depends, Frame, download_asset  # noqa: F401
    from encord_agents.tasks.runner import Queue  # type: ignore[attr-defined]  # noqa: F401

runner, queue = Runner(), QueueRunner("00000000-0000-0000-0000-000000000000")


@runner.stage("1")
def a_title() -> str:
    return ""


@runner.stage("2")
def a_choice() -> Literal["yes", "no"] | None:
    return None


@runner.stage("3")
def a_uuid() -> UUID:
    return UUID(int=0)


@runner.stage("4")
def a_struct() -> TaskAgentReturnStruct:
    return TaskAgentReturnStruct()


@runner.stage("5")
async def awaited() -> TaskAgentReturnStruct | None:
    return None


@runner.stage("6")
def nothing() -> None: ...


@runner.stage("7")
def anything() -> Any: ...


@runner.stage("8")
def never() -> NoReturn:
    raise ValueError


class Model:
    async def __call__(self) -> str:
        return ""


runner.stage("9")(Model())
runner.stage("10")(functools.partial(a_title))
runner.stage("11")(lambda: "")


def a_number() -> int:
    return 0


async def a_pair() -> tuple[str, float]:
    return "", 0.0


def refused() -> None:
    runner.stage("12")(a_number)  # type: ignore[type-var]
    runner.stage("13")(a_pair)  # type: ignore[type-var]
    queue.stage("12")(a_number)  # type: ignore[arg-type]
    queue.stage("13")(a_pair)  # type: ignore[arg-type]


@pytest.mark.parametrize("agent", [a_title, a_choice, a_uuid, a_struct, awaited, nothing, anything, never])
def test_an_agent_stays_the_function_that_it_was(agent: Callable[..., Any]) -> None:
    """Decorated agents are functions still, which are called by hand as before, and queue functions take the same."""
    assert agent in [registered.callable for registered in runner.agents]
    assert queue.stage(agent.__name__)(agent).agent is agent
