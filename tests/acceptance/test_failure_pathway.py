"""The tasks that go down the failure pathway, and the report on those that cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import pytest
from encord.objects import LabelRowV2
from encord.storage import StorageItem
from encord.workflow.stages.agent import AgentTask
from tests.drivers import RUNNERS, ByThreads, Driver
from tests.waiting import until

from encord_agents.core.assets import Asset
from encord_agents.local import Fault
from encord_agents.tasks import Depends
from encord_agents.tasks.engine.events import Event, TaskFinished
from encord_agents.tasks.models import TaskAgentReturnStruct

if TYPE_CHECKING:
    from tests.conftest import World


def item_of(world: World, data_hash: str) -> str:
    (row,) = world.client.get_project(world.project.project_hash).list_label_rows_v2(data_hashes=[data_hash])
    return str(row.backing_item_uuid)


@pytest.mark.parametrize("retries", [0, 1])
@pytest.mark.parametrize("where", ["agent", "dependency"])
def test_a_request_of_an_agents_own_that_the_platform_does_not_answer(world: World, where: str, retries: int) -> None:
    """Is trouble of the platform, wherever it is raised: the task stays."""
    hashes = world.project.add_placeholders(6)
    world.platform.faults.add(Fault("save", times=None, status=503, contains=hashes[4]))

    def dependency(label_row: LabelRowV2) -> None:
        if where == "dependency":
            label_row.save()

    def agent(label_row: LabelRowV2, _: Annotated[None, Depends(dependency)]) -> str:
        if where == "agent":
            label_row.save()
        return "complete"

    report = world.agent(agent, failure_pathway="triage")(progress="none", num_retries=retries)
    assert (report.moved, report.failed, world.count("Triage")) == (5, 1, 0)


@pytest.mark.parametrize("retries", [0, 1])
@pytest.mark.parametrize("trouble", ["missing", "503"])
def test_a_file_that_is_not_to_be_had(world: World, trouble: str, retries: int) -> None:
    """Is no agent's fault, in the first attempt or a later one: the others are moved, the task stays."""
    world.numbers |= {"first_backoff": 0.001, "longest_backoff": 0.02, "own_trouble_after": 0.1}
    hashes = world.project.add_placeholders(6)
    if trouble == "missing":
        world.project.break_asset(hashes[4], "missing")
    else:
        world.platform.faults.add(Fault("asset", times=None, status=503, contains=item_of(world, hashes[4])))

    def agent(asset: Asset) -> str:
        asset.path()
        return "complete"

    runner = world.agent(agent, failure_pathway="triage")
    report = runner(progress="none", num_retries=retries, max_outage=1.0)
    assert (report.moved, report.failed, world.count("Triage")) == (5, 1, 0)
    assert [(str(failure.data_hash), failure.phase) for failure in report.failures] == [(hashes[4], "load")]


def test_a_file_that_the_agent_fetches_itself(world: World) -> None:
    """Is no more its fault, though the phase is the agent's."""
    hashes = world.project.add_placeholders(6)
    world.project.break_asset(hashes[4], "missing")

    def agent(item: StorageItem) -> str:
        with Asset(item) as asset:
            asset.path()
        return "complete"

    report = world.agent(agent, failure_pathway="triage")(progress="none", num_retries=1)
    assert (report.moved, report.failed, world.count("Triage")) == (5, 1, 0)
    assert report.failures[0].phase == "agent"


@pytest.mark.parametrize("stale", [False, True])
@pytest.mark.parametrize("window", [1, 300])
def test_a_failed_task_that_somebody_else_moved(world: World, window: int, stale: bool) -> None:
    """Has failed all the same, and went nowhere by our doing."""
    if stale:
        world.numbers["stale_after"] = 0.0
    hashes = world.project.add_placeholders(3)

    def agent(task: AgentTask) -> str:
        if str(task.data_hash) == hashes[1]:
            world.project.move(str(task.uuid), "Review")
            raise LookupError("the agent's own trouble")
        return "complete"

    report = world.agent(agent, failure_pathway="triage")(progress="none", num_retries=0, task_batch_size=window)
    (failure,) = report.failures
    assert (str(failure.data_hash), failure.phase, failure.pathway) == (hashes[1], "agent", None)
    assert (report.moved, report.exit_code) == (2, 1)
    assert world.count("Triage") == 0


def test_a_refused_move_keeps_the_agents_exception(world: World) -> None:
    """The agent's exception stays the task's error; the refused move is a note on it."""
    hashes = world.project.add_placeholders(3)
    world.platform.faults.add(Fault("actions", times=None, status=400, contains=world.task_of(hashes[1])))

    def agent(task: AgentTask) -> str:
        if str(task.data_hash) == hashes[1]:
            raise LookupError("the agent's own trouble")
        return "complete"

    report = world.agent(agent, failure_pathway="triage")(progress="none", num_retries=0)
    (failure,) = report.failures
    assert (failure.phase, failure.pathway, repr(failure.exception)) == (
        "agent",
        None,
        'LookupError("the agent\'s own trouble")',
    )
    assert "could not be moved" in " ".join(getattr(failure.exception, "__notes__", []))


@pytest.mark.parametrize("workers", [1, 4])
def test_nothing_goes_there_after_twenty_in_a_row(world: World, workers: int) -> None:
    """However slow the platform is to take those that were on their way."""
    world.project.add_placeholders(80)
    world.platform.settings.latency = 0.02
    in_triage: list[int] = []
    failures = iter(range(1000))

    def agent() -> str:
        number = next(failures)
        if number == 0:
            return "complete"
        raise LookupError

    runner = world.agent(agent, failure_pathway="triage")

    def observer(event: Any) -> None:
        if type(event).__name__ == "AttemptFailed" and len(in_triage) < 20:
            in_triage.append(world.count("Triage"))

    runner.observers.append(observer)
    report = runner(progress="none", num_retries=0, max_workers=workers)
    assert report.stopped is not None
    assert "in a row" in report.stopped
    assert report.exit_code == 1
    went = sum(failure.pathway == "triage" for failure in report.failures)
    assert went == world.count("Triage") < 20


# Which tasks are in the stage


@pytest.mark.parametrize("asked", ["before loading", "before saving", "after an unclear move"])
def test_the_platform_says_nothing_about_one_task(world: World, asked: str) -> None:
    """If the platform answers 403 when asked whether one task is still there, that task fails: the others go on."""
    hashes = world.project.add_placeholders(30)
    if asked != "after an unclear move":
        world.numbers["stale_after"] = 0.0
    else:
        world.platform.faults.add(Fault("actions", action="drop_before"))
    world.platform.faults.add(Fault("tasks", times=None, status=403, contains=hashes[7]))

    def agent(label_row: LabelRowV2) -> TaskAgentReturnStruct:
        return TaskAgentReturnStruct(pathway="complete", label_row=label_row)

    report = world.run(agent)
    assert (report.moved, report.failed) == (29, 1)
    assert str(report.failures[0].data_hash) == hashes[7]
    assert world.count("Done") == 29


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("driver", [*RUNNERS, ByThreads("drain", batch_size=1)], ids=str)
def test_the_report_of_a_dry_run_names_the_failure_pathway(world: World, driver: Driver, dry_run: bool) -> None:
    """As that of a run that makes the move."""
    world.project.add_placeholders(6, title="file {index}")
    finished: list[TaskFinished] = []

    def watch(event: Event) -> None:
        if isinstance(event, TaskFinished):
            finished.append(event)

    def agent(task: AgentTask) -> str:
        if task.data_title == "file 5":
            until(lambda: len(finished) > 0)  # before an agent has succeeded, no task is sent down
            raise ValueError("damaged")
        return "complete"

    told = driver.having(dry_run=dry_run).run(world, agent, failure_pathway="triage", observers=[watch])
    assert told.report is not None
    (stage,) = told.report.stages
    assert stage.moved_to == {"complete": 5, "triage": 1}
    assert [failure.pathway for failure in told.report.failures] == ["triage"]
    assert world.count("Triage") == (0 if dry_run else 1)
