"""When a notification is due, and what becomes of it: with a clock of the test's own, and nothing sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from encord_agents.core.webhooks import parse_notification
from encord_agents.local import AgentStage, LocalPlatform, LocalPlatformError, LocalProject, Stage, Workflow
from encord_agents.local import notifications as store
from encord_agents.local.receivers import Receiver

WORKFLOW = Workflow(
    [AgentStage("Pre-label", {"go": "Triage"}), AgentStage("Triage", {"go": "Review"}), Stage("Review", "review")]
)
ADDRESS = "http://127.0.0.1:9/notifications"
LATER = 4e9
"""A time by which every wait is over."""


class World:
    """A platform that is not up, so that nothing is sent but by the test."""

    def __init__(self) -> None:
        self.platform = LocalPlatform()
        self.project = self.platform.create_project(workflow=WORKFLOW)
        self.database = self.project._database

    def receiver(self, **options: Any) -> Receiver:
        return self.platform.receivers.add(ADDRESS, **options)

    def due(self, now: float) -> list[store.Sending]:
        store.collect(self.database, self.platform._service.catalogue, now)
        return store.due(self.database, now)

    def answer(self, sending: store.Sending, *, accepted: bool, now: float) -> None:
        answer = "202 Accepted" if accepted else "503 Service Unavailable"
        store.answered(self.database, sending.uid, answer, accepted=accepted, at=now, seconds=0.1, now=now)

    def deliver(self, now: float) -> list[tuple[str, int, str]]:
        """Accept what is due. Returns stage, number of tasks and reason of each."""
        found = []
        for sending in self.due(now):
            said = parse_notification(sending.body)
            title = self.project.stage(str(said.stage_uuid)).title
            found.append((title, said.pending_count, str(said.reason)))
            self.answer(sending, accepted=True, now=now)
        return found

    def since(self) -> float:
        with self.database.read() as connection:
            return float(connection.execute("SELECT min(since) FROM arrivals").fetchone()[0])


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.platform.close()


def test_few_tasks_wait_and_many_do_not(world: World) -> None:
    """Fewer tasks than a batch are told of when the first has waited; a batch at once."""
    world.receiver(batch_size=3, max_wait=10)
    world.project.add_placeholders(2)
    since = world.since()
    assert world.deliver(since + 9) == []
    assert world.deliver(since + 11) == [("Pre-label", 2, "max_wait_elapsed")]
    world.project.add_placeholders(3)
    assert world.deliver(world.since()) == [("Pre-label", 5, "batch_size_reached")]
    assert world.deliver(since + 30) == []


def test_tasks_that_wait_already(world: World) -> None:
    """Whoever registers hears of them at once, and so does whoever is told again."""
    world.project.add_placeholders(2)
    receiver = world.receiver(max_wait=1000)
    assert world.deliver(1.0) == [("Pre-label", 2, "max_wait_elapsed")]
    world.platform.receivers.tell(receiver)
    assert world.deliver(1.0) == [("Pre-label", 2, "max_wait_elapsed")]


def test_agent_stages_only(world: World) -> None:
    """A task that comes to an agent stage by a move is told of, and one that comes to people is not."""
    world.receiver()
    world.project.add_placeholders(1)
    (task,) = world.project.tasks()
    assert world.deliver(LATER) == [("Pre-label", 1, "max_wait_elapsed")]
    world.project.move(task.uuid, "Triage")
    assert world.deliver(LATER) == [("Triage", 1, "max_wait_elapsed")]
    world.project.move(task.uuid, "Review")
    assert world.deliver(LATER) == []
    world.project.reset()
    assert world.deliver(LATER) == [("Pre-label", 1, "max_wait_elapsed")]


def test_one_project_or_one_stage(world: World) -> None:
    """A receiver hears of what it is registered for."""
    other = world.platform.create_project(title="Other", workflow=Workflow([AgentStage("A", {"b": "B"}), Stage("B")]))
    world.receiver(project=world.project.project_hash, stage="Triage")
    other.add_placeholders(1)
    world.project.add_placeholders(1)
    assert world.deliver(LATER) == []
    (task,) = world.project.tasks()
    world.project.move(task.uuid, "Triage")
    assert world.deliver(LATER) == [("Triage", 1, "max_wait_elapsed")]


def test_projects_with_the_same_stages(world: World) -> None:
    """Projects of one workflow have stages of the same uuids; each is announced, sent again and reminded of by itself.

    A receiver that is told again hears of both, also while it has not answered for one of them.
    """
    receiver = world.receiver(max_wait=0)
    projects = [world.project, world.platform.create_project(workflow=WORKFLOW)]
    for project in projects:
        project.add_placeholders(2)
    hashes = [project.project_hash for project in projects]

    def told(now: float) -> list[str]:
        return [str(parse_notification(sending.body).project_hash) for sending in world.due(now)]

    now = world.since() + 1000
    assert told(now) == hashes
    first, second = world.due(now)
    world.answer(first, accepted=False, now=now)
    world.answer(second, accepted=True, now=now)
    assert told(now) == []
    world.platform.receivers.tell(receiver)
    assert told(now) == hashes
    for sending in world.due(now):
        world.answer(sending, accepted=True, now=now)
    assert (told(now + 59), told(now + 60)) == ([], hashes)


def test_sent_again_with_growing_pauses(world: World) -> None:
    """The same bytes each time, after pauses that double up to a bound; tasks that come meanwhile are the next one."""
    world.receiver(max_wait=0)
    world.project.add_placeholders(1)
    now, pauses, bodies = world.since(), [], set()
    for _ in range(10):
        (sending,) = world.due(now)
        world.answer(sending, accepted=False, now=now)
        bodies.add(sending.body)
        (waiting,) = world.platform.receivers.sent()
        pauses.append(waiting.next_at - now)
        assert world.due(waiting.next_at - 0.01) == []
        now = waiting.next_at
        world.project.add_placeholders(1)
    assert len(bodies) == 1
    assert pauses == pytest.approx([0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60])
    assert world.deliver(now) == [("Pre-label", 1, "max_wait_elapsed")]
    assert world.deliver(now) == [("Pre-label", 11, "max_wait_elapsed")]
    tries = [(one.status, one.attempts) for one in world.platform.receivers.sent()]
    assert tries == [("delivered", 1), ("delivered", 11)]


def test_nothing_is_sent_of_an_empty_stage(world: World) -> None:
    """Where the tasks have left before a notification was delivered, it is overtaken."""
    world.receiver()
    world.project.add_placeholders(1)
    (sending,) = world.due(LATER)
    world.answer(sending, accepted=False, now=LATER)
    (task,) = world.project.tasks()
    world.project.move(task.uuid, "Review")
    assert world.due(2 * LATER) == []
    assert [one.status for one in world.platform.receivers.sent()] == ["overtaken"]


def test_a_receiver_that_did_nothing_is_reminded(world: World) -> None:
    """It may have been restarted: while tasks stay, it is told again, ever more seldom, until they have left."""
    world.receiver(max_wait=0)
    world.project.add_placeholders(1)
    now = world.since()
    assert len(world.deliver(now)) == 1
    for pause in (60, 120, 240, 480, 960, 1920, 3600, 3600):
        assert world.deliver(now + pause - 1) == []
        now += pause
        assert world.deliver(now) == [("Pre-label", 1, "max_wait_elapsed")]
    (task,) = world.project.tasks()
    world.project.move(task.uuid, "Review")
    assert world.deliver(now + 4000) == []
    world.project.reset()
    assert len(world.deliver(LATER)) == 1
    assert world.deliver(LATER + 60) == [("Pre-label", 1, "max_wait_elapsed")]  # from the beginning again


def test_what_is_kept_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """One waits for each address and stage, and of those that are through, the latest are remembered."""
    monkeypatch.setattr(store, "KEPT", 3)
    world.receiver(max_wait=0)
    for _ in range(5):
        world.project.add_placeholders(1)
        assert len(world.deliver(world.since())) == 1
    assert [one.pending for one in world.platform.receivers.sent()] == [5, 4, 3]
    for _ in range(5):
        world.project.add_placeholders(1)
        world.due(LATER)
    assert [one.status for one in world.platform.receivers.sent()].count("waiting") == 1


def test_removed(world: World) -> None:
    """Nothing is sent to it, and nothing of it is kept, also where its project is deleted."""
    receiver = world.receiver()
    world.project.add_placeholders(1)
    (sending,) = world.due(LATER)
    world.platform.receivers.remove(receiver)
    world.answer(sending, accepted=False, now=LATER)
    assert (world.due(2 * LATER), world.platform.receivers.sent()) == ([], [])
    with pytest.raises(LocalPlatformError, match="No such address"):
        world.platform.receivers.remove(receiver)
    world.receiver(project=world.project.project_hash)
    assert world.due(LATER)
    world.project.delete()
    assert (world.due(2 * LATER), list(world.platform.receivers)) == ([], [])


def test_its_form(world: World) -> None:
    """A body is JSON with the fields that receivers read, its id among them."""
    world.receiver()
    world.project.add_placeholders(1)
    (sending,) = world.due(LATER)
    content = orjson.loads(sending.body)
    assert content["uid"] == sending.uid
    assert str(parse_notification(sending.body).project_hash) == world.project.project_hash


def test_a_project_without_receivers(world: World) -> None:
    """Nothing is counted as long as nobody is registered."""
    project: LocalProject = world.project
    project.add_placeholders(3)
    with world.database.read() as connection:
        assert connection.execute("SELECT count(*) FROM arrivals").fetchone()[0] == 0
