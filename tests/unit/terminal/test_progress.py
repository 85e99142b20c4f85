"""Lines and bars that show how far a run is, drawn from its events."""

from __future__ import annotations

import io
import logging
from uuid import UUID

import pytest
from rich.console import Console
from tests.unit.terminal.events import GO, STAGE, Clock, failed, finished, task, text_of, wide

from encord_agents.exceptions import PrintableError
from encord_agents.tasks.engine.events import PassFinished, StageFinished, StagePolled, StageStarted, TaskWouldWrite
from encord_agents.tasks.engine.outcome import Held, Moved
from encord_agents.terminal.counting import StageCounts
from encord_agents.terminal.progress import PlainProgress, RichProgress, progress_observer


def drawn(progress: RichProgress, console: Console) -> str:
    with console.capture() as capture:
        console.print(progress.render())
    return capture.get()


def test_plain_progress_is_a_line_per_start_and_finish() -> None:
    """A stage that is done before ten seconds have gone by is two lines."""
    out = io.StringIO()
    progress = PlainProgress(out, Clock())
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
    progress = PlainProgress(out, clock)
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
    progress = PlainProgress(out, Clock())
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
    progress = RichProgress(console, clock)
    try:
        progress(StageStarted(STAGE, "Pre [red]label[/red]", "find_cats"))
        progress(StagePolled(STAGE, "Pre [red]label[/red]", 100, False))
        progress(finished(Moved(GO)))
        progress(failed())
        clock.now += 2.0
        line = drawn(progress, console)
        assert "Pre [red]label[/red]" in line
        assert "2/100 so far" in line
        assert "1 moved 1 failed" in line
        assert "1.0/s" in line
        progress(StagePolled(STAGE, "Pre [red]label[/red]", 120, True))
        progress(StageFinished(STAGE, "Pre [red]label[/red]", 2.0))
        line = drawn(progress, console)
        assert "2/120 " in line
        assert "so far" not in line
    finally:
        progress.close()


def test_bars_fit_a_narrow_terminal() -> None:
    """80 columns hold a long title, a bar and all counts, one line per stage."""
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    progress = RichProgress(console, Clock())
    progress._counting.stages[STAGE] = StageCounts("A stage with a rather long title", 0.0, 9999, True, 900, 10, 20, 3)
    lines = drawn(progress, console).splitlines()
    assert len(lines) == 1
    assert len(lines[0]) <= 80
    assert "933/9999" in lines[0]


def test_the_failures_come_first_where_a_line_may_be_cut() -> None:
    """A count that a narrow terminal has no room for is never that of the failures."""
    console = Console(file=io.StringIO(), width=40, force_terminal=True, color_system=None)
    progress = RichProgress(console, Clock())
    progress._counting.stages[STAGE] = StageCounts("Pre-label", 0.0, 999, True, 900, 10, 20, 3)
    assert "20 f" in drawn(progress, console)


@pytest.mark.parametrize("at_work", [0, 10, 28, 29])
def test_more_stages_than_lines(at_work: int) -> None:
    """The stage at work is always drawn: finished ones share a line, with the sums of their counts."""
    console = Console(file=io.StringIO(), width=120, height=24, force_terminal=True, color_system=None)
    progress = RichProgress(console, Clock())
    for number in range(30):
        seconds = None if number == at_work else 1.0
        counts = StageCounts(f"Stage {number}.", 0.0, 3, seconds is not None, 2, 0, 1, 0, seconds)
        progress._counting.stages[UUID(int=number)] = counts
    lines = drawn(progress, console).splitlines()
    assert len(lines) < console.height
    assert any(line.startswith(f"Stage {at_work}. ") for line in lines)
    together = 30 - (len(lines) - 1)
    assert lines[0].startswith(f"{together} finished stages ")
    assert f"{3 * together}/{3 * together} " in lines[0]
    assert f"{2 * together} moved {together} failed" in lines[0]


def test_log_records_go_above_the_bars(caplog: pytest.LogCaptureFixture) -> None:
    """Where nobody configured logging, the library's warnings are printed through the console that draws the bars."""
    console = wide()
    log = logging.getLogger("encord_agents")
    root = logging.getLogger()
    handlers, root.handlers = root.handlers, []  # pytest's own would count as the user's
    try:
        progress = RichProgress(console, Clock())
        progress(StageStarted(STAGE, "Pre-label", "find_cats"))
        log.warning("a [bold]warning[/bold]")
        progress.close()
        progress.close()
        assert log.handlers == []
    finally:
        root.handlers = handlers
    assert "WARNING: a [bold]warning[/bold]" in text_of(console)


def test_progress_kinds(capsys: pytest.CaptureFixture[str]) -> None:
    """`auto` is lines where stderr is no terminal; `none` is nothing; another word is refused with the choices."""
    assert progress_observer("none") is None
    assert isinstance(progress_observer("auto"), PlainProgress)
    assert isinstance(progress_observer("rich"), RichProgress)
    with pytest.raises(PrintableError, match="'auto', 'rich', 'plain' or 'none'"):
        progress_observer("loud")  # type: ignore[arg-type]


def test_what_a_dry_run_would_write_goes_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    """One line per task: it is the result of a dry run."""
    progress = PlainProgress(io.StringIO(), Clock())
    progress(TaskWouldWrite(task("cat.png"), "down 'go', 1 object"))
    assert capsys.readouterr().out.endswith("in 'Pre-label': down 'go', 1 object\n")
