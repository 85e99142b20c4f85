"""Mistakes in what people write: named with their place, and with the choice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, TypeAdapter

from encord_agents.local import LocalPlatformError
from encord_agents.local.written import MOST_SHOWN, Number, Options, Text, checked, choice, known, place


@dataclass(frozen=True)
class Part:
    name: Text
    kind: Literal["a", "b"] = "a"
    share: Number = 0.5


PARTS = TypeAdapter(dict[str, list[Annotated[Part, known("name", "kind", "share")]]])


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"parts": 3}, "parts: must be a list, not 3"),
        ({"parts": [3]}, "parts[0]: must be a mapping, not 3"),
        ({"parts": [{}]}, "parts[0].name: is missing"),
        ({"parts": [{"name": None}]}, "parts[0].name: is missing"),
        ({"parts": [{"name": True}]}, "parts[0].name: must be text, not True (write it in quotes)"),
        ({"parts": [{"name": ""}]}, "parts[0].name: must not be empty"),
        ({"parts": [{"name": "x"}, {"name": "x", "kind": "c"}]}, "parts[1].kind: must be 'a' or 'b', not 'c'"),
        ({"parts": [{"name": "x", "share": "1"}]}, "parts[0].share: must be a number, not '1'"),
        ({"parts": [{"name": "x", "share": float("nan")}]}, "parts[0].share: must be a number, not nan"),
        (
            {"parts": [{"nam": "x"}]},
            "parts[0]: there is no 'nam' here; there are 'name', 'kind', 'share'; did you mean 'name'?",
        ),
    ],
)
def test_a_mistake(given: Any, says: str) -> None:
    """Its place is written as people write it, after the file's name."""
    with pytest.raises(LocalPlatformError) as caught:
        checked(PARTS, given, "parts.yaml")
    assert str(caught.value) == f"parts.yaml: {says}"


def test_many_mistakes() -> None:
    """One line for each, as far as anybody reads."""
    with pytest.raises(LocalPlatformError) as caught:
        checked(PARTS, {"parts": [{}] * 50})
    assert len(str(caught.value).splitlines()) == MOST_SHOWN


def test_what_was_made_in_python_is_checked() -> None:
    """As much as what comes from a file."""
    with pytest.raises(LocalPlatformError, match="kind: must be"):
        checked(PARTS, {"parts": [Part("x", "c")]})  # type: ignore[arg-type]
    assert checked(PARTS, {"parts": [Part("x"), {"name": "x", "kind": None}]}) == {"parts": [Part("x"), Part("x")]}


def test_options() -> None:
    """They are checked when they are given and when they are set; what is refused changes nothing."""

    class Some(Options):
        size: int = Field(1, ge=1)

    some = Some(size=2)
    for wrong in (0, "3", True, 1.5):
        with pytest.raises(LocalPlatformError, match="size: must be"):
            some.size = wrong  # type: ignore[assignment]
        with pytest.raises(LocalPlatformError, match="size: must be"):
            Some(size=wrong)
    with pytest.raises(LocalPlatformError, match="sise: is not known"):
        Some(sise=3)
    assert some.size == 2


def test_choice_and_place() -> None:
    """A guess is only made where there is one; tags are no part of a place."""
    assert choice("Reviw", ["Review", "Done"], "stages") == "stages are 'Review', 'Done'; did you mean 'Review'?"
    assert choice("x", ["Review"]) == "there are 'Review'"
    assert choice("x", []) == "there are none"
    assert place(("stages", 2, "pathways", "<list>", 0, "to")) == "stages[2].pathways[0].to"
