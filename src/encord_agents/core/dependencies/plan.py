"""The needs of a function, worked out once, when it is decorated.

A plan is a flat list in order of set-up, so that carrying it out is a loop that looks at no signature. Values live in
numbered slots: first the inputs, which the caller supplies by type, then one slot per step, for the value it makes.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from types import CoroutineType
from typing import Any

from encord_agents.core.dependencies.models import Depends, Scope
from encord_agents.core.dependencies.signature import Unresolved, read_signature, readable_name, split_annotation
from encord_agents.core.tracebacks import is_a
from encord_agents.exceptions import DependencyError, closest

__all__ = ["Call", "Input", "Kind", "Plan", "Step", "build_plan"]


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
        function: The name of the function that asks for it first, for messages.
        parameter: The name of its parameter.
    """

    type: type | None
    required: bool
    default: object
    scope: Scope
    function: str
    parameter: str


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
        return self.function(*[slots[i] for i in self.positional], **{name: slots[i] for name, i in self.keyword})

    def hides(self, value: object) -> bool:
        """Return True if ``value``, the result of a call, has to be awaited for the actual value."""
        return issubclass(type(value), Awaitable)


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
            return is_a(value, CoroutineType)  # a task that an async function has started is its value
        if is_a(value, asyncio.Future):
            return True
        return issubclass(type(value), Awaitable) and not (self.made is not None and is_a(value, self.made))


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything needed for one call of ``function``.

    Attributes:
        function: The agent.
        name: Its name for people.
        call: Its call, once the steps are done.
        inputs: The values supplied by type, in slots ``0 .. len(inputs)``.
        steps: Its dependencies, each after those it needs; step ``i`` fills slot ``len(inputs) + i``.
        needs: The types needed by each attempt, anywhere in the graph.
        optional: The subset of ``needs`` that no parameter requires.
        run_needs: The types needed by run-scoped dependencies.
        dependencies: The functions of all steps, after overrides. An unhashable callable appears as its ``__call__``.
        run_scoped: The subset of ``dependencies`` that are made once per run.
        is_async: True if ``function`` is declared async.
        has_async: True if ``function`` or a dependency is declared async. Others may hide it, see `Call.hides`.
        returns: The return annotation, resolved; ``None`` if there is none that can be resolved.
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
    run_scoped: frozenset[Callable[..., Any]]
    is_async: bool
    has_async: bool
    returns: Any


def build_plan(
    function: Callable[..., Any],
    *,
    injectable: Collection[type],
    run_injectable: Collection[type] = (),
    overrides: Mapping[Callable[..., Any], Callable[..., Any]] | None = None,
) -> Plan:
    """Read the signatures of ``function`` and of everything it depends on.

    A parameter is supplied, in this order, by its `Depends`, by its type (exactly one of ``injectable``, or that type
    ``| None``), or by its own default. ``*args`` and ``**kwargs`` stay empty.

    Args:
        function: The agent: a function or coroutine function, or any other callable that is not a generator.
        injectable: The types that are supplied to each attempt.
        run_injectable: The types that run-scoped dependencies may ask for.
        overrides: Dependencies to replace, wherever they appear.

    Raises:
        DependencyError: A parameter cannot be supplied, dependencies form a circle, a run-scoped dependency needs
            something with a shorter lifetime, or ``function`` is a generator. The message says what to write.
    """
    return _Builder(tuple(injectable), tuple(run_injectable), overrides or {}).build(function)


@dataclass
class _Builder:
    injectable: tuple[type, ...]
    run_injectable: tuple[type, ...]
    overrides: Mapping[Callable[..., Any], Callable[..., Any]]
    inputs: list[Input] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    made: dict[tuple[Callable[..., Any], Scope], int] = field(default_factory=dict)
    path: list[Callable[..., Any]] = field(default_factory=list)

    def build(self, function: Callable[..., Any]) -> Plan:
        name = readable_name(function)
        if not callable(function):
            raise DependencyError(f"An agent is a function, and {function!r} cannot be called.", function=name)
        kind = kind_of(function, look_inside=False)
        if kind in (Kind.GENERATOR, Kind.ASYNC_GENERATOR):
            raise DependencyError(
                f"{name}() is a generator: it has a yield in its body, and an agent has one result per task.\n"
                "Write return instead. If the yield is there for set-up and teardown, move it to a dependency:\n"
                "  a generator function that the agent asks for with Annotated[T, Depends(function)].",
                function=name,
            )
        positional, keyword, returns = self.arguments(function, "attempt")
        call = Call(function, *self.final(positional, keyword))
        steps = tuple(self.with_final_slots(step) for step in self.steps)
        wanted = [i for i in self.inputs if i.type is not None]
        insisted = {i.type for i in wanted if i.required and i.scope == "attempt"}
        needs = frozenset(i.type for i in wanted if i.type is not None and i.scope == "attempt")
        return Plan(
            function=function,
            name=name,
            call=call,
            inputs=tuple(self.inputs),
            steps=steps,
            needs=needs,
            optional=frozenset(t for t in needs if t not in insisted),
            run_needs=frozenset(i.type for i in wanted if i.type is not None and i.scope == "run"),
            dependencies=frozenset(s.function for s in steps),
            run_scoped=frozenset(s.function for s in steps if s.scope == "run"),
            is_async=kind.is_async,
            has_async=kind.is_async or any(s.kind.is_async for s in steps),
            returns=returns,
        )

    def with_final_slots(self, step: Step) -> Step:
        positional, keyword = self.final(step.positional, step.keyword)
        return replace(step, positional=positional, keyword=keyword)

    def final(
        self, positional: tuple[int, ...], keyword: tuple[tuple[str, int], ...]
    ) -> tuple[tuple[int, ...], tuple[tuple[str, int], ...]]:
        """Number the slots of steps, which come after the inputs; until those are known, they count down from -1."""

        def slot(i: int) -> int:
            return i if i >= 0 else len(self.inputs) - 1 - i

        return tuple(slot(i) for i in positional), tuple((name, slot(i)) for name, i in keyword)

    def arguments(
        self, function: Callable[..., Any], scope: Scope
    ) -> tuple[tuple[int, ...], tuple[tuple[str, int], ...], Any]:
        """Return the slots of the function's arguments, and its return annotation."""
        name = readable_name(function)
        try:
            parameters, returns = read_signature(function)
        except (TypeError, ValueError) as error:
            raise DependencyError(
                f"The parameters of {name}() cannot be read ({error}).\n"
                f"Wrap it in a function of your own: lambda: {name}(...)",
                function=name,
            ) from error
        bound = function.keywords if isinstance(function, functools.partial) else {}
        positional: list[int] = []
        keyword: list[tuple[str, int]] = []
        left: list[inspect.Parameter] = []  # positional-only parameters that keep their defaults, so far
        for parameter in parameters:
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                continue
            slot = self.argument(parameter, name, scope, is_bound=parameter.name in bound)
            if parameter.kind is not parameter.POSITIONAL_ONLY:
                if slot is not None:
                    keyword.append((parameter.name, slot))
            elif slot is None:
                left.append(parameter)
            else:
                # A positional argument can only be passed together with those before it.
                positional += [self.input(Input(None, False, p.default, scope, name, p.name)) for p in left]
                positional.append(slot)
                left.clear()
        return tuple(positional), tuple(keyword), returns

    def argument(self, parameter: inspect.Parameter, function: str, scope: Scope, *, is_bound: bool) -> int | None:
        """Return the slot of an argument, or ``None`` if the parameter keeps its default."""
        annotation = parameter.annotation
        has_default = parameter.default is not parameter.empty
        core, optional, metadata = split_annotation(annotation)
        marks = [m for m in (parameter.default, *metadata) if isinstance(m, Depends)]
        if any(m is Depends for m in (parameter.default, *metadata)):
            raise DependencyError(
                f"{function}(): the parameter {parameter.name!r} has Depends without parentheses.\n"
                "Write Depends(function), or Depends() where the annotated class makes the value.",
                function=function,
                parameter=parameter.name,
            )
        if len(marks) > 1:
            raise DependencyError(
                f"{function}(): the parameter {parameter.name!r} has more than one Depends: a value has one source.\n"
                "Keep one of them.",
                function=function,
                parameter=parameter.name,
            )
        if marks:
            return self.dependency(marks[0], core, parameter.name, function, scope)
        if not is_bound:
            for candidate in self.injectable if scope == "attempt" else self.run_injectable:
                if core is candidate:
                    required = not optional and not has_default
                    default = parameter.default if has_default else None
                    return self.input(Input(candidate, required, default, scope, function, parameter.name))
        if has_default:
            return None
        raise self.refusal(parameter, core, function, scope)

    def input(self, wanted: Input) -> int:
        for i, known in enumerate(self.inputs):
            if (known.type, known.required, known.scope) == (wanted.type, wanted.required, wanted.scope) and (
                known.default is wanted.default
            ):
                return i
        self.inputs.append(wanted)
        return len(self.inputs) - 1

    def dependency(self, mark: Depends, annotation: Any, parameter: str, function: str, scope: Scope) -> int:
        """Return the (provisional) slot of the dependency of ``mark``; add its step on the first request."""
        target: Any = annotation if mark.dependency is None else mark.dependency
        if mark.dependency is None and isinstance(target, Unresolved):
            raise DependencyError(
                f"{function}(): the parameter {parameter!r} has Depends(), which calls the annotated class, "
                f"but {target.explanation}.\n"
                f"Write Depends(function), or import the class where {function}() is defined.",
                function=function,
                parameter=parameter,
            )
        if (
            not callable(target)
            or (mark.dependency is None and not isinstance(target, type))
            or target is inspect.Parameter.empty
        ):
            what = "Depends() calls the annotated class" if mark.dependency is None else "Depends(...) takes a function"
            shown = "nothing" if target is inspect.Parameter.empty else repr(target)
            raise DependencyError(
                f"{function}(): the parameter {parameter!r}: {what}, and got {shown}.\n"
                f"Write {parameter}: Annotated[T, Depends(function)], without calling the function.",
                function=function,
                parameter=parameter,
            )
        if mark.scope not in ("attempt", "run"):
            raise DependencyError(
                f"{function}(): the parameter {parameter!r} has a Depends with scope={mark.scope!r}.\n"
                'Write scope="attempt" (made for each attempt) or scope="run" (made once).',
                function=function,
                parameter=parameter,
            )
        dependency = hashable(target)
        dependency = hashable(self.overrides.get(dependency, dependency))
        if scope == "run" and mark.scope != "run":
            name = readable_name(dependency)
            raise DependencyError(
                f"{function}() is made once per run, but its parameter {parameter!r} asks for {name}(), "
                "which is made anew for each attempt.\n"
                f'Write Depends({name}, scope="run") there too, or leave out scope="run" for {function}().',
                function=function,
                parameter=parameter,
            )
        key = (dependency, mark.scope)
        if key in self.made:
            return self.made[key]
        if dependency in self.path:
            circle = [*self.path[self.path.index(dependency) :], dependency]
            raise DependencyError(
                "Dependencies go in a circle: " + " -> ".join(f"{readable_name(f)}()" for f in circle) + ".\n"
                f"Let one of them do without the other; the last step is the parameter {parameter!r} of {function}().",
                function=function,
                parameter=parameter,
            )
        self.path.append(dependency)
        positional, keyword, returns = self.arguments(dependency, mark.scope)
        self.path.pop()
        made = class_of_values(dependency, returns)
        self.steps.append(Step(dependency, positional, keyword, kind_of(dependency), mark.scope, made))
        self.made[key] = -len(self.steps)
        return self.made[key]

    def refusal(self, parameter: inspect.Parameter, core: Any, function: str, scope: Scope) -> DependencyError:
        """Return the error for a parameter that nothing supplies: the reason, and what to write."""
        name = parameter.name
        types = sorted(t.__name__ for t in (self.injectable if scope == "attempt" else self.run_injectable))
        guess = None
        if isinstance(core, Unresolved):
            why = core.explanation
        elif core is parameter.empty:
            why = "it has no annotation"
        elif scope == "run" and any(core is t for t in self.injectable):
            why = f"{function}() is made once per run, and {core.__name__} belongs to a single task"
        else:
            shown = core.__name__ if isinstance(core, type) else str(core)
            why = f"no value of type {shown} can be injected"
            guess = closest(shown, types)
        lines = [f"{function}() has a parameter {name!r} that nothing can supply: {why}."]
        if self.path:
            lines.append("It is needed by way of " + " -> ".join(f"{readable_name(f)}()" for f in self.path) + ".")
        if guess:
            lines.append(f"Did you mean {name}: {guess}?")
        lines.append("Write one of")
        if types:
            lines.append(f"  {name}: T, where T is one of {', '.join(types)} (or that | None)")
        mark = "Depends(function)" if scope == "attempt" else 'Depends(function, scope="run")'
        lines.append(f"  {name}: Annotated[T, {mark}], for what a function makes")
        lines.append(f"  {name}: T = value, for a default")
        return DependencyError("\n".join(lines), function=function, parameter=name)


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


def class_of_values(function: Callable[..., Any], returns: Any) -> type | None:
    """Return the class of the values that ``function`` makes, if it declares one. An abstract class does not count."""
    made = function if isinstance(function, type) else split_annotation(returns)[0]
    return made if isinstance(made, type) and not inspect.isabstract(made) else None


def kind_of(function: Callable[..., Any], *, look_inside: bool = True) -> Kind:
    """Return the kind of result of calling ``function``.

    Args:
        look_inside: Let a decorated function count as the function it wraps, since most decorators of a generator
            function return its generator.
    """
    if isinstance(function, type):
        return Kind.VALUE
    while isinstance(function, functools.partial):
        function = function.func
    if not inspect.isroutine(function) and not isinstance(function, type):
        function = bound_call(function)
    candidates = [function, inspect.unwrap(function)] if look_inside else [function]
    for candidate in candidates:
        if inspect.isasyncgenfunction(candidate):
            return Kind.ASYNC_GENERATOR
        if inspect.isgeneratorfunction(candidate):
            return Kind.GENERATOR
        # A wrapper of a coroutine function may await it itself, which shows only when it is called.
        if candidate is function and inspect.iscoroutinefunction(candidate):
            return Kind.COROUTINE
    return Kind.VALUE
