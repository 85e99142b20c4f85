"""Progress displays: lines or live bars, drawn from the events of a run."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TextIO
from uuid import UUID

from encord_agents.core.legible import on_one_line
from encord_agents.exceptions import PrintableError
from encord_agents.tasks.engine.events import (
    Event,
    PassFinished,
    StageFinished,
    StagePolled,
    StageStarted,
    TaskFinished,
    TaskWouldWrite,
)
from encord_agents.tasks.engine.record import kind_of
from encord_agents.terminal.log import WouldWrite, log_to_terminal
from encord_agents.terminal.streams import is_terminal, stderr_console, write_line

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

__all__ = ["PlainProgress", "ProgressKind", "ProgressObserver", "RichProgress", "progress_observer"]

ProgressKind = Literal["auto", "rich", "plain", "none"]

SECONDS_BETWEEN_LINES = 10.0
OUTCOMES = ("moved", "held", "failed", "skipped")
STYLES = {"moved": "green", "held": "cyan", "failed": "bold red", "skipped": "yellow"}


class ProgressObserver(Protocol):
    """An observer that draws until it is closed."""

    def __call__(self, event: Event, /) -> object: ...

    def close(self) -> None:
        """Release the terminal. May be called twice."""


def progress_observer(kind: ProgressKind = "auto") -> ProgressObserver | None:
    """Return an observer that shows the progress of a run on stderr. Close it at the end.

    Args:
        kind: ``"rich"``: live bars; ``"plain"``: lines; ``"none"``: nothing; ``"auto"``: bars if stderr is a terminal
            that can move its cursor, lines otherwise.

    Raises:
        PrintableError: There is no such kind.
    """
    match kind:
        case "none":
            return None
        case "plain":
            return PlainProgress()
        case "rich":
            return RichProgress()
        case "auto":
            if is_terminal(sys.stderr) and not stderr_console().is_dumb_terminal:
                return RichProgress()
            return PlainProgress()
        case _:
            raise PrintableError(f"progress={kind!r} is not known: it is 'auto', 'rich', 'plain' or 'none'.")


@dataclass(slots=True)
class StageCounts:
    """The progress of one stage in the current pass."""

    title: str
    started: float
    seen: int = 0
    all_seen: bool = False
    moved: int = 0
    held: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float | None = None

    @property
    def done(self) -> int:
        return self.moved + self.held + self.failed + self.skipped

    def rate(self, now: float) -> float:
        """Return the tasks per second since the stage started."""
        seconds = self.seconds if self.seconds is not None else now - self.started
        return self.done / seconds if seconds > 0 else 0.0


class Counting:
    """Keeps a `StageCounts` per stage, for both kinds of progress display."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.stages: dict[UUID, StageCounts] = {}

    def count(self, event: Event) -> StageCounts | None:
        """Count an event. Return its stage if it changes the stage's counts."""
        match event:
            case StageStarted(stage_uuid=uuid, stage=title):
                self.stages[uuid] = StageCounts(on_one_line(title), self.clock())
                return self.stages[uuid]
            case StagePolled(stage_uuid=uuid):
                if (stage := self.stages.get(uuid)) is not None:
                    stage.seen, stage.all_seen = max(event.tasks, stage.seen), event.complete
                return stage
            case TaskFinished(task=task, outcome=outcome):
                if (stage := self.stages.get(task.stage_uuid)) is not None:
                    kind = kind_of(outcome)
                    setattr(stage, kind, getattr(stage, kind) + 1)
                return stage
            case StageFinished(stage_uuid=uuid, seconds=seconds):
                if (stage := self.stages.get(uuid)) is not None:
                    stage.seconds = seconds
                return stage
            case _:
                return None


class PlainProgress:
    """A line when a stage starts and ends, at most one every 10 s in between, and one per pass while polling.

    Args:
        stream: The stream to write to. Default: stderr.
        clock: Returns seconds, never going back.
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
                    self._line(f"{stage.title}: {_done(stage)}; {_counts(stage)}; {stage.rate(now):.1f} per second")
            case StageFinished(seconds=seconds) if stage is not None:
                if stage.done:
                    self._line(
                        f"{stage.title}: finished {tasks_in_words(stage.done)} in {seconds:.1f} s; {_counts(stage)}"
                    )
                elif stage.seen:
                    self._line(f"{stage.title}: ended with none of {tasks_in_words(stage.seen)} done")
                elif self._passes == 0 and stage.all_seen:  # else the number of waiting tasks is unknown
                    self._line(f"{stage.title}: finished, no task")
            case PassFinished():
                self._passes = event.number
                if event.number > 1 or event.next_in is not None:
                    self._line(_pass_line(event))
            case TaskWouldWrite():
                WouldWrite()(event)
            case _:
                pass

    def close(self) -> None:
        """Do nothing: there is nothing to release."""

    def _line(self, text: str) -> None:
        write_line(text, stream=self._stream)


class RichProgress:
    """A live bar per stage, drawn four times a second. An event costs one addition, whatever the screen shows.

    Args:
        console: The console to draw on. Default: stderr's.
        clock: Returns seconds, never going back.
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
            # Agents' own prints appear above the bars; if stdout is a file, they go into that.
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

                self._console.print(Text(_pass_line(event), style="dim"), soft_wrap=True)
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
        stages = tuple(self._counting.stages.values())
        grid = Table.grid(padding=(0, 1))
        grid.add_column(no_wrap=True, overflow="ellipsis", max_width=width // 4 if roomy else 20)
        grid.add_column(min_width=bar_width, width=bar_width)
        grid.add_column(justify="right", no_wrap=True, min_width=max((len(_progress(s)) for s in stages), default=1))
        grid.add_column(no_wrap=True, overflow="ellipsis")
        if roomy:
            grid.add_column(justify="right", no_wrap=True)
        for stage in stages:
            total = max(stage.seen, stage.done)
            finished = stage.seconds is not None
            bar = ProgressBar(
                total=total or None if not finished else max(total, 1),
                completed=stage.done if total else int(finished),
                pulse=not total and not finished,
            )
            counts = Text()
            for name in OUTCOMES:
                if n := getattr(stage, name):
                    counts.append(f"{' ' if counts else ''}{n} {name}", style=STYLES[name])
            if finished and stage.all_seen and not stage.seen:
                counts.append("no task", style="dim")
            cells: list[RenderableType] = [Text(stage.title), bar, Text(_progress(stage)), counts]
            rate = f"{stage.rate(now):.1f}/s" if stage.done else ""
            grid.add_row(*cells, *([Text(rate, style="dim")] if roomy else []))
        return grid


def tasks_in_words(n: int) -> str:
    return f"{n} task{'' if n == 1 else 's'}"


def _progress(stage: StageCounts) -> str:
    so_far = "" if stage.all_seen or stage.seconds is not None else " so far"
    return f"{stage.done}/{max(stage.seen, stage.done)}{so_far}"


def _done(stage: StageCounts) -> str:
    return f"{stage.done} of {max(stage.seen, stage.done)}{'' if stage.all_seen else ' so far'}"


def _counts(counts: StageCounts | PassFinished) -> str:
    return ", ".join(f"{n} {name}" for name in OUTCOMES if (n := getattr(counts, name))) or "nothing yet"


def _pass_line(event: PassFinished) -> str:
    did = _counts(event) if event.moved + event.held + event.failed + event.skipped else "no task"
    then = "" if event.next_in is None else f"; the next in {event.next_in:.0f} s"
    return f"Pass {event.number}: {did} in {event.seconds:.1f} s{then}"
