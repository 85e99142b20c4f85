"""Bounds hold: downloads, requests, files and bytes ahead, requests for so many tasks."""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
import time
from asyncio import CancelledError
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from encord.objects import LabelRowV2
from encord.workflow.stages.agent import AgentTask
from tests import preloaded
from tests.waiting import until

from encord_agents.core.assets import Asset
from encord_agents.core.fetching import Fetched, Fetcher
from encord_agents.local import Fault
from encord_agents.tasks.models import TaskAgentReturnStruct

if TYPE_CHECKING:
    from tests.conftest import World


class AtOnce:
    """The maximum number of threads that were inside."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.now = self.most = 0

    @contextmanager
    def inside(self) -> Iterator[None]:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        try:
            yield
        finally:
            with self._lock:
                self.now -= 1


def test_downloads_and_requests_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """At most 16 and 8, also where 60 workers fetch anew after a failed attempt."""
    world.project.add_placeholders(100)
    world.platform.settings.asset_latency = world.platform.settings.latency = 0.05
    streaming = AtOnce()
    stream = Fetcher._try

    def counted(self: Fetcher, *given: Any) -> Fetched:
        with streaming.inside():
            assert until(lambda: streaming.most >= 16)  # as many as may be are
            return stream(self, *given)

    monkeypatch.setattr(Fetcher, "_try", counted)
    seen: set[Any] = set()

    def agent(task: AgentTask, asset: Asset) -> str:
        asset.path()
        if task.uuid not in seen:
            seen.add(task.uuid)
            raise LookupError
        return "complete"

    report = world.run(agent, max_workers=60)
    assert (report.moved, report.attempts) == (100, 200)
    assert streaming.most == 16
    assert world.platform.max_in_flight <= 8


@pytest.mark.parametrize(("limit", "most"), [("files_ahead", 8), ("bytes_ahead", 2)])
def test_files_ahead(world: World, limit: str, most: int) -> None:
    """While an agent takes its time no more files are fetched than may be ahead; its own is always there."""
    world.numbers[limit] = 7 if limit == "files_ahead" else 1
    world.project.add_placeholders(40)
    fetched: list[int] = []
    calls = iter(range(100))

    def agent(asset: Asset) -> str:
        assert asset.path().exists()
        if (number := next(calls)) < 3:
            time.sleep(0.3)
            fetched.append(world.platform.journal.count("asset") - number)
        return "complete"

    assert world.run(agent).moved == 40
    # Beyond the limit: the file of the task at work, of the one handed over, and of the one whose turn is next.
    assert max(fetched) <= most + 2
    assert world.platform.journal.count("asset") == 40


@pytest.mark.parametrize("window", [30, 50, 60])
def test_few_requests_for_fast_agents(world: World, window: int) -> None:
    """However small the window is: a request for 25 tasks and kind at most."""
    world.project.add_placeholders(300)
    world.platform.settings.page_size, world.platform.settings.latency = 1000, 0.02

    def agent(label_row: LabelRowV2) -> TaskAgentReturnStruct:
        return TaskAgentReturnStruct(pathway="complete", label_row=label_row, label_row_priority=0.5)

    world.platform.journal.clear()
    assert world.run(agent, task_batch_size=window).moved == 300
    for kind, requests in world.platform.journal.kinds().items():
        assert requests <= math.ceil(300 / 25), kind


# The host of the files


def test_an_outage_of_the_storage_host_costs_no_attempt(world: World) -> None:
    """Files are waited for like everything else."""
    world.project.add_placeholders(40)
    world.platform.faults.add(Fault("asset", times=None, status=503))
    over = threading.Timer(1.5, world.platform.faults.clear)
    over.start()

    def agent(asset: Asset) -> str:
        assert asset.path().exists()
        return "complete"

    report = world.run(agent, num_retries=0)
    over.join()
    assert (report.moved, report.attempts, report.exit_code) == (40, 40, 0)


@pytest.mark.parametrize("tasks", [1, 20])
def test_one_file_that_is_never_to_be_had(world: World, tasks: int) -> None:
    """Fails its task alone, also where it is the last that anybody asks for."""
    world.numbers |= {"first_backoff": 0.001, "longest_backoff": 0.02, "own_trouble_after": 0.2}
    hashes = world.project.add_placeholders(tasks)
    (row,) = world.client.get_project(world.project.project_hash).list_label_rows_v2(data_hashes=hashes[-1:])
    world.platform.faults.add(Fault("asset", times=None, status=503, contains=str(row.backing_item_uuid)))

    def agent(asset: Asset) -> str:
        assert asset.path().exists()
        return "complete"

    report = world.run(agent, num_retries=0, max_outage=1.0)
    assert (report.moved, report.failed, report.stopped) == (tasks - 1, 1, None)


# One task's trouble


@pytest.mark.parametrize(("window", "workers"), [(1, 1), (300, 1), (300, 3)])
def test_an_agent_that_exits(world: World, window: int, workers: int) -> None:
    """`sys.exit()` is a script's way to say that it failed: one task has, the others go on."""
    hashes = world.project.add_placeholders(6)

    def agent(task: AgentTask) -> str:
        if str(task.data_hash) == hashes[2]:
            sys.exit(0)
        return "complete"

    report = world.run(agent, task_batch_size=window, max_workers=workers, num_retries=0)
    assert (report.moved, report.failed, report.exit_code, report.stopped) == (5, 1, 1, None)
    assert report.failures[0].phase == "agent"


def test_an_observer_that_raises_a_cancellation(world: World) -> None:
    """Is ignored like any other that raises."""
    world.project.add_placeholders(4)

    def observer(event: Any) -> None:
        raise CancelledError

    runner = world.agent(lambda: "complete")
    runner.observers.append(observer)
    assert runner(progress="none").moved == 4


def test_a_dry_run_of_labels_that_cannot_be_summarised(world: World) -> None:
    """Fails that task, as saving them would; nothing is written for any."""
    hashes = world.project.add_placeholders(5)
    project = world.client.get_project(world.project.project_hash)

    def agent(task: AgentTask, label_row: LabelRowV2) -> TaskAgentReturnStruct:
        if str(task.data_hash) == hashes[2]:
            (label_row,) = project.list_label_rows_v2(data_hashes=[str(task.data_hash)])  # without its labels
        return TaskAgentReturnStruct(pathway="complete", label_row=label_row)

    report = world.run(agent, dry_run=True, num_retries=0)
    assert (report.moved, report.failed) == (4, 1)
    assert (str(report.failures[0].data_hash), report.failures[0].phase) == (hashes[2], "save")
    assert world.requests("save", "actions", "priorities") == []


def test_the_command_line_outside_the_main_thread(world: World) -> None:
    """`runner.run()` also works in a thread that no signal reaches."""
    from encord_agents.cli.runner import run_as_command

    world.project.add_placeholders(3)
    runner = world.agent(lambda: "complete")
    codes: list[object] = []

    def run() -> None:
        try:
            run_as_command(runner, ["--progress", "none"])
        except SystemExit as wish:
            codes.append(wish.code)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(30)
    assert codes == [0]
    assert world.count("Done") == 3


KILLED = """
import os, time
from encord_agents.tasks import Runner

runner, calls = Runner(os.environ["TEST_PROJECT"]), iter(range(100))

@runner.stage("Pre-label")
def pre_label() -> str:
    if next(calls) == 30:
        while len(open(os.environ["TEST_REPORT"]).readlines()) < 30:
            time.sleep(0.01)
        os.kill(os.getpid(), 9)
    return "complete"

runner(progress="none", report=os.environ["TEST_REPORT"])
"""


def test_the_report_file_survives_a_kill(world: World, tmp_path: Path) -> None:
    """A line for each task that has its outcome, whatever becomes of the process."""
    import json

    world.project.add_placeholders(60)
    report, script = tmp_path / "report.jsonl", tmp_path / "agents.py"
    script.write_text(KILLED)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("ENCORD_")},
        **world.platform.environment(),
        "TEST_PROJECT": world.project.project_hash,
        "TEST_REPORT": str(report),
        "PYTHONWARNINGS": "ignore",
    }
    ended = preloaded.run([sys.executable, str(script)], env=environment, capture_output=True, timeout=60)
    assert ended.returncode == -signal.SIGKILL
    lines = [json.loads(line) for line in report.read_text().splitlines()]
    assert len(lines) == 30
    assert {line["task_uuid"] for line in lines} == {task.uuid for task in world.project.tasks("Done")}
    assert {line["outcome"] for line in lines} == {"moved"}
