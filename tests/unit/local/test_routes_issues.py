"""Issues: what people say about tasks, and about which place of them."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.local.asking import NOBODY, refused, rest

from encord_agents.local import LocalPlatform, LocalProject, users

LIST = "GET projects/{project}/issues"
NEW = "POST projects/{project}/issues"
DELETE = "POST projects/{project}/issues/delete"
TAGS = "GET projects/{project}/issue-tags"
NEW_TAGS = "POST projects/{project}/issue-tags"


def issue(project: LocalProject, number: int = 0, **anchor: Any) -> dict[str, Any]:
    unit = project.tasks()[number].data_hash
    return {"anchor": {"type": "dataUnit", "dataUuid": unit, **anchor}, "comment": "why?", "issueTags": ["odd"]}


def test_an_issue_and_its_end(platform: LocalPlatform, project: LocalProject) -> None:
    """It is listed with its author, comment, tags and place, of all data units or of one, until it is deleted."""
    here = {"project": project.project_hash}
    point = {"type": "frameCoordinate", "frameIndex": 0, "x": 0.25, "y": 0.5}
    rest(platform, NEW, {"issues": [issue(project), issue(project, 1, **point)]}, user=users.OWNER, **here)
    found = rest(platform, LIST, **here)["results"]
    assert {one["type"] for one in found} == {"dataUnit", "frameCoordinate"}
    (one,) = rest(platform, LIST, query={"dataUnitId": [project.tasks()[1].data_hash]}, **here)["results"]
    assert (one["coordinate"], one["frameIndex"]) == ({"x": 0.25, "y": 0.5}, 0)
    assert [(said["content"], said["authorEmail"]) for said in one["comments"]] == [("why?", users.OWNER)]
    assert [tag["name"] for tag in one["tags"]] == ["odd"]
    with refused(403):
        rest(platform, DELETE, {"issueUuids": [one["uuid"], NOBODY]}, **here)
    assert len(rest(platform, LIST, **here)["results"]) == 2
    rest(platform, DELETE, {"issueUuids": [one["uuid"]]}, **here)
    assert [left["type"] for left in rest(platform, LIST, **here)["results"]] == ["dataUnit"]


@pytest.mark.parametrize(
    ("anchor", "status"),
    [
        ({"type": "page"}, 400),
        ({"type": None}, 400),
        ({"type": "frame"}, 400),
        ({"type": "frameCoordinate", "frameIndex": 0, "x": 0.5}, 400),
        ({"type": "frame", "frameIndex": "0"}, 400),
        ({"type": "frame", "frameIndex": True}, 400),
        ({"type": "frame", "frameIndex": -1}, 400),
        ({"type": "frame", "frameIndex": 1}, 400),
        ({"type": "frame", "frameIndex": 0.5}, 400),
        ({"spaceId": NOBODY}, 403),
        ({"type": "annotation"}, 400),
        ({"dataUuid": "a.png"}, 400),
        ({"dataUuid": NOBODY}, 403),
    ],
)
def test_a_place_that_is_none(
    platform: LocalPlatform, project: LocalProject, anchor: dict[str, Any], status: int
) -> None:
    """It is refused, and nothing is kept of what came with it."""
    with refused(status):
        rest(
            platform, NEW, {"issues": [issue(project), issue(project, **anchor)]}, project=project.project_hash
        )  # fmt: skip
    assert rest(platform, LIST, project=project.project_hash)["results"] == []


@pytest.mark.parametrize("body", [{}, {"issues": []}, {"issues": "x"}, {"issues": [3]}])
def test_no_issues(platform: LocalPlatform, project: LocalProject, body: Any) -> None:
    """A request without any is refused."""
    with refused(400):
        rest(platform, NEW, body, project=project.project_hash)


def test_tags(platform: LocalPlatform, project: LocalProject) -> None:
    """Each is there once, under an id that stays; they are this project's."""
    other = platform.create_project(workflow={"stages": [{"title": "A", "type": "agent"}]})
    for names in (["b", "a"], ["a", "c"]):
        rest(platform, NEW_TAGS, {"issueTagNames": names}, project=project.project_hash)
    found = rest(platform, TAGS, project=project.project_hash)["results"]
    assert [tag["name"] for tag in found] == ["b", "a", "c"]
    assert rest(platform, TAGS, project=project.project_hash)["results"] == found
    assert rest(platform, TAGS, project=other.project_hash)["results"] == []
    for wrong in ({}, {"issueTagNames": [""]}, {"issueTagNames": [3]}):
        with refused(400):
            rest(platform, NEW_TAGS, wrong, project=project.project_hash)


def test_a_viewer_says_nothing(platform: LocalPlatform, project: LocalProject) -> None:
    """Who works in the project says what is wrong with it; who only looks does not."""
    people = (("ann@example.com", users.REVIEWER), ("bob@example.com", users.VIEWER))
    with platform._service.database.write() as connection:
        for email, role in people:
            users.add(connection, "project", project.project_hash, [email], role)
    rest(platform, NEW, {"issues": [issue(project)]}, user="ann@example.com", project=project.project_hash)
    with refused(403):
        rest(platform, NEW, {"issues": [issue(project)]}, user="bob@example.com", project=project.project_hash)
    assert len(rest(platform, LIST, user="bob@example.com", project=project.project_hash)["results"]) == 1
