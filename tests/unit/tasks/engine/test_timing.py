"""The numbers that the engine goes by."""

from __future__ import annotations

import dataclasses
import inspect
import re

import pytest

from encord_agents.tasks.engine.timing import Limits, Timing


@pytest.mark.parametrize("kind", [Timing, Limits])
def test_they_are_frozen(kind: type) -> None:
    """A run's parts and threads share them; who wants others makes others."""
    numbers = kind()
    name = dataclasses.fields(kind)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(numbers, name, 1)
    assert dataclasses.replace(numbers, **{name: 2}) != numbers


@pytest.mark.parametrize("kind", [Timing, Limits])
def test_each_is_explained(kind: type) -> None:
    """By the class, in the order of the fields."""
    explained = re.findall(r"^ {4}(\w+): ", inspect.cleandoc(kind.__doc__ or ""), re.MULTILINE)  # 3.13 has it so itself
    assert explained == [field.name for field in dataclasses.fields(kind)]


def test_seconds_are_seconds() -> None:
    """All are above zero."""
    assert all(isinstance(value, float) and value > 0 for value in dataclasses.asdict(Timing()).values())


def test_bounds_that_depend_on_each_other() -> None:
    """What is loaded, held back and gathered must be over before the task counts as seen too long ago."""
    timing, limits = Timing(), Limits()
    assert timing.load_ahead + timing.hold_moves + timing.gather < timing.stale_after
    assert timing.first_backoff <= timing.longest_backoff
    assert timing.first_quiet <= timing.longest_quiet
    assert timing.grace < timing.time_to_write
    assert max(limits.first_loads) <= limits.at_once < 1000
    assert limits.downloads <= limits.files_ahead
    assert limits.batches_if_slow < limits.batches
