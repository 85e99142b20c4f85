"""A report as HTML: counts, pathways, failures with their tracebacks, and nothing of other people's text as markup."""

from __future__ import annotations

import re
from uuid import UUID

from encord_agents.tasks.engine.events import StageFinished, StageStarted, TaskFinished, TaskRef
from encord_agents.tasks.engine.outcome import Failed, Fault, Moved, Pathway, Phase
from encord_agents.tasks.engine.report import RunReport

STAGE, OTHER = UUID(int=1), UUID(int=2)
GO = Moved(Pathway(UUID(int=3), "<go>", UUID(int=4)))


def report(stages: int = 1, failures: int = 0, message: str = "<script>") -> RunReport:
    made = RunReport()
    for number, stage in enumerate((STAGE, OTHER)[:stages]):
        made(StageStarted(stage, f"Stage & {number}", "agent"))
        made(
            TaskFinished(TaskRef(UUID(int=100 + number), UUID(int=9), "a.png", stage, f"Stage & {number}"), GO, 1, 0.5)
        )
        made(StageFinished(stage, f"Stage & {number}", 0.5))
    for number in range(failures):
        task = TaskRef(UUID(int=1000 + number), UUID(int=9), f"<b>{number}</b>.png", STAGE, "Stage & 0")
        try:
            raise ValueError(message)
        except ValueError as error:
            made(TaskFinished(task, Failed(Fault(Phase.AGENT, error, 1)), 4, 0.5))
    return made


def cells(shown: str) -> list[list[str]]:
    """The text of a table's cells, row by row."""
    rows = re.findall(r"<tr>(.*?)</tr>", shown, re.DOTALL)
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in rows]


def test_counts_and_pathways() -> None:
    """A row per stage, where its tasks went, and sums if there are several stages."""
    head, only = cells(report()._repr_html_())
    assert head == ["stage", "moved", "held", "failed", "skipped", "attempts", "seconds", "went down"]
    assert only == ["Stage &amp; 0", "1", "0", "0", "0", "1", "0.5", "&lt;go&gt;: 1"]
    _, _, _, total = cells(report(2)._repr_html_())
    assert total == ["total", "2", "0", "0", "0", "2", "1.0", ""]


def test_failures() -> None:
    """The first ten, each with its traceback to unfold, and how many more there are."""
    shown = report(failures=12)._repr_html_()
    assert "12 failed:" in shown
    assert "and 2 more" in shown
    assert shown.count("<details>") == 10
    assert "Traceback" in shown
    assert "<script>" not in shown
    assert "<b>1</b>" not in shown
    assert "ValueError: &lt;script&gt;" in shown


def test_a_long_message_is_cut() -> None:
    """A server's answer of a megabyte does not fill the notebook's file."""
    assert len(report(failures=1, message="x" * 1_000_000)._repr_html_()) < 50_000


def test_nothing_to_tell() -> None:
    """A run without a stage is a sentence."""
    assert RunReport()._repr_html_() == "<div>No task was waiting.</div>"
