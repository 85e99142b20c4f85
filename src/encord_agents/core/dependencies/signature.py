"""Signatures with annotations resolved one by one, so that one unresolvable annotation does not affect the others."""

from __future__ import annotations

import inspect
import sys
import types
import typing
from collections.abc import Callable
from dataclasses import InitVar, dataclass
from typing import Any

from encord_agents.core.dependencies.aliases import is_alias, value_of_alias
from encord_agents.core.dependencies.wrappers import bare, parameters_of, signature_of

__all__ = ["Unresolved", "read_signature", "readable_name", "split_annotation", "without_alias"]


@dataclass(frozen=True, slots=True)
class Unresolved:
    """An annotation that cannot be resolved; an empty one stands for an annotation that was lost."""

    annotation: str
    error: str

    @property
    def explanation(self) -> str:
        if not self.annotation:
            return self.error
        return f"its annotation {self.annotation!r} cannot be resolved ({self.error})"


LOST = Unresolved(
    "",
    "its decorator takes it, and functools.wraps has replaced the decorator's annotations by those of the decorated "
    "function. Let the decorated function take it too, under the same name, or write a Depends as its default",
)


def readable_name(function: Any) -> str:
    """Return the name that a person would use: ``load``, ``Model``, ``Model.load``."""
    named = bare(function)
    name = getattr(named, "__qualname__", None)
    return (name if isinstance(name, str) else type(named).__qualname__).rpartition("<locals>.")[2]


def read_signature(function: Callable[..., Any]) -> tuple[list[inspect.Parameter], Any]:
    """Return the parameters and the return annotation, or ``None`` if there is no annotation that can be resolved.

    A parameter's annotation that cannot be resolved becomes an `Unresolved`.

    Raises:
        TypeError, ValueError: The callable has no signature, like some built-in ones.
    """
    parameters, lost = parameters_of(function)
    names = _Names(function)
    parameters = [p.replace(annotation=LOST if p.name in lost else names.resolve(p.annotation)) for p in parameters]
    returns = names.resolve(signature_of(bare(function)).return_annotation)
    if returns is inspect.Signature.empty or isinstance(returns, Unresolved):
        returns = None
    return parameters, returns


def without_alias(annotation: Any) -> Any:
    """Resolve ``type X = ...``, including nested and generic aliases; return other annotations unchanged.

    An alias whose value cannot be evaluated becomes an `Unresolved`.
    """
    first = annotation
    for _ in range(_DEEPEST):
        if not is_alias(annotation):
            return annotation
        try:
            annotation = value_of_alias(annotation)
        except Exception as error:  # noqa: BLE001 - an alias is the user's code: it may raise anything
            return Unresolved(str(first), f"{type(error).__name__}: {error}")
    return Unresolved(str(first), "it is an alias of itself")


_DEEPEST = 100
"""Steps after which a chain of aliases must be a cycle."""


def split_annotation(annotation: Any) -> tuple[Any, bool, tuple[Any, ...]]:
    """Split ``Annotated[T, a] | None`` into ``(T, True, (a,))``: type, True if ``None`` is allowed, metadata."""
    optional = False
    metadata: tuple[Any, ...] = ()
    first = annotation
    for _ in range(_DEEPEST):
        annotation = without_alias(annotation)
        if isinstance(annotation, InitVar):
            annotation = annotation.type
        elif typing.get_origin(annotation) is typing.Annotated:
            metadata += annotation.__metadata__
            annotation = annotation.__origin__
        elif typing.get_origin(annotation) in (typing.Union, types.UnionType):
            others = [a for a in typing.get_args(annotation) if without_alias(a) not in (None, types.NoneType)]
            if len(others) != 1:
                return annotation, optional, metadata
            optional = True
            annotation = others[0]
        else:
            return annotation, optional, metadata
    return Unresolved(str(first), "it is an alias of itself"), optional, metadata


class _Names:
    """The names that annotations may use: of the function's module, its closure, and the enclosing functions."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._local: dict[str, Any] = {}
        target: Any = bare(function)
        if isinstance(target, type):
            module = sys.modules.get(target.__module__)
            self._local.update(vars(module) if module else {})
            self._add_type_parameters(target)
            target = inspect.getattr_static(target, "__init__")
        target = _innermost(target)
        self._add_type_parameters(type(getattr(target, "__self__", None)))
        target = getattr(target, "__func__", target)
        self._global: dict[str, Any] = getattr(target, "__globals__", {})
        self._add_type_parameters(target)
        code = getattr(target, "__code__", None)
        if code is None:
            return
        if "<locals>" in target.__qualname__:
            self._local.update(_enclosing_locals(code))
        for name, cell in zip(code.co_freevars, target.__closure__ or (), strict=True):
            try:
                self._local[name] = cell.cell_contents
            except ValueError:  # not assigned yet
                continue

    def _add_type_parameters(self, owner: Any) -> None:
        """Add the names of ``def f[T]`` or ``class C[T]``, which annotations kept as text cannot reach."""
        self._local.update({parameter.__name__: parameter for parameter in getattr(owner, "__type_params__", ())})

    def resolve(self, annotation: Any) -> Any:
        if annotation is inspect.Parameter.empty:
            return annotation
        holder = types.SimpleNamespace(__annotations__={"it": annotation})
        try:
            return typing.get_type_hints(holder, self._global, self._local, include_extras=True)["it"]
        except Exception as error:  # noqa: BLE001  (an annotation is the user's code: it may raise anything)
            said = getattr(annotation, "__forward_arg__", annotation)
            return Unresolved(str(said), f"{type(error).__name__}: {error}")


def _innermost(function: Any) -> Any:
    """Return the function whose parameters are shown: inside decorators, partials, and callable objects."""
    while True:
        target = bare(inspect.unwrap(bare(function)))
        if not inspect.isroutine(target) and not isinstance(target, type):
            target = target.__call__
        if target is function:
            return target
        function = target


def _enclosing_locals(code: types.CodeType) -> dict[str, Any]:
    """Return the locals of the enclosing functions of ``code`` that are running now.

    With ``from __future__ import annotations``, a name that only an annotation uses is in no closure. But a function is
    decorated where it is defined, so the enclosing function is still on the stack.
    """
    found: dict[str, Any] = {}
    frame = inspect.currentframe()
    while frame is not None:
        if _defines(frame.f_code, code):
            found = {**frame.f_locals, **found}
        frame = frame.f_back
    return found


def _defines(outer: types.CodeType, inner: types.CodeType) -> bool:
    return any(
        constant is inner or _defines(constant, inner)
        for constant in outer.co_consts
        if isinstance(constant, types.CodeType)
    )
