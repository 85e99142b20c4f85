"""SQLite's plans for the questions of the platform: their cost does not grow with the project."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from tests.unit.local.conftest import WORKFLOW

from encord_agents.local import LocalPlatform, LocalProject, branches, labels, people, reviews, tasks
from encord_agents.local.labels import RowFilter
from encord_agents.local.tasks import Paging, TaskFilter
from encord_agents.local.trouble import Refusal

_WHOLE_PROJECT = re.compile(r"^SCAN (?!json_each)|\(project=\?(?: AND stage=\?)?\)")


def _list_rows(project: LocalProject) -> None:
    hashes = [task.data_hash for task in project.tasks()]
    labels.rows(project._database, project._record, RowFilter(data_hashes=hashes))


def _list_rows_by_label(project: LocalProject) -> None:
    labels.rows(project._database, project._record, RowFilter(label_hashes=["unknown"]))


def _create(project: LocalProject) -> None:
    hashes = [task.data_hash for task in project.tasks()]
    labels.create(project._database, project._record, hashes, "main")


def _save(project: LocalProject) -> None:
    hashes = [task.data_hash for task in project.tasks()]
    made = labels.create(project._database, project._record, hashes, "main")
    with pytest.raises(Refusal):
        labels.save(project._database, project._record, {made[0]["label_hash"]: {}})


def _move(project: LocalProject) -> None:
    stages = {stage.title: stage.uuid for stage in project._record.stages.values()}
    moves = [(task.uuid, stages["Done"]) for task in project.tasks()]
    tasks.move(project._database, project._record, stages["Agent"], moves)


def _prioritise(project: LocalProject) -> None:
    tasks.set_priorities(project._database, project._record, [(task.data_hash, 0.5) for task in project.tasks()])


def _ask_for_some_tasks(project: LocalProject) -> None:
    wanted = TaskFilter(data_hashes=[task.data_hash for task in project.tasks()])
    tasks.page(project._database, project._record, project.stage("Agent").uuid, wanted, Paging(2))


def _review(project: LocalProject) -> None:
    with project._database.write() as connection:
        reviews.open_for(connection, project._record, [task.uuid for task in project.tasks()])
        people._by_assignee(connection, project._record, [task.uuid for task in project.tasks()])


def _copy_a_branch(project: LocalProject) -> None:
    branches.copy(
        project._database,
        project._record,
        "main",
        "other",
        overwrite=False,
        data_hashes=[task.data_hash for task in project.tasks()],
        label_hashes=None,
    )


@pytest.mark.parametrize(
    "ask",
    [_list_rows, _list_rows_by_label, _create, _save, _move, _prioritise, _ask_for_some_tasks, _review, _copy_a_branch],
    ids=lambda ask: ask.__name__.strip("_"),
)
def test_rows_that_are_named_are_looked_up(ask: Callable[[LocalProject], None], platform: LocalPlatform) -> None:
    """A question that names its rows goes through those only, however many others the project has."""
    project = platform.create_project(title="Project", workflow=WORKFLOW)
    for name in ("a.png", "b.png", "c.png"):
        project.add_image(name)
    asked: list[str] = []
    connection = project._database._connection
    connection.set_trace_callback(asked.append)
    ask(project)
    connection.set_trace_callback(None)
    named = [statement for statement in asked if "json_each(" in statement]
    assert named
    for statement in named:
        steps = [row["detail"] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}")]
        assert not [step for step in steps if _WHOLE_PROJECT.search(step)], (statement, steps)
