"""The truth at the end: the report, the log, the report file, and a dry run."""

from __future__ import annotations

import contextlib
import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from encord.objects import LabelRowV2
from encord.workflow.stages.agent import AgentTask

from encord_agents.exceptions import EncordAgentsError, PrintableError, TasksFailedError
from encord_agents.tasks.engine import report_file
from encord_agents.tasks.engine.events import Event, TaskWouldWrite
from encord_agents.tasks.models import TaskAgentReturnStruct

if TYPE_CHECKING:
    from tests.conftest import World

WINDOWS = pytest.mark.parametrize("window", [1, 300])


def mixed(label_row: LabelRowV2, task: AgentTask) -> Any:
    """Moves the first, holds the second, fails the third."""
    number = int(task.data_title[6:11])
    if number == 2:
        raise LookupError("no such face")
    return TaskAgentReturnStruct("review" if number == 0 else None, label_row, 0.5)


@WINDOWS
def test_the_report(world: World, window: int) -> None:
    """Counts per stage, a record per task, the failure with everything about it; truthy, and a table as text."""
    world.project.add_placeholders(3)
    runner = world.agent(mixed)
    report = runner(progress="none", num_retries=1, task_batch_size=window)
    assert report
    assert report is runner.report
    (stage,) = report.stages
    assert (stage.title, stage.function) == ("Pre-label", "mixed")
    assert (stage.moved, stage.held, stage.failed, stage.skipped, stage.attempts) == (1, 1, 1, 0, 4)
    assert stage.seconds > 0
    (failure,) = report.failures
    task = world.project.tasks()[2]
    assert (str(failure.task_uuid), str(failure.data_hash)) == (task.uuid, task.data_hash)
    assert (failure.data_title, failure.phase, failure.attempts) == (task.data_title, "agent", 2)
    assert isinstance(failure.exception, LookupError)
    assert 'raise LookupError("no such face")' in (failure.traceback or "")
    assert failure.exception.__traceback__ is None, "its frames would keep label rows in memory"
    head, row, *_ = str(report).splitlines()
    assert head.split() == ["stage", "moved", "held", "failed", "skipped", "attempts", "seconds"]
    assert row.split()[:6] == ["Pre-label", "1", "1", "1", "0", "4"]


def test_an_empty_report_is_truthy(world: World) -> None:
    """If no task was waiting, the report says so, and is truthy."""
    report = world.run(mixed)
    assert report
    assert (report.tasks, report.exit_code) == (0, 0)
    assert "No task was waiting." in str(report)
    assert report.raise_for_failures() is report


def test_raise_for_failures(world: World) -> None:
    """For those who want an exception."""
    world.project.add_placeholders(3)
    report = world.run(mixed, num_retries=0)
    with pytest.raises(TasksFailedError, match="1 of 3 tasks failed") as caught:
        report.raise_for_failures()
    assert caught.value.report is report
    assert isinstance(caught.value, EncordAgentsError)
    assert "image-00002.png" in str(caught.value)
    assert "no such face" in str(caught.value)


def test_to_json(world: World) -> None:
    """The counts and the failures, for programs."""
    world.project.add_placeholders(3)
    found = json.loads(world.run(mixed, num_retries=0).to_json())
    assert (found["tasks"], found["moved"], found["held"], found["failed"], found["passes"]) == (3, 1, 1, 1, 1)
    assert found["stages"][0]["pathways"] == {"review": 1}
    assert found["failures"][0]["error"] == "LookupError: no such face"
    assert found["stopped"] is None


def test_each_calls_report_is_its_own(world: World) -> None:
    """`runner.report` is the last run's."""
    world.project.add_placeholders(3)
    runner = world.agent(lambda: "complete")
    first = runner(progress="none", max_tasks_per_stage=1)
    second = runner(progress="none")
    assert (first.moved, second.moved) == (1, 2)
    assert runner.report is second


@WINDOWS
def test_log_records_say_which_task(world: World, window: int, caplog: pytest.LogCaptureFixture) -> None:
    """Every record of a task has its uuid, title and stage; a failure is an error with its traceback, once."""
    world.project.add_placeholders(3)
    with caplog.at_level(logging.DEBUG, logger="encord_agents"):
        world.run(mixed, num_retries=1, task_batch_size=window)
    about = [record for record in caplog.records if hasattr(record, "task_uuid")]
    tasks = {task.uuid: task.data_title for task in world.project.tasks()}
    assert {record.task_uuid for record in about} == set(tasks)
    assert all(record.data_title == tasks[record.task_uuid] and record.stage == "Pre-label" for record in about)
    (error,) = [record for record in about if record.levelno >= logging.ERROR]
    assert error.data_title == "image-00002.png"
    assert error.exc_info is not None
    assert "no such face" in error.getMessage()
    assert logging.getLogger("encord_agents").handlers == []


@WINDOWS
def test_the_report_file(world: World, window: int, tmp_path: Path) -> None:
    """A JSON line per task, appended."""
    world.project.add_placeholders(3)
    path = tmp_path / "report.jsonl"
    world.run(mixed, num_retries=0, task_batch_size=window, report=path)
    lines = {entry["data_title"]: entry for entry in map(json.loads, path.read_text().splitlines())}
    assert {title: entry["outcome"] for title, entry in lines.items()} == {
        "image-00000.png": "moved",
        "image-00001.png": "held",
        "image-00002.png": "failed",
    }
    assert lines["image-00000.png"]["pathway"] == "review"
    assert lines["image-00002.png"]["phase"] == "agent"
    assert "no such face" in lines["image-00002.png"]["traceback"]
    world.run(mixed, num_retries=0, task_batch_size=window, report=str(path))
    assert len(path.read_text().splitlines()) == 5


def test_a_report_file_that_cannot_be_written(world: World, tmp_path: Path) -> None:
    """It is found out before any task."""
    world.project.add_placeholders(1)
    with pytest.raises(PrintableError, match="cannot be written"):
        world.run(lambda: "complete", report=tmp_path / "nowhere" / "report.jsonl")
    assert world.count("Pre-label") == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("window", [1, 300])
def test_a_report_file_on_a_full_disk(world: World, window: int) -> None:
    """The run's result counts, and the summary says that the file is incomplete."""
    world.project.add_placeholders(5)
    report = world.run(lambda: "complete", task_batch_size=window, report="/dev/full")
    assert (report.moved, report.exit_code, report.stopped) == (5, 0, None)
    assert "The report file /dev/full is incomplete: 5 of 5 lines are missing" in str(report)
    assert report.to_dict()["report_file_error"] == report.report_file_error


@WINDOWS
def test_a_report_pipe_that_is_not_read(
    world: World, window: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that hangs delays the run a little and once; every task moves, and the summary counts the lines."""
    monkeypatch.setattr(report_file, "PATIENCE", 0.1)
    world.project.add_placeholders(5)
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):
        while os.write(writer, bytes(4096)):
            pass
    report = world.run(lambda: "complete", task_batch_size=window, report=path)
    os.close(writer)
    os.close(reader)
    assert (report.moved, report.exit_code, report.stopped) == (5, 0, None)
    assert "5 of 5 lines are missing (its reader does not read" in str(report)


@WINDOWS
def test_the_report_file_of_a_dry_run(world: World, window: int, tmp_path: Path) -> None:
    """Its lines say so: those of later runs in the same file really moved their tasks."""
    world.project.add_placeholders(1)
    path = tmp_path / "report.jsonl"
    for dry_run in (True, False):
        world.run(lambda: "complete", task_batch_size=window, report=path, dry_run=dry_run)
    lines = map(json.loads, path.read_text().splitlines())
    assert [(line["outcome"], line.get("dry_run")) for line in lines] == [("moved", True), ("moved", None)]


@WINDOWS
def test_a_dry_run_writes_nothing(world: World, window: int) -> None:
    """Agents run, and for each task it is said what would have been written."""
    world.project.add_placeholders(3)
    said: list[str] = []

    def observe(event: Event) -> None:
        if isinstance(event, TaskWouldWrite):
            said.append(event.summary)

    def agent(label_row: LabelRowV2, task: AgentTask) -> Any:
        world.mark(label_row)
        return mixed(label_row, task)

    runner = world.agent(agent)
    runner.observers.append(observe)
    report = runner(progress="none", num_retries=0, dry_run=True, task_batch_size=window)
    assert (report.moved, report.held, report.failed) == (1, 1, 1)
    assert said == [
        "would move along 'review', save 1 object and 0 classifications, set its priority to 0.5",
        "would stay in its stage, save 1 object and 0 classifications, set its priority to 0.5",
    ]
    assert world.requests("save", "priorities", "actions") == []
    assert world.count("Pre-label") == 3


def test_a_dry_run_is_one_pass(world: World) -> None:
    """It moves nothing, so every pass would be the same."""
    with pytest.raises(PrintableError, match="refresh_every"):
        world.run(mixed, dry_run=True, refresh_every=60)


def test_check_runs_nothing(world: World) -> None:
    """It validates, and tells what each agent needs."""
    world.project.add_placeholders(1)
    runner = world.agent(mixed)
    world.platform.journal.clear()
    assert runner.check() == [
        ("Pre-label", world.project.stage("Pre-label").uuid, "mixed", ["AgentTask", "LabelRowV2"])
    ]
    assert world.requests("tasks") == []
