"""The mark `Depends`."""

from __future__ import annotations

import copy
import functools
from typing import Any

import pytest

from encord_agents.core.dependencies import Depends


class Model:
    def load(self) -> None: ...


def load() -> None: ...


@pytest.mark.parametrize(
    ("dependency", "shown"),
    [
        (None, "Depends()"),
        (load, "Depends(load)"),
        (Model, "Depends(Model)"),
        (Model.load, "Depends(Model.load)"),
        (Model().load, "Depends(Model.load)"),
        (functools.partial(load), "Depends(load)"),
    ],
)
def test_a_mark_is_shown_as_it_is_written(dependency: Any, shown: str) -> None:
    """Messages about a mark name its function, and no address in memory."""
    assert repr(Depends(dependency)) == shown


def test_the_scope_is_an_attempt_unless_it_is_given() -> None:
    """A value is made for each attempt by default; the scope is given by its name only."""
    assert (Depends(load).dependency, Depends(load).scope) == (load, "attempt")
    assert Depends(load, scope="run").scope == "run"
    with pytest.raises(TypeError):
        Depends(load, "run")  # type: ignore[call-arg]


def test_two_marks_are_two() -> None:
    """Marks of the same function are equal to themselves only, and their copies carry the same."""
    one = Depends(load, scope="run")
    assert one == one
    assert one != Depends(load, scope="run")
    copied = copy.copy(one)
    assert (copied.dependency, copied.scope) == (load, "run")
