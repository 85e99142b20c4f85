"""The terminal output: progress, the log, the first failure, errors, and the report.

The report is the result and goes to stdout; everything else goes to stderr. There is colour only on a terminal. Titles
and messages are other people's text: they are never read as markup, and control characters in them are escaped.
Rich is imported by the functions that draw, so importing this package costs nothing.
"""

from __future__ import annotations

from encord_agents.core.legible import literally, on_one_line
from encord_agents.terminal.log import FirstFailure, TerminalLog, WouldWrite, log_to_terminal, show_error
from encord_agents.terminal.progress import (
    PlainProgress,
    ProgressKind,
    ProgressObserver,
    RichProgress,
    progress_observer,
)
from encord_agents.terminal.streams import forgiving_streams, is_terminal, stderr_console, stdout_console, write_line
from encord_agents.terminal.tables import report_table, show_check, show_report, show_table

__all__ = [
    "FirstFailure",
    "PlainProgress",
    "ProgressKind",
    "ProgressObserver",
    "RichProgress",
    "TerminalLog",
    "WouldWrite",
    "forgiving_streams",
    "is_terminal",
    "literally",
    "log_to_terminal",
    "on_one_line",
    "progress_observer",
    "report_table",
    "show_check",
    "show_error",
    "show_report",
    "show_table",
    "stderr_console",
    "stdout_console",
    "write_line",
]
