"""Progress displays: lines or live bars, drawn from the events of a run."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, Protocol, TextIO

from encord_agents.exceptions import PrintableError
from encord_agents.tasks.engine.events import (
    Event,
    PassFinished,
    StageFinished,
    StageStarted,
    TaskFinished,
    TaskWouldWrite,
)
from encord_agents.terminal.counting import (
    OUTCOMES,
    Counting,
    StageCounts,
    added_up,
    counts_text,
    done_text,
    pass_line,
    progress_text,
    tasks_in_words,
    times_text,
)
from encord_agents.terminal.log import WouldWrite, log_to_terminal
from encord_agents.terminal.notebook import NotebookProgress, in_notebook
from encord_agents.terminal.streams import is_terminal, stderr_console, write_line

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

__all__ = ["PlainProgress", "ProgressKind", "ProgressObserver", "RichProgress", "progress_observer"]

ProgressKind = Literal["auto", "rich", "plain", "none"]

SECONDS_BETWEEN_LINES = 10.0
STYLES = {"moved": "green", "held": "cyan", "failed": "bold red", "skipped": "yellow"}


class ProgressObserver(Protocol):
    """An observer that draws until it is closed."""

    def __call__(self, event: Event, /) -> object: ...

    def close(self) -> None:
        """Release the terminal. May be called twice."""


def progress_observer(kind: ProgressKind = "auto") -> ProgressObserver | None:
    """Return an observer that shows the progress of a run, on stderr or below a notebook's cell. Close it at the end.

    Args:
        kind: ``"rich"``: live bars; ``"plain"``: lines; ``"none"``: nothing; ``"auto"``: bars in a notebook, and if
            stderr is a terminal that can move its cursor; lines otherwise.

    Raises:
        PrintableError: There is no such kind.
    """
    match kind:
        case "none":
            return None
        case "plain":
            return PlainProgress()
        case "rich" | "auto" if in_notebook():
            return NotebookProgress(PlainProgress)
        case "rich":
            return RichProgress()
        case "auto":
            if is_terminal(sys.stderr) and not stderr_console().is_dumb_terminal:
                return RichProgress()
            return PlainProgress()
        case _:
            raise PrintableError(f"progress={kind!r} is not known: it is 'auto', 'rich', 'plain' or 'none'.")


class PlainProgress:
    """Writes a line when a stage starts and ends, at most one every 10 s in between, and one per pass while polling.

    Args:
        stream: The stream to write to. Default: stderr.
        clock: A monotonic clock, in seconds.
    """

    shown_as = "The progress display"

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._counting = Counting(clock)
        self._passes = 0
        self._last_line = clock()

    def __call__(self, event: Event) -> None:
        stage = self._counting.count(event)
        match event:
            case StageStarted(function=function) if stage is not None:
                self._last_line = self._counting.clock()
                if self._passes == 0:  # a poll every few seconds that finds nothing should not fill a log
                    self._line(f"{stage.title}: started, {function}()")
            case TaskFinished() if stage is not None:
                now = self._counting.clock()
                if now - self._last_line >= SECONDS_BETWEEN_LINES:
                    self._last_line = now
                    rate = f"{stage.rate(now):.1f} per second; {times_text(stage, now)}"
                    self._line(f"{stage.title}: {done_text(stage)}; {counts_text(stage)}; {rate}")
            case StageFinished(seconds=seconds) if stage is not None:
                if stage.done:
                    self._line(
                        f"{stage.title}: finished {tasks_in_words(stage.done)} in {seconds:.1f} s; {counts_text(stage)}"
                    )
                elif stage.seen:
                    self._line(f"{stage.title}: ended with none of {tasks_in_words(stage.seen)} done")
                elif self._passes == 0 and stage.all_seen:  # otherwise the number of waiting tasks is unknown
                    self._line(f"{stage.title}: finished, no task")
            case PassFinished():
                self._passes = event.number
                if event.number > 1 or event.next_in is not None:
                    self._line(pass_line(event))
            case TaskWouldWrite():
                WouldWrite()(event)
            case _:
                pass

    def close(self) -> None:
        """Do nothing: there is nothing to release."""

    def _line(self, text: str) -> None:
        write_line(text, stream=self._stream)


class RichProgress:
    """A live bar per stage, drawn four times a second. An event costs one addition, independent of drawing.

    Args:
        console: The console to draw on. Default: stderr's.
        clock: A monotonic clock, in seconds.
    """

    shown_as = "The progress display"

    def __init__(self, console: Console | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        from rich.live import Live

        self._console = stderr_console() if console is None else console
        self._counting = Counting(clock)
        self._live = Live(
            console=self._console,
            get_renderable=self.render,
            refresh_per_second=4,
            # Agents' own prints appear above the bars; if stdout is a file, they go there.
            redirect_stdout=is_terminal(sys.stdout),
            redirect_stderr=is_terminal(sys.stderr),
        )
        self._open = contextlib.ExitStack()
        self._started = False

    def __call__(self, event: Event) -> None:
        self._counting.count(event)
        match event:
            case StageStarted() if not self._started:
                self._started = True
                self._open.enter_context(log_to_terminal(self._console))
                self._open.enter_context(self._live)
            case PassFinished() if event.number > 1 or event.next_in is not None:
                from rich.text import Text

                self._console.print(Text(pass_line(event), style="dim"), soft_wrap=True)
            case TaskWouldWrite():
                WouldWrite()(event)
            case _:
                pass

    def close(self) -> None:
        """Draw the last state and release the terminal."""
        self._open.close()

    def render(self) -> RenderableType:
        """Return the bars in their current state."""
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        now = self._counting.clock()
        width = self._console.width
        roomy = width >= 100
        bar_width = 24 if roomy else 8
        stages = self._shown()
        grid = Table.grid(padding=(0, 1))
        grid.add_column(no_wrap=True, overflow="ellipsis", max_width=width // 4 if roomy else 20)
        grid.add_column(min_width=bar_width, width=bar_width)
        grid.add_column(
            justify="right", no_wrap=True, min_width=max((len(progress_text(s)) for s in stages), default=1)
        )
        grid.add_column(no_wrap=True, overflow="ellipsis")
        if roomy:
            grid.add_column(justify="right", no_wrap=True)
            grid.add_column(no_wrap=True)
        for stage in stages:
            total = max(stage.seen, stage.done)
            finished = stage.seconds is not None
            bar = ProgressBar(
                total=total or None if not finished else max(total, 1),
                completed=stage.done if total else int(finished),
                pulse=not total and not finished,
            )
            counts = Text()
            # Failures first where the end of the line may be cut.
            for name in OUTCOMES if roomy else sorted(OUTCOMES, key="failed".__ne__):
                if n := getattr(stage, name):
                    counts.append(f"{' ' if counts else ''}{n} {name}", style=STYLES[name])
            if finished and stage.all_seen and not stage.seen:
                counts.append("no task", style="dim")
            cells: list[RenderableType] = [Text(stage.title), bar, Text(progress_text(stage)), counts]
            rate = f"{stage.rate(now):.1f}/s" if stage.done else ""
            grid.add_row(
                *cells, *([Text(rate, style="dim"), Text(times_text(stage, now), style="dim")] if roomy else [])
            )
        return grid

    def _shown(self) -> list[StageCounts]:
        """Return the stages that there is room for: if they have more lines than the terminal, the first finished ones
        share a line."""
        # Copied at once: the run may add a stage while rich's thread draws.
        stages = list(self._counting.stages.values())
        surplus = len(stages) - (self._console.height - 1)
        if surplus <= 0:
            return stages
        finished = [stage for stage in stages if stage.seconds is not None][: surplus + 1]
        rest = [stage for stage in stages if not any(stage is one for one in finished)]
        return [added_up(f"{len(finished)} finished stages", finished), *rest] if len(finished) > 1 else stages
