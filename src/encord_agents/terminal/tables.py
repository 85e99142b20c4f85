"""Tables on stdout: the report at the end, the agents' needs, and others."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from encord_agents.core.legible import cut, literally, on_one_line
from encord_agents.core.tracebacks import described
from encord_agents.tasks.engine.record import TaskRecord, first_too
from encord_agents.tasks.engine.report import RunReport
from encord_agents.terminal.counting import OUTCOMES, tasks_in_words
from encord_agents.terminal.progress import STYLES
from encord_agents.terminal.streams import is_terminal, stdout, stdout_console

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["report_table", "show_check", "show_report", "show_table"]

MAX_FAILURES_SHOWN = 10
NARROW = 72
"""A terminal of fewer columns has no room for the table of a report, whose numbers alone take 60."""
MAX_LINE = 400
"""The maximum number of characters shown of an error's first line."""


def report_table(report: RunReport, *, pathways: bool = False) -> Table:
    """Return a table of the report's counts: a row per stage, and their sums if there are several stages.

    Args:
        report: The report.
        pathways: Also show the number of tasks per pathway.
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
    """Show the report on stdout: the counts, up to 10 failures, and an explanation of the numbers."""
    if not is_terminal(sys.stdout) or (console := stdout_console()).width < NARROW:
        # One line per failure, for grep.
        stdout.write("\n".join([literally(report), *_failure_lines(report, between=" ")]) + "\n")
        stdout.flush()
        return
    from rich.text import Text

    if report.stages:
        console.print(report_table(report, pathways=console.width >= 100 and report.moved > 0))
    for place, line in enumerate(_failure_lines(report, between="\n      ")):
        console.print(Text(line, style="bold red" if place == 0 else ""), soft_wrap=True)
    for line in report.summary():
        console.print(Text(on_one_line(line)), soft_wrap=True)


def _failure_lines(report: RunReport, *, between: str) -> Iterator[str]:
    failures = report.failures[:MAX_FAILURES_SHOWN]
    if failures:
        yield f"{tasks_in_words(report.failed)} failed:"
        yield from (f"  {_failure(record, between)}" for record in failures)
    if (more := report.failed - len(failures)) > 0:
        yield f"  ... and {more} more"


def _failure(record: TaskRecord, between: str) -> str:
    error = "unknown" if record.exception is None else described(record.exception)
    went = f", went down {on_one_line(record.pathway)!r}" if record.pathway is not None else ""
    first_line = cut(literally(error).splitlines()[0], MAX_LINE)
    too = cut(literally(first_too(record.first_error)), MAX_LINE)
    return (
        f"{on_one_line(record.data_title)} ({record.task_uuid}){between}"
        f"in {on_one_line(record.stage)!r}, {record.phase}{went}: {first_line}{too}"
    )


def show_check(rows: Iterable[tuple[str, str, str, Sequence[str]]]) -> None:
    """Show, on stdout, each agent's stage, the stage's uuid, the function, and its needs."""
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


def show_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Show a table on stdout, with columns of numbers aligned to the right."""
    cells = [tuple(on_one_line(cell) for cell in row) for row in rows]
    if not is_terminal(sys.stdout):
        _write_columns(head, cells)
        return
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.ROUNDED)
    for title, column in zip(head, zip(*rows, strict=True) if rows else [()] * len(head), strict=True):
        is_number = bool(column) and all(isinstance(cell, int | float) for cell in column)
        table.add_column(title, justify="right" if is_number else "left", overflow="fold")
    for row in cells:
        table.add_row(*map(Text, row))
    stdout_console().print(table)


def _write_columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    for row in [head, *rows]:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        stdout.write("  ".join(cells).rstrip() + "\n")
