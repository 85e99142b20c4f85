"""The REST operations of projects, datasets, ontologies and users."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.local.asking import NOBODY, Asker, refused, rest
from tests.unit.local.rows import made, saved

from encord_agents.local import LocalPlatform, LocalProject, users

ANN = "ann@example.com"


def join(platform: LocalPlatform, project: LocalProject, role: int) -> None:
    with platform._service.database.write() as connection:
        users.add(connection, "project", project.project_hash, [ANN], role)


def test_projects_of_a_user(platform: LocalPlatform, project: LocalProject) -> None:
    """Each sees those that they are in, with their role there; filters leave those that fit."""
    platform.create_project(title="Other", workflow={"stages": [{"title": "A", "type": "agent"}]})
    assert rest(platform, "GET projects", user=ANN)["results"] == []
    join(platform, project, users.REVIEWER)
    (found,) = rest(platform, "GET projects", user=ANN)["results"]
    assert (found["title"], found["userRole"]) == ("Project", users.REVIEWER)
    query = {"titleLike": ["oth%"]}
    assert [one["title"] for one in rest(platform, "GET projects", query=query)["results"]] == ["Other"]
    one = rest(platform, "GET projects/{project}", project=project.project_hash)
    assert [stage["title"] for stage in one["workflow"]["stages"]] == ["Agent", "Annotate", "Review", "Done"]


def test_the_status_of_a_project(platform: LocalPlatform, project: LocalProject) -> None:
    """It is one of those that the SDK knows."""
    rest(platform, "PUT projects/{project}/status", {"status": "paused"}, project=project.project_hash)
    assert project._record.status == "paused"
    with refused(400):
        rest(platform, "PUT projects/{project}/status", {"status": "sleeping"}, project=project.project_hash)


def test_branches(platform: LocalPlatform, project: LocalProject) -> None:
    """`main` first, as many as are asked for; labels are copied from one to another, and not over those there."""
    here = {"project": project.project_hash}
    saved(project)
    made(project, 1, "b")
    assert [one["name"] for one in rest(platform, "GET projects/{project}/branches", **here)["results"]] == [
        "main",
        "b",
    ]
    first = rest(platform, "GET projects/{project}/branches", query={"limit": ["1"]}, **here)
    assert [one["name"] for one in first["results"]] == ["main"]
    for limit in ("-1", "x", "9" * 10):
        with refused(400):
            rest(platform, "GET projects/{project}/branches", query={"limit": [limit]}, **here)
    copy = "POST projects/{project}/labels/copy-branch"
    ways = {"sourceBranchName": "main", "targetBranchName": "b"}
    assert rest(platform, copy, ways, **here) == {"copiedCount": 1}
    assert rest(platform, copy, ways, **here) == {"copiedCount": 0}
    assert rest(platform, copy, ways | {"overwrite": True, "dataUuids": []}, **here) == {"copiedCount": 0}
    assert rest(platform, copy, ways | {"overwrite": True}, **here) == {"copiedCount": 1}
    for wrong in ({}, {"sourceBranchName": "main", "targetBranchName": "main"}):
        with refused(400):
            rest(platform, copy, wrong, **here)


@pytest.mark.parametrize("kind", ["project", "dataset"])
def test_users_leave(platform: LocalPlatform, project: LocalProject, kind: Any) -> None:
    """All who are named, or nobody; the owner stays."""
    hash = project.project_hash if kind == "project" else str(project._record.dataset)
    with platform._service.database.write() as connection:
        users.add(connection, kind, hash, [ANN], users.ANNOTATOR)
    here = {kind: hash}
    listing, leave = f"GET {kind}s/{{{kind}}}/users", f"POST {kind}s/{{{kind}}}/users/bulk-delete"
    for emails, status in (([ANN, "bob@example.com"], 403), ([users.OWNER], 403), (None, 400)):
        with refused(status):
            rest(platform, leave, {"userEmails": emails}, **here)
    assert [one["userEmail"] for one in rest(platform, listing, **here)["results"]] == [users.OWNER, ANN]
    rest(platform, leave, {"userEmails": [ANN]}, **here)
    assert [one["userEmail"] for one in rest(platform, listing, **here)["results"]] == [users.OWNER]


def test_classifications_and_validity(platform: LocalPlatform, project: LocalProject) -> None:
    """Of label rows of one branch; what could not be read back was refused when it was saved, so all are valid."""
    row, other, here = saved(project), made(project, 1, "b"), {"project": project.project_hash}
    hashes = [row["label_hash"], other["label_hash"]]
    ask = "POST projects/{project}/label-rows/classifications"
    for branch, titles in ((None, ["a.png"]), ("b", ["b.png"])):
        found = rest(platform, ask, {"labelUuids": hashes, "branchName": branch}, **here)["labels"]
        assert [one["dataTitle"] for one in found] == titles
    state = "GET projects/{project}/labels/{label}/validation-state"
    assert rest(platform, state, label=hashes[0], **here)["isValid"] is True
    with refused(403):
        rest(platform, state, label=NOBODY, **here)


def test_a_new_dataset(platform: LocalPlatform) -> None:
    """It is its maker's, with a folder or without, and others do not see it."""
    made = rest(platform, "POST datasets", {"title": "New"}, user=ANN)
    bare = rest(platform, "POST datasets", {"title": "Bare", "createBackingFolder": False}, user=ANN)
    assert (bool(made["backingFolderUuid"]), bare["backingFolderUuid"]) == (True, None)
    listed = rest(platform, "GET datasets/list", user=ANN, query={"titleEq": ["New"]})["result"]
    assert [(one["datasetUuid"], one["userRole"]) for one in listed] == [(made["datasetUuid"], "admin")]
    assert rest(platform, "GET datasets/list", user="bob@example.com")["result"] == []
    with refused(400):
        rest(platform, "POST datasets", {"title": ""})


def test_an_ontology(platform: LocalPlatform, project: LocalProject) -> None:
    """It is made, listed, changed and read again; one that the SDK could not read is refused and leaves the old one."""
    editor = rest(platform, "GET ontologies/{ontology}", ontology=project._record.ontology)["editor"]
    made = rest(platform, "POST ontologies", {"title": "Mine", "editor": editor})
    here = {"ontology": made["ontologyUuid"]}
    assert [found["name"] for found in made["editor"]["objects"]] == ["Person"]
    query = {"titleEq": ["Mine"]}
    assert [one["ontologyUuid"] for one in rest(platform, "GET ontologies", query=query)["results"]] == [*here.values()]
    rest(platform, "PUT ontologies/{ontology}", {"title": "New", "editor": editor | {"classifications": []}}, **here)
    for wrong in ({"title": "x", "editor": {"objects": [{"name": "x"}]}}, {"title": "", "editor": editor}, {}):
        with refused(400):
            rest(platform, "PUT ontologies/{ontology}", wrong, **here)
    found = rest(platform, "GET ontologies/{ontology}", **here)
    assert (found["title"], found["editor"]["classifications"]) == ("New", [])
    for request, body in (("GET", None), ("PUT", made)):
        with refused(403):
            rest(platform, f"{request} ontologies/{{ontology}}", body, ontology=NOBODY)


def test_the_organisation(platform: LocalPlatform, project: LocalProject) -> None:
    """It has users and tags; it has no groups, and making one is answered with what to do instead."""
    join(platform, project, users.VIEWER)
    people = {one["email"]: one["roleMnemonicName"] for one in rest(platform, "GET organisation/users")["results"]}
    assert people == {users.OWNER: "ADMIN", ANN: "MEMBER"}
    tags = "organisation/organisation-tags"
    one, two = (rest(platform, f"POST {tags}", {"name": name}) for name in ("one", "two"))
    rest(platform, f"DELETE {tags}/{{tag}}", tag=one["uuid"])
    assert rest(platform, f"GET {tags}")["results"] == [two]
    with refused(400):
        rest(platform, f"POST {tags}", {})
    assert rest(platform, "GET projects/{project}/tags", project=project.project_hash)["results"] == []
    assert rest(platform, "GET user/current-organisation/groups")["results"] == []
    with refused(501):
        rest(platform, "POST organisation/groups", {"name": "g"})


def test_the_schema_of_metadata(platform: LocalPlatform) -> None:
    """As it was saved, by the newer request or the older one; the older answer has types in one word."""
    old, new = "organisation/client-metadata-schema", "organisation/client-metadata-schema-v2"
    assert (rest(platform, f"GET {old}"), rest(platform, f"GET {new}")) == (None, None)
    schema = {"name": "text", "size": {"ty": "number", "hint": "x"}}
    rest(platform, f"POST {new}", schema)
    assert rest(platform, f"GET {new}") == schema
    assert rest(platform, f"GET {old}")["metadataSchema"] == {"name": "text", "size": "number"}
    rest(platform, f"POST {old}", {"metadataSchema": {"name": "varchar"}})
    assert rest(platform, f"GET {new}") == {"name": "varchar"}
    for wrong in ([], {"name": 3}, {"name": {"hint": "x"}}):
        with refused(400):
            rest(platform, f"POST {new}", wrong)


def test_a_token_is_its_users(platform: LocalPlatform, project: LocalProject) -> None:
    """Requests with it are those of who asked for it."""
    join(platform, project, users.VIEWER)
    token = rest(platform, "GET user/bearer-token", user=ANN)["token"]
    answered = Asker(platform).ask("GET", "/v2/public/projects", authorization=f"Bearer {token}")
    assert [one["userRole"] for one in answered.content["results"]] == [users.VIEWER]


def test_who_did_what(platform: LocalPlatform, project: LocalProject) -> None:
    """The actions of people by person, kind, stage and time; who is not in the project learns nothing of them."""
    project.act("move", "Agent", destination="Annotate", title="a.png")
    project.act("submit", "Annotate")

    def kinds(user: str = users.OWNER, **query: list[str]) -> list[str]:
        given = {"projectUuid": [project.project_hash], **query}
        found = rest(platform, "GET analytics/task-actions", query=given, user=user)["results"]
        return [one["actionType"] for one in found]

    assert kinds() == ["move", "submit"]
    assert kinds(eventTypes=["submit"]) == ["submit"]
    assert kinds(workflowStageUuids=[project.stage("Agent").uuid]) == ["move"]
    assert kinds(actorEmails=[ANN]) == kinds(before=["1999-01-01"]) == []
    assert kinds(after=["1999-01-01"], dataUnitUuids=[project.tasks()[1].data_hash]) == []
    with refused(403):
        kinds(ANN)
    with refused(400):
        kinds(projectUuid=["Project"])
    with refused(400):
        kinds(after=["yesterday"])
