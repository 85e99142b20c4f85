"""Who has which task, and who is to blame when a worker dies: with workers that only say what they are told to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from tests.unit.tasks.runner.plays import StagePlay

from encord_agents.tasks import QueueRunner
from encord_agents.tasks.engine.events import TaskFinished, TaskStarted
from encord_agents.tasks.engine.outcome import Failed, Fault, Moved, Phase, Skipped
from encord_agents.tasks.runner import messages
from encord_agents.tasks.runner.messages import WorkerDiedError, WorkerError
from encord_agents.tasks.runner.run_options import DrainOptions

if TYPE_CHECKING:
    from tests.conftest import World


class StubWorker:
    """A worker that does nothing by itself."""

    def __init__(self) -> None:
        self.ready = False
        self.dead = False
        self.heard: list[Any] = []

    def say(self, message: object) -> None:
        self.heard.append(message)

    @property
    def titles(self) -> list[str]:
        """The titles of the tasks that it was sent, batch by batch."""
        batches = [message.tasks for message in self.heard if isinstance(message, messages.Tasks)]
        return [" ".join(json.loads(one.task)["data_title"] for one in batch) for batch in batches]


class StubPool:
    """A pool of such workers."""

    may_repeat = False
    most_batches = 100

    def __init__(self, size: int) -> None:
        self.size = size
        self.workers: list[StubWorker] = []
        self.said: list[tuple[StubWorker, object]] = []

    @property
    def alive(self) -> list[StubWorker]:
        return [worker for worker in self.workers if not worker.dead]

    @property
    def missing(self) -> int:
        return self.size - len(self.alive)

    def start(self) -> StubWorker:
        self.workers.append(StubWorker())
        return self.workers[-1]

    def next(self, timeout: float) -> tuple[StubWorker, object] | None:
        return self.said.pop(0) if self.said else None

    def stop(self) -> None:
        pass


class Play(StagePlay):
    """A stage's turn over such workers."""

    def __init__(self, world: World, runner: QueueRunner, tasks: int, workers: int, batch_size: int) -> None:
        options = DrainOptions(batch_size=batch_size)
        super().__init__(world, runner, tasks, options, Path, lambda _: StubPool(workers))

    def ready(self) -> list[StubWorker]:
        """Have workers start that are wanted, and be ready."""
        self.drain._send()
        starting = [worker for worker in self.pool.alive if not worker.ready]
        for worker in starting:
            worker.ready = True
        self.pool.said += [(worker, messages.Ready()) for worker in starting]
        self.drain._collect(0.0)
        self.drain._send()
        return self.pool.alive

    def hear(self, worker: StubWorker, *said: object) -> None:
        self.pool.said += [(worker, message) for message in said]
        self.drain._collect(0.0)
        self.drain._send()

    def started(self, title: str) -> messages.Told:
        return messages.Told(TaskStarted(self.ref(title), 1))

    def ended(self, title: str) -> messages.AttemptEnded:
        return messages.AttemptEnded(self.ref(title).uuid)

    def dies(self, worker: StubWorker) -> None:
        worker.dead = True
        self.hear(worker, messages.Died("killed", ready=True))


def play(world: World, runner: QueueRunner, tasks: int = 8, workers: int = 1, batch_size: int = 2) -> Play:
    return Play(world, runner, tasks, workers, batch_size)


@pytest.mark.parametrize(
    ("tasks", "workers", "batch_size", "sent"),
    [
        (1, 4, 2, [["0"]]),
        (8, 1, 2, [["0 1", "2 3"]]),
        (8, 2, 2, [["0 1", "4 5"], ["2 3", "6 7"]]),
        (3, 2, 2, [["0 1"], ["2"]]),
        (5, 1, 10, [["0 1 2 3 4"]]),
    ],
)
def test_what_goes_where(
    world: World, runner: QueueRunner, tasks: int, workers: int, batch_size: int, sent: list[list[str]]
) -> None:
    """No more workers than there is work for; a batch to each in turn; two at a time before it is known how fast they
    are."""
    played = play(world, runner, tasks, workers, batch_size)
    assert [worker.titles for worker in played.ready()] == sent


@pytest.mark.parametrize(("seconds", "batches"), [(0.001, 4), (10.0, 2)])
def test_quick_agents_have_more_ahead(world: World, runner: QueueRunner, seconds: float, batches: int) -> None:
    """What one worker has ahead, another one that is idle cannot have."""
    played = play(world, runner, tasks=20)
    (worker,) = played.ready()
    played.hear(worker, played.finished("0", seconds=seconds), played.finished("1", seconds=seconds))
    assert len(worker.titles) == 1 + batches


@pytest.mark.parametrize("writing", [False, True])
def test_who_is_to_blame(world: World, runner: QueueRunner, writing: bool) -> None:
    """The task whose attempt had begun and not ended. It gets another try, then one alone; then it has failed, and goes
    down the failure pathway. All others go on: those that had not begun, and those that were being written."""
    played = play(world, runner, tasks=4, batch_size=4)
    (worker,) = played.ready()
    played.agent.history.succeed()
    if writing:
        played.hear(worker, played.started("0"), played.ended("0"))
    for sent in (["0 1 2 3"], ["0 1 2 3"], ["1"]):
        assert worker.titles == sent
        played.hear(worker, played.started("1"))
        played.dies(worker)
        (worker,) = played.ready()
    assert list(played.outcomes) == ["1"]
    outcome = played.outcomes["1"]
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.fault.exception, WorkerDiedError)
    assert world.titles("Review") == ["1"]


def test_what_was_lost_is_looked_for(world: World, runner: QueueRunner) -> None:
    """A task that is gone, when another worker asks for it, is found where its pathway leads: moved, unconfirmed."""
    played = play(world, runner, tasks=2)
    (worker,) = played.ready()
    world.project.move(world.project.tasks("Pre-label")[0].uuid, "Done")
    played.dies(worker)
    (worker,) = played.ready()
    played.hear(worker, messages.Told(TaskFinished(played.ref("0"), Skipped(), 0, 0.0)))
    assert played.outcomes["0"] == Moved(played.agent.pathways.find("complete"), confirmed=False)


def test_failures_count_over_all_workers(world: World, runner: QueueRunner) -> None:
    """A success in one of them is what makes the failure of another the task's, not the agent's."""
    played = play(world, runner, tasks=4, workers=2)
    first, second = played.ready()
    fault = Fault(Phase.AGENT, WorkerError("ValueError"), 1)
    played.hear(first, played.finished("0", Failed(fault)))
    played.hear(second, messages.Succeeded(UUID(int=1), named_a_pathway=True))
    played.hear(first, played.finished("1", Failed(fault)))
    assert [played.outcomes[title].moved_to is not None for title in ("0", "1")] == [False, True]
    assert world.titles("Review") == ["1"]


def test_others_hold_back(world: World, runner: QueueRunner) -> None:
    """A service that refuses one worker is left alone by the others too."""
    played = play(world, runner, tasks=4, workers=2)
    first, second = played.ready()
    played.hear(first, messages.Told(TaskStarted(played.ref("0"), 1), hold_back=7.0))
    assert messages.HoldBack(7.0) in second.heard
    assert messages.HoldBack(7.0) not in first.heard
