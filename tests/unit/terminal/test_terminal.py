"""What a person sees: lines, bars, panels and tables, from events and reports."""

from __future__ import annotations

import io
import logging
from uuid import UUID, uuid4

import pytest
from rich.console import Console

from encord_agents import terminal
from encord_agents.exceptions import CredentialsError, PrintableError
from encord_agents.tasks.engine.events import (
    PassFinished,
    StageFinished,
    StagePolled,
    StageStarted,
    TaskFinished,
    TaskRef,
    TaskWouldWrite,
)
from encord_agents.tasks.engine.outcome import Failed, Fault, Held, Moved, Outcome, Pathway, Phase
from encord_agents.tasks.engine.report import RunReport
from encord_agents.terminal.counting import StageCounts

STAGE = UUID(int=1)
GO = Pathway(UUID(int=2), "go", UUID(int=3))


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def task(title: str = "cat.png", stage: str = "Pre-label") -> TaskRef:
    return TaskRef(uuid4(), uuid4(), title, STAGE, stage)


def finished(outcome: Outcome, title: str = "cat.png", stage: str = "Pre-label") -> TaskFinished:
    return TaskFinished(task(title, stage), outcome, attempts=1, seconds=0.1)


def failed(message: str = "no box", title: str = "cat.png", stage: str = "Pre-label") -> TaskFinished:
    try:
        raise ValueError(message)
    except ValueError as error:
        return finished(Failed(Fault(Phase.AGENT, error, 1)), title, stage)


def wide() -> Console:
    return Console(file=io.StringIO(), width=120, force_terminal=True, color_system=None, markup=False)


def text_of(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_plain_progress_is_a_line_per_start_and_finish() -> None:
    """A stage that is done before ten seconds have gone by is two lines."""
    out = io.StringIO()
    progress = terminal.PlainProgress(out, Clock())
    progress(StageStarted(STAGE, "Pre-label", "find_cats"))
    progress(StagePolled(STAGE, "Pre-label", 2, True))
    progress(finished(Moved(GO)))
    progress(finished(Held()))
    progress(StageFinished(STAGE, "Pre-label", 2.0))
    progress(PassFinished(1, 1, 1, 0, 0, 2.0, None))
    assert out.getvalue().splitlines() == [
        "Pre-label: started, find_cats()",
        "Pre-label: finished 2 tasks in 2.0 s; 1 moved, 1 held",
    ]


def test_plain_progress_speaks_at_most_every_ten_seconds() -> None:
    """A thousand tasks in a minute are a few lines, which say how many are known so far."""
    out, clock = io.StringIO(), Clock()
    progress = terminal.PlainProgress(out, clock)
    progress(StageStarted(STAGE, "Pre-label", "find_cats"))
    progress(StagePolled(STAGE, "Pre-label", 500, False))
    for _ in range(400):
        clock.now += 0.0625
        progress(finished(Moved(GO)))
    lines = out.getvalue().splitlines()[1:]
    assert lines == [
        "Pre-label: 160 of 500 so far; 160 moved; 16.0 per second; 0:10",
        "Pre-label: 320 of 500 so far; 320 moved; 16.0 per second; 0:20",
    ]


def test_an_idle_pass_is_one_line() -> None:
    """Polling every few seconds for nothing does not fill a log with stages."""
    out = io.StringIO()
    progress = terminal.PlainProgress(out, Clock())
    for number in (1, 2, 3):
        progress(StageStarted(STAGE, "Pre-label", "find_cats"))
        progress(StagePolled(STAGE, "Pre-label", 0, complete=True))
        progress(StageFinished(STAGE, "Pre-label", 0.1))
        progress(PassFinished(number, 0, 0, 0, 0, 0.1, 9.9))
    assert out.getvalue().splitlines()[2:] == [
        "Pass 1: no task in 0.1 s; the next in 10 s",
        "Pass 2: no task in 0.1 s; the next in 10 s",
        "Pass 3: no task in 0.1 s; the next in 10 s",
    ]


def test_bars_count_and_say_that_the_total_is_not_final() -> None:
    """While pages are still being read the total is "so far"; a title is never read as markup."""
    console, clock = wide(), Clock()
    progress = terminal.RichProgress(console, clock)
    try:
        progress(StageStarted(STAGE, "Pre [red]label[/red]", "find_cats"))
        progress(StagePolled(STAGE, "Pre [red]label[/red]", 100, False))
        progress(finished(Moved(GO)))
        progress(failed())
        clock.now += 2.0
        with console.capture() as drawn:
            console.print(progress.render())
        line = drawn.get()
        assert "Pre [red]label[/red]" in line
        assert "2/100 so far" in line
        assert "1 moved 1 failed" in line
        assert "1.0/s" in line
        progress(StagePolled(STAGE, "Pre [red]label[/red]", 120, True))
        progress(StageFinished(STAGE, "Pre [red]label[/red]", 2.0))
        with console.capture() as drawn:
            console.print(progress.render())
        assert "2/120 " in drawn.get()
        assert "so far" not in drawn.get()
    finally:
        progress.close()


def test_bars_fit_a_narrow_terminal() -> None:
    """80 columns hold a long title, a bar and all counts, one line per stage."""
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    progress = terminal.RichProgress(console, Clock())
    progress._counting.stages[STAGE] = StageCounts("A stage with a rather long title", 0.0, 9999, True, 900, 10, 20, 3)
    with console.capture() as drawn:
        console.print(progress.render())
    lines = drawn.get().splitlines()
    assert len(lines) == 1
    assert len(lines[0]) <= 80
    assert "933/9999" in lines[0]


def test_log_records_go_above_the_bars(caplog: pytest.LogCaptureFixture) -> None:
    """Where nobody configured logging, the library's warnings are printed through the console that draws the bars."""
    console = wide()
    log = logging.getLogger("encord_agents")
    root = logging.getLogger()
    handlers, root.handlers = root.handlers, []  # pytest's own would count as the user's
    try:
        progress = terminal.RichProgress(console, Clock())
        progress(StageStarted(STAGE, "Pre-label", "find_cats"))
        log.warning("a [bold]warning[/bold]")
        progress.close()
        progress.close()
        assert log.handlers == []
    finally:
        root.handlers = handlers
    assert "WARNING: a [bold]warning[/bold]" in text_of(console)


def test_a_users_handlers_are_left_alone() -> None:
    """Where logging is configured, no handler is added."""
    log = logging.getLogger("encord_agents")
    mine = logging.NullHandler()
    log.addHandler(mine)
    try:
        with terminal.log_to_terminal():
            assert log.handlers == [mine]
    finally:
        log.removeHandler(mine)


def test_progress_kinds(capsys: pytest.CaptureFixture[str]) -> None:
    """`auto` is lines where stderr is no terminal; `none` is nothing; another word is refused with the choices."""
    assert terminal.progress_observer("none") is None
    assert isinstance(terminal.progress_observer("auto"), terminal.PlainProgress)
    assert isinstance(terminal.progress_observer("rich"), terminal.RichProgress)
    with pytest.raises(PrintableError, match="'auto', 'rich', 'plain' or 'none'"):
        terminal.progress_observer("loud")  # type: ignore[arg-type]


def test_the_first_failure_is_shown_once_with_its_traceback() -> None:
    """The first says where and why; those that follow are left to the log and the report."""
    out = io.StringIO()
    observer = terminal.FirstFailure(out)
    observer(finished(Moved(GO)))
    observer(failed("no box", title="dog.png"))
    observer(failed("no cat", title="cat.png"))
    shown = out.getvalue()
    assert "dog.png" in shown
    assert "in phase agent" in shown
    assert "Traceback" in shown
    assert "raise ValueError(message)" in shown
    assert "cat.png" not in shown


def test_what_a_dry_run_would_write_goes_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    """One line per task: it is the result of a dry run."""
    progress = terminal.PlainProgress(io.StringIO(), Clock())
    progress(TaskWouldWrite(task("cat.png"), "down 'go', 1 object"))
    assert capsys.readouterr().out.endswith("in 'Pre-label': down 'go', 1 object\n")


def test_an_error_is_a_panel_with_its_notes() -> None:
    """Message and notes, no traceback, markup shown as it is, escape sequences not obeyed."""
    console = wide()
    error = CredentialsError("No [bold]key[/bold] \x1b[31m")
    error.add_note("Set ENCORD_SSH_KEY.")
    terminal.show_error(error, console)
    shown = text_of(console)
    assert "CredentialsError" in shown
    assert "No [bold]key[/bold]" in shown
    assert "\x1b[31m" not in shown
    assert "Set ENCORD_SSH_KEY." in shown
    assert "Traceback" not in shown


def test_a_panel_in_a_log_does_not_break_a_uuid() -> None:
    """Where no terminal limits the width, a line of up to 156 characters stays one line."""
    console = Console(file=io.StringIO(), width=80)
    message = "x" * 100 + f" {UUID(int=5)}"
    terminal.show_error(PrintableError(message), console)
    assert message in text_of(console)


def test_the_report_names_ten_failures_and_counts_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    """Elsewhere than on a terminal: plain text on stdout, one line per failure, its first line only."""
    report = RunReport()
    report(StageStarted(STAGE, "Pre-label", "find_cats"))
    for i in range(12):
        report(failed(f"no box {i}\nand more", title=f"[b]{i}[/b].png"))
    report(StageFinished(STAGE, "Pre-label", 1.0))
    terminal.show_report(report)
    out, err = capsys.readouterr()
    assert err == ""
    assert "12 tasks failed:" in out
    assert "[b]9[/b].png" in out
    assert "agent: ValueError: no box 9\n" in out
    assert "[b]10[/b].png" not in out
    assert out.endswith("  ... and 2 more\n")
    assert "\x1b" not in out


def test_the_report_table_has_a_row_per_stage_and_the_sums() -> None:
    """On a terminal: a table, with the pathways where there is room for them."""
    report = RunReport()
    for stage_uuid, title in ((STAGE, "Pre [red]label"), (UUID(int=9), "Triage")):
        report(StageStarted(stage_uuid, title, "f"))
        report(TaskFinished(TaskRef(uuid4(), uuid4(), "a", stage_uuid, title), Moved(GO), 1, 0.1))
    console = wide()
    console.print(terminal.report_table(report, pathways=True))
    shown = text_of(console)
    assert "Pre [red]label" in shown
    assert "total" in shown
    assert "go: 1" in shown


def test_check_lists_what_each_agent_needs(capsys: pytest.CaptureFixture[str]) -> None:
    """A line per agent: stage, uuid, function, needs."""
    terminal.show_check([("Pre-label", str(STAGE), "find_cats", ["AgentTask", "LabelRowV2"])])
    assert capsys.readouterr().out.splitlines()[1].split("  ") == [
        "Pre-label",
        str(STAGE),
        "find_cats()",
        "AgentTask, LabelRowV2",
    ]
