"""Copies of projects: as much as was asked for, or none."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.local.rows import saved

from encord_agents.local import LocalPlatform, LocalProject, copying, datasets, folders
from encord_agents.local.folders import Search
from encord_agents.local.service import Given
from encord_agents.local.trouble import Refusal
from encord_agents.local.users import OWNER


@pytest.mark.parametrize(
    ("payload", "tasks"),
    [
        ({}, 0),
        ({"copy_project_options": ["datasets"]}, 3),
        ({"copy_project_options": ["labels"], "copy_labels_options": {"create_new_dataset": True}}, 3),
    ],
)
def test_copies_of_a_project(platform: LocalPlatform, project: LocalProject, payload: Any, tasks: int) -> None:
    """With the same stages, and as much of the rest as was asked for."""
    made = LocalProject(platform._service, platform._service.project(copying.copy(
        platform._service, project._record, Given(payload), OWNER
    )))  # fmt: skip
    assert made.title == "Project (copy)"
    assert [stage.title for stage in made.stages] == [stage.title for stage in project.stages]
    assert len(made.tasks()) == tasks


@pytest.mark.parametrize(
    ("payload", "status"),
    [
        ({"copy_project_options": ["x"]}, 400),
        ({"copy_project_options": "datasets"}, 400),
        ({"copy_project_options": ["models"]}, 501),
        ({"copy_project_options": ["labels"], "copy_labels_options": {"accepted_label_statuses": ["x"]}}, 501),
        ({"copy_project_options": ["labels"], "copy_labels_options": {"accepted_label_hashes": ["PDGDwmr5"]}}, 501),
        ({"copy_project_options": ["labels"], "copy_labels_options": {"accepted_label_hashes": [3]}}, 400),
        ({"copy_project_options": ["labels"], "copy_labels_options": {"accepted_label_hashes": "PDGDwmr5"}}, 400),
    ],
)
def test_a_copy_that_cannot_be(platform: LocalPlatform, project: LocalProject, payload: Any, status: int) -> None:
    """It is refused, and there is none."""
    with pytest.raises(Refusal) as caught:
        copying.copy(platform._service, project._record, Given(payload), OWNER)
    assert caught.value.status == status
    assert len(platform.projects()) == 1


def test_an_item_that_is_there_twice(platform: LocalPlatform, project: LocalProject) -> None:
    """The labels of each of its rows are copied to the row of the copy that stands for it."""
    service, record = platform._service, project._record
    (item, *_) = folders.find_items(service.database, Search())
    datasets.link_items(service.database, str(record.dataset), [item["uuid"]], "DUPLICATE")
    for number, confidence in ((0, 0.25), (3, 0.75)):
        saved(project, number, confidence=confidence)
    payload = {"copy_project_options": ["labels"], "copy_labels_options": {"create_new_dataset": True}}
    made = LocalProject(service, service.project(copying.copy(service, record, Given(payload), OWNER)))
    found = []
    for task in made.tasks():
        if (label := made.label(task.data_hash)) is not None:
            (unit,) = label["data_units"].values()
            found.append((unit["data_hash"] == task.data_hash, unit["labels"]["objects"][0]["confidence"]))
    assert found == [(True, 0.25), (True, 0.75)]
