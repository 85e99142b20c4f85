"""The log on a terminal, and panels of errors."""

from __future__ import annotations

import io
import logging
from typing import Any
from uuid import UUID

import pytest
from rich.console import Console
from tests.unit.terminal.events import GO, failed, finished, text_of, wide

from encord_agents.exceptions import CredentialsError, PrintableError
from encord_agents.tasks.engine.outcome import Moved
from encord_agents.terminal.log import (
    MAX_ERROR_LINES,
    MAX_LINE,
    FirstFailure,
    TerminalLog,
    log_to_terminal,
    show_error,
)


def console(width: int = 200) -> Console:
    return Console(file=io.StringIO(), width=width, color_system=None)


def record(message: str, **facts: Any) -> logging.LogRecord:
    made = logging.LogRecord("encord_agents", logging.ERROR, "f.py", 1, message, (), None)
    try:
        raise LookupError("no box")
    except LookupError as error:
        made.exc_info = (type(error), error, error.__traceback__)
    made.__dict__.update(facts)
    return made


@pytest.mark.parametrize(
    ("brief", "facts", "has_traceback"),
    [(False, {}, True), (False, {"task_uuid": "u"}, True), (True, {}, True), (True, {"task_uuid": "u"}, False)],
)
def test_tracebacks_of_tasks_may_be_left_out(brief: bool, facts: dict[str, Any], has_traceback: bool) -> None:
    """Only those of records about a task are; the record itself stays whole for other handlers."""
    shown_on = console()
    one = record("it failed", **facts)
    TerminalLog(brief=brief, console=shown_on).emit(one)
    assert text_of(shown_on).startswith("ERROR: it failed\n")
    assert ("LookupError: no box" in text_of(shown_on)) is has_traceback
    assert one.exc_info is not None


def test_a_record_steers_nothing() -> None:
    """Control characters are escaped, and markup is text."""
    shown_on = console()
    TerminalLog(brief=True, console=shown_on).emit(record("[bold]a[/bold] \x1b[2J", task_uuid="u"))
    assert text_of(shown_on) == "ERROR: [bold]a[/bold] \\x1b[2J\n"


def test_a_long_message_is_cut() -> None:
    """A panel has so many lines at most, each of a readable length, and says what it leaves out."""
    shown_on = console(1000)
    lines = ["ab " * MAX_LINE, *(f"line {number}" for number in range(1, MAX_ERROR_LINES + 3))]
    show_error(PrintableError("\n".join(lines)), shown_on)
    shown = " ".join(text_of(shown_on).replace("│", "").split())
    assert f"... ({2 * MAX_LINE} more characters)" in shown
    assert f"line {MAX_ERROR_LINES - 1} " in shown
    assert f"line {MAX_ERROR_LINES} " not in shown
    assert "... (3 more lines)" in shown


def test_an_error_without_a_message() -> None:
    """The panel has the name of its kind, and notes below it."""
    error = ValueError()
    error.add_note("Do this.")
    shown_on = console(40)
    show_error(error, shown_on)
    assert text_of(shown_on).count("ValueError") == 2
    assert "Do this." in text_of(shown_on)
    assert shown_on.width == 40


def test_a_panel_shows_no_secret() -> None:
    """A key in a message, or in a note, is not shown."""
    key = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmU\n-----END OPENSSH PRIVATE KEY-----"
    error = PrintableError(f"Wrong: {key}")
    error.add_note(key)
    shown_on = console()
    show_error(error, shown_on)
    assert "b3BlbnNzaC1rZXktdjEAAAAABG5vbmU" not in text_of(shown_on)
    assert "Wrong" in text_of(shown_on)


def test_a_users_handlers_are_left_alone() -> None:
    """Where logging is configured, no handler is added."""
    log = logging.getLogger("encord_agents")
    mine = logging.NullHandler()
    log.addHandler(mine)
    try:
        with log_to_terminal():
            assert log.handlers == [mine]
    finally:
        log.removeHandler(mine)


def test_the_first_failure_is_shown_once_with_its_traceback() -> None:
    """The first says where and why; those that follow are left to the log and the report."""
    out = io.StringIO()
    observer = FirstFailure(out)
    observer(finished(Moved(GO)))
    observer(failed("no box", title="dog.png"))
    observer(failed("no cat", title="cat.png"))
    shown = out.getvalue()
    assert "dog.png" in shown
    assert "in phase agent" in shown
    assert "Traceback" in shown
    assert "raise ValueError(message)" in shown
    assert "cat.png" not in shown


def test_an_error_is_a_panel_with_its_notes() -> None:
    """Message and notes, no traceback, markup shown as it is, escape sequences not obeyed."""
    shown_on = wide()
    error = CredentialsError("No [bold]key[/bold] \x1b[31m")
    error.add_note("Set ENCORD_SSH_KEY.")
    show_error(error, shown_on)
    shown = text_of(shown_on)
    assert "CredentialsError" in shown
    assert "No [bold]key[/bold]" in shown
    assert "\x1b[31m" not in shown
    assert "Set ENCORD_SSH_KEY." in shown
    assert "Traceback" not in shown


def test_a_panel_in_a_log_does_not_break_a_uuid() -> None:
    """Where no terminal limits the width, a line of up to 156 characters stays one line."""
    shown_on = console(80)
    message = "x" * 100 + f" {UUID(int=5)}"
    show_error(PrintableError(message), shown_on)
    assert message in text_of(shown_on)
