"""Output during a run: the log, the first failure, the writes of a dry run, and errors."""

from __future__ import annotations

import contextlib
import copy
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, TextIO

from encord_agents.core.legible import cut, literally, on_one_line
from encord_agents.core.tracebacks import formatted, is_a, message_of, notes, type_name
from encord_agents.exceptions import PrintableError
from encord_agents.redaction import without_secrets
from encord_agents.tasks.engine.events import Event, TaskFinished, TaskWouldWrite
from encord_agents.tasks.engine.outcome import Failed
from encord_agents.terminal.streams import stderr_console, stdout, write_line

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["FirstFailure", "TerminalLog", "WouldWrite", "log_to_terminal", "show_error"]

MAX_ERROR_LINES = 30
MAX_LINE = 400
"""The maximum number of lines of an error, and of characters per line: it may quote a server's whole answer."""


class WouldWrite:
    """Prints the writes that each task would cause in a dry run; on stdout, since they are the result."""

    shown_as = "The display of the dry run"

    def __call__(self, event: Event) -> None:
        if isinstance(event, TaskWouldWrite):
            task = event.task
            where = f"{on_one_line(task.data_title)} ({task.uuid}) in {on_one_line(task.stage)!r}"
            stdout.write(f"{where}: {on_one_line(event.summary)}\n")
            stdout.flush()  # so that a closed pipe is noticed, and the run ends


class FirstFailure:
    """Shows the first failure of the run at once, with its traceback. The others are in the log and the report.

    Args:
        stream: The stream to write to. Default: stderr.
    """

    shown_as = "The display of the first failure"

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._shown = False

    def __call__(self, event: Event) -> None:
        match event:
            case TaskFinished(task=task, outcome=Failed(fault=fault)) if not self._shown:
                self._shown = True
                title = f"{on_one_line(task.data_title)} ({task.uuid}) in {on_one_line(task.stage)!r}"
                # The traceback of a PrintableError would only show where in this library it was raised.
                message = message_of(fault.exception) if is_a(fault.exception, PrintableError) else ""
                lines = message or formatted(fault.exception).rstrip()
                write_line(f"The first failure: {title}, in phase {fault.phase}", "bold red", self._stream)
                write_line("\n".join(cut(line) for line in literally(lines).splitlines()), "", self._stream)
            case _:
                pass


class TerminalLog(logging.Handler):
    """Writes log records as lines to stderr, above the bars if there are any.

    Args:
        brief: Leave out tracebacks of tasks: `FirstFailure` shows the first, and the report has them all.
        console: The console to print on. Default: stderr's.
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
            text = "\n".join(cut(line) for line in literally(self.format(record)).splitlines())
            style = "red" if record.levelno >= logging.ERROR else "yellow" if record.levelno >= logging.WARNING else ""
            if self._console is None:
                write_line(text, style)
            else:
                from rich.text import Text

                self._console.print(Text(text, style=style), soft_wrap=True)
        except Exception:  # noqa: BLE001 - as every handler of the standard library does
            self.handleError(record)


@contextlib.contextmanager
def log_to_terminal(console: Console | None = None, *, brief: bool = False) -> Iterator[TerminalLog | None]:
    """Send this library's log to stderr, above the bars, while inside. Do nothing if the user has set up handlers.

    Yields the handler, if one was added.
    """
    log = logging.getLogger("encord_agents")
    if log.hasHandlers():
        yield None
        return
    handler = TerminalLog(brief=brief, console=console)
    log.addHandler(handler)
    try:
        yield handler
    finally:
        log.removeHandler(handler)


def show_error(error: BaseException, console: Console | None = None) -> None:
    """Show an error meant for a person as a panel on stderr, with its notes and without its traceback."""
    from rich.panel import Panel
    from rich.text import Text

    console = stderr_console() if console is None else console
    said = "\n".join([message_of(error) or type_name(error), *notes(error)])
    message = _shortened(literally(without_secrets(said)))
    title = Text(f" {type_name(error)} ", style="bold red")
    panel = Panel(Text(message), title=title, title_align="left", border_style="red")
    before = console.width
    if not console.is_terminal:  # in a log, a wide panel is better than a broken uuid
        console.width = min(160, max(80, 4 + max(len(line) for line in message.splitlines())))
    console.print(panel)
    console.width = before


def _shortened(message: str) -> str:
    """Return the first lines of a message, each cut to a readable length."""
    lines = [cut(line, MAX_LINE) for line in message.splitlines()]
    if len(lines) > MAX_ERROR_LINES:
        lines[MAX_ERROR_LINES:] = [f"... ({len(lines) - MAX_ERROR_LINES:,} more lines)"]
    return "\n".join(lines)
