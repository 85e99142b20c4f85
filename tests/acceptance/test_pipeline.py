"""Load ahead, write behind: what overlaps, what is bounded, and how kind a client it makes."""

from __future__ import annotations

import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from encord.objects import LabelRowV2
from encord.storage import StorageItem
from encord.workflow.stages.agent import AgentTask
from tests.waiting import until

from encord_agents.core.assets import Asset
from encord_agents.local import Fault
from encord_agents.tasks import Depends
from encord_agents.tasks.dependencies import dep_asset
from encord_agents.tasks.engine.events import Event, TaskFinished, TaskStarted
from encord_agents.tasks.engine.timing import Timing
from encord_agents.tasks.models import TaskAgentReturnStruct

if TYPE_CHECKING:
    from tests.conftest import World


def label(label_row: LabelRowV2) -> TaskAgentReturnStruct:
    return TaskAgentReturnStruct(pathway="complete", label_row=label_row, label_row_priority=0.5)


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("window", [1, 3, 10, 50])
def test_the_window_bounds_the_tasks_in_memory(world: World, window: int, workers: int) -> None:
    """Label rows are initialised for no more tasks than the window holds, beyond those that have their outcome."""
    world.project.add_placeholders(60)
    finished = 0
    most = 0

    def observer(event: Event) -> None:
        nonlocal finished, most
        finished += isinstance(event, TaskFinished)
        if isinstance(event, TaskStarted):
            loaded = sum(entry.items for entry in world.platform.journal.of("label_create"))
            most = max(most, loaded - finished)

    runner = world.agent(label)
    runner.observers.append(observer)
    assert runner(progress="none", task_batch_size=window, max_workers=workers).moved == 60
    assert 0 < most <= window


def test_a_window_of_one_has_no_threads(world: World) -> None:
    """Each task is written before the next is loaded, in the caller's thread alone."""
    world.project.add_placeholders(5)
    before = set(threading.enumerate())
    others: set[threading.Thread] = set()

    def agent(label_row: LabelRowV2) -> TaskAgentReturnStruct:
        others.update(set(threading.enumerate()) - before)
        return label(label_row)

    world.platform.journal.clear()
    assert world.run(agent, task_batch_size=1).moved == 5
    assert {thread.name for thread in others if thread.name.startswith("encord-agents")} == set()
    assert world.requests("label_create", "save", "actions") == ["label_create", "save", "actions"] * 5


@pytest.mark.parametrize("at", [1, 30, 100])
def test_loading_and_writing_go_on_while_agents_run(world: World, at: int) -> None:
    """The next tasks are loaded and finished ones written during an agent's call, not between two calls."""
    world.project.add_placeholders(200)
    world.platform.settings.latency = 0.03
    calls = 0

    def agent(label_row: LabelRowV2) -> TaskAgentReturnStruct:
        nonlocal calls
        calls += 1
        if calls == at:
            assert until(lambda: world.count("Done") == at - 1 and loaded() >= at + 30)
        return label(label_row)

    def loaded() -> int:
        return sum(entry.items for entry in world.platform.journal.of("label_create"))

    assert world.run(agent, task_batch_size=60, num_retries=0).moved == 200


def test_a_finished_result_is_soon_safe(world: World) -> None:
    """It waits for others to be written with for about a second, however slow the next agent is."""
    hashes = world.project.add_placeholders(30)
    calls = 0

    def agent(label_row: LabelRowV2) -> TaskAgentReturnStruct:
        nonlocal calls
        calls += 1
        if calls == 4:
            assert until(lambda: world.count("Done") == 3)
            assert all(world.project.saves(data_hash) == 1 for data_hash in hashes[:3])
        return label(label_row)

    assert world.run(agent, num_retries=0).moved == 30
    assert Timing().gather == 1.0


def test_first_chunks_are_small(world: World) -> None:
    """So that the first agent starts soon."""
    world.project.add_placeholders(300)
    world.run(label)
    sizes = [entry.items for entry in world.platform.journal.of("label_create")]
    assert 25 in sizes[:4]  # that of the first tasks; others may be loaded beside it, and sooner
    assert max(sizes) <= 100
    assert sum(sizes) == 300


@pytest.mark.parametrize("workers", [1, 8])
def test_a_kind_client(world: World, workers: int) -> None:
    """With fast agents, a request is about 25 tasks at least; and never more than eight are in flight."""
    world.project.add_placeholders(500)
    world.platform.settings.latency = 0.02
    world.platform.settings.page_size = 1000

    def agent(label_row: LabelRowV2, item: StorageItem) -> TaskAgentReturnStruct:
        return label(label_row)

    world.platform.journal.clear()
    assert world.run(agent, max_workers=workers).moved == 500
    for kind, requests in world.platform.journal.kinds().items():
        assert requests <= math.ceil(500 / 25), kind
    assert world.platform.max_in_flight <= 8


def test_no_more_than_sixteen_downloads(world: World) -> None:
    """Files are fetched ahead, up to sixteen at once, beside at most eight requests; each of them once."""
    world.project.add_placeholders(120)
    faults, journal = world.platform.faults, world.platform.journal
    for _ in range(16):
        faults.add(Fault("asset", action="stall", seconds=3600))
    at_once: list[int] = []
    others = set(threading.enumerate())

    def release() -> None:
        """All sixteen are on their way, and so no other one is."""
        assert until(lambda: not faults.pending)
        at_once.append(journal.count("asset"))
        faults.clear()

    def agent(asset: Asset) -> str:
        threads = set(threading.enumerate()) - others
        at_once.append(sum(thread.name.startswith("encord-agents-fetch") for thread in threads))
        assert asset.path().stat().st_size > 0
        return "complete"

    with ThreadPoolExecutor(1) as pool:
        released = pool.submit(release)
        assert world.run(agent).moved == 120
        released.result()
    assert at_once[0] == 0
    assert max(at_once) <= 16
    assert journal.count("asset") == 120


@pytest.mark.parametrize("workers", [1, 8])
def test_two_tasks_of_one_row_are_never_together(world: World, workers: int) -> None:
    """The second is loaded after the first was written, so that it sees its labels."""
    hashes = world.project.add_placeholders(10)
    for data_hash in hashes:
        world.project.add_task(data_hash)
        world.project.add_task(data_hash)
    inside: set[str] = set()
    seen: dict[str, list[int]] = {data_hash: [] for data_hash in hashes}

    def agent(task: AgentTask, label_row: LabelRowV2) -> TaskAgentReturnStruct:
        assert label_row.data_hash not in inside
        inside.add(label_row.data_hash)
        seen[label_row.data_hash].append(len(label_row.get_object_instances()))
        world.mark(label_row, len(seen[label_row.data_hash]) / 10)
        time.sleep(0.002)
        inside.discard(label_row.data_hash)
        return label(label_row)

    report = world.run(agent, max_workers=workers)
    assert (report.moved, report.failed) == (30, 0)
    assert list(seen.values()) == [[0, 1, 2]] * 10
    assert [world.marks(data_hash) for data_hash in hashes] == [[0.1, 0.2, 0.3]] * 10


@pytest.mark.parametrize(("window", "workers"), [(1, 1), (7, 1), (300, 1), (300, 8), (5, 8)])
@pytest.mark.parametrize("tokens", ["keyset", "offset"])
def test_max_tasks_per_stage_is_exact(world: World, window: int, workers: int, tokens: Any) -> None:
    """It counts tasks given to the agent, whatever became of them, with threads too."""
    hashes = world.project.add_placeholders(120)
    world.platform.settings.page_size, world.platform.settings.page_tokens = 25, tokens
    given: list[str] = []
    lock = threading.Lock()

    def agent(task: AgentTask) -> str | None:
        with lock:
            given.append(str(task.data_hash))
            number = len(given)
        if number % 3 == 0:
            raise LookupError
        return "complete" if number % 3 == 1 else None

    report = world.run(agent, task_batch_size=window, max_workers=workers, max_tasks_per_stage=40, num_retries=0)
    assert len(given) == report.tasks == 40
    assert (report.moved, report.held, report.failed) == (14, 13, 13)
    assert len(set(given)) == 40
    if tokens == "keyset":  # pages by offset skip some while others move, and their turn comes later
        assert set(given) == set(hashes[:40])


@pytest.mark.parametrize("workers", [1, 8])
@pytest.mark.parametrize("window", [1, 7, 300])
def test_offset_pages_lose_no_task(world: World, window: int, workers: int) -> None:
    """Moving while paging makes offset tokens skip tasks; they are found by asking again."""
    tasks = 30 if window == 1 else 120
    world.project.add_placeholders(tasks)
    world.platform.settings.page_size, world.platform.settings.page_tokens = 10, "offset"
    world.platform.settings.latency = 0.002
    report = world.run(label, task_batch_size=window, max_workers=workers)
    assert (report.moved, report.attempts) == (tasks, tasks)
    assert world.count("Done") == tasks


@pytest.mark.parametrize(("tasks", "page_size", "latency", "seconds"), [(90, 3, 0.04, 0.02), (80, 5, 0.07, 0.03)])
def test_slow_pages_lose_no_task(world: World, tasks: int, page_size: int, latency: float, seconds: float) -> None:
    """Also where agents finish tasks, and these are written, while the stage is read for the second time."""
    world.numbers |= {"gather": 0.1, "hold_moves": 1.0}
    world.project.add_placeholders(tasks)
    world.platform.settings.page_size, world.platform.settings.page_tokens = page_size, "offset"
    world.platform.settings.latency = latency

    def agent(task: AgentTask) -> str:
        time.sleep(seconds)
        return "complete"

    report = world.run(agent)
    assert (report.moved, world.count("Done")) == (tasks, tasks)


@pytest.mark.parametrize(("window", "tasks"), [(300, 100), (25, 60), (8, 60)])
def test_a_slow_task_holds_up_no_other(world: World, window: int, tasks: int) -> None:
    """With several workers: neither those that are in the window behind it, nor those that are to be read yet."""
    world.project.add_placeholders(tasks)
    world.platform.settings.page_size, world.platform.settings.page_tokens = 5, "offset"
    world.platform.settings.latency = 0.02
    lock, all_others = threading.Lock(), threading.Event()
    given = done = 0

    def agent(task: AgentTask) -> str:
        nonlocal given, done
        with lock:
            given += 1
            is_first = given == 1
        if is_first:
            assert all_others.wait(20)
            return "complete"
        with lock:
            done += 1
            if done == tasks - 1:
                all_others.set()
        return "complete"

    report = world.run(agent, task_batch_size=window, max_workers=4)
    assert (report.moved, report.attempts) == (tasks, tasks)


def test_the_report_tells_where_the_time_went(world: World) -> None:
    """Seconds of loading, running and writing are counted apart."""
    world.project.add_placeholders(30)
    world.platform.settings.latency = 0.02

    def agent(label_row: LabelRowV2) -> TaskAgentReturnStruct:
        time.sleep(0.005)
        return label(label_row)

    report = world.run(agent)
    assert 30 * 0.005 <= report.running <= report.seconds
    assert report.loading >= 2 * 0.02
    assert report.writing >= 2 * 0.02


@pytest.mark.parametrize("workers", [1, 3])
def test_a_slow_file_holds_up_no_other_task(world: World, workers: int) -> None:
    """Tasks whose files are there pass the one whose file is slow to come; it is attempted when it has come."""
    hashes = world.project.add_placeholders(12, title="file {index}")
    slow = world.client.get_project(world.project.project_hash).list_label_rows_v2(data_hashes=[hashes[0]])[0]
    world.platform.faults.add(Fault("asset", contains=str(slow.backing_item_uuid), action="stall", seconds=300))
    order: list[str] = []

    def agent(task: AgentTask, path: Annotated[Path, Depends(dep_asset)]) -> str:
        order.append(task.data_title)
        if len(order) == 11:
            world.platform.faults.clear()  # and the stalled file comes
        return "complete"

    report = world.run(agent, max_workers=workers)
    assert report.moved == 12
    assert order[-1] == "file 0"
    assert sorted(order) == sorted(f"file {index}" for index in range(12))
