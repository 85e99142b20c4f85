"""``type X = ...`` (Python 3.12), and `typing_extensions.TypeAliasType` before that."""

from __future__ import annotations

import sys
import types
import typing
from typing import Any

import typing_extensions

__all__ = ["is_alias", "value_of_alias"]

# On some versions of Python these two are the same class, on others they differ, and both are in use.
_ALIASES: tuple[type, ...] = (
    typing_extensions.TypeAliasType,
    getattr(typing, "TypeAliasType", typing_extensions.TypeAliasType),
)


def is_alias(annotation: Any) -> bool:
    """Return True if an annotation is a type alias, or a generic one with its arguments, as in ``Pair[int]``."""
    return isinstance(annotation, _ALIASES) or isinstance(typing.get_origin(annotation), _ALIASES)


def value_of_alias(annotation: Any) -> Any:
    """Return the annotation that an alias stands for, with its arguments substituted for its parameters.

    Raises:
        Exception: Evaluating its value, which happens on first use, raised; or the arguments do not fit.
    """
    if isinstance(annotation, _ALIASES):
        return _value(annotation)
    alias = typing.get_origin(annotation)
    arguments = dict(zip(alias.__type_params__, typing.get_args(annotation), strict=False))
    value = _value(alias)
    if value in alias.__type_params__:
        return arguments[value]
    # The value may use its parameters in a different order from the alias's own.
    wanted = tuple(arguments[parameter] for parameter in getattr(value, "__parameters__", ()))
    return value[wanted] if wanted else value


def _value(alias: Any) -> Any:
    module = sys.modules.get(alias.__module__ or "")
    holder = types.SimpleNamespace(__annotations__={"it": alias.__value__})
    # The value may be, or contain, a forward reference: a name in quotes.
    return typing.get_type_hints(holder, vars(module) if module else {}, include_extras=True)["it"]
