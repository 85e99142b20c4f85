"""A report as an HTML table, which notebooks show."""

from __future__ import annotations

from html import escape
from typing import Any

from encord_agents.core.legible import cut, literally, on_a_line
from encord_agents.core.tracebacks import described
from encord_agents.tasks.engine.outcome import OUTCOMES

__all__ = ["COLOURS", "PRE", "error_html", "report_html"]

MAX_FAILURES_SHOWN = 10
LONGEST_LINE = 400
LONGEST_TRACEBACK = 10_000
COLOURS = {"moved": "#1f883d", "held": "#0a84ab", "failed": "#dc3a44", "skipped": "#a16c00"}
"""As legible on white as on the greys of dark themes."""
LEFT = ' style="text-align:left"'
PRE = ' style="text-align:left;font-family:monospace;white-space:pre-wrap"'


def report_html(report: Any) -> str:
    """Return a table with a row per stage; below it the first failures, and the meaning of the numbers.

    Args:
        report: A `RunReport`.
    """
    head = f"<th{LEFT}>stage</th>" + "".join(f"<th>{name}</th>" for name in (*OUTCOMES, "attempts", "seconds"))
    rows = "".join(_row(stage.title, stage, stage.moved_to) for stage in report.stages)
    if len(report.stages) > 1:
        rows += _row("total", report, {}, bold=True)
    table = f"<table><thead><tr>{head}<th{LEFT}>went down</th></tr></thead><tbody>{rows}</tbody></table>"
    said = "".join(f"<div>{_text(line)}</div>" for line in report.summary())
    return f"{table if report.stages else ''}{_failures(report)}{said}"


def _row(title: str, counted: Any, moved_to: dict[str, int], *, bold: bool = False) -> str:
    tag = "th" if bold else "td"
    cells = [f"<{tag}{LEFT}>{_text(title)}</{tag}>"]
    for name in OUTCOMES:
        number = getattr(counted, name)
        cells.append(f'<{tag} style="color:{COLOURS[name]}">{number}</{tag}>' if number else f"<{tag}>0</{tag}>")
    cells += [f"<{tag}>{counted.attempts}</{tag}>", f"<{tag}>{counted.seconds:.1f}</{tag}>"]
    went = ", ".join(f"{name}: {number}" for name, number in moved_to.items() if number)
    return f"<tr>{''.join(cells)}<{tag}{LEFT}>{_text(went)}</{tag}></tr>"


def _failures(report: Any) -> str:
    shown = report.failures[:MAX_FAILURES_SHOWN]
    if not shown:
        return ""
    rows = "".join(
        f"<tr><td{LEFT}><b>{_text(record.data_title)}</b></td><td{LEFT}>{_text(f'{record.stage}, {record.phase}')}</td>"
        f"<td{LEFT}>{_error(record)}</td></tr>"
        for record in shown
    )
    more = report.failed - len(shown)
    rest = f"<div>and {more} more: <code>report.failures</code></div>" if more > 0 else ""
    return f"<div>{report.failed} failed:</div><table><tbody>{rows}</tbody></table>{rest}"


def _error(record: Any) -> str:
    error = "unknown" if record.exception is None else described(record.exception)
    return error_html(error, record.traceback or "")


def error_html(error: str, traceback: str) -> str:
    """Return an error on one line, which unfolds to its traceback if there is one."""
    if not traceback:
        return _text(error)
    trace = escape(cut(literally(traceback).rstrip(), LONGEST_TRACEBACK))
    return f"<details><summary>{_text(error)}</summary><pre{PRE}>{trace}</pre></details>"


def _text(given: object) -> str:
    return escape(on_a_line(given, LONGEST_LINE))
