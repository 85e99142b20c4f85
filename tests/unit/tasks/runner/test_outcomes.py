"""The outcomes of a stage's tasks in a drain, by what a worker tells of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from encord.exceptions import AuthenticationError

from encord_agents.exceptions import DependencyError
from encord_agents.local import Fault as Trouble
from encord_agents.tasks import QueueRunner
from encord_agents.tasks.engine.backlog import Backlog
from encord_agents.tasks.engine.events import Event, Events, TaskFinished, TaskWouldWrite
from encord_agents.tasks.engine.gate import Gate
from encord_agents.tasks.engine.outcome import Failed, Fault, Held, Moved, Outcome, Phase, Skipped
from encord_agents.tasks.engine.poll import StageReader
from encord_agents.tasks.engine.stop import Stop
from encord_agents.tasks.engine.write import Writer
from encord_agents.tasks.runner import messages
from encord_agents.tasks.runner.messages import WorkerError
from encord_agents.tasks.runner.outcomes import Drain, Outcomes, Sent
from encord_agents.tasks.runner.run_options import DrainOptions

if TYPE_CHECKING:
    from tests.conftest import World

    from encord_agents.tasks.engine.context import Agent

FAULT = Fault(Phase.AGENT, WorkerError("ValueError: bad pixels"), 2)


class Told:
    """A stage with a task, and what workers tell of it."""

    def __init__(self, world: World, **options: Any) -> None:
        world.project.add_placeholders(1, title="a")
        self.runner = QueueRunner(world.project.project_hash, user_client=world.client)
        self.runner.stage("Pre-label", failure_pathway="review")(lambda: "complete")
        self.world = world
        project = world.client.get_project(world.project.project_hash)
        (self.agent,) = self.runner._bind_all(project)
        self.events: list[Event] = []
        gate = Gate(Stop(), max_outage=0.0)

        def writer(agent: Agent) -> Writer:
            return Writer(agent, project, world.client, gate)

        self.run = Drain(gate, gate.stop, Events([], record=self.events.append), writer, DrainOptions(**options))
        backlog = Backlog(self.agent.row_of)
        StageReader(self.agent.stage, gate, backlog, Events([])).read(10)
        self.outcomes = Outcomes(self.run, self.agent, backlog)
        (waiting,) = backlog.take(1)
        self.sent = Sent(waiting.task, waiting.seen_at)

    def tell(self, outcome: Outcome, *, attempts: int = 1, **more: Any) -> None:
        event = TaskFinished(self.agent.ref(self.sent.task), outcome, attempts, 0.5, 0.25)
        self.outcomes.take(self.sent, messages.Told(event, **more), event)
        self.outcomes.send_down()

    @property
    def finished(self) -> list[TaskFinished]:
        return [event for event in self.events if isinstance(event, TaskFinished)]


@pytest.fixture
def told(world: World) -> Iterator[Callable[..., Told]]:
    made: list[Told] = []

    def make(**options: Any) -> Told:
        made.append(Told(world, **options))
        return made[-1]

    yield make
    for one in made:
        one.runner.close()


@pytest.mark.parametrize("outcome", [Held(), Skipped(), Failed(Fault(Phase.MOVE, WorkerError("refused"), 1))])
def test_what_the_worker_has_decided(told: Callable[..., Told], outcome: Outcome) -> None:
    """Its outcome counts, with the seconds of its attempts."""
    one = told()
    one.tell(outcome)
    (event,) = one.finished
    assert (event.outcome, event.attempts, event.seconds, event.own_saves) == (outcome, 1, 0.5, 0.25)
    assert (one.sent.task.uuid in one.agent.history.known) == (not isinstance(outcome, Skipped))


@pytest.mark.parametrize(("proven", "there"), [(False, "Pre-label"), (True, "Review")])
def test_a_failure(told: Callable[..., Told], proven: bool, there: str) -> None:
    """It goes down the failure pathway once the agent has done well, in whatever worker."""
    one = told()
    if proven:
        one.agent.history.succeed()
    one.tell(Failed(FAULT), attempts=2)
    (event,) = one.finished
    assert isinstance(event.outcome, Failed)
    assert (event.outcome.moved_to is not None) == proven
    assert event.attempts == 2
    assert one.world.titles(there) == ["a"]


def test_a_failure_that_nobody_is_to_blame_for(told: Callable[..., Told]) -> None:
    """It stays where it is."""
    one = told()
    one.agent.history.succeed()
    one.tell(Failed(FAULT), blameless=True)
    assert one.world.titles("Pre-label") == ["a"]


@pytest.mark.parametrize("proven", [False, True])
def test_a_failure_that_may_be_every_tasks(told: Callable[..., Told], proven: bool) -> None:
    """The worker's own exception ends the run, unless a task has done well."""
    one = told()
    if proven:
        one.agent.history.succeed()
    fault = Fault(Phase.INJECT, WorkerError("no weights"), 1, run_scoped=True)
    one.tell(Failed(fault), suspect=messages.Carried(DependencyError("no weights", function="agent")))
    assert isinstance(one.outcomes.error, DependencyError) is not proven
    assert len(one.finished) == 1


@pytest.mark.parametrize("moved", [False, True])
def test_a_task_of_a_lost_worker_that_is_gone(told: Callable[..., Told], moved: bool) -> None:
    """It is moved, unconfirmed, if it is where a pathway leads; else it is skipped, and both reasons are given."""
    one = told()
    one.sent.lost = True
    if moved:
        one.world.project.move(str(one.sent.task.uuid), "Done")
    one.tell(Skipped(), attempts=0)
    (event,) = one.finished
    assert event.attempts == 1, "the lost worker's"
    if moved:
        assert event.outcome == Moved(one.agent.pathways.find("complete"), confirmed=False)
    else:
        assert "unless a worker that died had moved it" in str(event.outcome)


def test_a_dry_run(told: Callable[..., Told]) -> None:
    """It is said what would have become of a failure, and nothing moves."""
    one = told(dry_run=True)
    one.agent.history.succeed()
    one.tell(Failed(FAULT))
    assert [event.summary for event in one.events if isinstance(event, TaskWouldWrite)]
    assert one.world.titles("Pre-label") == ["a"]


def test_a_failure_pathway_that_cannot_be_written(told: Callable[..., Told]) -> None:
    """The task is listed as unwritten, and the run ends."""
    one = told()
    one.agent.history.succeed()
    one.world.platform.faults.add(Trouble("actions", status=401))
    one.tell(Failed(FAULT))
    assert isinstance(one.outcomes.error, AuthenticationError)
    assert [ref.data_title for ref in one.run.unwritten] == ["a"]
    assert one.finished == []


def test_failures_in_a_row(told: Callable[..., Told]) -> None:
    """They are counted here, over all workers."""
    one = told(max_consecutive_failures=1)
    one.tell(Failed(FAULT))
    assert "failed" in (one.outcomes.halted or "")
    assert one.run.stop.requested


def test_the_first_error_counts(told: Callable[..., Told]) -> None:
    """Others that follow from it do not replace it."""
    one = told()
    first = ValueError()
    for error in (first, OSError()):
        one.outcomes.end_run(error)
    assert one.outcomes.error is first


def test_a_task_that_was_seen_before_the_machine_slept(world: World) -> None:
    """A worker asks whether it is still there, as about one that a lost worker had."""
    told, slept = Told(world), [0.0]
    gate = Gate(Stop(), clock=lambda: told.sent.seen_at + 5.0, asleep=lambda: slept[0])
    assert told.sent.on_its_way(gate).age == 5.0
    slept[0] = 3600.0
    assert told.sent.on_its_way(gate).age == math.inf
