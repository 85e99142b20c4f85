"""An expectation about the SDK's inside, and the check of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from encord_agents.core.sdk.seam import Seam, names_in


def seam(differences: Callable[[], Iterable[str]]) -> Seam:
    return Seam("does this", ("0.1.1", "0.1.2"), ("encord.this",), differences, "it is done otherwise")


def fails_at_once() -> Iterable[str]:
    raise LookupError("secret of the user")


def fails_half_way() -> Iterator[str]:
    yield "one thing"
    raise LookupError("secret of the user")


@pytest.mark.parametrize(
    ("differences", "found"),
    [
        (list, []),
        (lambda: iter(["one thing", "another"]), ["one thing", "another"]),
        (fails_at_once, ["it cannot be told (LookupError)"]),
        (fails_half_way, ["it cannot be told (LookupError)"]),
    ],
)
def test_differences_are_found(differences: Callable[[], Iterable[str]], found: list[str]) -> None:
    """A check that fails is a difference itself, and quotes nothing of the exception's text."""
    one = seam(differences)
    assert one.found() == found
    assert one.holds is (not found)


def test_a_seam_is_checked_once(caplog: pytest.LogCaptureFixture) -> None:
    """However often it is asked for, a seam is looked at once, and one line says all that is different."""
    caplog.set_level(logging.DEBUG, "encord_agents.core.sdk")
    looks: list[int] = []

    def differences() -> Iterator[str]:
        looks.append(1)
        yield "one thing"
        yield "another"

    one = seam(differences)
    assert [one.holds for _ in range(3)] == [False] * 3
    assert len(looks) == 1
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        (
            "DEBUG",
            "encord is not as in 0.1.1 and 0.1.2, from which this was read: one thing; another. "
            "So it is done otherwise.",
        )
    ]


def test_equal_seams_are_two(caplog: pytest.LogCaptureFixture) -> None:
    """Each seam is checked for itself, and one that holds is not logged."""
    caplog.set_level(logging.DEBUG, "encord_agents.core.sdk")
    looks: list[int] = []

    def differences() -> Iterable[str]:
        looks.append(1)
        return ()

    assert seam(differences).holds
    assert seam(differences).holds
    assert len(looks) == 2
    assert caplog.records == []


class Sender:
    def send(self) -> Any:
        return max(self.settings.retries)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("function", "names"),
    [(Sender.send, {"max", "settings", "retries"}), (Sender().send, {"max", "settings", "retries"})]
    + [(other, set()) for other in (None, print, Sender, 7)],
)
def test_names_that_code_uses(function: object, names: set[str]) -> None:
    """Global names and attributes of a function or a method; none of an object without code."""
    assert set(names_in(function)) == names
