"""Whatever goes wrong, and in whatever order: nothing is lost, nothing is done twice, and the report is the truth."""

from __future__ import annotations

import asyncio
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from encord import EncordUserClient
from encord.http.constants import RequestsSettings
from encord.objects import LabelRowV2
from encord.objects.coordinates import BoundingBoxCoordinates
from encord.storage import StorageItem
from encord.workflow.stages.agent import AgentTask
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from tests.thorough import examples

from encord_agents.core.assets import Asset
from encord_agents.local import AgentStage, Fault, LocalPlatform, LocalProject, Stage, Workflow
from encord_agents.tasks import Runner
from encord_agents.tasks.engine.report import RunReport
from encord_agents.tasks.engine.timing import Timing
from encord_agents.tasks.models import TaskAgentReturnStruct

READ_TIMEOUT = 1.5
"""Seconds: so long that only a request that is stalled takes that long, on a busy machine too."""
READS = ("tasks", "rows", "label_create", "items")
WRITES = ("save", "priorities", "actions")
LEGACY = ("rows", "label_create", "save")
WORKFLOW = Workflow(
    [
        AgentStage("Pre-label", {"complete": "Done", "triage": "Triage"}),
        Stage("Review", "review"),
        Stage("Triage", "review"),
        Stage("Done", "done"),
    ]
)


class PlannedError(Exception): ...


@dataclass(frozen=True)
class Script:
    """What goes wrong in a run.

    Attributes:
        faults: What the platform does to requests.
        refused: Rows whose save is refused, for ever.
        forbidden: A task whose storage item is.
        fail_once: Tasks whose first attempt raises, after it changed the labels.
        fail: Tasks whose every attempt raises.
        held: Tasks whose agent names no pathway.
        taken: During that call of the agent, somebody else moves that task.
        interrupt: The call of the agent in which the user presses Ctrl-C.
        silent: A task that the platform refuses to say anything about when it is asked whether it is in the stage.
        failure_pathway: Whether tasks that fail for good go to Triage.
        assets: Whether the agent asks for its file.
        lost: Tasks whose file is missing.
        asynchronous: Whether the agent is.
        default_client: Whether the client is the SDK's own, which repeats some requests by itself.
        by_hand: Whether the agent saves by its own hand, which is sent with the others'.
    """

    tasks: int
    window: int
    workers: int = 1
    page_tokens: str = "keyset"
    page_size: int = 10
    faults: tuple[Fault, ...] = ()
    refused: frozenset[int] = frozenset()
    forbidden: int | None = None
    fail_once: frozenset[int] = frozenset()
    fail: frozenset[int] = frozenset()
    held: frozenset[int] = frozenset()
    taken: tuple[tuple[int, int], ...] = ()
    interrupt: int | None = None
    silent: int | None = None
    failure_pathway: bool = False
    assets: bool = False
    lost: frozenset[int] = frozenset()
    asynchronous: bool = False
    default_client: bool = False
    by_hand: bool = False


def faults() -> st.SearchStrategy[Fault]:
    times, skip = st.integers(1, 3), st.integers(0, 3)
    anything = st.sampled_from(READS + WRITES)
    server = st.builds(Fault, anything, times, skip, st.just("status"), st.sampled_from([500, 502, 503, 504]))
    limit = st.builds(Fault, anything, times, skip, st.just("status"), st.just(429), st.sampled_from([None, 0]))
    dropped = st.builds(Fault, anything, times, skip, st.sampled_from(["drop_before", "drop_after"]))
    stalled = st.builds(Fault, anything, st.just(1), skip, st.just("stall"), seconds=st.just(0.1))
    enveloped = st.builds(
        Fault, st.sampled_from(LEGACY), times, skip, st.just("envelope"), st.sampled_from([500, 429]),
        error=st.sampled_from(["UNKNOWN_ERROR", "RATE_LIMIT_ERROR", "SERVICE_UNAVAILABLE_ERROR"]),
    )  # fmt: skip
    refusal = st.builds(
        Fault, st.sampled_from(("rows", "label_create", *WRITES)), st.just(1), skip, st.just("status"),
        st.sampled_from([400, 413]),
    )  # fmt: skip
    return st.one_of(server, limit, dropped, enveloped, refusal, dropped, stalled)


def long_silences() -> st.SearchStrategy[Fault]:
    """A second or two: at most one in a script, for the sake of whoever waits for the tests."""
    anything, skip = st.sampled_from(READS + WRITES), st.integers(0, 3)
    limit = st.builds(Fault, anything, st.just(1), skip, st.just("status"), st.just(429), st.just(1))
    stalled = st.builds(Fault, anything, st.just(1), skip, st.just("stall"), seconds=st.just(READ_TIMEOUT + 0.2))
    return st.one_of(limit, stalled)


@st.composite
def scripts(draw: st.DrawFn) -> Script:
    tasks = draw(st.integers(1, 45))
    some = st.frozensets(st.integers(0, tasks - 1), max_size=4)
    return Script(
        tasks,
        window=draw(st.sampled_from([1, 7, 300])),
        workers=draw(st.sampled_from([1, 1, 4])),
        page_tokens=draw(st.sampled_from(["keyset", "offset"])),
        page_size=draw(st.sampled_from([3, 10, 100])),
        faults=(*draw(st.lists(faults(), max_size=6)), *draw(st.lists(long_silences(), max_size=1))),
        refused=draw(some),
        forbidden=draw(st.none() | st.integers(0, tasks - 1)) if tasks > 1 else None,
        fail_once=draw(some),
        fail=draw(some),
        held=draw(some),
        taken=tuple(draw(st.lists(st.tuples(st.integers(1, tasks), st.integers(0, tasks - 1)), max_size=3))),
        interrupt=draw(st.none() | st.none() | st.integers(1, tasks)),
    )


@st.composite
def varied(draw: st.DrawFn) -> Script:
    """What `scripts` makes, with other agents, other clients, and refusals of a request that concern nobody in it."""
    script = draw(scripts())
    assets = draw(st.booleans())
    refused = st.builds(Fault, st.just("items"), st.just(1), st.integers(1, 3), st.just("status"), st.just(403))
    return replace(
        script,
        faults=(*script.faults, *draw(st.lists(refused, max_size=1))),
        silent=draw(st.none() | st.integers(0, script.tasks - 1)) if script.tasks > 1 else None,
        failure_pathway=draw(st.booleans()),
        assets=assets,
        lost=draw(st.frozensets(st.integers(0, script.tasks - 1), max_size=2)) if assets else frozenset(),
        asynchronous=draw(st.booleans()),
        default_client=draw(st.sampled_from([False, False, True])),
        by_hand=draw(st.booleans()),
        interrupt=None,
    )


@dataclass
class Play:
    """One run of a script, and what the agent knows of it."""

    script: Script
    project: LocalProject
    hashes: list[str]
    calls: int = 0
    attempts: Counter[str] = field(default_factory=Counter)
    returned: dict[str, float] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    interrupted: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def agent(self, task: AgentTask, label_row: LabelRowV2, item: StorageItem) -> TaskAgentReturnStruct:
        data_hash = str(task.data_hash)
        index = self.hashes.index(data_hash)
        assert label_row.data_hash == data_hash
        assert str(item.uuid) == str(label_row.backing_item_uuid)
        with self.lock:
            self.calls += 1
            self.attempts[data_hash] += 1
            number = self.calls
        for call, other in self.script.taken:
            if call == number:
                self.take(other)
        mark = self.attempts[data_hash] / 1000 + index / 100
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the SDK's own, about what it calls inside
            for instance in label_row.get_object_instances():
                label_row.remove_object(instance)
        instance = label_row.ontology_structure.objects[0].create_instance()
        instance.set_for_frames(BoundingBoxCoordinates(height=0.1, width=0.2, top_left_x=mark, top_left_y=0.4), 0)
        label_row.add_object_instance(instance)
        if number == self.script.interrupt:
            self.interrupted = True
            raise KeyboardInterrupt
        if index in self.script.fail or (index in self.script.fail_once and self.attempts[data_hash] == 1):
            raise PlannedError(f"task {index}")
        self.returned[data_hash] = mark
        if self.script.by_hand:
            label_row.save()
            label_row.set_priority(mark)
            return TaskAgentReturnStruct(pathway=None if index in self.script.held else "complete")
        pathway = None if index in self.script.held else "complete"
        return TaskAgentReturnStruct(pathway=pathway, label_row=label_row, label_row_priority=mark)

    def agent_with_file(
        self, task: AgentTask, label_row: LabelRowV2, item: StorageItem, asset: Asset
    ) -> TaskAgentReturnStruct:
        assert str(item.uuid) in asset.path().name
        return self.agent(task, label_row, item)

    async def async_agent(self, task: AgentTask, label_row: LabelRowV2, item: StorageItem) -> TaskAgentReturnStruct:
        await asyncio.sleep(0)
        return self.agent(task, label_row, item)

    async def async_agent_with_file(
        self, task: AgentTask, label_row: LabelRowV2, item: StorageItem, asset: Asset
    ) -> TaskAgentReturnStruct:
        assert str(item.uuid) in asset.path().name
        return self.agent(task, label_row, item)

    def chosen(self) -> Callable[..., Any]:
        script = self.script
        if script.asynchronous:
            return self.async_agent_with_file if script.assets else self.async_agent
        return self.agent_with_file if script.assets else self.agent

    def take(self, index: int) -> None:
        task = next(task for task in self.project.tasks() if task.data_hash == self.hashes[index])
        if task.stage_title == "Pre-label":
            try:
                self.project.move(task.uuid, "Review")
            except Exception:  # the engine was quicker
                return
            self.taken.add(task.data_hash)

    def marks(self, data_hash: str) -> list[float] | None:
        label = self.project.label(data_hash)
        if label is None:
            return None
        (unit,) = label["data_units"].values()
        return [found["boundingBox"]["x"] for found in unit["labels"].get("objects", [])]


@pytest.fixture(scope="module")
def platform() -> Iterator[LocalPlatform]:
    """One platform for all examples, which have a project each."""
    with LocalPlatform(journal_body=0) as platform:
        yield platform
        platform.check()


def impatient(platform: LocalPlatform) -> EncordUserClient:
    """A client that tries once, and waits for an answer for `READ_TIMEOUT` seconds."""
    return EncordUserClient.create_with_ssh_private_key(
        platform.ssh_key,
        domain=platform.domain,
        requests_settings=RequestsSettings(
            max_retries=0, connection_retries=0, connect_timeout=60, read_timeout=READ_TIMEOUT, write_timeout=60
        ),
    )


def play(platform: LocalPlatform, script: Script) -> tuple[Play, RunReport]:
    project = platform.create_project(workflow=WORKFLOW)
    hashes = project.add_placeholders(script.tasks)
    for index in script.refused:
        project.refuse_row(hashes[index])
    if script.forbidden is not None:
        project.forbid_item(hashes[script.forbidden])
    if script.silent is not None:
        platform.faults.add(Fault("tasks", times=None, status=403, contains=hashes[script.silent]))
    for index in script.lost:
        project.break_asset(hashes[index], "missing")
    played = Play(script, project, hashes)
    client = platform.client() if script.default_client else impatient(platform)
    runner = Runner(project.project_hash, user_client=client)
    runner.timing = Timing(first_backoff=0.01, longest_backoff=0.05)
    runner.stage("Pre-label", failure_pathway="triage" if script.failure_pathway else None)(played.chosen())
    tokens: Any = script.page_tokens
    platform.settings.page_size, platform.settings.page_tokens = script.page_size, tokens
    for fault in script.faults:
        platform.faults.add(fault)
    try:
        runner(
            progress="none",
            num_retries=1,
            task_batch_size=script.window,
            max_workers=script.workers,
            bundle_saves=script.by_hand,
        )
    except KeyboardInterrupt:
        assert played.interrupted
    finally:
        platform.faults.clear()
    assert runner.report is not None
    return played, runner.report


@pytest.mark.timeout(600)
@settings(max_examples=examples(12), deadline=None, derandomize=True, database=None)
@given(script=scripts())
@example(Script(30, 300, faults=(Fault("actions", 1, 0, "drop_after"),), taken=((3, 5), (4, 9))))
@example(Script(30, 7, faults=(Fault("actions", 2, 1, "drop_after"), Fault("tasks", 2, 1, "drop_before"))))
@example(Script(30, 7, faults=(Fault("save", 2, 1, "drop_after"),), fail_once=frozenset({3}), by_hand=True))
@example(Script(12, 1, faults=(Fault("save", 1, 2, "drop_after"), Fault("actions", 1, 5, "drop_after")), interrupt=8))
def test_any_faults(platform: LocalPlatform, script: Script) -> None:
    """Each task is moved exactly once, or still in its stage and reported; the label of each task that was moved is the
    one its last attempt returned; the report agrees with the platform."""
    check(*play(platform, script))


@pytest.mark.timeout(600)
@settings(
    max_examples=examples(8), deadline=None, database=None, print_blob=True, phases=[Phase.explicit, Phase.generate]
)
@given(script=varied())
def test_any_faults_any_agent(platform: LocalPlatform, script: Script) -> None:
    """The same with failure pathways, files, coroutines and the SDK's own retries; other scripts each time."""
    check(*play(platform, script))


def check(played: Play, report: RunReport) -> None:
    script = played.script
    project = played.project
    records = {str(record.data_hash): record for record in report.records}
    unwritten = {str(task.data_hash) for task in report.unwritten}
    assert report.tasks == len(report.records) == len(records)
    assert not unwritten, "the platform answers, so everything that was finished can be written"

    for index, task in enumerate(project.tasks()):
        data_hash = task.data_hash
        assert data_hash == played.hashes[index]
        taken, record = data_hash in played.taken, records.get(data_hash)
        context = f"task {index} in {task.stage_title}: {record}"
        assert project.moves(task.uuid) == (task.stage_title != "Pre-label"), context
        assert (task.stage_title == "Review") == taken, context
        assert task.stage_title != "Triage" or script.failure_pathway, context
        assert played.attempts[data_hash] <= (2 if not played.interrupted else 3), context

        if record is None:
            assert played.interrupted or taken, context
            assert task.stage_title != "Done", context
            continue
        match record.outcome:
            case "moved":
                # Nobody can tell who moved a task when the answer to the engine's own move was lost.
                assert task.stage_title == "Done" or (taken and not record.confirmed), context
                assert index not in script.refused | script.fail | script.held, context
                assert played.marks(data_hash) == [played.returned[data_hash]], context
                if task.stage_title == "Done":
                    assert task.priority == played.returned[data_hash], context
            case "held":
                assert index in script.held, context
                assert task.stage_title == "Pre-label" or taken, context
                assert played.marks(data_hash) == [played.returned[data_hash]], context
                assert project.priority(data_hash) == played.returned[data_hash], context
            case "failed":
                gone = script.failure_pathway and record.phase == "agent" and task.stage_title == "Triage"
                # Of a move whose answer was lost the platform would have to be asked, and of this task it says nothing.
                unknown = index == script.silent and (record.phase == "move" or gone)
                assert task.stage_title == "Pre-label" or taken or gone or unknown, context
                if record.pathway is not None:
                    assert task.stage_title == "Triage" or taken, context
                if record.phase == "agent":
                    # The attempt that would have succeeded may be the one whose load was refused.
                    twice = index in script.fail_once and record.first_error is not None and _refusals(script)
                    assert index in script.fail or twice, context
                    assert project.saves(data_hash) == 0, context
                elif record.phase == "save" and index in script.refused:
                    assert project.saves(data_hash) == 0, context
                else:  # only what was refused for itself may have failed, never what was refused with others
                    alone = script.lost if record.phase == "load" else frozenset()
                    assert index in (script.forbidden, script.silent) or index in alone or _refusals(script), context
            case "skipped":
                assert taken, context
        if index == script.forbidden or (index in script.lost and index != script.silent):
            assert (record.outcome, record.phase) in {("failed", "load"), ("skipped", None)}, context

    assert report.exit_code == (1 if any(record.outcome == "failed" for record in records.values()) else 0)


def _refusals(script: Script) -> bool:
    return any(fault.action == "status" and fault.status in (400, 403, 413) for fault in script.faults)
