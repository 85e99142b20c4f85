"""A failure affects only its own task: one bad task in 300 costs one task."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from encord.objects import LabelRowV2, Shape
from encord.objects.coordinates import BoundingBoxCoordinates
from encord.storage import StorageItem
from encord.workflow.stages.agent import AgentTask
from tests.drivers import DRIVERS, Driver

from encord_agents.core.assets import Asset
from encord_agents.core.data_model import ImageArray
from encord_agents.tasks import Depends
from encord_agents.tasks.dependencies import dep_asset, dep_single_frame
from encord_agents.tasks.models import TaskAgentReturnStruct

if TYPE_CHECKING:
    from tests.conftest import World

    from encord_agents.tasks.engine.report import RunReport

N = 300
BAD = 157
BAD_TITLE = f"image-{BAD:05d}.png"


def fails_for_one(task: AgentTask) -> str:
    if task.data_title == BAD_TITLE:
        raise LookupError("no model for this one")
    return "fine"


def plain(world: World) -> Callable[..., Any]:
    def agent(label_row: LabelRowV2, task: AgentTask) -> TaskAgentReturnStruct:
        world.mark(label_row, int(task.data_title[6:11]) / 1000)
        return TaskAgentReturnStruct("review", label_row, 0.5)

    return agent


def check(world: World, hashes: list[str], report: RunReport, phase: str, *, attempts: int) -> None:
    """299 are saved and moved, with their own labels; the one is in the report, and still in its stage."""
    assert (report.moved, report.failed, report.held, report.skipped) == (N - 1, 1, 0, 0)
    assert report.exit_code == 1
    (failure,) = report.failures
    assert (failure.data_title, failure.phase, failure.attempts) == (BAD_TITLE, phase, attempts)
    assert failure.exception is not None
    assert type(failure.exception).__name__ in (failure.traceback or "")
    assert world.titles("Pre-label") == [BAD_TITLE]
    assert world.count("Review") == N - 1
    for number, data_hash in enumerate(hashes):
        assert world.marks(data_hash) == (None if number == BAD else [number / 1000])


def test_a_dependency_that_raises(world: World) -> None:
    """Phase inject."""
    hashes = world.project.add_placeholders(N)
    inner = plain(world)

    def agent(
        label_row: LabelRowV2, task: AgentTask, fine: Annotated[str, Depends(fails_for_one)]
    ) -> TaskAgentReturnStruct:
        return inner(label_row, task)

    report = world.run(agent, num_retries=1)
    check(world, hashes, report, "inject", attempts=2)
    assert "no model for this one" in str(report.failures[0].exception)


def test_an_agent_that_raises(world: World) -> None:
    """Phase agent."""
    hashes = world.project.add_placeholders(N)
    inner = plain(world)

    def agent(label_row: LabelRowV2, task: AgentTask) -> TaskAgentReturnStruct:
        fails_for_one(task)
        return inner(label_row, task)

    check(world, hashes, world.run(agent, num_retries=1), "agent", attempts=2)


def test_a_pathway_that_is_unknown(world: World) -> None:
    """Phase pathway, where the agent has named good ones before."""
    hashes = world.project.add_placeholders(N)
    inner = plain(world)

    def agent(label_row: LabelRowV2, task: AgentTask) -> TaskAgentReturnStruct:
        struct = inner(label_row, task)
        if task.data_title == BAD_TITLE:
            struct.pathway = "revue"
        return struct

    report = world.run(agent, num_retries=1)
    check(world, hashes, report, "pathway", attempts=2)
    assert "Did you mean 'review'?" in str(report.failures[0].exception)


def test_a_label_row_that_is_refused(world: World) -> None:
    """Phase save; the agent is not called again, and the culprit is found in few requests."""
    world.numbers["gather"] = 60.0  # a busy machine would make more bundles, each of fewer rows
    hashes = world.project.add_placeholders(N)
    world.project.refuse_row(hashes[BAD], "Not this one.")
    calls: list[str] = []
    inner = plain(world)

    def agent(label_row: LabelRowV2, task: AgentTask) -> TaskAgentReturnStruct:
        calls.append(task.data_title)
        return inner(label_row, task)

    report = world.run(agent)
    check(world, hashes, report, "save", attempts=1)
    assert len(calls) == N
    assert "Not this one." in str(report.failures[0].exception)
    # 3 bundles, and 2 for each halving of the one that was refused.
    assert world.platform.journal.count("save") <= 4 + 2 * 7
    assert all(world.project.saves(h) == 1 for h in hashes if h != hashes[BAD])


def test_a_label_row_that_is_gone(world: World) -> None:
    """Phase load."""
    hashes = world.project.add_placeholders(N)
    world.project.delete_row(hashes[BAD])
    report = world.run(plain(world), num_retries=1)
    check(world, hashes, report, "load", attempts=2)
    assert hashes[BAD] in str(report.failures[0].exception)


@pytest.mark.parametrize("driver", DRIVERS, ids=str)
def test_labels_that_cannot_be_read(world: World, driver: Driver) -> None:
    """One row has a label of a class that was removed from the ontology. Its task fails, with its labels as they were;
    the others of the bundle keep theirs, and get the agent's."""
    hashes = world.project.add_placeholders(6, title="file {index}")
    bad = hashes[3]
    client = world.platform.client(retries=False)
    ontology = client.get_ontology(client.get_project(world.project.project_hash).ontology_hash)
    ontology.structure.add_object("Removed", Shape.BOUNDING_BOX)
    ontology.save()
    project = client.get_project(world.project.project_hash)
    for row in project.list_label_rows_v2():
        row.initialise_labels()
        world.mark(row, 0.1)
        if row.data_hash == bad:
            removed = row.ontology_structure.get_child_by_title("Removed").create_instance()  # type: ignore[union-attr]
            removed.set_for_frames(BoundingBoxCoordinates(height=0.1, width=0.2, top_left_x=0.2, top_left_y=0.4), 0)
            row.add_object_instance(removed)  # type: ignore[arg-type]
        world.mark(row, 0.3)
        row.save()
    ontology.structure.objects[:] = [one for one in ontology.structure.objects if one.title != "Removed"]
    # Not by a request, which the local platform refuses: nobody can tell what other platforms do.
    world.platform._service.catalogue.save_ontology(
        ontology.ontology_hash, ontology.title, ontology.description or "", ontology.structure.to_dict()
    )
    called: list[str] = []

    def agent(label_row: LabelRowV2) -> TaskAgentReturnStruct:
        called.append(label_row.data_hash)
        world.mark(label_row, 0.5)
        return TaskAgentReturnStruct("complete", label_row)

    told = driver.run(world, agent, num_retries=1)
    assert told.counts == {"moved": 5, "failed": 1}
    assert "OntologyError" in told.failures["file 3"]
    assert sorted(called) == sorted(set(hashes) - {bad})
    assert [world.marks(data_hash) for data_hash in hashes] == [
        [0.1, 0.2, 0.3] if h == bad else [0.1, 0.3, 0.5] for h in hashes
    ]
    assert world.titles("Pre-label") == ["file 3"]


def test_a_storage_item_that_is_forbidden(world: World) -> None:
    """One unknown item is a 403 for all that were asked for with it; only that task fails."""
    hashes = world.project.add_placeholders(N)
    world.project.forbid_item(hashes[BAD])
    inner = plain(world)

    def agent(label_row: LabelRowV2, task: AgentTask, item: StorageItem) -> TaskAgentReturnStruct:
        return inner(label_row, task)

    check(world, hashes, world.run(agent, num_retries=0), "load", attempts=1)


@pytest.mark.parametrize(("window", "n"), [(300, 60), (1, 5)])
@pytest.mark.parametrize("how", ["missing", "corrupt"])
@pytest.mark.parametrize("retries", [0, 1])
@pytest.mark.parametrize("ahead", [True, False])
def test_an_asset_that_is_missing_or_corrupt(
    world: World, window: int, n: int, how: Any, ahead: bool, retries: int
) -> None:
    """A dead URL fails in load, whatever the window and the attempt; what is no image fails where it is read."""
    hashes = world.project.add_placeholders(n)
    bad = n // 2
    world.project.break_asset(hashes[bad], how)
    inner = plain(world)

    if ahead:

        def agent(
            label_row: LabelRowV2, task: AgentTask, frame: Annotated[ImageArray, Depends(dep_single_frame)]
        ) -> TaskAgentReturnStruct:
            assert frame.shape == (48, 64, 3)
            return inner(label_row, task)

    else:

        def agent(label_row: LabelRowV2, task: AgentTask, item: StorageItem) -> TaskAgentReturnStruct:  # type: ignore[misc]
            if hashes[bad] == label_row.data_hash:
                with Asset(item, sleep=lambda seconds: None) as asset:
                    asset.first_frame()
            return inner(label_row, task)

    report = world.run(agent, num_retries=retries, task_batch_size=window)
    (failure,) = report.failures
    assert report.moved == n - 1
    assert str(failure.data_hash) == hashes[bad]
    phase = "agent" if not ahead else "load" if how == "missing" else "inject"
    attempts = 1 + retries if how == "missing" else 1  # the same bytes cannot end better
    assert (failure.phase, failure.attempts) == (phase, attempts)
    assert report.exit_code == 1
    assert world.titles("Pre-label") == [f"image-{bad:05d}.png"]
    for number, data_hash in enumerate(hashes):
        assert world.marks(data_hash) == (None if number == bad else [number / 1000])


def test_a_file_that_comes_back(world: World) -> None:
    """A failed load-ahead is the first attempt's fault; the second fetches anew."""
    hashes = world.project.add_placeholders(3)
    world.project.break_asset(hashes[1], "missing")
    tries: list[str] = []

    def agent(task: AgentTask, path: Annotated[Path, Depends(dep_asset)]) -> str:
        assert path.read_bytes()[:4] == b"\x89PNG"
        tries.append(task.data_title)
        return "complete"

    runner = world.agent(agent)

    def mend(event: Any) -> None:
        if type(event).__name__ == "AttemptFailed":
            world.project.break_asset(hashes[1], None)

    runner.observers.append(mend)
    report = runner(progress="none", num_retries=1)
    assert report.moved == 3
    assert report.stages[0].attempts == 4


def test_files_are_removed(world: World) -> None:
    """The files of a task are removed when the task has its outcome."""
    world.project.add_placeholders(3)
    paths: list[Path] = []

    def agent(path: Annotated[Path, Depends(dep_asset)]) -> str:
        assert path.exists()
        paths.append(path)
        return "complete"

    for window in (1, 300):
        world.run(agent, task_batch_size=window)
        world.project.reset()
    assert len(set(paths)) == 6
    assert not any(path.exists() or path.parent.exists() for path in paths)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("driver", DRIVERS, ids=str)
def test_a_forked_child_is_no_second_run(world: World, driver: Driver) -> None:
    """A child that an agent forks, and that exits, fails or returns as scripts do, ends there: its parent goes on."""
    world.project.add_placeholders(6)
    codes: dict[str, int] = {}

    def agent(task: AgentTask) -> str:
        number = int(task.data_title[6:11]) % 3
        if (child := os.fork()) == 0:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(60)  # it must not go on with the tests, if it does not end
            if number == 0:
                sys.exit(3)
            if number == 1:
                raise LookupError("no work for this child")
            return "review"
        codes[task.data_title] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        return "complete"

    assert driver.run(world, agent).counts == {"moved": 6}
    assert (world.count("Pre-label"), world.count("Review")) == (0, 0)
    assert [codes[title] for title in sorted(codes)] == [3, 1, 0] * 2


@pytest.mark.parametrize("window", [1, 300])
def test_every_kind_of_trouble_at_once(world: World, window: int) -> None:
    """Each fails in its own phase, and what is left is done."""
    hashes = world.project.add_placeholders(12)
    world.project.refuse_row(hashes[2])
    world.project.delete_row(hashes[4])
    world.project.forbid_item(hashes[6])

    def agent(label_row: LabelRowV2, task: AgentTask, item: StorageItem) -> Any:
        world.mark(label_row, 0.5)
        if task.data_title == "image-00008.png":
            raise LookupError
        if task.data_title == "image-00010.png":
            return "nowhere"
        return TaskAgentReturnStruct("review", label_row, 0.5)

    report = world.run(agent, num_retries=0, task_batch_size=window)
    phases = {record.data_title: record.phase for record in report.failures}
    assert phases == {
        "image-00002.png": "save",
        "image-00004.png": "load",
        "image-00006.png": "load",
        "image-00008.png": "agent",
        "image-00010.png": "pathway",
    }
    assert report.moved == world.count("Review") == 7
