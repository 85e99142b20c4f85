"""One call of a queue function: a result for each task, whatever becomes of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from encord.exceptions import AuthenticationError

from encord_agents.exceptions import OutageError, PrintableError
from encord_agents.tasks import QueueRunner
from encord_agents.tasks.engine.stop import Leaving
from encord_agents.tasks.runner.call import Call, not_done
from encord_agents.tasks.runner.specs import Spec, read_specs

if TYPE_CHECKING:
    from tests.conftest import World

SPEC = Spec(UUID(int=1), UUID(int=2))


@pytest.mark.parametrize(
    ("trouble", "retryable", "has_traceback"),
    [
        (OutageError(5.0, TimeoutError("late")), True, False),
        (AuthenticationError("no such key"), False, False),
        (PrintableError("the set-up is wrong"), False, False),
        (Leaving(), True, False),
        (TimeoutError("cut off"), True, True),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_task_without_an_outcome_of_its_own(trouble: BaseException, retryable: bool, has_traceback: bool) -> None:
    """It has failed, and may be tried again unless somebody has to change something first."""
    result = not_done(SPEC, trouble, phase="load")
    assert (result.outcome, result.phase, result.retryable) == ("failed", "load", retryable)
    assert (result.traceback is not None) == has_traceback
    assert "unconfirmed" in (not_done(SPEC, trouble, phase="move").error or "")


@pytest.fixture
def runner(world: World) -> Iterator[QueueRunner]:
    found = QueueRunner(world.project.project_hash, user_client=world.client)
    yield found
    found.close()


def test_a_result_for_each_task(world: World, runner: QueueRunner) -> None:
    """Moved, skipped, malformed; and one that is asked about without having been given."""
    function = runner.stage("Pre-label")(lambda: "complete")
    world.project.add_placeholders(2)
    here, gone = read_specs(list(function.waiting()))[0]
    world.project.move(str(gone.uuid), "Done")
    with runner._in_use() as connection:
        call = Call(connection, connection.agent(runner.agents[0]), None, final=True, bundle_saves=False)
        malformed = Spec(UUID(int=3), UUID(int=3), "This is no task")
        call.run([here, gone, malformed])
        assert [call.result(one).outcome for one in (here, gone, malformed)] == ["moved", "skipped", "failed"]
        assert "It is not known what became of the task" in (call.result(SPEC).error or "")


def test_two_tasks_of_one_row(world: World, runner: QueueRunner) -> None:
    """The second is loaded after the first is written."""
    function = runner.stage("Pre-label")(lambda: "complete")
    (unit,) = world.project.add_placeholders(1)
    world.project.add_task(unit)
    specs, _ = read_specs(list(function.waiting()))
    world.platform.journal.clear()
    with runner._in_use() as connection:
        call = Call(connection, connection.agent(runner.agents[0]), None, final=True, bundle_saves=False)
        call.run(specs)
    assert world.requests("tasks", "actions") == ["tasks", "actions", "actions"]
