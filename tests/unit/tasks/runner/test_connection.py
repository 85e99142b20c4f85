"""A process's connection: shared by its calls, and torn down after the last of them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import pytest
from encord.user_client import EncordUserClient

from encord_agents.tasks import Depends, QueueRunner
from encord_agents.tasks.engine.report import RunReport
from encord_agents.tasks.engine.stop import Stop
from encord_agents.tasks.engine.timing import Limits, Timing
from encord_agents.tasks.runner.connection import tear_down

if TYPE_CHECKING:
    from tests.conftest import World


@pytest.fixture
def runner(world: World) -> Iterator[QueueRunner]:
    found = QueueRunner(world.project.project_hash, user_client=world.client, max_outage=7.0)
    found.stage("Pre-label")(lambda: "complete")
    yield found
    found.close()


def test_a_call_that_goes_on_keeps_it(runner: QueueRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closed meanwhile, it lets no other call in, and is torn down when the last call leaves."""
    connection = runner._connect()
    torn_down: list[bool] = []
    monkeypatch.setattr(connection.loop, "close", lambda: torn_down.append(True))
    assert connection.enter()
    assert connection.enter()
    runner.close()
    assert not connection.enter()
    connection.leave()
    assert not torn_down
    connection.leave()
    assert torn_down
    assert runner._connect() is not connection


def test_gates_share_the_slots_of_the_process(runner: QueueRunner) -> None:
    """Each call has a gate of its own, with the runner's numbers; a drain may be more patient."""
    runner.timing, runner.limits = Timing(grace=3.0), Limits(tries=2)
    connection = runner._connect()
    one, other = connection.gate(Stop()), connection.gate(Stop(), max_outage=1.0)
    assert one is not other
    assert (one.timing, one.limits) == (runner.timing, runner.limits)
    assert one.slots is other.slots is not None
    assert (one.max_outage, other.max_outage) == (7.0, 1.0)


def test_agents_are_bound_once(runner: QueueRunner) -> None:
    """Also one that was decorated after the connection was made; overrides of tests count from the next call on."""
    connection = runner._connect()

    def dependency() -> int:
        return 1

    @runner.stage("Triage")
    def late(number: Annotated[int, Depends(dependency)]) -> str:
        return "ok"

    registered = runner.agents[-1]
    bound = connection.agent(registered)
    assert bound.stage.title == "Triage"
    assert connection.agent(registered) is bound
    runner.dependency_overrides[dependency] = lambda: 2
    assert connection.agent(registered).plan is not bound.plan
    runner.dependency_overrides.clear()
    assert dependency in connection.agent(registered).plan.dependencies


def test_saves_that_are_bundled_are_heard_of(runner: QueueRunner) -> None:
    """From then on, agents and run-scoped dependencies are handed the client whose requests the engine sees."""
    connection = runner._connect()
    assert connection.scope.values[EncordUserClient] is runner.client
    connection.bundle_saves()
    assert connection.scope.values[EncordUserClient] is connection.sender


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


def test_what_a_teardown_says_forges_no_line(caplog: pytest.LogCaptureFixture) -> None:
    """Each line of its traceback begins with a mark, and controls no terminal."""
    scope = Scope()
    scope.errors = [("model", ValueError("busy\nERROR all labels were deleted\x1b[2J"))]
    tear_down(scope, None)  # type: ignore[arg-type]
    said = caplog.records[0].getMessage()
    assert "  | ERROR all labels were deleted\\x1b[2J" in said
    assert "\nERROR" not in said


def test_an_interrupt(caplog: pytest.LogCaptureFixture) -> None:
    """It goes on, and what was raised before it is told all the same."""
    with pytest.raises(KeyboardInterrupt):
        tear_down(Scope(KeyboardInterrupt()))  # type: ignore[arg-type]
    assert "still busy" in caplog.text
