"""The parameters that a callable takes, through its decorators.

`inspect.signature` shows those of the innermost function, since `functools.wraps` refers to it. A wrapper that takes
fewer parameters, additional ones, or only positional ones would then be called with the wrong arguments for every task.
The same holds for a callable object that wraps a function, and for a class whose `__new__` takes anything.
"""

from __future__ import annotations

import functools
import inspect
import sys
import typing
from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any

__all__ = ["bare", "parameters_of", "signature_of"]

VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
PLACEHOLDER: Any = getattr(functools, "Placeholder", VARIADIC)  # Python 3.14; before, nothing that a partial binds

Parameters = list[inspect.Parameter]


def signature_of(function: Callable[..., Any], *, follow_wrapped: bool = True) -> inspect.Signature:
    """Do the same as `inspect.signature`, where annotations may use names that do not exist.

    From Python 3.14 on they are evaluated late, without ``from __future__ import annotations`` too: names that are
    imported for type checkers only, or defined further down, are no error until somebody asks.
    """
    if sys.version_info >= (3, 14):
        from annotationlib import Format

        return inspect.signature(function, follow_wrapped=follow_wrapped, annotation_format=Format.FORWARDREF)
    return inspect.signature(function, follow_wrapped=follow_wrapped)


def bare(function: Any) -> Any:
    """Return the callable inside partials, and the class of a generic alias: ``Box`` of ``Box[int]``."""
    while isinstance(function, functools.partial):
        function = function.func
    origin = typing.get_origin(function)
    return origin if isinstance(origin, type) else function


def parameters_of(function: Callable[..., Any]) -> tuple[Parameters, frozenset[str]]:
    """Return the parameters of a callable that its decorators accept, and the names of those that only a decorator
    takes and whose annotations are lost: `functools.wraps` replaces them with the inner function's.

    A parameter that can only be passed by position is shown as positional-only.

    Raises:
        TypeError, ValueError: The callable has no signature, like some built-in ones.
    """
    if isinstance(function, MethodType):
        parameters, lost = parameters_of(function.__func__)
        if parameters and parameters[0].kind in POSITIONAL:
            return parameters[1:], lost - {parameters[0].name}
        return list(signature_of(function).parameters.values()), frozenset()
    if isinstance(function, functools.partial) and not _declares(function):
        return _left_by(function, *parameters_of(function.func))
    *outer, inner = _layers(function)
    shown, lost = _own(inner)
    for layer in reversed(outer):
        shown, added = _through(layer, shown)
        lost |= added
    return shown, lost


def _layers(function: Any) -> list[Any]:
    """Return the callables that a call goes through, from the outside in: decorators and the function in them, a
    class's `__new__` and `__init__`. Those with ``*args`` or ``**kwargs`` pass these on to the next."""
    if isinstance(function, functools.partial | MethodType) or _declares(function):
        return [function]
    function = bare(function)
    inner = _layers(function.__wrapped__) if hasattr(function, "__wrapped__") else []
    if type(function) is FunctionType:
        return [function, *inner]
    if isinstance(function, type):
        makers = () if inner else (type(function).__call__, function.__new__, function.__init__)  # type: ignore[misc]
        own = [MethodType(maker, function) for maker in makers if type(maker) is FunctionType]
    else:
        own = [call] if isinstance(call := function.__call__, MethodType) else []
    return [*own, *inner] or [function]


def _declares(function: Any) -> bool:
    """Return True if a decorator has declared the parameters of its function explicitly."""
    return getattr(function, "__signature__", None) is not None


def _own(layer: Any) -> tuple[Parameters, frozenset[str]]:
    if isinstance(layer, functools.partial | MethodType) and not _declares(layer):
        return parameters_of(layer)
    follows = type(layer) is not FunctionType
    return list(signature_of(layer, follow_wrapped=follows).parameters.values()), frozenset()


def _through(layer: Any, inner: Parameters) -> tuple[Parameters, frozenset[str]]:
    """Return the parameters of a layer around a function with these, and the names of those it adds whose annotations
    are lost."""
    own, lost = _own(layer)
    by_name = {one.name: one for one in inner}
    kinds = {one.kind for one in own}
    named = {one.name: _annotated(one, by_name.get(one.name)) for one in own if one.kind not in VARIADIC}
    added = [one for one in named.values() if one.name not in by_name]
    if type(layer) is FunctionType:
        lost = frozenset(one.name for one in added if one.annotation is one.empty)
    if kinds.isdisjoint(VARIADIC):
        return [*named.values()], lost
    if inspect.Parameter.VAR_KEYWORD not in kinds:
        rest = [one for one in inner if one.name not in named]
        return [_by_position(one) for one in (*named.values(), *rest)], lost
    inner = [named.get(one.name, one) for one in inner]
    if hasattr(layer, "registry") and hasattr(layer, "dispatch"):  # `functools.singledispatch`
        inner = [_by_position(one) for one in inner[:1]] + inner[1:]
    return [*added, *inner], lost


def _annotated(own: inspect.Parameter, inner: inspect.Parameter | None) -> inspect.Parameter:
    """Return a decorator's parameter with the annotation of the function inside, as `functools.wraps` does it."""
    return own if inner is None or inner.annotation is inner.empty else own.replace(annotation=inner.annotation)


def _left_by(
    bound: functools.partial[Any], parameters: Parameters, lost: frozenset[str]
) -> tuple[Parameters, frozenset[str]]:
    """Return the parameters that a partial leaves; those that it binds by name keep the value as their default."""
    kinds = {one.kind for one in parameters}
    positional = [one for one in parameters if one.kind in POSITIONAL]
    given = {one.name: value for one, value in zip(positional, bound.args, strict=False)}
    left: Parameters = []
    for one in parameters:
        if one.name not in given:
            is_bound = one.name in bound.keywords and one.kind is not one.POSITIONAL_ONLY
            left.append(one.replace(default=bound.keywords[one.name]) if is_bound else one)
        elif given[one.name] is PLACEHOLDER:
            left.append(one.replace(kind=one.POSITIONAL_ONLY, default=one.empty))
    by_name = {one.name for one in left if one.kind not in (*VARIADIC, one.POSITIONAL_ONLY)}
    too_many = len(bound.args) > len(positional) and inspect.Parameter.VAR_POSITIONAL not in kinds
    if too_many or (bound.keywords.keys() - by_name and inspect.Parameter.VAR_KEYWORD not in kinds):
        raise TypeError(f"{bound!r} binds arguments that the function does not take")
    return left, lost & {one.name for one in left}


def _by_position(parameter: inspect.Parameter) -> inspect.Parameter:
    if parameter.kind is not inspect.Parameter.POSITIONAL_OR_KEYWORD:
        return parameter
    return parameter.replace(kind=inspect.Parameter.POSITIONAL_ONLY)
