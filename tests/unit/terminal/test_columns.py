"""The column of speeds."""

from __future__ import annotations

import pytest
from rich.progress import Progress, Task

from encord_agents.terminal.columns import TaskSpeedColumn


def task(*, finished_speed: float | None = None) -> Task:
    """A task of a bar that nobody draws."""
    progress = Progress()
    progress.add_task("x", total=10)
    (made,) = progress.tasks
    made.finished_speed = finished_speed
    return made


@pytest.mark.parametrize(
    ("per_second", "shown"),
    [
        (None, "?"),
        (2.5, "2.50 tasks/s"),
        (1.0, "60.00 tasks/m"),
        (0.5, "30.00 tasks/m"),
        (1 / 60, "60.00 tasks/h"),
        (0.01, "36.00 tasks/h"),
        (1e-5, "0.04 tasks/h"),
    ],
)
def test_the_speed_is_per_the_shortest_time_in_which_something_happens(per_second: float | None, shown: str) -> None:
    """The number exceeds one, unless even an hour is too short."""
    text = TaskSpeedColumn().render(task(finished_speed=per_second))
    assert text.plain == shown


def test_the_unit() -> None:
    """The noun for the things that are counted is the user's own."""
    assert TaskSpeedColumn("pages").render(task(finished_speed=2.0)).plain == "2.00 pages/s"
