"""So many at once."""

from __future__ import annotations

from encord_agents.tasks.engine.slots import Slots


def test_so_many_at_once() -> None:
    """Another one waits until a slot is given back."""
    slots = Slots(2)
    assert slots.take()
    assert slots.take()
    assert not slots.take(0.001)
    slots.give_back()
    assert slots.take(0.001)
