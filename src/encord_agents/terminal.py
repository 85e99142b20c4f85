"""What a person sees: progress, the log, the first failure, errors, and the report.

The report is the result and goes to stdout; everything else goes to stderr. There is colour only on a terminal. Titles
and messages are other people's text: they are never read as markup, and control characters in them are not obeyed.
Rich is imported by the functions that draw, so that importing this module costs nothing.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal, Protocol, TextIO
from uuid import UUID

from encord_agents.core.legible import legible
from encord_agents.exceptions import PrintableError
from encord_agents.tasks.engine.outcome import Failed
from encord_agents.tasks.engine.report import (
    Event,
    PassFinished,
    RunReport,
    StageFinished,
    StagePolled,
    StageStarted,
    TaskFinished,
    TaskRecord,
    TaskWouldWrite,
    kind_of,
)

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

__all__ = [
    "FirstFailure",
    "ProgressKind",
    "ProgressObserver",
    "WouldWrite",
    "log_to_terminal",
    "progress_observer",
    "report_table",
    "show_check",
    "show_error",
    "show_report",
]

ProgressKind = Literal["auto", "rich", "plain", "none"]

MAX_FAILURES_SHOWN = 10
SECONDS_BETWEEN_LINES = 10.0
OUTCOMES = ("moved", "held", "failed", "skipped")
STYLES = {"moved": "green", "held": "cyan", "failed": "bold red", "skipped": "yellow"}

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class ProgressObserver(Protocol):
    """An observer that draws until it is closed."""

    def __call__(self, event: Event, /) -> object: ...

    def close(self) -> None:
        """Let go of the terminal. May be called twice."""


def progress_observer(kind: ProgressKind = "auto") -> ProgressObserver | None:
    """What shows how far a run is, on stderr. Close it at the end.

    Args:
        kind: ``"rich"``: live bars; ``"plain"``: lines; ``"none"``: nothing; ``"auto"``: bars if stderr is a terminal
            that can move its cursor, else lines.

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


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a person may be looking. A program without streams, or with closed ones, has no terminal."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:
        return False


@cache
def stderr_console() -> Console:
    """One console for all that goes to stderr: what is printed on it while bars are live appears above them."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, markup=False, emoji=False)


def stdout_console() -> Console:
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False)


def literally(text: object) -> str:
    """Text of unknown origin, fit to be shown: it cannot steer the terminal."""
    return CONTROL.sub("\N{REPLACEMENT CHARACTER}", legible(str(text)).replace("\r\n", "\n"))


def on_one_line(text: object) -> str:
    return " ".join(literally(text).split())


def write_line(text: str, style: str = "", stream: TextIO | None = None) -> None:
    """A line on stderr (or ``stream``); on a terminal in style, and above the bars if there are any."""
    if stream is not None:
        stream.write(f"{text}\n")
        stream.flush()
    elif is_terminal(sys.stderr):
        from rich.text import Text

        stderr_console().print(Text(text, style=style), soft_wrap=True)
    elif sys.stderr is not None:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


@dataclass(slots=True)
class StageCounts:
    """How far one stage is in the pass that is going on."""

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
        """Tasks per second since the stage started."""
        seconds = self.seconds if self.seconds is not None else now - self.started
        return self.done / seconds if seconds > 0 else 0.0


class Counting:
    """Keeps a `StageCounts` per stage. Both kinds of progress are made of it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.stages: dict[UUID, StageCounts] = {}

    def count(self, event: Event) -> StageCounts | None:
        """Note an event; returns the stage it is about, if it changes the stage's counts."""
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
    """A line when a stage starts and ends, one at most every 10 s between, and one per pass while polling.

    Args:
        stream: Where to write; ``None``: to stderr.
        clock: Seconds, monotonic.
    """

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
                    self._line(f"{stage.title}: finished {_tasks(stage.done)} in {seconds:.1f} s; {_counts(stage)}")
                elif self._passes == 0:
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
        """Nothing to let go of."""

    def _line(self, text: str) -> None:
        write_line(text, stream=self._stream)


class RichProgress:
    """A live bar per stage, drawn four times a second: an event costs a sum, whatever the screen shows.

    Args:
        console: Where to draw; ``None``: on stderr.
        clock: Seconds, monotonic.
    """

    def __init__(self, console: Console | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        from rich.live import Live

        self._console = stderr_console() if console is None else console
        self._counting = Counting(clock)
        self._live = Live(
            console=self._console,
            get_renderable=self.render,
            refresh_per_second=4,
            # What an agent prints goes above the bars, but into a file if stdout is one.
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
        """Draw the last state and give the terminal back."""
        self._open.close()

    def render(self) -> RenderableType:
        """The bars as they are now."""
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
            if finished and not stage.done:
                counts.append("no task", style="dim")
            cells: list[RenderableType] = [Text(stage.title), bar, Text(_progress(stage)), counts]
            rate = f"{stage.rate(now):.1f}/s" if stage.done else ""
            grid.add_row(*cells, *([Text(rate, style="dim")] if roomy else []))
        return grid


def _tasks(n: int) -> str:
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


class WouldWrite:
    """Prints, in a dry run, what would have been written for each task; on stdout, since it is what was asked for."""

    def __call__(self, event: Event) -> None:
        if isinstance(event, TaskWouldWrite):
            task = event.task
            sys.stdout.write(f"{on_one_line(task.data_title)} ({task.uuid}) in {on_one_line(task.stage)!r}: ")
            sys.stdout.write(f"{on_one_line(event.summary)}\n")


class FirstFailure:
    """Shows the run's first failed task when it fails, with its traceback. The others are in the log and the report.

    Args:
        stream: Where to write; ``None``: to stderr.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._shown = False

    def __call__(self, event: Event) -> None:
        match event:
            case TaskFinished(task=task, outcome=Failed(fault=fault)) if not self._shown:
                self._shown = True
                title = f"{on_one_line(task.data_title)} ({task.uuid}) in {on_one_line(task.stage)!r}"
                # Of a message for a person, the traceback would only show where in here it was made.
                is_message = isinstance(fault.exception, PrintableError)
                lines = str(fault.exception) if is_message else _formatted(fault.exception)
                write_line(f"The first failure: {title}, in phase {fault.phase}", "bold red", self._stream)
                write_line(literally(lines), "", self._stream)
            case _:
                pass


def _formatted(exception: BaseException) -> str:
    return "".join(traceback.format_exception(exception)).rstrip()


class TerminalLog(logging.Handler):
    """Log records as lines on stderr, above the bars while there are any.

    Args:
        brief: Leave out tracebacks of tasks: somebody else shows the first, and the report has them all.
        console: Where to print; ``None``: on stderr.
    """

    def __init__(self, *, brief: bool = False, console: Console | None = None) -> None:
        super().__init__()
        self._brief = brief
        self._console = console
        self.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if self._brief and hasattr(record, "task_uuid"):
                record = copy.copy(record)
                record.exc_info = record.exc_text = None
            text = literally(self.format(record))
            style = "red" if record.levelno >= logging.ERROR else "yellow" if record.levelno >= logging.WARNING else ""
            if self._console is None:
                write_line(text, style)
            else:
                from rich.text import Text

                self._console.print(Text(text, style=style), soft_wrap=True)
        except Exception:  # noqa: BLE001 - as every handler of the standard library does
            self.handleError(record)


@contextlib.contextmanager
def log_to_terminal(console: Console | None = None, *, brief: bool = False) -> Iterator[None]:
    """While inside, this library's log goes to stderr without tearing the bars; nothing if the user has handlers."""
    log = logging.getLogger("encord_agents")
    if log.hasHandlers():
        yield
        return
    handler = TerminalLog(brief=brief, console=console)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


def show_error(error: BaseException, console: Console | None = None) -> None:
    """An error that is a message for a person, as a panel on stderr, with its notes and without its traceback."""
    from rich.panel import Panel
    from rich.text import Text

    console = stderr_console() if console is None else console
    parts = [str(error).strip() or type(error).__name__, *getattr(error, "__notes__", ())]
    message = literally("\n".join(parts))
    title = Text(f" {type(error).__name__} ", style="bold red")
    panel = Panel(Text(message), title=title, title_align="left", border_style="red")
    before = console.width
    if not console.is_terminal:  # in a log, a wide panel is better than a broken uuid
        console.width = min(160, max(80, 4 + max(len(line) for line in message.splitlines())))
    console.print(panel)
    console.width = before


def report_table(report: RunReport, *, pathways: bool = False) -> Table:
    """The report's counts, a row per stage, and their sums where there are several.

    Args:
        report: The report.
        pathways: Also show which pathway how many tasks went down.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    def number(n: int, style: str = "") -> Text:
        return Text(str(n), style=style if n else "dim")

    several = len(report.stages) > 1
    table = Table(box=box.ROUNDED, show_footer=several, footer_style="bold")
    table.add_column("stage", footer="total", overflow="fold")
    for name in OUTCOMES:
        table.add_column(name, footer=str(getattr(report, name)), justify="right", no_wrap=True)
    table.add_column("attempts", footer=str(report.attempts), justify="right", no_wrap=True)
    table.add_column("seconds", footer=f"{report.seconds:.1f}", justify="right", no_wrap=True)
    if pathways:
        table.add_column("went down", overflow="fold")
    for stage in report.stages:
        cells = [Text(on_one_line(stage.title)), *(number(getattr(stage, n), STYLES[n]) for n in OUTCOMES)]
        cells += [number(stage.attempts), Text(f"{stage.seconds:.1f}")]
        if pathways:
            cells.append(Text(", ".join(f"{on_one_line(name)}: {n}" for name, n in stage.moved_to.items() if n)))
        table.add_row(*cells)
    return table


def show_report(report: RunReport) -> None:
    """The result, on stdout: the counts, up to 10 failures, and what the numbers mean."""
    if not is_terminal(sys.stdout):
        # One line per failure, for grep.
        sys.stdout.write("\n".join([literally(report), *_failure_lines(report, between=" ")]) + "\n")
        sys.stdout.flush()
        return
    from rich.text import Text

    console = stdout_console()
    if report.stages:
        console.print(report_table(report, pathways=console.width >= 100 and report.moved > 0))
    for place, line in enumerate(_failure_lines(report, between="\n      ")):
        console.print(Text(line, style="bold red" if place == 0 else ""), soft_wrap=True)
    for line in report.summary():
        console.print(Text(on_one_line(line)), soft_wrap=True)


def _failure_lines(report: RunReport, *, between: str) -> Iterator[str]:
    failures = report.failures[:MAX_FAILURES_SHOWN]
    if failures:
        yield f"{_tasks(report.failed)} failed:"
        yield from (f"  {_failure(record, between)}" for record in failures)
    if (more := report.failed - len(failures)) > 0:
        yield f"  ... and {more} more"


def _failure(record: TaskRecord, between: str) -> str:
    error = "".join(traceback.format_exception_only(record.exception)).strip() if record.exception else "unknown"
    went = f", went down {on_one_line(record.pathway)!r}" if record.pathway is not None else ""
    first_line = literally(error).splitlines()[0]
    return (
        f"{on_one_line(record.data_title)} ({record.task_uuid}){between}"
        f"in {on_one_line(record.stage)!r}, {record.phase}{went}: {first_line}"
    )


def show_check(rows: Iterable[tuple[str, str, str, Sequence[str]]]) -> None:
    """Each agent's stage, the stage's uuid, the function, and what it needs; on stdout."""
    agents = [(on_one_line(stage), uuid, f"{on_one_line(name)}()", ", ".join(n)) for stage, uuid, name, n in rows]
    if not is_terminal(sys.stdout):
        _write_columns(("stage", "uuid", "function", "needs"), agents)
        return
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.ROUNDED, show_lines=True)
    for name in ("stage", "function", "needs"):
        table.add_column(name, overflow="fold")
    for stage, uuid, function, needs in agents:
        table.add_row(Text.assemble(stage, "\n", (uuid, "dim")), Text(function), Text(needs or "nothing"))
    stdout_console().print(table)


def show_numbers(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table whose first column is text and whose others are numbers; on stdout."""
    cells = [tuple(on_one_line(cell) for cell in row) for row in rows]
    if not is_terminal(sys.stdout):
        _write_columns(head, cells)
        return
    from rich import box
    from rich.table import Table

    table = Table(box=box.ROUNDED)
    for number, title in enumerate(head):
        table.add_column(title, justify="right" if number else "left")
    for row in cells:
        table.add_row(*row)
    stdout_console().print(table)


def _write_columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    for row in [head, *rows]:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write("  ".join(cells).rstrip() + "\n")
