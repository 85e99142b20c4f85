"""The platform may hiccup, and be gone for a while: that is waited out, and costs no task and no attempt."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pytest
from encord.objects import LabelRowV2
from encord.storage import StorageItem
from tests.drivers import DRIVERS, Driver
from tests.thorough import THOROUGH

from encord_agents.exceptions import OutageError
from encord_agents.local import AgentStage, Fault, Stage, Workflow
from encord_agents.tasks.dependencies import Depends, Twin, dep_twin_label_row
from encord_agents.tasks.models import TaskAgentReturnStruct

if TYPE_CHECKING:
    from tests.conftest import World


@pytest.fixture
def quick(world: World) -> None:
    """An engine that asks again sooner."""
    world.numbers |= {"first_backoff": 0.02, "longest_backoff": 0.1}


def label(label_row: LabelRowV2) -> TaskAgentReturnStruct:
    return TaskAgentReturnStruct(pathway="complete", label_row=label_row, label_row_priority=0.5)


def at_call(number: int, what: Callable[[], Any], seconds: float = 0.0) -> Callable[..., TaskAgentReturnStruct]:
    """An agent that takes its time, and in whose call of that number something happens."""
    calls = iter(range(1, 1_000_000))

    def agent(label_row: LabelRowV2) -> TaskAgentReturnStruct:
        if next(calls) == number:
            what()
        time.sleep(seconds)
        return label(label_row)

    return agent


@contextmanager
def outage(world: World, seconds: float, how: Literal["refuse", "503"]) -> Iterator[Callable[[], None]]:
    """A function that begins an outage of that length."""
    over = threading.Timer(seconds, lambda: world.platform.down(False))

    def begin() -> None:
        world.platform.down(how=how)
        over.start()

    try:
        yield begin
    finally:
        over.cancel()
        if over.is_alive():
            over.join()


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("how", ["refuse", "503"])
@pytest.mark.parametrize("window", [1, 20, 300])
def test_an_outage_in_mid_run(world: World, how: Literal["refuse", "503"], window: int) -> None:
    """Everything is moved in the end, each task once, and each agent was called once."""
    world.project.add_placeholders(80)
    with outage(world, 0.5 if window != 20 else 1.5, how) as begin:
        report = world.run(at_call(30, begin), task_batch_size=window)
    assert (report.moved, report.attempts, report.exit_code, report.stopped) == (80, 80, 0, None)
    assert world.count("Done") == 80
    assert all(world.project.moves(task.uuid) == 1 for task in world.project.tasks())


@pytest.mark.slow
def test_a_longer_outage(world: World) -> None:
    """With the client and the waits that a user has: exit code 0, all moved."""
    world.project.add_placeholders(200)
    world.client = world.platform.client()
    with outage(world, 20.0 if THOROUGH else 6.0, "refuse") as begin:
        report = world.run(at_call(80, begin, seconds=0.01))
    assert (report.moved, report.attempts, report.exit_code) == (200, 200, 0)
    assert world.count("Done") == 200


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("kind", ["save", "actions", "rows", "label_create"])
def test_retry_after_is_obeyed(world: World, kind: str) -> None:
    """A 429 that names a time keeps every thread still for as long, not only the one that was told."""
    world.project.add_placeholders(150)
    world.platform.faults.add(Fault(kind, status=429, retry_after=1))
    report = world.run(at_call(0, lambda: None, seconds=0.005), task_batch_size=60)
    assert (report.moved, report.attempts) == (150, 150)
    told = next(entry.at for entry in world.platform.journal if entry.status == 429)
    # What was under way when it came could not know of it yet.
    assert [entry.kind for entry in world.platform.journal if told + 0.2 < entry.at < told + 0.95] == []


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("action", ["status", "drop_before", "drop_after"])
@pytest.mark.parametrize("kind", ["tasks", "rows", "label_create", "items", "save", "priorities", "actions"])
def test_any_request_may_fail_at_first(world: World, kind: str, action: Any) -> None:
    """The first initialise too, which the SDK never asks for again. It is no attempt of a task."""
    world.project.add_placeholders(10)
    # Once the moves are done there is nothing to send again.
    times = 1 if (kind, action) == ("actions", "drop_after") else 3
    world.platform.faults.add(Fault(kind, times=times, action=action))

    def agent(label_row: LabelRowV2, item: StorageItem) -> TaskAgentReturnStruct:
        return label(label_row)

    report = world.run(agent)
    assert (report.moved, report.attempts) == (10, 10)
    assert world.count("Done") == 10
    assert [world.project.moves(task.uuid) for task in world.project.tasks()] == [1] * 10
    assert world.platform.faults.pending == []


PAGES = {
    404: "default backend - 404",
    403: "<html><head><title>403 Forbidden</title></head></html>",
    401: "<html>Sign in</html>",
    400: "<html>Bad Request</html>",
    405: "<html>Not Allowed</html>",
    502: "<html><body><h1>502 Bad Gateway</h1></body></html>",
    503: "",
    504: "upstream request timeout",
}
"""The answers of load balancers, proxies and firewalls in the platform's place, to requests of both protocols."""


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("driver", DRIVERS, ids=str)
def test_an_answer_that_is_none_of_the_platforms(world: World, driver: Driver) -> None:
    """Whatever a proxy in front of it sends, to whatever request: it is asked again, and it is no attempt."""
    world.project.add_placeholders(10)
    calls: list[str] = []
    for kind in ("tasks", "rows", "label_create", "items", "save", "priorities", "actions"):
        for status, body in PAGES.items():
            world.platform.faults.add(Fault(kind, status=status, body=body))

    def agent(label_row: LabelRowV2, item: StorageItem) -> TaskAgentReturnStruct:
        calls.append(label_row.data_hash)
        return label(label_row)

    assert driver.run(world, agent).counts == {"moved": 10}
    assert len(calls) == 10
    assert [world.project.moves(task.uuid) for task in world.project.tasks()] == [1] * 10
    assert world.platform.faults.pending == []


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("error", ["UNKNOWN_ERROR", "RATE_LIMIT_ERROR"])
@pytest.mark.parametrize("kind", ["rows", "label_create", "save"])
def test_trouble_inside_the_older_envelope(world: World, kind: str, error: str) -> None:
    """An error inside an HTTP 200 is the same trouble."""
    world.project.add_placeholders(10)
    world.platform.faults.add(Fault(kind, times=2, action="envelope", status=500, error=error))
    report = world.run(label)
    assert (report.moved, report.attempts) == (10, 10)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("window", [1, 20])
def test_an_outage_without_end(world: World, window: int) -> None:
    """After `max_outage` seconds it is an error; what was written is reported, what was finished is listed, and no task
    is both or neither."""
    world.project.add_placeholders(60)
    finished: list[str] = []

    def agent(label_row: LabelRowV2) -> TaskAgentReturnStruct:
        finished.append(label_row.data_hash)
        if len(finished) == 40:
            world.platform.down()
        return label(label_row)

    runner = world.agent(agent)
    with pytest.raises(OutageError, match="max_outage"):
        runner(progress="none", task_batch_size=window, max_outage=1.0)
    world.platform.down(False)
    report = runner.report
    assert report is not None
    assert report.stopped
    assert report.unwritten
    moved = {str(record.data_hash) for record in report.records if record.outcome == "moved"}
    unwritten = {str(task.data_hash) for task in report.unwritten}
    assert moved == {task.data_hash for task in world.project.tasks("Done")}
    assert moved.isdisjoint(unwritten)
    assert moved | unwritten == set(finished)
    assert len(report.unwritten) == len(unwritten)


POISON = {
    "rows": "load",
    "label_create": "load",
    "items": "load",
    "save": "save",
    "priorities": "save",
    "actions": "move",
}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("which", [0, 17, 39])
@pytest.mark.parametrize("kind", POISON)
def test_one_poisonous_request(world: World, kind: str, which: int) -> None:
    """A row on which the platform stumbles, for ever, fails alone: the others are moved, wherever it stands."""
    world.numbers |= {"own_trouble_after": 0.2, "first_backoff": 0.001, "longest_backoff": 0.002}
    # Written alone, after all others, its request would be the last of its kind, and its trouble an outage.
    world.numbers["gather"] = 60.0
    hashes = world.project.add_placeholders(40)
    poison = hashes[which]
    item = next(row.backing_item_uuid for row in _rows(world, poison))
    contains = {"actions": world.task_of(poison), "items": str(item)}.get(kind, poison)
    world.platform.faults.add(Fault(kind, times=None, contains=contains))

    def agent(label_row: LabelRowV2, item: StorageItem) -> TaskAgentReturnStruct:
        return label(label_row)

    report = world.run(agent)
    assert report.moved == 39
    (failure,) = report.failures
    assert (str(failure.data_hash), failure.phase) == (poison, POISON[kind])
    assert world.count("Done") == 39


def _rows(world: World, data_hash: str) -> list[LabelRowV2]:
    return world.client.get_project(world.project.project_hash).list_label_rows_v2(data_hashes=[data_hash])


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("driver", DRIVERS, ids=str)
def test_an_outage_while_another_project_is_opened(world: World, driver: Driver) -> None:
    """A project that a run-scoped dependency opens is waited for like the run's own, and costs no attempt."""
    world.project.add_placeholders(3)
    other = world.platform.create_project(
        workflow=Workflow([AgentStage("A", {"b": "B"}), Stage("B", "done")])
    ).project_hash
    world.platform.faults.add(Fault("project", times=2, status=503, contains=other))

    def agent(twin: Annotated[Twin | None, Depends(dep_twin_label_row(other))]) -> str:
        return "complete" if twin is None else "triage"

    assert driver.run(world, agent).counts == {"moved": 3}
    assert world.count("Done") == 3
