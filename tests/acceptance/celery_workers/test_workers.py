"""Agents on Celery: real brokers, real workers, and what happens when one of them goes."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest
from tests.brokers import PATIENCE, until
from tests.thorough import THOROUGH

if TYPE_CHECKING:
    from tests.acceptance.celery_workers.conftest import Site

pytestmark = pytest.mark.timeout(600)

TASKS = 500 if THOROUGH else 200


def test_many_tasks_over_two_workers(site: Site) -> None:
    """All are moved, once; batches of ten need at most 0.7 requests a task; what lives as long as the process does."""
    site.world.project.add_placeholders(TASKS)
    assert site.command("enqueue") == f"Pre-label: {TASKS} sent\n{TASKS} tasks sent.\n"
    if site.broker.kind == "redis":
        assert f"0 tasks sent.\n{TASKS} in the queue or at work already" in site.command("enqueue")
        assert " ".join(site.command("status").split()[-5:]) == f"Pre-label 0 {TASKS} 0 0"
    site.world.platform.journal.clear()
    site.start(workers=2)
    assert until(lambda: site.world.count("Done") == TASKS, 5 * PATIENCE)
    site.check_all_moved(TASKS)
    assert len(site.calls()) == TASKS
    connecting = 2 * 4  # the project and its ontology, in each of the processes
    requests = sum(site.world.platform.journal.kinds().values()) - connecting
    assert requests / TASKS <= 0.7
    assert site.stop() == [0, 0]
    if site.broker.kind == "redis":
        assert site.numbers() == (0, 0, TASKS, 0)
    processes = {call.pid for call in site.calls()}
    assert site.count("made") == site.count("closed") == len(processes) <= 4


def test_processes_that_are_killed_lose_no_task(site: Site) -> None:
    """One by chance, and those with a task that kills them: that one is found, and what was with it is done."""
    site.settings["AGENTS_SECONDS"] = "0.1"
    site.world.project.add_placeholders(29)
    site.world.project.add_placeholders(1, title="killer")
    site.enqueue()
    site.start()
    assert until(lambda: site.count("begin") > 6)
    os.kill(site.calls()[-1].pid, signal.SIGKILL)
    assert until(lambda: "killer: its worker was lost" in site.log())
    assert until(lambda: site.world.count("Done") == 29)
    site.check_all_moved(29)
    (killer,) = site.world.project.tasks("Pre-label")
    assert 2 <= sum(call.task == str(killer.uuid) for call in site.calls()) <= 4
    if site.broker.kind == "redis":
        assert until(lambda: site.numbers() == (0, 0, 29, 1))


def test_workers_that_are_killed_and_started_again(site: Site) -> None:
    """The whole worker, children and all: those that start later do what it left."""
    site.settings |= {"AGENTS_SECONDS": "0.1", "AGENTS_VISIBILITY": "1"}
    site.world.project.add_placeholders(40)
    site.enqueue()
    site.start()
    assert until(lambda: site.count("begin") > 12)
    site.kill()
    assert site.world.count("Done") < 40
    time.sleep(1)  # a worker looks for what another one has left in Redis when it starts, and then after 100 seconds
    site.start()
    assert until(lambda: site.world.count("Done") == 40)
    site.check_all_moved(40)


def test_a_broker_that_is_started_anew(site: Site) -> None:
    """In the middle of the work: nothing is lost, and nothing is at work twice at a time."""
    site.settings["AGENTS_SECONDS"] = "0.1"
    site.world.project.add_placeholders(60)
    site.enqueue()
    site.start()
    assert until(lambda: site.count("begin") > 12)
    site.broker.stop()
    site.broker.start()
    assert until(lambda: site.world.count("Done") == 60)
    site.check_all_moved(60)


def test_polling_sends_no_task_twice(site: Site) -> None:
    """Every second, while tasks take longer than that: each is run once."""
    site.settings |= {"AGENTS_SECONDS": "0.4", "AGENTS_POLL": "1"}
    site.world.project.add_placeholders(24)
    site.start("--beat", "--schedule", str(site.folder / "beat"))
    assert until(lambda: site.world.count("Done") == 24)
    site.world.project.add_placeholders(4)  # what comes later is found, too
    assert until(lambda: site.world.count("Done") == 28)
    site.check_all_moved(28)
    assert len(site.calls()) == 28
    assert site.log().count("Polling every") == (site.broker.kind == "rabbitmq")


@pytest.mark.parametrize("broker", ["redis"], indirect=True)
def test_what_is_delivered_again_while_it_is_at_work(site: Site) -> None:
    """A batch that takes longer than Redis' visibility timeout is delivered again, and not run a second time."""
    site.settings |= {"AGENTS_SECONDS": "1.5", "AGENTS_VISIBILITY": "1"}
    site.world.project.add_placeholders(8)
    site.enqueue()
    site.start(concurrency=1)
    assert until(lambda: site.count("begin") > 1)
    site.start(concurrency=1)  # a worker that starts looks for what was not acknowledged in time
    assert until(lambda: "at work already" in site.log(1))
    assert until(lambda: site.world.count("Done") == 8)
    site.check_all_moved(8)
    assert len(site.calls()) == 8


@pytest.mark.parametrize("broker", ["redis"], indirect=True)
def test_a_batch_that_is_over_the_time_limit(site: Site) -> None:
    """Celery ends its process and counts the message as done: what was not done of it is sent again a minute later."""
    site.settings["AGENTS_SECONDS"] = "0.4"
    site.world.project.add_placeholders(10)
    site.enqueue()
    site.start("--time-limit", "2", concurrency=1)
    assert until(lambda: "Hard time limit" in site.log() and "exited with" in site.log())
    assert site.enqueue() == 0
    a_minute_passes(site)
    left = site.world.count("Pre-label")
    assert 0 < site.enqueue() == left
    assert until(lambda: site.world.count("Done") == 10)
    site.check_all_moved(10)


def a_minute_passes(site: Site) -> None:
    """For what Redis knows of tasks that are at work."""
    import redis

    with redis.Redis.from_url(site.broker.url, decode_responses=True) as client:
        for key in client.keys("*:at-work"):
            for task, text in client.hgetall(key).items():
                until_, rest = text.split(" ", 1)
                client.hset(key, task, f"{float(until_) - 60} {rest}")


def test_sigterm_finishes_what_is_at_work(site: Site) -> None:
    """A warm shutdown: the batch that is being worked on is finished and written, the others stay in the queue."""
    site.settings["AGENTS_SECONDS"] = "0.2"
    site.world.project.add_placeholders(30)
    site.enqueue()
    site.start(concurrency=1)
    assert until(lambda: site.count("begin") > 2)
    assert site.stop() == [0]
    assert site.world.count("Done") in (10, 20)
    assert site.count("begin") == site.count("end") == site.world.count("Done")
    assert site.count("made") == site.count("closed") == 1
    site.start()
    assert until(lambda: site.world.count("Done") == 30)
    site.check_all_moved(30)


@pytest.mark.parametrize("broker", ["rabbitmq"], indirect=True)
def test_a_broker_that_is_started_anew_under_threads(site: Site) -> None:
    """They cannot be ended: the worker says so when it starts. It stays, and no task is lost."""
    site.settings["AGENTS_SECONDS"] = "0.1"
    site.world.project.add_placeholders(60)
    site.enqueue()
    site.start("--pool", "threads")
    assert "Use --pool prefork, or a Redis" in site.log()
    assert until(lambda: site.count("begin") > 12)
    site.broker.stop()
    site.broker.start()
    assert until(lambda: site.world.count("Done") == 60)
    assert site.stop() == [0]


@pytest.mark.parametrize("broker", ["rabbitmq"], indirect=True)
def test_a_poisoned_task_in_a_quorum_queue(site: Site) -> None:
    """It is retried as in any other."""
    site.settings["AGENTS_QUEUE_TYPE"] = "quorum"
    check_a_poisoned_task_fails_alone(site)


def test_a_poisoned_task_fails_alone(site: Site) -> None:
    """Of a batch of ten, nine are moved; one fails, after its retries, and the result says why."""
    check_a_poisoned_task_fails_alone(site)


def check_a_poisoned_task_fails_alone(site: Site) -> None:
    site.world.project.add_placeholders(9)
    site.world.project.add_placeholders(1, title="poison")
    site.enqueue()
    site.start(concurrency=1)
    assert until(lambda: "1 task failed for good. The others of the batch: 9 moved." in site.log())
    assert "poison (in agent): ValueError: poison cannot be read" in site.log()
    (poison,) = site.world.project.tasks("Pre-label")
    assert sum(call.task == str(poison.uuid) for call in site.calls()) == 4
    site.check_all_moved(9)
