"""``type X = ...`` in signatures means what it stands for."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Annotated, Any, Literal, Optional, TypeVar

import pytest
import typing_extensions

from encord_agents.core.dependencies import Depends
from encord_agents.core.dependencies.build import build_plan
from encord_agents.core.dependencies.signature import Unresolved, split_annotation
from encord_agents.exceptions import DependencyError
from encord_agents.tasks.runner.base import literals


class Row: ...


class Task: ...


def load() -> int:
    return 1


T = TypeVar("T")
U = TypeVar("U")

STATEMENTS = """
type Name = Row
type Again = Name
type Maybe = Row | None
type Nothing = None
type Loaded = Annotated[int, Depends(load)]
type Made[T] = Annotated[T, Depends(load)]
type MadeAgain[T] = Made[T]
type Swapped[T, U] = dict[U, T]
type Same[T] = T
type Quoted = "Row"
type QuotedInside = Optional["Row"]
type Missing = Nowhere
type Circle = Circle
type Spiral = Spiral | None
type Way = Literal["done", "again"]
type Ways = Way | None
"""


def statements() -> SimpleNamespace:
    """The aliases as Python 3.12 writes them."""
    names = dict(globals())
    exec(STATEMENTS, names)  # older versions cannot even parse it
    return SimpleNamespace(**{name: names[name] for name in names if name.isidentifier()})


def backports() -> SimpleNamespace:
    """The same of `typing_extensions`, whose class is another one on most versions of Python."""
    alias = typing_extensions.TypeAliasType
    made = alias("Made", Annotated[T, Depends(load)], type_params=(T,))
    way = alias("Way", Literal["done", "again"])
    name = alias("Name", Row)
    return SimpleNamespace(
        Name=name,
        Again=alias("Again", name),
        Maybe=alias("Maybe", Row | None),
        Nothing=alias("Nothing", None),
        Loaded=alias("Loaded", Annotated[int, Depends(load)]),
        Made=made,
        MadeAgain=alias("MadeAgain", made[T], type_params=(T,)),
        Swapped=alias("Swapped", dict[U, T], type_params=(T, U)),
        Same=alias("Same", T, type_params=(T,)),
        Quoted=alias("Quoted", "Row"),
        QuotedInside=alias("QuotedInside", Optional["Row"]),
        Way=way,
        Ways=alias("Ways", way | None),
    )


FLAVOURS = [backports, *([statements] if sys.version_info >= (3, 12) else [])]
flavours = pytest.mark.parametrize("flavour", FLAVOURS)


@flavours
def test_what_an_alias_stands_for(flavour: Callable[[], SimpleNamespace]) -> None:
    """Plain, nested, optional, generic and quoted aliases are the types they stand for."""
    a = flavour()
    for annotation in (a.Name, a.Again, a.Same[Row], a.Quoted):
        assert split_annotation(annotation) == (Row, False, ())
    for annotation in (
        a.Maybe,
        a.Maybe | None,
        a.Again | None,
        a.QuotedInside,
        a.Same[Row] | None,
    ):
        assert split_annotation(annotation) == (Row, True, ())
    assert split_annotation(Row | a.Nothing)[:2] == (Row, True)
    assert split_annotation(a.Swapped[int, str])[0] == dict[str, int]


@flavours
def test_marks_inside_are_found(flavour: Callable[[], SimpleNamespace]) -> None:
    """A `Depends` in an alias, in a generic one and around one supplies the parameter."""
    a = flavour()

    def inner(row: Any) -> int:
        return 2

    inner.__annotations__["row"] = a.Again

    def agent(loaded: Any, made: Any, again: Any, maybe: Any, row: Any, own: Any, other: Any = None) -> None: ...

    agent.__annotations__ |= {
        "loaded": a.Loaded,
        "made": a.Made[int],
        "again": a.MadeAgain[a.Same[int]],
        "maybe": a.Loaded | None,
        "row": a.Maybe,
        "own": Annotated[a.Same[int], Depends(inner)],
        "other": a.Name,
    }
    plan = build_plan(agent, injectable=(Row, Task))
    assert plan.dependencies == {load, inner}
    assert plan.needs == {Row}


@flavours
def test_an_alias_of_a_class_makes_the_class(flavour: Callable[[], SimpleNamespace]) -> None:
    """``Annotated[X, Depends()]`` calls the class that X stands for."""

    def agent(row: Any) -> None: ...

    agent.__annotations__["row"] = Annotated[flavour().Again, Depends()]
    assert build_plan(agent, injectable=()).dependencies == {Row}


@flavours
def test_a_return_type_is_the_literal_it_stands_for(flavour: Callable[[], SimpleNamespace]) -> None:
    """Pathways in a `Literal` are known, behind whatever aliases it is."""
    a = flavour()
    for annotation in (a.Way, a.Ways, a.Way | None, Annotated[a.Ways, "note"]):
        assert list(literals(annotation)) == ["done", "again"]


def test_an_alias_without_a_value_is_refused_where_it_matters() -> None:
    """One that names what is not there, or itself, spoils no other parameter; the refusal says why."""
    nowhere = nowhere_alias("Nowhere")

    def fine(row: Row, other: Any = None) -> None: ...

    def bad(row: Any) -> None: ...

    fine.__annotations__["other"] = bad.__annotations__["row"] = nowhere
    assert build_plan(fine, injectable=(Row,)).needs == {Row}
    with pytest.raises(DependencyError, match="'Nowhere' cannot be resolved"):
        build_plan(bad, injectable=(Row,))


@pytest.mark.parametrize("name", ["Missing", "Circle", "Spiral"])
def test_a_statement_is_evaluated_late(name: str) -> None:
    """What it names may not be there then, and it may name itself: neither raises, nor goes on for ever."""
    # Before Python 3.12 there is no alias that can name itself.
    alias = getattr(statements(), name) if sys.version_info >= (3, 12) else nowhere_alias(name)
    assert isinstance(split_annotation(alias)[0], Unresolved)


def nowhere_alias(name: str) -> Any:
    value: Any = "Nowhere"
    return typing_extensions.TypeAliasType(name, value)  # type: ignore[misc]
