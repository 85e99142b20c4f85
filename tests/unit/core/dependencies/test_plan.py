"""The parts of a plan: calls, steps, and their functions as keys."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from encord_agents.core.dependencies.plan import Call, Kind, Step, bound_call, hashable


def test_a_call_takes_its_arguments_from_the_slots() -> None:
    """Arguments come by position and by name, from any slots, in any order."""

    def shown(*args: object, **named: object) -> tuple[object, ...]:
        return args, named

    slots: list[object] = ["zero", "one", "two"]
    assert Call(shown, (2, 0), (("b", 1), ("a", 2)))(slots) == (("two", "zero"), {"b": "one", "a": "two"})
    assert Call(shown, (), ())(slots) == ((), {})


@pytest.mark.parametrize(
    ("kind", "is_async"),
    [(Kind.VALUE, False), (Kind.GENERATOR, False), (Kind.COROUTINE, True), (Kind.ASYNC_GENERATOR, True)],
)
def test_kinds_that_need_a_loop(kind: Kind, is_async: bool) -> None:
    """Coroutine functions and async generators are async, and no others."""
    assert kind.is_async is is_async


class Connection(Awaitable[Any]):
    """A client that async code awaits to connect."""

    def __await__(self) -> Generator[Any, None, Any]:
        raise NotImplementedError  # plans look at awaitables, and never await them


async def nothing() -> None: ...


def future() -> asyncio.Future[Any]:
    with asyncio.Runner() as runner:
        return runner.get_loop().create_future()


@pytest.mark.parametrize(
    ("value", "kind", "made", "hides"),
    [
        (7, Kind.VALUE, None, False),
        (Connection(), Kind.VALUE, None, True),
        (Connection(), Kind.VALUE, str, True),
        (Connection(), Kind.VALUE, Connection, False),
        (Connection(), Kind.COROUTINE, None, False),
        (nothing, Kind.VALUE, None, False),
        (future(), Kind.VALUE, None, True),
        (future(), Kind.VALUE, asyncio.Future, True),
        (future(), Kind.COROUTINE, None, False),
        (SimpleNamespace(__await__=nothing), Kind.VALUE, None, False),
    ],
)
def test_awaitables_that_are_values(value: Any, kind: Kind, made: type | None, hides: bool) -> None:
    """An awaitable hides a value unless its class was announced or a coroutine function returned it; futures always."""
    assert Step(nothing, (), (), kind, "attempt", made).hides(value) is hides


@pytest.mark.parametrize("kind", [Kind.VALUE, Kind.COROUTINE])
def test_a_coroutine_always_hides_a_value(kind: Kind) -> None:
    """Nobody has a coroutine for a value, whatever made it and whatever was announced."""
    value = nothing()
    try:
        assert Step(nothing, (), (), kind, "attempt", type(value)).hides(value)
        assert Call(nothing, (), ()).hides(value)
    finally:
        value.close()


@dataclass
class Unhashable:
    """Equal to others, and so without a hash."""

    number: int

    def __call__(self) -> int:
        return self.number


def test_callables_as_keys() -> None:
    """A callable is its own key if it can be; two that are equal and cannot be hashed stay two."""

    def function() -> None: ...

    assert hashable(function) is function
    one, other = Unhashable(1), Unhashable(1)
    keys: set[Callable[..., Any]] = {hashable(one), hashable(one), hashable(other)}
    assert len(keys) == 2
    assert {key() for key in keys} == {1}
    assert bound_call(one)() == 1
