"""The driver of a worker: fed by messages, and its events sent as messages."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from encord.exceptions import AuthenticationError

from encord_agents.core.queues import SimpleQueue
from encord_agents.local import Fault as Trouble
from encord_agents.tasks import QueueRunner
from encord_agents.tasks.engine.events import TaskFinished, TaskStarted
from encord_agents.tasks.engine.outcome import Failed, Held, Moved, Skipped
from encord_agents.tasks.engine.stop import Stop
from encord_agents.tasks.engine.timing import Timing
from encord_agents.tasks.runner import messages
from encord_agents.tasks.runner.driven import Feed
from encord_agents.tasks.runner.run_options import DrainOptions

if TYPE_CHECKING:
    from tests.conftest import World


class Worker:
    """A stage that is driven in this process."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.runner = QueueRunner(world.project.project_hash, user_client=world.client, max_outage=1.0)
        self.feed: Feed = SimpleQueue()
        self.said: list[Any] = []
        self.stop = Stop()
        self.options: dict[str, Any] = {"num_retries": 0}

    def give(self, *titles: str, age: float = 0.0) -> None:
        there = {spec["data_title"]: spec for spec in map(json.loads, self.runner.functions[0].waiting())}
        self.feed.put(messages.Tasks([messages.OnItsWay(json.dumps(there[title]), age) for title in titles]))

    def drive(self) -> messages.Ended:
        """Drive the stage to the end of what was fed."""
        self.feed.put(None)
        options = DrainOptions(**self.options)
        return self.runner.functions[0].drive(self.feed, options, stop=self.stop, say=self.said.append)

    def of(self, kind: type) -> list[Any]:
        """The events of a kind."""
        return [one.event for one in self.said if isinstance(one, messages.Told) and isinstance(one.event, kind)]

    @property
    def outcomes(self) -> dict[str, Any]:
        return {event.task.data_title: event.outcome for event in self.of(TaskFinished)}


@pytest.fixture
def worker(world: World) -> Iterator[Worker]:
    for title in ("a", "b", "c"):
        world.project.add_placeholders(1, title=title)
    found = Worker(world)
    yield found
    found.runner.close()


def serve(worker: Worker, function: Callable[..., Any]) -> None:
    worker.runner.stage("Pre-label")(function)


def test_tasks_as_they_come(worker: Worker) -> None:
    """Each batch is worked on; the end of the feed is the end of the stage."""
    serve(worker, lambda: "complete")
    worker.give("a", "b")
    worker.give("c")
    assert worker.drive() == messages.Ended()
    assert [type(outcome) for outcome in worker.outcomes.values()] == [Moved] * 3
    assert worker.world.count("Done") == 3


def test_what_the_parent_hears_of_a_task(worker: Worker) -> None:
    """That its attempt began, that it ended, that the agent did well, and the outcome: in this order."""
    serve(worker, lambda: "complete")
    worker.give("a")
    worker.drive()
    (uuid,) = {event.task.uuid for event in worker.of(TaskFinished)}
    kinds = [type(one.event) if isinstance(one, messages.Told) else type(one) for one in worker.said]
    wanted = [TaskStarted, messages.AttemptEnded, messages.Succeeded, TaskFinished]
    assert [kind for kind in kinds if kind in wanted] == wanted
    assert messages.AttemptEnded(uuid) in worker.said


def test_a_task_that_failed_stays(worker: Worker) -> None:
    """Only the parent knows how tasks fare in all workers, so it decides about failure pathways and the run's end."""

    def fails() -> str:
        raise SystemExit("it is over")

    worker.runner.stage("Pre-label", failure_pathway="review")(fails)
    worker.give("a", "b", "c")
    assert worker.drive() == messages.Ended()
    assert [type(outcome) for outcome in worker.outcomes.values()] == [Failed] * 3
    assert worker.world.count("Pre-label") == 3
    assert not any(isinstance(one, messages.Succeeded) for one in worker.said)


def test_a_task_that_was_seen_long_ago_is_asked_for(worker: Worker) -> None:
    """One that is gone is skipped, without an attempt."""
    serve(worker, lambda: None)
    worker.give("a", "b", age=float("inf"))
    worker.world.project.move(worker.world.project.tasks("Pre-label")[0].uuid, "Done")
    worker.drive()
    assert worker.outcomes == {"a": Skipped(), "b": Held()}


def test_a_service_that_wants_quiet(worker: Worker) -> None:
    """A refusal in another worker holds attempts back here, and the parent is told for how long at the end."""
    worker.runner.timing = Timing(longest_quiet=0.3)
    serve(worker, lambda: "complete")
    worker.feed.put(messages.HoldBack(0.2))
    worker.give("a")
    worker.drive()
    assert worker.world.count("Done") == 1
    (agent,) = worker.runner._connect().agents.values()
    assert agent.history.quiet.is_kept


def test_a_stop(worker: Worker) -> None:
    """No task begins; they have no outcome, and stay."""
    serve(worker, lambda: "complete")
    worker.give("a", "b", "c")
    worker.stop.request()
    assert worker.drive() == messages.Ended()
    assert worker.outcomes == {}
    assert worker.world.count("Pre-label") == 3


def test_an_error_that_ends_the_stage(worker: Worker) -> None:
    """It is in the last message, and is the SDK's own."""
    serve(worker, lambda: "complete")
    worker.give("a")
    worker.world.platform.faults.add(Trouble("actions", status=401))
    ended = worker.drive()
    assert ended.error is not None
    assert isinstance(ended.error.error, AuthenticationError)
    assert [ref.data_title for ref in ended.unwritten] == ["a"]


def test_an_interrupt(worker: Worker) -> None:
    """A terminal's Ctrl-C reaches the processes of a user's executor: finished tasks are written and told."""

    class Interrupted(SimpleQueue[Any]):
        def get(self, *, timeout: float | None = None) -> Any:
            if (given := super().get(timeout=timeout)) is None:
                raise KeyboardInterrupt
            return given

    worker.feed = Interrupted()
    serve(worker, lambda: "complete")
    worker.give("a", "b", "c")
    ended = worker.drive()
    assert isinstance(ended.error, messages.Carried)
    assert isinstance(ended.error.error, KeyboardInterrupt)
    moved = [title for title, outcome in worker.outcomes.items() if isinstance(outcome, Moved)]
    assert worker.world.count("Done") == len(moved) + len(ended.unwritten)


def test_retries_are_made_here(worker: Worker) -> None:
    """With the options of the run."""
    attempts: list[int] = []

    def fails_once() -> str:
        attempts.append(1)
        if len(attempts) == 1:
            raise ValueError
        return "complete"

    serve(worker, fails_once)
    worker.options["num_retries"] = 1
    worker.give("a")
    worker.drive()
    assert [event.attempts for event in worker.of(TaskFinished)] == [2]
