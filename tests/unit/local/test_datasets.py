"""Datasets and projects: what is linked gets tasks, and what goes takes everything with it that hangs on it."""

from __future__ import annotations

import pytest
from tests.unit.local.hanging import counts, filled

from encord_agents.local import LocalPlatform, LocalProject, datasets
from encord_agents.local.trouble import Refusal


def test_a_deleted_project_leaves_nothing_to_the_next(platform: LocalPlatform, project: LocalProject) -> None:
    """The next project may get its row in the database, and inherits nothing; files and dataset stay."""
    filled(platform, project)
    assert all(counts(platform).values())
    row = project._record.id
    platform._service.set_setting(f"issue_tags {project.project_hash}", ["tag"])
    project.delete()
    assert set(counts(platform).values()) == {0}
    assert platform._service.setting(f"issue_tags {project.project_hash}") is None
    assert counts(platform, "items", "data", "datasets") == {"items": 3, "data": 3, "datasets": 1}
    again = platform.create_project(workflow={"stages": [{"title": "A", "type": "agent"}]})
    assert again._record.id == row


def test_a_row_that_is_unlinked_takes_everything_with_it(platform: LocalPlatform, project: LocalProject) -> None:
    """And leaves the rest of the project alone."""
    filled(platform, project)
    rows = datasets.rows(platform._service.database, project._record.dataset or "")
    with platform._service.database.write() as connection:
        datasets.unlink(connection, [rows[0]["row"]])
    assert {table for table, n in counts(platform).items() if n} == {"entries", "tasks"}
    assert [task.data_title for task in project.tasks()] == ["b.png", "c.png"]


def test_linking(platform: LocalPlatform, project: LocalProject) -> None:
    """The same item again is skipped, refused or doubled, as asked for; each project of the dataset gets a task."""
    database, dataset = platform._service.database, project._record.dataset or ""
    other = platform.create_project(workflow={"stages": [{"title": "A", "type": "agent"}]})
    with database.write() as connection:
        datasets.attach(connection, other._record.id, dataset)
        datasets.attach(connection, other._record.id, dataset)
    item = datasets.rows(database, dataset)[0]["uuid"]
    assert datasets.link_items(database, dataset, [item], "SKIP") == []
    with pytest.raises(Refusal) as caught:
        datasets.link_items(database, dataset, [item], "FAIL")
    assert caught.value.status == 409
    with pytest.raises(Refusal):
        datasets.link_items(database, dataset, ["other"], "SKIP")
    assert len(datasets.link_items(database, dataset, [item], "DUPLICATE")) == 1
    assert (len(project.tasks()), len(other.tasks())) == (4, 4)
    with database.write() as connection:
        datasets.detach(connection, other._record.id, dataset)
    assert (len(project.tasks()), len(other.tasks())) == (4, 0)
    with pytest.raises(Refusal):
        datasets.rows(database, dataset, hashes=["other"])
