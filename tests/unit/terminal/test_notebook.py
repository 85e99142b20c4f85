"""Live bars below a notebook's cell, without a kernel: what is shown, how often, and what happens if it cannot be."""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Callable
from types import SimpleNamespace
from uuid import UUID

import pytest
from tests.waiting import until

from encord_agents.exceptions import PrintableError
from encord_agents.tasks.engine.events import (
    Event,
    PassFinished,
    StageFinished,
    StagePolled,
    StageStarted,
    TaskFinished,
    TaskRef,
    TaskWouldWrite,
)
from encord_agents.tasks.engine.outcome import Failed, Fault, Moved, Pathway, Phase
from encord_agents.terminal.notebook import Bundle, NotebookProgress, in_notebook
from encord_agents.terminal.progress import PlainProgress, progress_observer

STAGE = UUID(int=1)
MOVED = Moved(Pathway(UUID(int=2), "go", UUID(int=3)))
TASK = TaskRef(UUID(int=4), UUID(int=5), "a.png", STAGE, "Pre-label")
STARTED = StageStarted(STAGE, "<b>Pre-label</b>", "find_cats")


class Screen:
    """A display, and all that it showed."""

    def __init__(self, fails: type[Exception] | None = None) -> None:
        self.shown: list[Bundle] = []
        self.threads: set[int] = set()
        self.fails = fails

    def __call__(self, bundle: Bundle) -> Callable[[Bundle], object]:
        self.replace(bundle)
        return self.replace

    def replace(self, bundle: Bundle) -> None:
        if self.fails is not None:
            raise self.fails("no display")
        self.threads.add(threading.get_ident())
        self.shown.append(bundle)


def progress(screen: Screen, clock: Callable[[], float] = lambda: 100.0, *, every: float = 3600) -> NotebookProgress:
    return NotebookProgress(lambda: PlainProgress(io.StringIO()), show=screen, clock=clock, every=every)


def run(shown: NotebookProgress, *events: Event) -> None:
    for event in (STARTED, StagePolled(STAGE, "", 4, True), *events):
        shown(event)


def test_a_table_that_is_replaced() -> None:
    """It is shown when the first stage starts, and drawn a last time at the end; titles are never read as HTML."""
    screen = Screen()
    shown = progress(screen)
    run(shown, TaskFinished(TASK, MOVED, 1, 0.5), StageFinished(STAGE, "", 65.0))
    shown.close()
    shown.close()
    first, last = screen.shown
    assert "0/0 so far" in first["text/html"]
    assert '<progress style="width:12em"></progress>' in first["text/html"]
    assert "&lt;b&gt;Pre-label&lt;/b&gt;" in last["text/html"]
    assert 'value="1" max="4"' in last["text/html"]
    assert "1/4" in last["text/html"]
    assert last["text/plain"] == "<b>Pre-label</b>: 1 of 4; 1 moved; 1:05"


def test_the_time_that_is_left() -> None:
    """At the rate so far, once all tasks are known and one is done."""
    now = [0.0]
    shown = progress(Screen(), lambda: now[0])
    run(shown)
    now[0] = 30.0
    assert shown.bundle()["text/plain"].endswith("; 0:30")
    shown(TaskFinished(TASK, MOVED, 1, 0.5))
    assert shown.bundle()["text/plain"].endswith("; 0:30, 1:30 left")
    shown.close()


def test_updates_come_from_a_thread_and_only_where_something_changed() -> None:
    """Whoever runs tasks draws nothing; without a change nothing is sent."""
    screen = Screen()
    shown = progress(screen, every=0.001)
    run(shown)
    assert until(lambda: len(screen.shown) >= 2)
    shown(TaskFinished(TASK, MOVED, 1, 0.5))
    assert until(lambda: "1 of 4" in screen.shown[-1]["text/plain"])
    shown.close()
    assert len({repr(bundle) for bundle in screen.shown[1:]}) == len(screen.shown[1:])
    assert len(screen.threads) == 2


def test_polling_has_one_line_for_the_last_pass() -> None:
    """Passes do not pile up below the cell."""
    screen = Screen()
    shown = progress(screen)
    for number in (1, 2):
        run(shown, StageFinished(STAGE, "", 0.1), PassFinished(number, 0, 0, 0, 0, 0.1, 9.9))
    shown.close()
    assert screen.shown[-1]["text/html"].count("Pass") == 1
    assert "Pass 2: no task in 0.1 s; the next in 10 s" in screen.shown[-1]["text/plain"]


@pytest.mark.parametrize("fails", [RuntimeError, OSError])
def test_without_a_display_there_are_lines(fails: type[Exception]) -> None:
    """A kernel that refuses to show something gets lines instead."""
    out = io.StringIO()
    shown = NotebookProgress(lambda: PlainProgress(out), show=Screen(fails))
    run(shown, TaskFinished(TASK, MOVED, 1, 0.5), StageFinished(STAGE, "", 2.0))
    shown.close()
    assert out.getvalue().endswith("<b>Pre-label</b>: finished 1 task in 2.0 s; 1 moved\n")


def test_a_display_that_fails_later() -> None:
    """A front end that leaves during the run disturbs nothing."""
    screen = Screen()
    shown = progress(screen)
    run(shown)
    screen.fails = OSError
    shown(StageFinished(STAGE, "", 2.0))
    shown.close()


def test_the_first_failure_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """It is below the bars, with its traceback to unfold; those that follow are left to the report."""
    shown = progress(Screen())
    failures = [Failed(Fault(Phase.AGENT, ValueError(why), 1)) for why in ("<b>why</b>", "another")]
    run(shown, *[TaskFinished(TASK, failure, 1, 0.5) for failure in failures])
    bundle = shown.bundle()
    assert "The first failure: a.png" in bundle["text/plain"]
    assert "ValueError: <b>why</b>" in bundle["text/plain"]
    assert bundle["text/html"].count("<details>") == 1
    assert "&lt;b&gt;why" in bundle["text/html"]
    assert "another" not in bundle["text/html"]
    shown.close()
    assert capsys.readouterr().err == ""


def test_a_first_failure_with_a_message_for_a_person() -> None:
    """It has no traceback, which would be of this library."""
    shown = progress(Screen())
    run(shown, TaskFinished(TASK, Failed(Fault(Phase.INJECT, PrintableError("Install it."), 1)), 1, 0.5))
    assert "Install it." in shown.bundle()["text/html"]
    assert "<details>" not in shown.bundle()["text/html"]
    shown.close()


def test_dry_runs_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    """What would be written goes to stdout, as it does elsewhere."""
    shown = progress(Screen())
    run(shown, TaskWouldWrite(TASK, "would move"))
    shown.close()
    assert "would move" in capsys.readouterr().out


def test_what_is_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel is one; IPython on a terminal, a script that imports IPython, and a script without it are not."""
    for shell, expected in ((SimpleNamespace(kernel=object()), True), (SimpleNamespace(), False), (None, False)):
        monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda shell=shell: shell))  # type: ignore[arg-type]
        assert in_notebook() is expected
        if expected:
            assert isinstance(progress_observer("auto"), NotebookProgress)
            assert isinstance(progress_observer("rich"), NotebookProgress)
            assert isinstance(progress_observer("plain"), PlainProgress)
    monkeypatch.delitem(sys.modules, "IPython")
    assert in_notebook() is False
