"""A column for the user's own progress bars."""

from __future__ import annotations

from rich.progress import ProgressColumn, Task
from rich.text import Text

__all__ = ["TaskSpeedColumn"]

PERIODS = (("s", 1.0), ("m", 60.0), ("h", 3600.0))


class TaskSpeedColumn(ProgressColumn):
    """The speed of a task of a `rich.progress.Progress`, per second, minute or hour: the first in which it exceeds 1.

    Args:
        unit: The noun for what is counted.
    """

    def __init__(self, unit: str = "tasks") -> None:
        self.unit = unit
        super().__init__()

    def render(self, task: Task) -> Text:
        """Return the column's text; a question mark while the speed is unknown."""
        per_second = task.finished_speed or task.speed
        return Text("?" if per_second is None else self._format_speed(per_second), style="progress.data.speed")

    def _format_speed(self, per_second: float) -> str:
        period, seconds = next((p for p in PERIODS if per_second * p[1] > 1), PERIODS[-1])
        return f"{per_second * seconds:.2f} {self.unit}/{period}"
