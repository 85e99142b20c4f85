"""Signatures: their annotations one by one, and names for people."""

from __future__ import annotations

import functools
import inspect
import math
import sys
from collections.abc import Callable
from dataclasses import InitVar
from typing import Annotated, Any, Optional, Union

import pytest

from encord_agents.core.dependencies.signature import Unresolved, read_signature, readable_name, split_annotation


class Model:
    def __init__(self, size: int) -> None: ...

    def load(self, path: str) -> None: ...

    def __call__(self, x: float) -> bool:
        return bool(x)


def load(path: str, *rest: int, mode: Nowhere = None) -> str:  # type: ignore[name-defined]  # noqa: F821
    return path


def enclosed() -> Callable[..., Any]:
    def inner() -> None: ...

    return inner


def types_of(function: Callable[..., Any]) -> dict[str, Any]:
    parameters, _ = read_signature(function)
    return {p.name: p.annotation for p in parameters}


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (load, "load"),
        (Model, "Model"),
        (Model.load, "Model.load"),
        (Model(1).load, "Model.load"),
        (Model(1), "Model"),
        (functools.partial(functools.partial(load), "x"), "load"),
        (enclosed(), "inner"),
        (len, "len"),
    ],
)
def test_names_for_people(function: Any, name: str) -> None:
    """A callable is called as in the source, without the function that it is defined in."""
    assert readable_name(function) == name


@pytest.mark.parametrize(
    ("function", "types"),
    [
        (Model, {"size": int}),
        (Model(1).load, {"path": str}),
        (Model(1), {"x": float}),
        (functools.partial(Model(1).load), {"path": str}),
    ],
)
def test_callables_of_every_kind(function: Any, types: dict[str, Any]) -> None:
    """The parameters are those that a caller gives, with classes in place of their names."""
    assert types_of(function) == types


def test_one_bad_annotation_spoils_no_other() -> None:
    """A name that is nowhere is told with its error, beside the others' types."""
    types = types_of(load)
    assert (types["path"], types["rest"]) == (str, int)
    assert isinstance(types["mode"], Unresolved)
    assert types["mode"].explanation == (
        "its annotation 'Nowhere' cannot be resolved (NameError: name 'Nowhere' is not defined)"
    )


def test_names_of_enclosing_functions() -> None:
    """A class that only an annotation names is found where the function is defined, and not from elsewhere."""

    def define() -> tuple[Any, Any]:
        class Local: ...

        def agent(it: Local) -> None: ...

        return agent, (Local, types_of(agent)["it"])

    agent, (local, found) = define()
    assert found is local
    assert isinstance(types_of(agent)["it"], Unresolved)


def test_a_closure_that_is_not_filled() -> None:
    """A variable without a value yet is passed over; others of the closure are found."""
    found: dict[str, Any] = {}

    def define() -> None:
        class Local: ...

        def agent(it: Local, other: int) -> None:
            Local, later  # noqa: B018

        found.update(types_of(agent), local=Local)
        later = 1

    define()
    assert found["it"] is found["local"]
    assert found["other"] is int


def without(x): ...  # type: ignore[no-untyped-def]


def lost() -> Nowhere: ...  # type: ignore[name-defined]  # noqa: F821


def with_none() -> None: ...


@pytest.mark.parametrize(
    ("function", "returns"), [(load, str), (without, None), (lost, None), (with_none, type(None)), (Model(1), bool)]
)
def test_return_annotations(function: Any, returns: Any) -> None:
    """The return annotation is resolved; one that is not there, or cannot be, is none."""
    assert read_signature(function)[1] is returns


def test_a_parameter_without_annotation() -> None:
    """A parameter without an annotation stays so."""
    assert types_of(without) == {"x": inspect.Parameter.empty}


def test_built_in_functions_without_a_signature() -> None:
    """A function that does not tell its parameters is refused with Python's own exception."""
    with pytest.raises((TypeError, ValueError)):
        read_signature(iter)
    assert types_of(math.sqrt)["x"] is inspect.Parameter.empty


@pytest.mark.parametrize(
    ("annotation", "parts"),
    [
        (int, (int, False, ())),
        (int | None, (int, True, ())),
        (Optional[int], (int, True, ())),  # noqa: UP045
        (Union[None, int], (int, True, ())),  # noqa: UP007
        (Annotated[int, "a", "b"], (int, False, ("a", "b"))),
        (Annotated[int | None, "a"], (int, True, ("a",))),
        (Annotated[int, "a"] | None, (int, True, ("a",))),
        (Annotated[Annotated[int, "a"] | None, "b"], (int, True, ("b", "a"))),
        (int | str, (int | str, False, ())),
        (int | str | None, (int | str | None, False, ())),
        (Annotated[int | str, "a"], (int | str, False, ("a",))),
        (None, (None, False, ())),
        (list[int], (list[int], False, ())),
        (InitVar[int], (int, False, ())),
        (InitVar[Annotated[int | None, "a"]], (int, True, ("a",))),
    ],
)
def test_the_parts_of_an_annotation(annotation: Any, parts: tuple[Any, ...]) -> None:
    """The one type that is asked for, whether ``None`` is allowed, and metadata from the outside in."""
    assert split_annotation(annotation) == parts


def test_metadata_is_kept() -> None:
    """An annotation is resolved with its metadata, in a text as well, since a mark may be in it."""

    def agent(one: Annotated[int, "mark"], other: "Annotated[int, 'mark']") -> None: ...  # noqa: UP037

    assert set(types_of(agent).values()) == {Annotated[int, "mark"]}


if sys.version_info >= (3, 12):  # type parameters are new there

    def test_type_parameters() -> None:
        """Of a function, a class, and the class of a method, in annotations that are kept as text."""
        names: dict[str, Any] = {}
        code = """
from __future__ import annotations
def function[T](x: list[T]) -> T: ...
class Box[T]:
    def __init__(self, x: list[T]) -> None: ...
    def method[U](self, x: dict[T, U]) -> None: ...
    def __call__(self, x: set[T]) -> T: ...
"""
        exec(code, names)
        box = names["Box"]([])
        for callable_ in (names["function"], names["Box"], box.method, box):
            parameters, _ = read_signature(callable_)
            assert not any(isinstance(one.annotation, Unresolved) for one in parameters)


LATE = """
def agent(row: Row, other: Nowhere = None, *, later: Annotated[Later | None, "mark"] = None) -> Nowhere: ...
class Later: ...
"""


def test_names_that_annotations_use_too_early() -> None:
    """They are named, or are resolved once they exist: annotations are text here, or evaluated late by Python 3.14."""
    names: dict[str, Any] = {"Row": Model, "Annotated": Annotated, "__name__": __name__}
    late = sys.version_info >= (3, 14)
    exec(compile(LATE, "late", "exec", 0 if late else annotations.compiler_flag, dont_inherit=True), names)
    parameters, returns = read_signature(names["agent"])
    row, other, later = (parameter.annotation for parameter in parameters)
    assert row is Model
    assert isinstance(other, Unresolved)
    assert "Nowhere" in other.annotation
    assert split_annotation(later) == (names["Later"], True, ("mark",))
    assert returns is None
