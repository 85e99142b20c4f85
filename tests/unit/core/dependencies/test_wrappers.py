"""The parameters that a decorated function takes."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any, Generic, TypeVar

import pytest
from typing_extensions import deprecated

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


class WithModel:
    """A decorator that is a class. It supplies the last parameter."""

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self.function = function

    def __call__(self, row: Any) -> Any:
        return self.function(row, "model")


class WithTask:
    """Takes a parameter for itself."""

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self.function = function

    def __call__(self, task: Task, **kwargs: Any) -> Any:
        return [*names(task), *self.function(**kwargs)]


def method_with_model(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(self: Any, row: Any) -> Any:
        return function(self, row, "model")

    return wrapper


class CallableAgent:
    @method_with_model
    def __call__(self, row: Row, model: str) -> list[str]:
        return names(row, model)


class Once(type):
    """Makes one instance of each class."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return super().__call__(*args, **kwargs)


class OnceByPosition(type):
    def __call__(cls, *args: Any) -> Any:
        return super().__call__(*args)


class OfMeta(metaclass=Once):
    def __init__(self, client: Client) -> None:
        self.client = client


class ByPosition(metaclass=OnceByPosition):
    def __init__(self, client: Client) -> None:
        self.client = client


class OfNew:
    def __new__(cls, *args: Any, **kwargs: Any) -> OfNew:
        return super().__new__(cls)

    def __init__(self, client: Client) -> None:
        self.client = client


@deprecated("There is a newer one.")
class Deprecated:
    def __init__(self, client: Client) -> None:
        self.client = client


def init_with_model(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(self: Any, client: Any) -> None:
        function(self, client, "model")

    return wrapper


class DecoratedInit:
    @init_with_model
    def __init__(self, client: Client, model: str) -> None:
        self.client = client


T = TypeVar("T")


class Box(Generic[T]):
    def __init__(self, client: Client) -> None:
        self.client = client


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


@pytest.mark.parametrize("decorate", [with_model, WithModel, lambda function: functools.cache(with_model(function))])
@pytest.mark.parametrize("bind", [lambda function: function, functools.partial])
def test_inside_other_callables(decorate: Callable[..., Any], bind: Callable[..., Any]) -> None:
    """It makes no difference if the wrapper is an object, or in a partial or a cache."""
    assert called(bind(decorate(of_model))) == ["Row", "str"]


def test_a_decorated_call() -> None:
    """Nor if it wraps the method that an object is called by."""
    assert called(CallableAgent()) == ["Row", "str"]
    assert called(functools.partial(CallableAgent())) == ["Row", "str"]


def test_a_decorator_that_is_a_class_and_takes_more() -> None:
    """Its own parameters keep their annotations."""
    assert called(WithTask(agent)) == ["Task", "Row", "Client"]


def test_the_decorators_own_default() -> None:
    """A wrapper's default counts, not the function's."""

    @functools.wraps(of_model)
    def wrapper(*args: Any, model: Any = 0.5, **kwargs: Any) -> Any:
        return of_model(*args, model=model, **kwargs)

    assert called(wrapper) == ["Row", "float"]
    assert called(functools.partial(wrapper, model=1)) == ["Row", "int"]


@pytest.mark.parametrize(
    "bound",
    [
        functools.partial(of_model, model="m"),
        functools.partial(of_model, Row(), "m"),
        functools.update_wrapper(functools.partial(of_model, model="m"), of_model),
        *([functools.partial(of_model, functools.Placeholder, "m")] if hasattr(functools, "Placeholder") else []),
    ],
)
def test_parameters_that_a_partial_binds(bound: Callable[..., Any]) -> None:
    """They need not be supplied, even if the partial refers to the function."""
    assert called(bound) == ["Row", "str"]


@pytest.mark.parametrize(
    "bound",
    [
        functools.partial(of_model, 1, 2, 3),
        functools.partial(of_model, other=1),
        functools.partial(of_model, 1, row=2),  # type: ignore[misc]
        functools.partial(with_model(of_model), model="m"),
    ],
)
def test_a_partial_that_binds_too_much(bound: Callable[..., Any]) -> None:
    """That is an error at decoration, not for each task."""
    with pytest.raises(DependencyError, match="binds arguments that the function does not take"):
        called(bound)


@pytest.mark.filterwarnings("ignore:There is a newer one")
@pytest.mark.parametrize(
    "made",
    [OfMeta, ByPosition, OfNew, Deprecated, DecoratedInit, Box, Box[int], functools.partial(OfMeta)],
    ids=lambda made: str(getattr(made, "__name__", made)),
)
def test_classes(made: Any) -> None:
    """A class needs the parameters of its `__init__`, even if its `__new__` or its metaclass passes anything on."""

    def uses(value: Annotated[Any, Depends(made)]) -> list[str]:
        return names(value.client)

    assert called(uses) == ["Client"]


def test_an_annotated_generic_class() -> None:
    """The class that makes the value may have type arguments."""

    def uses(value: Annotated[Box[int], Depends()]) -> list[str]:
        return names(value.client)

    assert called(uses) == ["Client"]


def test_an_annotation_that_is_gone() -> None:
    """That is an error at decoration, which says why."""
    with pytest.raises(DependencyError) as caught:
        called(functools.partial(with_task(agent)))
    assert "functools.wraps has replaced" in str(caught.value)
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
