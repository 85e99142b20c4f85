"""The REST operations of projects, datasets, ontologies and users."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from encord.objects import OntologyStructure, Shape
from encord.objects.attributes import RadioAttribute
from encord.objects.coordinates import BoundingBoxCoordinates
from tests.unit.local.asking import NOBODY, Asker, refused, rest
from tests.unit.local.conftest import WORKFLOW
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
    """All who are named and there, and nobody if the owner is named, who stays."""
    hash = project.project_hash if kind == "project" else str(project._record.dataset)
    with platform._service.database.write() as connection:
        users.add(connection, kind, hash, [ANN], users.ANNOTATOR)
    here = {kind: hash}
    listing, leave = f"GET {kind}s/{{{kind}}}/users", f"POST {kind}s/{{{kind}}}/users/bulk-delete"
    for emails, status in (([ANN, users.OWNER], 403), (None, 400)):
        with refused(status):
            rest(platform, leave, {"userEmails": emails}, **here)
    assert [one["userEmail"] for one in rest(platform, listing, **here)["results"]] == [users.OWNER, ANN]
    rest(platform, leave, {"userEmails": [ANN, "bob@example.com"]}, **here)
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


def test_an_ontology_that_labels_use(local_platform: LocalPlatform) -> None:
    """A class, an attribute or an option that labels use stays, and is of the same kind: all else is refused."""
    structure = OntologyStructure()
    box = structure.add_object("box", Shape.BOUNDING_BOX)
    colour = box.add_attribute(RadioAttribute, "colour")
    red, _ = colour.add_option("red"), colour.add_option("blue")
    structure.add_object("spare", Shape.POLYGON)
    project = local_platform.create_project(title="P", ontology=structure, workflow=WORKFLOW)
    project.add_image("a.png")
    client = local_platform.client()
    (row,) = client.get_project(project.project_hash).list_label_rows_v2()
    row.initialise_labels()
    instance = box.create_instance()
    instance.set_for_frames(BoundingBoxCoordinates(height=0.1, width=0.1, top_left_x=0.1, top_left_y=0.1))
    instance.set_answer(red, attribute=colour)
    row.add_object_instance(instance)
    row.save()

    def editor() -> Any:
        return rest(local_platform, "GET ontologies/{ontology}", ontology=project._record.ontology)["editor"]

    def save(changed: Any) -> None:
        body = {"title": "P", "editor": changed}
        rest(local_platform, "PUT ontologies/{ontology}", body, ontology=project._record.ontology)

    def attribute(changed: Any) -> Any:
        return changed["objects"][0]["attributes"][0]

    changes: list[Callable[[Any], Any]] = [
        lambda changed: changed["objects"].pop(0),
        lambda changed: changed["objects"][0].update(shape="polygon", attributes=[]),
        lambda changed: changed["objects"][0]["attributes"].clear(),
        lambda changed: attribute(changed)["options"].pop(0),
        lambda changed: attribute(changed).update(type="checklist"),
    ]
    for change in changes:
        wrong: Any = editor()
        change(wrong)
        with refused(400):
            save(wrong)
    changed = editor()
    changed["objects"].pop(1)
    attribute(changed)["options"].pop(1)
    changed["objects"][0]["archived"] = True
    save(changed)
    assert [found["name"] for found in editor()["objects"]] == ["box"]
    (row,) = client.get_project(project.project_hash).list_label_rows_v2()
    row.initialise_labels()
    assert len(row.get_object_instances()) == 1


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
    with refused(409):
        rest(platform, f"POST {tags}", {"name": "two"})
    with refused(404):
        rest(platform, f"DELETE {tags}/{{tag}}", tag=one["uuid"])
    assert rest(platform, f"GET {tags}")["results"] == [two]
    assert rest(platform, "GET projects/{project}/tags", project=project.project_hash)["results"] == []
    assert rest(platform, "GET user/current-organisation/groups")["results"] == []
    with refused(501):
        rest(platform, "POST organisation/groups", {"name": "g"})


def test_the_schema_of_metadata(platform: LocalPlatform) -> None:
    """By the newer request or the older one; the older answer has types in one word."""
    old, new = "organisation/client-metadata-schema", "organisation/client-metadata-schema-v2"
    assert (rest(platform, f"GET {old}"), rest(platform, f"GET {new}")) == (None, None)
    schema = {"name": {"ty": "variant", "hint": "text"}, "size": {"ty": "number"}}
    rest(platform, f"POST {new}", schema)
    assert rest(platform, f"GET {new}") == schema
    assert rest(platform, f"GET {old}")["metadataSchema"] == {"name": "long_string", "size": "number"}
    rest(platform, f"POST {old}", {"metadataSchema": {"name": "string"}})
    assert rest(platform, f"GET {new}") == {"name": {"ty": "variant", "hint": "string"}}
    for bad in ([], {"name": 3}, {"name": {"hint": "x"}}):
        with refused(400):
            rest(platform, f"POST {new}", bad)


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
