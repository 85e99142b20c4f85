"""The parameters that a decorated function takes."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import pytest

from encord_agents.core.dependencies import Depends
from encord_agents.core.dependencies.build import build_plan
from encord_agents.core.dependencies.wrappers import parameters_of
from encord_agents.exceptions import DependencyError


class Row: ...


class Task: ...


class Client: ...


VALUES: dict[type, object] = {kind: kind() for kind in (Row, Task, Client)}


def called(function: Callable[..., Any]) -> Any:
    """Call a function as an attempt does."""
    plan = build_plan(function, injectable=(Row, Task, Client))
    slots: list[object] = [VALUES[one.type] if one.type else one.default for one in plan.inputs]
    for step in plan.steps:
        slots.append(step(slots))
    return plan.call(slots)


def names(*values: object) -> list[str]:
    return [type(value).__name__ for value in values]


def with_model(function: Callable[..., Any]) -> Callable[..., Any]:
    """Supplies the last parameter."""

    @functools.wraps(function)
    def wrapper(row: Any) -> Any:
        return function(row, "model")

    return wrapper


def by_position(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        return function(*args)

    return wrapper


def by_name(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(**kwargs: Any) -> Any:
        return function(**kwargs)

    return wrapper


def after_the_row(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(row: Any, *args: Any) -> Any:
        return function(row, *args)

    return wrapper


def with_task(function: Callable[..., Any]) -> Callable[..., Any]:
    """Takes a parameter for itself."""

    @functools.wraps(function)
    def wrapper(task: Task, **kwargs: Any) -> Any:
        assert isinstance(task, Task)
        return function(**kwargs)

    return wrapper


def seven() -> int:
    return 7


def with_seven(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, seven: int = Depends(seven), **kwargs: Any) -> Any:
        assert seven == 7
        return function(*args, **kwargs)

    return wrapper


def agent(row: Row, client: Client) -> list[str]:
    return names(row, client)


def of_model(row: Row, model: str) -> list[str]:
    return names(row, model)


def with_default(row: Row, n: Annotated[int, Depends(seven)], *, model: str = "m") -> list[str]:
    return names(row, n, model)


class Agents:
    @by_position
    def method(self, row: Row, client: Client) -> list[str]:
        return names(row, client)


def test_fewer() -> None:
    """A wrapper that supplies a parameter itself is not asked for it."""
    assert called(with_model(of_model)) == ["Row", "str"]
    assert called(by_name(with_model(of_model))) == ["Row", "str"]
    assert called(by_position(with_model(of_model))) == ["Row", "str"]


@pytest.mark.parametrize("decorate", [by_position, by_name, after_the_row, with_seven, functools.lru_cache])
def test_by_position_and_by_name(decorate: Callable[..., Any]) -> None:
    """A wrapper that passes on arguments of one kind only is called with those."""
    assert called(decorate(agent)) == ["Row", "Client"]
    assert called(decorate(with_default)) == ["Row", "int", "str"]


def test_single_dispatch() -> None:
    """It chooses by its first positional argument."""
    assert called(functools.singledispatch(agent)) == ["Row", "Client"]


def test_methods() -> None:
    """The same for those of an object."""
    assert called(Agents().method) == ["Row", "Client"]


def test_more() -> None:
    """A parameter of the wrapper's own is supplied if the function has it too, and its annotation with it."""

    def both(row: Row, task: Task) -> list[str]:
        return names(row, task)

    @functools.wraps(both)
    def wrapper(task: Task, **kwargs: Any) -> Any:
        return both(task=task, **kwargs)

    assert called(wrapper) == ["Row", "Task"]


def test_an_annotation_that_is_gone() -> None:
    """That is an error at decoration, which says why."""
    with pytest.raises(DependencyError) as caught:
        called(with_task(agent))
    assert "'task' that nothing can supply: its decorator takes it, and functools.wraps has replaced" in str(
        caught.value
    )


def test_what_says_itself_what_it_takes() -> None:
    """`__signature__` is believed."""

    @functools.wraps(of_model)
    def wrapper(row: Row) -> Any: ...

    wrapper.__signature__ = inspect.signature(agent)  # type: ignore[attr-defined]
    assert [one.name for one in parameters_of(wrapper)[0]] == ["row", "client"]
