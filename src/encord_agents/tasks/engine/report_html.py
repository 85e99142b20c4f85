"""A report as a table of HTML, which notebooks show."""

from __future__ import annotations

from html import escape
from typing import Any

from encord_agents.core.legible import on_one_line
from encord_agents.core.tracebacks import described

__all__ = ["report_html"]

MAX_FAILURES_SHOWN = 10
OUTCOMES = ("moved", "held", "failed", "skipped")


def report_html(report: Any) -> str:
    """Return a table with a row per stage, and the first failures below it.

    Args:
        report: A `RunReport`.
    """
    head = "".join(f"<th>{name}</th>" for name in ("stage", *OUTCOMES, "attempts", "seconds"))
    rows = "".join(_row(stage.title, stage) for stage in report.stages)
    if len(report.stages) > 1:
        rows += _row("total", report, bold=True)
    parts = [f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"]
    if report.stopped is not None:
        parts.append(f"<p>{_text(report.stopped)}</p>")
    if shown := report.failures[:MAX_FAILURES_SHOWN]:
        listed = "".join(
            f"<li><b>{_text(record.data_title)}</b>, {_text(record.stage)}, {_text(record.phase)}: "
            f"{_text('' if record.exception is None else described(record.exception))}</li>"
            for record in shown
        )
        more = report.failed - len(shown)
        listed += f"<li>and {more} more: <code>report.failures</code></li>" if more > 0 else ""
        parts.append(f"<p>{report.failed} failed:</p><ul>{listed}</ul>")
    return "".join(parts)


def _row(title: str, counted: Any, *, bold: bool = False) -> str:
    numbers = [str(getattr(counted, name)) for name in (*OUTCOMES, "attempts")] + [f"{counted.seconds:.1f}"]
    tag = "th" if bold else "td"
    return f"<tr><{tag}>{_text(title)}</{tag}>{''.join(f'<{tag}>{number}</{tag}>' for number in numbers)}</tr>"


def _text(given: object) -> str:
    return escape(on_one_line(str(given)))
