"""Agents on Celery: real brokers, real workers, and what happens when one of them goes."""

from __future__ import annotations

import os
import re
import signal
from typing import TYPE_CHECKING

from tests.acceptance.celery_workers.conftest import until

if TYPE_CHECKING:
    from tests.acceptance.celery_workers.conftest import Site


def sent(site: Site) -> int:
    """Enqueue by hand; how many the command says it sent."""
    return int(re.search(r"^(\d+) tasks? sent\.$", site.command("enqueue"), re.MULTILINE)[1])  # type: ignore[index]


def test_500_tasks_over_two_workers(site: Site) -> None:
    """All are moved, once; batches of ten need at most 0.7 requests a task; what lives as long as the process does."""
    site.world.project.add_placeholders(500)
    site.world.platform.journal.clear()
    assert sent(site) == 500
    if site.broker.kind == "redis":
        assert sent(site) == 0  # they are in the queue
        assert site.numbers() == {"waiting": 0, "in flight": 500, "done": 0, "failed": 0}
    by_hand = sum(site.world.platform.journal.kinds().values())
    site.start(workers=2)
    assert until(lambda: site.world.count("Done") == 500)
    site.check_all_moved(500)
    assert len(site.calls()) == 500
    connecting = 2 * 4  # the project and its ontology, in each of the processes
    requests = sum(site.world.platform.journal.kinds().values()) - by_hand - connecting
    assert requests / 500 <= 0.7
    if site.broker.kind == "redis":
        assert until(lambda: site.numbers() == {"waiting": 0, "in flight": 0, "done": 500, "failed": 0})
    assert site.stop() == [0, 0]
    processes = {call.pid for call in site.calls()}
    assert site.count("made") == site.count("closed") == len(processes) <= 4


def test_batches_of_100_need_few_requests(site: Site) -> None:
    """At most 0.08 requests a task."""
    site.settings["AGENTS_BATCH"] = "100"
    site.world.project.add_placeholders(300)
    sent(site)
    site.world.platform.journal.clear()
    site.start(concurrency=1)
    assert until(lambda: site.world.count("Done") == 300)
    requests = sum(site.world.platform.journal.kinds().values()) - 2
    assert requests / 300 <= 0.08


def test_a_poisoned_task_fails_alone(site: Site) -> None:
    """Of a batch of ten, nine are moved; one fails, after its retries, and the result says why."""
    site.world.project.add_placeholders(9)
    site.world.project.add_placeholders(1, title="poison")
    sent(site)
    site.start(concurrency=1)
    assert until(lambda: "AgentTasksFailed" in site.log() and "1 task failed for good" in site.log())
    (poison,) = site.world.project.tasks("Pre-label")
    assert sum(call.task == str(poison.uuid) for call in site.calls()) == 4
    site.check_all_moved(9)
    assert "9 moved" in site.log()
    assert "poison (in agent): ValueError: poison cannot be read" in site.log()
    if site.broker.kind == "redis":
        assert until(lambda: site.numbers() == {"waiting": 0, "in flight": 0, "done": 9, "failed": 1})
        assert sent(site) == 1  # a person may have put right what was wrong


def test_a_child_that_is_killed_loses_no_task(site: Site) -> None:
    """SIGKILL for a process in the middle of a batch: its batch is done by another."""
    site.settings["AGENTS_SECONDS"] = "0.1"
    site.world.project.add_placeholders(40)
    sent(site)
    site.start()
    assert until(lambda: site.count("begin") > 12)
    os.kill(site.calls()[-1].pid, signal.SIGKILL)
    assert until(lambda: site.world.count("Done") == 40)
    site.check_all_moved(40)
    assert any(call.ended is None for call in site.calls())


def test_a_task_that_kills_its_worker_is_found(site: Site) -> None:
    """It takes down no more than a few, the others of its batch are done, and the result names it."""
    site.world.project.add_placeholders(9)
    site.world.project.add_placeholders(1, title="killer")
    sent(site)
    site.start(concurrency=1)
    assert until(lambda: "killer: its worker was lost" in site.log())
    (killer,) = site.world.project.tasks("Pre-label")
    assert 2 <= sum(call.task == str(killer.uuid) for call in site.calls()) <= 4
    assert until(lambda: site.world.count("Done") == 9)
    site.check_all_moved(9)


def test_workers_that_are_killed_and_started_again(site: Site) -> None:
    """The whole worker, children and all: those that start later do what it left."""
    site.settings |= {"AGENTS_SECONDS": "0.1", "AGENTS_VISIBILITY": "3"}
    site.world.project.add_placeholders(40)
    sent(site)
    site.start()
    assert until(lambda: site.count("begin") > 12)
    site.kill()
    assert site.world.count("Done") < 40
    site.start()
    assert until(lambda: site.world.count("Done") == 40)
    site.check_all_moved(40)


def test_a_broker_that_is_started_anew(site: Site) -> None:
    """In the middle of the work: nothing is lost, and nothing is at work twice at a time."""
    site.settings["AGENTS_SECONDS"] = "0.1"
    site.world.project.add_placeholders(60)
    sent(site)
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


def test_sigterm_finishes_what_is_at_work(site: Site) -> None:
    """A warm shutdown: the batch that is being worked on is finished and written, the others stay in the queue."""
    site.settings["AGENTS_SECONDS"] = "0.2"
    site.world.project.add_placeholders(40)
    sent(site)
    site.start(concurrency=1)
    assert until(lambda: site.count("begin") > 2)
    assert site.stop() == [0]
    assert site.world.count("Done") in (10, 20)
    assert site.count("begin") == site.count("end") == site.world.count("Done")
    assert site.count("made") == site.count("closed") == 1
    site.workers.clear()
    site.start()
    assert until(lambda: site.world.count("Done") == 40)
    site.check_all_moved(40)


def test_a_held_task_stays(site: Site) -> None:
    """It is done, and the next poll finds it again."""
    site.world.project.add_placeholders(1, title="stays")
    sent(site)
    site.start(concurrency=1)
    assert until(lambda: "1 held" in site.log())
    if site.broker.kind == "redis":
        assert until(lambda: site.numbers() == {"waiting": 1, "in flight": 0, "done": 1, "failed": 0})
        assert sent(site) == 1
