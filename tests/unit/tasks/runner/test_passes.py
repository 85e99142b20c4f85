"""When the next pass begins."""

from __future__ import annotations

import pytest

from encord_agents.tasks.engine.events import Events
from encord_agents.tasks.engine.observers import PassCounter
from encord_agents.tasks.engine.stop import Stop
from encord_agents.tasks.runner.passes import pass_numbers


class Clock(Stop):
    """A clock that only waiting, and the passes themselves, move on."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> bool:
        self.now += seconds
        return self.requested


def starts(*passes: float, refresh_every: float | None) -> list[float]:
    """When each pass starts, where they take so many seconds."""
    clock = Clock()
    numbers = pass_numbers(refresh_every, clock, PassCounter(), Events([]), clock)
    seen = []
    for seconds, _ in zip(passes, numbers, strict=False):
        seen.append(clock.now - 100.0)
        clock.now += seconds
    return seen


def test_the_next_pass_starts_so_long_after_the_last_one_started() -> None:
    """However long that took; and at once if the time has passed."""
    assert starts(0.4, 1.5, 0.0, 1.0, 0.0, refresh_every=1.0) == pytest.approx([0.0, 1.0, 2.5, 3.5, 4.5])


def test_one_pass() -> None:
    """Where nothing is said, there is one."""
    assert starts(0.4, 0.4, refresh_every=None) == [0.0]
