"""The words for what happens to a task."""

from __future__ import annotations

import dataclasses
from typing import Any
from uuid import uuid4

import pytest

from encord_agents.tasks.engine.outcome import Failed, Fault, Moved, Pathway, Phase, Skipped

PATHWAY = Pathway(uuid4(), "go", uuid4())
FAULT = Fault(Phase.AGENT, LookupError(), 1)


def test_the_phases_are_their_names() -> None:
    """They are text, in the order in which a task goes through them."""
    assert [str(phase) for phase in Phase] == ["load", "inject", "agent", "teardown", "pathway", "save", "move"]


@pytest.mark.parametrize("record", [PATHWAY, FAULT, Moved(PATHWAY), Failed(FAULT), Skipped()])
def test_they_are_frozen(record: Any) -> None:
    """Facts do not change."""
    field = dataclasses.fields(record)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(record, field, None)


def test_their_defaults() -> None:
    """A move is confirmed, a failure stays where it is, a fault is the task's own."""
    assert Moved(PATHWAY).confirmed
    assert Failed(FAULT).moved_to is None
    assert not FAULT.run_scoped
    assert not FAULT.platform
