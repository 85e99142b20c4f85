"""Builds plans from signatures, and refuses functions with parameters that nothing can supply."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import typing_extensions

from encord_agents.core.dependencies.models import Depends, Scope
from encord_agents.core.dependencies.plan import Call, Input, Kind, Plan, Signatures, Step, bound_call, hashable
from encord_agents.core.dependencies.signature import Unresolved, read_signature, readable_name, split_annotation
from encord_agents.core.dependencies.wrappers import bare
from encord_agents.exceptions import DependencyError, closest

__all__ = ["build_plan", "kind_of"]

Slots = tuple[tuple[int, ...], tuple[tuple[str, int], ...]]
"""The slots of positional arguments, and of keyword arguments by name."""


def build_plan(
    function: Callable[..., Any],
    *,
    injectable: Collection[type],
    run_injectable: Collection[type] = (),
    overrides: Mapping[Callable[..., Any], Callable[..., Any]] | None = None,
    signatures: Signatures | None = None,
) -> Plan:
    """Build a plan from the signatures of ``function`` and of everything it depends on.

    A parameter is supplied, in this order, by its `Depends`, by its type (exactly one of ``injectable``, or that type
    ``| None``), or by its own default. ``*args`` and ``**kwargs`` stay empty.

    Args:
        function: The agent: a function or coroutine function, or any other callable that is not a generator.
        injectable: The types that are supplied to each attempt.
        run_injectable: The types that run-scoped dependencies may ask for.
        overrides: Dependencies to replace, wherever they appear.
        signatures: Those of an earlier plan of the function, which are not read again.

    Raises:
        DependencyError: A parameter cannot be supplied, dependencies form a cycle, a run-scoped dependency needs
            something with a shorter lifetime, or ``function`` is a generator. The message says what to write.
    """
    builder = _Builder(tuple(injectable), tuple(run_injectable), overrides or {}, dict(signatures or {}))
    return builder.build(function)


def _refusal(function: str, parameter: str | None, *lines: str) -> DependencyError:
    return DependencyError("\n".join(lines), function=function, parameter=parameter)


@dataclass
class _Builder:
    injectable: tuple[type, ...]
    run_injectable: tuple[type, ...]
    overrides: Mapping[Callable[..., Any], Callable[..., Any]]
    signatures: dict[Callable[..., Any], tuple[list[inspect.Parameter], Any]]
    inputs: list[Input] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    made: dict[tuple[Callable[..., Any], Scope], int] = field(default_factory=dict)
    path: list[Callable[..., Any]] = field(default_factory=list)

    def build(self, function: Callable[..., Any]) -> Plan:
        name = readable_name(function)
        if not callable(function):
            raise _refusal(name, None, f"An agent is a function, and {function!r} cannot be called.")
        slots, returns = self.arguments(function, "attempt")
        kind = kind_of(function, look_inside=False)
        if kind in (Kind.GENERATOR, Kind.ASYNC_GENERATOR):
            raise _refusal(
                *(name, None),
                f"{name}() is a generator: it has a yield in its body, and an agent has one result per task.",
                "Write return instead. If the yield is there for set-up and teardown, move it to a dependency:",
                "  a generator function that the agent asks for with Annotated[T, Depends(function)].",
            )
        positional, keyword = self.final(slots)
        steps = tuple(self.with_final_slots(step) for step in self.steps)
        wanted = [(i, i.type) for i in self.inputs if i.type is not None]
        needs = frozenset(kind for i, kind in wanted if i.scope == "attempt")
        insisted = {kind for i, kind in wanted if i.required and i.scope == "attempt"}
        return Plan(
            function=function,
            name=name,
            call=Call(function, positional, keyword),
            inputs=tuple(self.inputs),
            steps=steps,
            needs=needs,
            optional=needs - insisted,
            run_needs=frozenset(kind for i, kind in wanted if i.scope == "run"),
            dependencies=frozenset(s.function for s in steps),
            is_async=kind.is_async,
            has_async=kind.is_async or any(s.kind.is_async for s in steps),
            returns=returns,
            signatures=self.signatures,
        )

    def with_final_slots(self, step: Step) -> Step:
        positional, keyword = self.final((step.positional, step.keyword))
        return replace(step, positional=positional, keyword=keyword)

    def final(self, slots: Slots) -> Slots:
        """Number the slots of steps, which follow the inputs; until all inputs are known, steps count down from -1."""

        def slot(i: int) -> int:
            return i if i >= 0 else len(self.inputs) - 1 - i

        positional, keyword = slots
        return tuple(slot(i) for i in positional), tuple((name, slot(i)) for name, i in keyword)

    def arguments(self, function: Callable[..., Any], scope: Scope) -> tuple[Slots, Any]:
        """Return the slots of the function's arguments, and its return annotation."""
        name = readable_name(function)
        key = hashable(function)
        try:
            if key not in self.signatures:
                self.signatures[key] = read_signature(function)
            parameters, returns = self.signatures[key]
        except (TypeError, ValueError) as error:
            raise _refusal(
                *(name, None),
                f"The parameters of {name}() cannot be read ({error}).",
                f"Wrap it in a function of your own: lambda: {name}(...)",
            ) from error
        bound = function.keywords if isinstance(function, functools.partial) else {}
        positional: list[int] = []
        keyword: list[tuple[str, int]] = []
        left: list[inspect.Parameter] = []  # positional-only parameters that have kept their defaults so far
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
        return (tuple(positional), tuple(keyword)), returns

    def argument(self, parameter: inspect.Parameter, function: str, scope: Scope, *, is_bound: bool) -> int | None:
        """Return the slot of an argument, or ``None`` if the parameter keeps its default."""
        name, default = parameter.name, parameter.default
        has_default = default is not parameter.empty
        core, optional, metadata = split_annotation(parameter.annotation)
        marks = [m for m in (default, *metadata) if isinstance(m, Depends)]
        if any(m is Depends for m in (default, *metadata)):
            raise _refusal(
                *(function, name),
                f"{function}(): the parameter {name!r} has Depends without parentheses.",
                "Write Depends(function), or Depends() where the annotated class makes the value.",
            )
        if len(marks) > 1:
            raise _refusal(
                *(function, name),
                f"{function}(): the parameter {name!r} has more than one Depends: a value has one source.",
                "Keep one of them.",
            )
        if marks:
            return self.dependency(marks[0], core, name, function, scope)
        if not is_bound:
            for candidate in self.injectable if scope == "attempt" else self.run_injectable:
                if core is candidate:
                    required = not optional and not has_default
                    return self.input(
                        Input(candidate, required, default if has_default else None, scope, function, name)
                    )
        if has_default and (is_bound or not self.seems_injected(core)):
            return None
        raise self.not_supplied(parameter, core, function, scope)

    def seems_injected(self, annotation: Any) -> bool:
        """Return True if an annotation that cannot be resolved names something to be injected. Its default would
        otherwise be passed for every task, which is hardly meant: the import is missing, or for type checkers only."""
        if not isinstance(annotation, Unresolved):
            return False
        names = {kind.__name__ for kind in (*self.injectable, *self.run_injectable)} | {"Depends"}
        return not names.isdisjoint(re.findall(r"\w+", annotation.annotation))

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
        dependency = hashable(self.target(mark, annotation, parameter, function))
        dependency = hashable(self.overrides.get(dependency, dependency))
        name = readable_name(dependency)
        if isinstance(made := bare(dependency), type) and _is_abstract(made):
            raise _refusal(
                *(function, parameter),
                f"{function}(): the parameter {parameter!r}: its Depends calls {name}, which is abstract.",
                "Write Depends(T), where T is a class that implements it, or a function that makes an instance.",
            )
        if scope == "run" and mark.scope != "run":
            raise _refusal(
                *(function, parameter),
                f"{function}() is made once per run, but its parameter {parameter!r} asks for {name}(), "
                "which is made for each attempt.",
                f'Write Depends({name}, scope="run") there too, or leave out scope="run" for {function}().',
            )
        key = (dependency, mark.scope)
        if key in self.made:
            return self.made[key]
        if dependency in self.path:
            circle = [*self.path[self.path.index(dependency) :], dependency]
            raise _refusal(
                *(function, parameter),
                "Dependencies go in a circle: " + " -> ".join(f"{readable_name(f)}()" for f in circle) + ".",
                f"Let one of them do without the other; the last step is the parameter {parameter!r} of {function}().",
            )
        self.path.append(dependency)
        (positional, keyword), returns = self.arguments(dependency, mark.scope)
        self.path.pop()
        made = class_of_values(dependency, returns)
        self.steps.append(Step(dependency, positional, keyword, kind_of(dependency), mark.scope, made))
        self.made[key] = -len(self.steps)
        return self.made[key]

    def target(self, mark: Depends, annotation: Any, parameter: str, function: str) -> Callable[..., Any]:
        """Return the callable that a mark refers to.

        Raises:
            DependencyError: The mark refers to no callable, or has an unknown scope.
        """
        target: Any = annotation if mark.dependency is None else mark.dependency
        if mark.dependency is None and isinstance(target, Unresolved):
            raise _refusal(
                *(function, parameter),
                f"{function}(): the parameter {parameter!r} has Depends(), which calls the annotated class, "
                f"but {target.explanation}.",
                f"Write Depends(function), or import the class where {function}() is defined.",
            )
        is_empty = target is inspect.Parameter.empty
        if is_empty or not callable(target) or (mark.dependency is None and not isinstance(bare(target), type)):
            what = "Depends() calls the annotated class" if mark.dependency is None else "Depends(...) takes a function"
            shown = "nothing" if is_empty else repr(target)
            raise _refusal(
                *(function, parameter),
                f"{function}(): the parameter {parameter!r}: {what}, and got {shown}.",
                f"Write {parameter}: Annotated[T, Depends(function)], without calling the function.",
            )
        if mark.scope not in ("attempt", "run"):
            raise _refusal(
                *(function, parameter),
                f"{function}(): the parameter {parameter!r} has a Depends with scope={mark.scope!r}.",
                'Write scope="attempt" (made for each attempt) or scope="run" (made once).',
            )
        return target  # type: ignore[no-any-return]

    def not_supplied(self, parameter: inspect.Parameter, core: Any, function: str, scope: Scope) -> DependencyError:
        """Return the error for a parameter that nothing supplies, with the reason and the possible fixes."""
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
        return _refusal(function, name, *lines)


def _is_abstract(made: type) -> bool:
    """Return True if a class cannot be instantiated."""
    calls: Any = (type(made).__call__, made.__new__)
    if calls != (type.__call__, object.__new__):  # they may return an instance of another class
        return False
    return inspect.isabstract(made) or typing_extensions.is_protocol(made)


def class_of_values(function: Callable[..., Any], returns: Any) -> type | None:
    """Return the class of the values that ``function`` makes, if it declares one. An abstract class does not count."""
    made = bare(function)
    if not isinstance(made, type):
        made = split_annotation(returns)[0]
    return made if isinstance(made, type) and not inspect.isabstract(made) else None


def kind_of(function: Callable[..., Any], *, look_inside: bool = True) -> Kind:
    """Return the kind of result that a call of ``function`` gives.

    Args:
        look_inside: Treat a decorated function as the function it wraps, since most decorators of a generator function
            return its generator.
    """
    function = bare(function)
    if isinstance(function, type):
        return Kind.VALUE
    wrapped = inspect.unwrap(function)  # of a decorator that is a class, too
    if not inspect.isroutine(function):
        function = bound_call(function)
    for candidate in [function, inspect.unwrap(function), wrapped] if look_inside else [function]:
        if inspect.isasyncgenfunction(candidate):
            return Kind.ASYNC_GENERATOR
        if inspect.isgeneratorfunction(candidate):
            return Kind.GENERATOR
        # A wrapper may run the coroutine of the function it wraps: only a call shows whether it returns one.
        if candidate is function and inspect.iscoroutinefunction(candidate):
            return Kind.COROUTINE
    return Kind.VALUE
