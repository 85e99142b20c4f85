"""Projects of one task, for an agent to be tried on."""

from __future__ import annotations

import pytest
from tests.unit.local.hanging import counts, filled

from encord_agents.local import LocalPlatform, LocalProject, notifications, singles, users
from encord_agents.local.database import _SCHEMA, _TABLE

LATER = 4e9
"""A time by which every wait is over."""


@pytest.fixture
def notified(platform: LocalPlatform, project: LocalProject) -> LocalProject:
    """A project with people and tags, of whose waiting tasks an address has been notified."""
    platform.receivers.add("http://127.0.0.1:9/", max_wait=0)
    filled(platform, project)
    with platform._service.database.write() as connection:
        users.add(connection, "project", project.project_hash, ["ann@example.org"], users.ANNOTATOR)
    platform._service.set_setting(f"issue_tags {project.project_hash}", ["blurred"])
    database = platform._service.database
    notifications.collect(database, platform._service.catalogue, LATER)
    for sent in notifications.due(database, LATER):
        notifications.answered(database, sent.uid, "200 OK", accepted=True, at=LATER, seconds=0.1, now=LATER)
    return project


def test_a_copy_of_one_task_leaves_no_trace(platform: LocalPlatform, notified: LocalProject) -> None:
    """An agent can be tried on it; afterwards it is as if it had never been there."""
    before = counts(platform, *_TABLE.findall(_SCHEMA))
    service = platform._service
    for task, title in zip(notified.tasks(), ("a.png", "b.png", "c.png"), strict=True):
        record = singles.copy(service, notified._record, task.uuid)
        copied = LocalProject(service, record)
        assert [task.data_title for task in copied.tasks()] == [title]
        copied.move(copied.tasks()[0].uuid, "Annotate")
        singles.delete(service, record)
        assert counts(platform, *before) == before
    assert singles.find(service, notified.tasks()[0].uuid).hash == notified.project_hash


def test_nobody_is_notified_of_a_copy(platform: LocalPlatform, notified: LocalProject) -> None:
    """Neither when it is made, nor of a move, nor when an address is told of everything."""
    service = platform._service
    for task in notified.tasks():
        notified.move(task.uuid, "Annotate")
    notifications.collect(service.database, service.catalogue, 2 * LATER)
    before = platform.receivers.sent()
    copied = LocalProject(service, singles.copy(service, notified._record, notified.tasks()[1].uuid))
    for stage in ("Agent", "Done", "Agent"):
        copied.move(copied.tasks()[0].uuid, stage)
        notifications.collect(service.database, service.catalogue, 2 * LATER)
        for receiver in platform.receivers:
            platform.receivers.tell(receiver)
        notifications.collect(service.database, service.catalogue, 2 * LATER)
    assert platform.receivers.sent() == before
