"""The time for which the machine has slept."""

from __future__ import annotations

import time

import pytest

from encord_agents.core import sleep
from encord_agents.core.sleep import seconds_asleep


def test_a_machine_that_is_awake() -> None:
    """The number stays the same, apart from the time between two readings."""
    assert seconds_asleep() == pytest.approx(seconds_asleep(), abs=0.5)
    assert seconds_asleep() > -0.5


def test_a_machine_that_has_slept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock that goes on is ahead of the one that stood still."""
    monkeypatch.setattr(time, "clock_gettime", lambda _: time.monotonic() + 3600.0)
    assert seconds_asleep() == pytest.approx(3600.0, abs=0.5)


def test_a_system_whose_clock_never_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no other clock, and needs none."""
    monkeypatch.setattr(sleep, "_WITH_SLEEP", None)
    assert seconds_asleep() == 0.0
