"""The teardown of run-scoped dependencies: told, whatever it raises."""

from __future__ import annotations

import logging

import pytest

from encord_agents.tasks.engine.report import RunReport
from encord_agents.tasks.runner.teardown import tear_down


class Scope:
    """Stands for a `RunScope` with two teardowns, of which one fails."""

    def __init__(self, *raised: BaseException) -> None:
        self.errors = [("model", ValueError("still busy"))]
        self.raised = list(raised)
        self.closed = 0

    def close(self) -> None:
        self.closed += 1
        if self.raised:
            raise self.raised.pop()


@pytest.mark.parametrize("report", [RunReport(), None])
def test_what_a_teardown_raises(caplog: pytest.LogCaptureFixture, report: RunReport | None) -> None:
    """It is in the log, with its traceback, and in the report if there is one; it is told once."""
    scope = Scope()
    for _ in range(2):
        tear_down(scope, report)  # type: ignore[arg-type]
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "model(), which is made once per run" in record.getMessage()
    if report is not None:
        assert report.teardown_errors == ["model(): ValueError: still busy"]


def test_an_interrupt(caplog: pytest.LogCaptureFixture) -> None:
    """It goes on, and what was raised before it is told all the same."""
    with pytest.raises(KeyboardInterrupt):
        tear_down(Scope(KeyboardInterrupt()))  # type: ignore[arg-type]
    assert "still busy" in caplog.text
