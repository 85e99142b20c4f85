"""Tests of agents: no account, no mocks, the unmodified SDK. Run them with `pytest examples/testing`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PIL import Image

import agents
from encord_agents.local import Fault, LocalPlatform, LocalProject
from encord_agents.testing import AgentRun

MakeProject = Callable[..., LocalProject]
RunAgent = Callable[..., AgentRun]


def picture(path: Path, grey: int) -> Path:
    Image.new("L", (64, 48), grey).save(path)
    return path


def test_one_task(encord_project: MakeProject, run_agent: RunAgent, tmp_path: Path) -> None:
    """What is detected becomes a box, and the task goes to review; the project is as it was."""
    project = encord_project(files=[picture(tmp_path / "bright.png", 200)])
    (task,) = project.tasks()
    run = run_agent(agents.runner, task)
    assert (run.outcome, run.pathway) == ("moved", "review")
    (box,) = run.labels.get_object_instances()
    assert box.object_name == "Person"
    assert project.saves(task.data_hash) == 0
    assert project.tasks("Agent") == [task]


def test_a_function_by_itself(encord_project: MakeProject, run_agent: RunAgent) -> None:
    """A function need not be in a runner; what it raises is in the outcome."""

    def broken() -> str:
        raise ValueError("no model here")

    (task,) = encord_project().tasks()
    assert run_agent(agents.pre_label, task).pathway == "review"
    failed = run_agent(broken, task)
    assert (failed.outcome, failed.phase, str(failed.exception)) == ("failed", "agent", "no model here")


def test_a_whole_run(encord_platform: LocalPlatform, encord_project: MakeProject, tmp_path: Path) -> None:
    """The runner over a project, through two outages, as on the real platform."""
    project = encord_project(files=[picture(tmp_path / f"{grey}.png", grey) for grey in (10, 150, 250)])
    encord_platform.faults.add(Fault("save", status=503, times=2))
    report = agents.runner(project_hash=project.project_hash)
    assert (report.moved, report.failed) == (3, 0)
    assert {stage.title: stage.tasks for stage in project.stages} == {"Agent": 0, "Review": 2, "Done": 1}
    assert encord_platform.journal.count("actions") > 0


def test_after_people(encord_platform: LocalPlatform, encord_project: MakeProject) -> None:
    """People approve, and the SDK sees it."""
    project = encord_project()
    agents.runner(project_hash=project.project_hash)
    assert project.act("approve", "Review") == 1
    (row,) = encord_platform.client().get_project(project.project_hash).list_label_rows_v2()
    assert row.workflow_graph_node is not None
    assert row.workflow_graph_node.title == "Done"
