"""Users, their roles, and the requests that each is admitted to."""

from __future__ import annotations

import pytest

from encord_agents.local import LocalPlatform, LocalProject, people, users
from encord_agents.local.trouble import Refusal

ANN = "ann@example.com"


def added(platform: LocalPlatform, project: LocalProject, role: int) -> None:
    with platform._service.database.write() as connection:
        users.add(connection, "project", project.project_hash, [ANN], role)


def test_members(platform: LocalPlatform, project: LocalProject) -> None:
    """A role that was given stays; those who are not there are ignored when users are removed; the owner stays."""
    database, hash = platform._service.database, project.project_hash
    added(platform, project, users.ANNOTATOR)
    added(platform, project, users.ADMIN)
    assert users.members(database, "project", hash) == [(users.OWNER, users.ADMIN), (ANN, users.ANNOTATOR)]
    platform.add_user("bob@example.com")
    assert users.everybody(database) == [ANN, "bob@example.com", users.OWNER]
    with database.write() as connection:
        users.remove(connection, "project", hash, [ANN, "bob@example.com"])
    assert users.members(database, "project", hash) == [(users.OWNER, users.ADMIN)]
    with pytest.raises(Refusal), database.write() as connection:
        users.remove(connection, "project", hash, [users.OWNER])


def test_tasks_of_a_member_who_leaves(platform: LocalPlatform) -> None:
    """They are released; those of others, and of other projects, stay with them."""
    database, projects = platform._service.database, []
    for title in ("One", "Two"):
        stages = [{"title": "Annotate", "type": "annotation"}, {"title": "Agent", "type": "agent"}]
        project = platform.create_project(title=title, workflow={"stages": stages})
        projects.append(project)
        added(platform, project, users.ANNOTATOR)
        (stage, *_), record = project._record.stages.values(), project._record
        for name, assignee in (("a.png", ANN), ("b.png", users.OWNER)):
            project.add_image(name)
            people.assign(database, record, stage, [project.tasks()[-1].uuid], assignee=assignee)
    with database.write() as connection:
        users.remove(connection, "project", projects[0].project_hash, [ANN])
        found = connection.execute("SELECT status, assignee FROM tasks ORDER BY id").fetchall()
    kept = [("ASSIGNED", users.OWNER), ("ASSIGNED", ANN), ("ASSIGNED", users.OWNER)]
    assert [tuple(row) for row in found] == [("RELEASED", None), *kept]


@pytest.mark.parametrize(
    ("email", "role"), [("ann", 0), (3, 0), ("@" * 400, 0), (ANN, 6), (ANN, -1), (ANN, True), (ANN, "0")]
)
def test_a_member_that_cannot_be(platform: LocalPlatform, project: LocalProject, email: object, role: object) -> None:
    """It is refused, and nobody is added."""
    with pytest.raises(Refusal), platform._service.database.write() as connection:
        users.add(connection, "project", project.project_hash, [email], role)
    assert len(users.members(platform._service.database, "project", project.project_hash)) == 1
