"""Users, their roles, and the requests that each is admitted to."""

from __future__ import annotations

import pytest

from encord_agents.local import LocalPlatform, LocalProject, users
from encord_agents.local.trouble import Refusal

ANN = "ann@example.com"


def added(platform: LocalPlatform, project: LocalProject, role: int) -> None:
    with platform._service.database.write() as connection:
        users.add(connection, "project", project.project_hash, [ANN], role)


def test_members(platform: LocalPlatform, project: LocalProject) -> None:
    """A role that was given stays; only who is there can be removed, and never the owner."""
    database, hash = platform._service.database, project.project_hash
    added(platform, project, users.ANNOTATOR)
    added(platform, project, users.ADMIN)
    assert users.members(database, "project", hash) == [(users.OWNER, users.ADMIN), (ANN, users.ANNOTATOR)]
    platform.add_user("bob@example.com")
    assert users.everybody(database) == [ANN, "bob@example.com", users.OWNER]
    with database.write() as connection:
        users.remove(connection, "project", hash, [ANN])
    for email in (ANN, users.OWNER):
        with pytest.raises(Refusal), database.write() as connection:
            users.remove(connection, "project", hash, [email])


@pytest.mark.parametrize(
    ("email", "role"), [("ann", 0), (3, 0), ("@" * 400, 0), (ANN, 6), (ANN, -1), (ANN, True), (ANN, "0")]
)
def test_a_member_that_cannot_be(platform: LocalPlatform, project: LocalProject, email: object, role: object) -> None:
    """It is refused, and nobody is added."""
    with pytest.raises(Refusal), platform._service.database.write() as connection:
        users.add(connection, "project", project.project_hash, [email], role)
    assert len(users.members(platform._service.database, "project", project.project_hash)) == 1
