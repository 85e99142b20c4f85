"""The dependencies of a function, as data. `build` works them out once, when the function is decorated.

A plan is a flat list in order of set-up, so it is carried out by a loop that inspects no signature. Values live in
numbered slots: first the inputs, which the caller supplies by type, then one slot per step, for the value it makes.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import CoroutineType, GeneratorType
from typing import Any

from encord_agents.core.dependencies.children import ChildrenEnd
from encord_agents.core.dependencies.models import Scope
from encord_agents.core.dependencies.signature import readable_name
from encord_agents.core.tracebacks import is_a

__all__ = ["Call", "Input", "Kind", "Plan", "Signatures", "Step", "bound_call", "hashable"]

Signatures = Mapping[Callable[..., Any], tuple[list[inspect.Parameter], Any]]
"""The parameters and the return annotation of functions."""


class Kind(Enum):
    """The kind of result of calling a dependency."""

    VALUE = "value"
    GENERATOR = "generator"
    COROUTINE = "coroutine"
    ASYNC_GENERATOR = "async generator"

    @property
    def is_async(self) -> bool:
        return self in (Kind.COROUTINE, Kind.ASYNC_GENERATOR)


@dataclass(frozen=True, slots=True)
class Input:
    """A slot that is filled by type.

    Attributes:
        type: The type asked for; ``None`` for a constant, which is its ``default``.
        required: True if the attempt fails when there is no such value. Otherwise the slot then holds ``default``.
        scope: The scope whose values supply it.
        function: The name of the first function that asks for it, for messages.
        parameter: The name of its parameter.
    """

    type: type | None
    required: bool
    default: object
    scope: Scope
    function: str
    parameter: str


def _is_awaitable(value: object) -> bool:
    """Return True if ``value`` can be awaited. Coroutines made by `types.coroutine` are generators to `Awaitable`."""
    return issubclass(type(value), Awaitable) or (is_a(value, GeneratorType) and inspect.isawaitable(value))


@dataclass(frozen=True, slots=True)
class Call:
    """A function and the slots of its arguments."""

    function: Callable[..., Any]
    positional: tuple[int, ...]
    keyword: tuple[tuple[str, int], ...]

    @property
    def name(self) -> str:
        return readable_name(self.function)

    def __call__(self, slots: list[object]) -> Any:
        with ChildrenEnd():
            return self.function(*[slots[i] for i in self.positional], **{name: slots[i] for name, i in self.keyword})

    def hides(self, value: object) -> bool:
        """Return True if ``value``, the result of a call, has to be awaited for the actual value."""
        return _is_awaitable(value)


@dataclass(frozen=True, slots=True)
class Step(Call):
    """One dependency to set up.

    Attributes:
        kind: The kind of result of calling it.
        scope: The lifetime of its value.
        made: The class of its values, if it declares one: an awaitable may itself be the value asked for, such as a
            client that async code awaits to connect.
    """

    kind: Kind
    scope: Scope
    made: type | None = None

    def hides(self, value: object) -> bool:
        """Return True if ``value``, the result of a call, has to be awaited for the actual value."""
        if self.kind is Kind.COROUTINE or is_a(value, CoroutineType):
            return is_a(value, CoroutineType)  # a task that an async function returns is its value
        if is_a(value, asyncio.Future):
            return True
        return _is_awaitable(value) and not (self.made is not None and is_a(value, self.made))


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything needed for one call of ``function``.

    Attributes:
        function: The agent.
        name: Its readable name.
        call: Its call, to be made after the steps.
        inputs: The values supplied by type, in slots ``0 .. len(inputs)``.
        steps: Its dependencies, each after those it needs; step ``i`` fills slot ``len(inputs) + i``.
        needs: The types needed by each attempt, anywhere in the graph.
        optional: The subset of ``needs`` that no parameter requires.
        run_needs: The types needed by run-scoped dependencies.
        dependencies: The functions of all steps, after overrides. An unhashable callable appears as its ``__call__``.
        is_async: True if ``function`` is declared async.
        has_async: True if ``function`` or a dependency is declared async. Others may turn out to be, see `Call.hides`.
        returns: The return annotation, resolved; ``None`` if there is none that can be resolved.
        signatures: The signatures of the function and its dependencies, resolved where they are defined: names of an
            enclosing function that only annotations use are gone afterwards.
    """

    function: Callable[..., Any]
    name: str
    call: Call
    inputs: tuple[Input, ...]
    steps: tuple[Step, ...]
    needs: frozenset[type]
    optional: frozenset[type]
    run_needs: frozenset[type]
    dependencies: frozenset[Callable[..., Any]]
    is_async: bool
    has_async: bool
    returns: Any
    signatures: Signatures = field(repr=False)


def hashable(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the callable, or its bound ``__call__`` if it cannot be hashed, like an instance of a plain dataclass.

    Bound methods compare and hash by the identity of their object.
    """
    try:
        hash(function)
    except TypeError:
        return bound_call(function)
    return function


def bound_call(function: Any) -> Callable[..., Any]:
    """Return the method that runs when an object other than a function is called."""
    method: Callable[..., Any] = function.__call__
    return method
