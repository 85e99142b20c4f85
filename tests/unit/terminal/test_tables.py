"""Tables on stdout where it is no terminal: columns of plain text."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from tests.unit.terminal.events import GO, STAGE, failed, text_of, wide

from encord_agents.tasks.engine.events import StageFinished, StageStarted, TaskFinished, TaskRef
from encord_agents.tasks.engine.outcome import Failed, Fault, Moved, Pathway, Phase
from encord_agents.tasks.engine.report import RunReport
from encord_agents.terminal import tables
from encord_agents.terminal.tables import MAX_LINE, NARROW, report_table, show_check, show_report, show_table


def report_of(error: BaseException, pathway: Pathway | None = None, title: str = "cat.png") -> RunReport:
    """The report of one task that failed."""
    report = RunReport()
    task = TaskRef(UUID(int=2), UUID(int=3), title, STAGE, "Pre-label")
    report(TaskFinished(task, Failed(Fault(Phase.AGENT, error, 1), pathway), 1, 0.5))
    return report


@pytest.mark.parametrize(
    ("rows", "lines"),
    [
        ([], ["name  number"]),
        ([["a", 1], ["longer", 22]], ["name    number", "a       1", "longer  22"]),
        ([["", 1]], ["name  number", "      1"]),
        ([["two\nlines\there", None]], ["name            number", "two lines here  None"]),
        ([["\x1b[31mred", 1]], ["name         number", "\\x1b[31mred  1"]),
    ],
)
def test_columns_are_as_wide_as_their_widest_cell(
    rows: list[list[Any]], lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Every row is one line without spaces at its end, and its text can steer nothing."""
    show_table(["name", "number"], rows)
    assert capsys.readouterr().out.splitlines() == lines


def test_agents_without_needs(capsys: pytest.CaptureFixture[str]) -> None:
    """The line of an agent that needs nothing ends with its name."""
    show_check([("Pre\nlabel", "uuid", "f", [])])
    assert capsys.readouterr().out.splitlines()[1] == "Pre label  uuid  f()"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("no box\nand more"), "ValueError: no box"),
        (ValueError("\x1b[2Jgone"), "ValueError: \\x1b[2Jgone"),
        (ValueError("x" * 1000), f"ValueError: {'x' * (MAX_LINE - 12)}... (612 more characters)"),
    ],
)
def test_a_failure_is_one_line(error: BaseException, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The task, its stage, the phase and the first line of the error, cut to a readable length."""
    show_report(report_of(error, title="a\nb"))
    out = capsys.readouterr().out
    assert f"\n1 task failed:\n  a b ({UUID(int=2)}) in 'Pre-label', agent: {line}\n" in out


def test_a_failure_that_went_down_a_pathway(capsys: pytest.CaptureFixture[str]) -> None:
    """The line of a failed task says which failure pathway took it."""
    show_report(report_of(ValueError("no"), Pathway(UUID(int=4), "by\nhand", UUID(int=5))))
    assert "agent, went down 'by hand': ValueError: no" in capsys.readouterr().out


@pytest.mark.parametrize("columns", [20, 40, 60, NARROW])
def test_the_report_on_a_narrow_terminal(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every stage has its whole name: in the table if there is room, in lines that the terminal wraps if not."""
    monkeypatch.setattr(tables, "is_terminal", lambda stream: True)
    monkeypatch.setenv("COLUMNS", str(columns))
    report = RunReport()
    report(StageStarted(STAGE, "Pre-label", "find_cats"))
    report(failed())
    show_report(report)
    out = capsys.readouterr().out
    assert "Pre-label" in out
    assert ("╭" in out) == (columns == NARROW)


def test_the_report_names_ten_failures_and_counts_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    """Elsewhere than on a terminal: plain text on stdout, one line per failure, its first line only."""
    report = RunReport()
    report(StageStarted(STAGE, "Pre-label", "find_cats"))
    for i in range(12):
        report(failed(f"no box {i}\nand more", title=f"[b]{i}[/b].png"))
    report(StageFinished(STAGE, "Pre-label", 1.0))
    show_report(report)
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
    console.print(report_table(report, pathways=True))
    shown = text_of(console)
    assert "Pre [red]label" in shown
    assert "total" in shown
    assert "go: 1" in shown


def test_check_lists_what_each_agent_needs(capsys: pytest.CaptureFixture[str]) -> None:
    """A line per agent: stage, uuid, function, needs."""
    show_check([("Pre-label", str(STAGE), "find_cats", ["AgentTask", "LabelRowV2"])])
    assert capsys.readouterr().out.splitlines()[1].split("  ") == [
        "Pre-label",
        str(STAGE),
        "find_cats()",
        "AgentTask, LabelRowV2",
    ]
