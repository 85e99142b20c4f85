"""After a stop there is so much time to write, and no more: what hangs is left, what is not written is listed."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from encord.objects import LabelRowV2
from tests import preloaded
from tests.waiting import PATIENCE, until

from encord_agents.core.assets import Asset
from encord_agents.local import Fault
from encord_agents.tasks import Depends
from encord_agents.tasks.engine.events import AttemptFailed, Event
from encord_agents.tasks.engine.stop import Stop
from encord_agents.tasks.engine.timing import Limits
from encord_agents.tasks.models import TaskAgentReturnStruct

if TYPE_CHECKING:
    from tests.conftest import World

STALLED = """
import os, threading, time
from encord.objects import LabelRowV2
from encord_agents.tasks import Runner
from encord_agents.tasks.engine.events import AttemptFailed, Event
from encord_agents.tasks.engine.stop import Stop
from encord_agents.tasks.engine.timing import Timing
from encord_agents.tasks.models import TaskAgentReturnStruct

runner, stop = Runner(os.environ["TEST_PROJECT"]), Stop()
runner.timing = Timing(time_to_write=0.5)

@runner.stage("Pre-label")
def pre_label(label_row: LabelRowV2) -> TaskAgentReturnStruct:
    threading.Timer(0.2, stop.request).start()
    time.sleep(0.3)
    return TaskAgentReturnStruct(pathway="complete", label_row=label_row, label_row_priority=0.5)

report = runner(progress="none", stop=stop)
print(report.stopped, len(report.unwritten))
"""


FOR_EVER = 3600.0
"""Seconds that something hangs: who waited for it would be ended by the time that a test may take."""


@pytest.fixture(autouse=True)
def little_time(world: World) -> None:
    world.numbers |= {"time_to_write": 0.8}


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize(
    "fault",
    [
        Fault("save", times=None, action="stall", seconds=FOR_EVER),
        Fault("priorities", times=None, action="stall", seconds=FOR_EVER),
        Fault("actions", times=None, action="stall", seconds=FOR_EVER),
        Fault("save", times=None, status=429, retry_after=30),
        Fault("save", times=None, status=503),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.action}-{fault.status}",
)
def test_writing_that_does_not_get_on(world: World, fault: Fault, workers: int) -> None:
    """The run ends soon after that time. Nothing is lost from sight: each finished task is listed or moved."""
    world.project.add_placeholders(60)
    world.platform.faults.add(fault)
    world.client = world.platform.client()
    stop, finished = Stop(), set[str]()

    def agent(label_row: LabelRowV2) -> TaskAgentReturnStruct:
        time.sleep(0.02)
        finished.add(label_row.data_hash)
        if len(finished) == 20:
            stop.request()
        return TaskAgentReturnStruct(pathway="complete", label_row=label_row, label_row_priority=0.5)

    report = world.run(agent, task_batch_size=40, max_workers=workers, stop=stop)
    assert report.stopped
    assert report.exit_code == 1
    assert {str(task.data_hash) for task in report.unwritten} == finished
    assert len(report.unwritten) == len(finished)
    assert (report.moved, report.failed) == (0, 0)


@pytest.mark.parametrize("kind", ["rows", "label_create", "items", "asset"])
def test_loading_that_does_not_get_on(world: World, kind: str) -> None:
    """It is left at once: what is finished is written, and nobody waits for what would only be loaded."""
    hashes = world.project.add_placeholders(100)
    world.client = world.platform.client()
    rows = world.client.get_project(world.project.project_hash).list_label_rows_v2()
    items = {row.data_hash: str(row.backing_item_uuid) for row in rows}
    # The first chunk is loaded, whichever is asked for first; and stalled files leave threads for those of its tasks.
    limits = Limits()
    stalled = hashes[limits.first_loads[0] :]
    for data_hash in stalled[: limits.downloads // 2] if kind == "asset" else stalled:
        text = data_hash if kind in ("rows", "label_create") else items[data_hash]
        world.platform.faults.add(Fault(kind, action="stall", seconds=FOR_EVER, contains=text))
    stop, calls, waiting = Stop(), 0, len(world.platform.faults.pending)

    def agent(label_row: LabelRowV2, asset: Asset) -> TaskAgentReturnStruct:
        nonlocal calls
        calls += 1
        if calls == 5:
            assert until(lambda: len(world.platform.faults.pending) < waiting)
            stop.request()
        return TaskAgentReturnStruct(pathway="complete", label_row=label_row)

    report = world.run(agent, task_batch_size=100, num_retries=0, stop=stop)
    assert (report.moved, report.unwritten) == (5, ())
    assert world.count("Done") == 5


def test_an_attempt_whose_file_is_not_to_be_had(world: World) -> None:
    """An attempt that waits for the storage host when the stop comes does not wait as long as an outage may last."""
    world.project.add_placeholders(5)
    world.platform.faults.add(Fault("asset", times=None, status=503))
    stop = Stop()

    def agent(label_row: LabelRowV2) -> str:
        threading.Timer(0.3, stop.request).start()
        item = world.client.get_storage_item(label_row.backing_item_uuid, sign_url=True)  # type: ignore[arg-type]
        with Asset(item) as file:
            file.path()
        return "complete"

    report = world.run(agent, num_retries=0, stop=stop)
    assert report.moved == 0


@pytest.mark.parametrize("options", [{}, {"task_batch_size": 1}, {"max_workers": 4}], ids=str)
def test_loading_again_in_an_outage(world: World, options: dict[str, Any]) -> None:
    """A task that could not be loaded, and is asked for again before its next attempt, holds up no stop."""
    world.project.add_placeholders(3)
    second = str(world.project.tasks()[1].data_hash)
    tries = 1 if options.get("task_batch_size") == 1 else 3  # with all three, with the third, alone
    refused = Fault("label_create", times=tries, contains=second, action="envelope", status=400)
    world.platform.faults.add(replace(refused, error="CORRUPTED_LABEL_ERROR"))
    world.platform.faults.add(Fault("label_create", times=None, contains=second, status=503))
    stop = Stop()

    def agent(label_row: LabelRowV2) -> str:
        return "complete"

    def stop_soon(event: Event) -> None:
        if isinstance(event, AttemptFailed):
            threading.Timer(0.3, stop.request).start()

    runner = world.agent(agent)
    runner.observers.append(stop_soon)
    report = runner(progress="none", stop=stop, **options)
    assert (report.failed, report.unwritten) == (0, ())
    assert report.moved == world.count("Done") < 3
    assert world.count("Pre-label") == 3 - report.moved


def test_the_process_can_end(world: World, tmp_path: Path) -> None:
    """No thread that waits for an answer keeps it: not even at exit, where executors wait for theirs."""
    world.project.add_placeholders(10)
    world.platform.faults.add(Fault("save", times=None, action="stall", seconds=FOR_EVER))
    world.platform.faults.add(Fault("priorities", times=None, action="stall", seconds=FOR_EVER))
    script = tmp_path / "agents.py"
    script.write_text(STALLED)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("ENCORD_")},
        **world.platform.environment(),
        "TEST_PROJECT": world.project.project_hash,
        "PYTHONWARNINGS": "ignore",
    }
    ended = preloaded.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    assert ended.stdout.strip().startswith("asked to stop "), ended.stdout
    assert not ended.stdout.strip().endswith(" 0"), ended.stdout


def test_coroutines_are_torn_down_before_what_the_run_shares(world: World) -> None:
    """A cancelled attempt is waited for, and asked to end once; then its file goes, and then what the run shares."""
    world.project.add_placeholders(8)
    events: list[str] = []
    stop = Stop()

    async def pool() -> AsyncIterator[str]:
        yield "pool"
        events.append("pool")

    async def connection(_: Annotated[str, Depends(pool, scope="run")]) -> AsyncIterator[None]:
        try:
            yield
        except asyncio.CancelledError:
            events.append("cancelled")
            raise
        finally:
            await asyncio.sleep(0.1)
            events.append("connection")

    def local(_: Annotated[str, Depends(pool, scope="run")]) -> Iterator[None]:
        try:
            yield
        finally:
            time.sleep(0.1)
            events.append("thread")

    async def agent(asset: Asset, _: Annotated[None, Depends(connection)], __: Annotated[None, Depends(local)]) -> None:
        path = asset.path()
        asyncio.get_running_loop().call_later(0.1, stop.request)
        try:
            await asyncio.sleep(60)
        finally:
            events.append(f"file {path.exists()}")

    report = world.run(agent, max_workers=2, stop=stop)
    assert (report.tasks, report.stopped) == (0, "asked to stop")
    assert sorted(events[:-1]) == sorted(["file True", "thread", "cancelled", "connection"] * 2)
    assert events[-1] == "pool"
