"""The parameters that a decorated function takes.

`inspect.signature` shows those of the innermost function, since `functools.wraps` refers to it. A wrapper that takes
fewer parameters, additional ones, or only positional ones would then be called with the wrong arguments for every task.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any

__all__ = ["parameters_of"]

VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)

Parameters = list[inspect.Parameter]


def parameters_of(function: Callable[..., Any]) -> tuple[Parameters, frozenset[str]]:
    """Return the parameters of a function that its decorators accept, and the names of those that only a decorator
    takes and whose annotations are lost: `functools.wraps` replaces them with the inner function's.

    A parameter that can only be passed by position is shown as positional-only.

    Raises:
        TypeError, ValueError: The callable has no signature, like some built-in ones.
    """
    shown = list(inspect.signature(function).parameters.values())
    if isinstance(function, MethodType):
        parameters, lost = parameters_of(function.__func__)
        is_bound = parameters and parameters[0].kind in POSITIONAL
        return (parameters[1:], lost - {parameters[0].name}) if is_bound else (shown, frozenset())
    wrappers: list[FunctionType] = []
    inner: Any = function
    while _wraps(inner) and _passes_on(inner):
        wrappers.append(inner)
        inner = inner.__wrapped__
    lost = frozenset[str]()
    if isinstance(inner, MethodType) and wrappers:
        shown, lost = parameters_of(inner)
    elif _wraps(inner):  # without *args or **kwargs, it takes only its own parameters
        innermost = {one.name for one in shown}
        shown = _own(inner)
        lost = frozenset(one.name for one in shown if one.annotation is one.empty and one.name not in innermost)
    for wrapper in reversed(wrappers):
        shown, added = _through(wrapper, shown)
        lost |= added
    return shown, lost


def _wraps(function: Any) -> bool:
    return isinstance(function, FunctionType) and "__wrapped__" in vars(function) and not _declares(function)


def _declares(function: FunctionType) -> bool:
    """Return True if a decorator has declared the parameters of its function explicitly."""
    return "__signature__" in vars(function)


def _passes_on(wrapper: FunctionType) -> bool:
    return bool(wrapper.__code__.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS))


def _own(wrapper: FunctionType) -> Parameters:
    return list(inspect.signature(wrapper, follow_wrapped=False).parameters.values())


def _through(wrapper: FunctionType, inner: Parameters) -> tuple[Parameters, frozenset[str]]:
    """Return the parameters of a wrapper that passes on ``*args`` or ``**kwargs``, and the names of those it adds."""
    by_name = {one.name: one for one in inner}
    named = [one for one in _own(wrapper) if one.kind not in VARIADIC]
    added = [one for one in named if one.name not in by_name]
    lost = frozenset(one.name for one in added if one.annotation is one.empty)
    if not wrapper.__code__.co_flags & inspect.CO_VARKEYWORDS:
        first = [by_name.get(one.name, one) for one in named]
        rest = [one for one in inner if one not in first]
        return [_by_position(one) for one in (*first, *rest)], lost
    if hasattr(wrapper, "registry") and hasattr(wrapper, "dispatch"):  # `functools.singledispatch`
        inner = [_by_position(one) for one in inner[:1]] + inner[1:]
    return [*added, *inner], lost


def _by_position(parameter: inspect.Parameter) -> inspect.Parameter:
    if parameter.kind is not inspect.Parameter.POSITIONAL_OR_KEYWORD:
        return parameter
    return parameter.replace(kind=inspect.Parameter.POSITIONAL_ONLY)
