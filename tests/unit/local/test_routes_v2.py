"""The REST operations of workflows: pages of tasks, and what agents and people do with them."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from tests.unit.local.asking import NOBODY, refused, rest
from tests.unit.local.rows import saved

from encord_agents.local import LocalPlatform, LocalProject, routes_v2, users
from encord_agents.local.users import OWNER

TASKS = "GET projects/{project}/workflow/stages/{stage}/tasks"
ACTIONS = "POST projects/{project}/workflow/stages/{stage}/actions"
MOVE = "POST projects/{project}/workflow/stages/{stage}/move-tasks"
PRIORITIES = "POST projects/{project}/priorities"
REVIEWS = "GET projects/{project}/workflow/stages/{stage}/tasks/{task}/reviews"


def at(project: LocalProject, stage: str = "Agent") -> dict[str, str]:
    """The ids in the path of a stage."""
    return {"project": project.project_hash, "stage": project.stage(stage).uuid}


def stages(project: LocalProject) -> list[str]:
    return [task.stage_title for task in project.tasks()]


@pytest.mark.parametrize("tokens", ["keyset", "offset"])
def test_pages_of_tasks(platform: LocalPlatform, project: LocalProject, tokens: Any) -> None:
    """Each page names the next one, and the last one names none."""
    platform.settings.page_size, platform.settings.page_tokens = 2, tokens
    first = rest(platform, TASKS, **at(project))
    last = rest(platform, TASKS, query={"pageToken": [first["nextPageToken"]]}, **at(project))
    titles = [task["dataTitle"] for page in (first, last) for task in page["results"]]
    assert (titles, last["nextPageToken"]) == (["a.png", "b.png", "c.png"], None)
    with refused(400):
        rest(platform, TASKS, query={"pageToken": ["next"]}, **at(project))


def test_tasks_by_filter(platform: LocalPlatform, project: LocalProject) -> None:
    """Parameters may be in either case, and have several values."""
    hashes = [task.data_hash for task in project.tasks()]
    for query, titles in (
        ({"dataHashes": hashes[:2]}, ["a.png", "b.png"]),
        ({"data_title_contains": ["c."]}, ["c.png"]),
        ({"statuses": ["ASSIGNED"]}, []),
    ):
        found = rest(platform, TASKS, query=query, **at(project))["results"]
        assert [task["dataTitle"] for task in found] == titles
    with refused(400):
        rest(platform, TASKS, query={"dataHashes": ["a.png"]}, **at(project))


def test_a_pathway_by_name_or_uuid(platform: LocalPlatform, project: LocalProject) -> None:
    """Each task of a request takes its own."""
    one, two, _ = project.tasks()
    pathway = next(way for way in project._record.stages[project.stage("Agent").uuid].pathways if way.name == "done")
    body = [
        {"action": "PATHWAY_ACTION", "taskUuid": one.uuid, "pathwayName": "review"},
        {"action": "PATHWAY_ACTION", "taskUuid": two.uuid, "pathwayUuid": pathway.uuid},
    ]
    rest(platform, ACTIONS, body, **at(project))
    assert stages(project) == ["Review", "Done", "Agent"]


@pytest.mark.parametrize(
    "action",
    [
        {"pathwayName": "nowhere"}, {"pathwayUuid": NOBODY}, {"pathwayUuid": "x"}, {"pathwayName": 3}, {},
        {"action": "SUBMIT"}, {"action": "ASSIGN"}, {"action": "ASSIGN", "assignee": OWNER}, {"action": "DANCE"},
        {"pathwayName": "review", "taskUuid": NOBODY}, {"pathwayName": "review", "taskUuid": "x"},
    ],
)  # fmt: skip
def test_actions_are_all_or_none(platform: LocalPlatform, project: LocalProject, action: dict[str, Any]) -> None:
    """If one of them cannot be, no task has moved."""
    one, two, _ = project.tasks()
    good = {"action": "PATHWAY_ACTION", "taskUuid": one.uuid, "pathwayName": "review"}
    with refused(400):
        rest(platform, ACTIONS, [good, {**good, "pathwayName": None, "taskUuid": two.uuid, **action}], **at(project))
    assert stages(project) == ["Agent"] * 3


@pytest.mark.parametrize("body", [None, [], {}, [3]])
def test_no_actions(platform: LocalPlatform, project: LocalProject, body: Any) -> None:
    """A request without any is refused."""
    with refused(400):
        rest(platform, ACTIONS, body, **at(project))


def test_what_people_do(platform: LocalPlatform, project: LocalProject) -> None:
    """They assign, release, submit, reject and approve, in the stages that are theirs."""
    task = project.tasks()[0].uuid
    rest(platform, MOVE, {"taskUuids": [task], "destinationStageUuid": project.stage("Annotate").uuid}, **at(project))
    for stage, action, expected in (
        ("Annotate", {"action": "ASSIGN", "assignee": OWNER}, ("Annotate", "ASSIGNED")),
        ("Annotate", {"action": "RELEASE"}, ("Annotate", "RELEASED")),
        ("Annotate", {"action": "SUBMIT"}, ("Review", "NEW")),
        ("Review", {"action": "REJECT"}, ("Annotate", "REOPENED")),
        ("Annotate", {"action": "SUBMIT", "assignee": OWNER}, ("Review", "ASSIGNED")),
        ("Review", {"action": "APPROVE"}, ("Done", "COMPLETED")),
    ):
        rest(platform, ACTIONS, [{**action, "taskUuid": task}], **at(project, stage))
        (found,) = [one for one in project.tasks() if one.uuid == task]
        assert (found.stage_title, found.status) == expected
    with refused(400):
        rest(platform, ACTIONS, [{"action": "APPROVE", "taskUuid": task}], **at(project, "Done"))


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        (users.ADMIN, {"pathway", "review"}), (users.TEAM_MANAGER, {"pathway", "review"}),
        (users.REVIEWER, {"pathway", "review"}), (users.ANNOTATOR_REVIEWER, {"pathway", "review"}),
        (users.ANNOTATOR, {"pathway"}),
        (users.VIEWER, set()),
    ],
)  # fmt: skip
def test_who_may_act(platform: LocalPlatform, project: LocalProject, role: int, allowed: set[str]) -> None:
    """Everybody but viewers may send an agent's tasks on; those who review decide on labels."""
    saved(project)
    task = project.tasks()[0].uuid
    with platform._service.database.write() as connection:
        users.add(connection, "project", project.project_hash, ["ann@example.com"], role)

    def may(what: str, request: str, body: Any, **ids: str) -> None:
        with contextlib.nullcontext() if what in allowed else refused(403):
            rest(platform, request, body, user="ann@example.com", **ids)

    action = {"action": "PATHWAY_ACTION", "taskUuid": task, "pathwayName": "review"}
    may("pathway", ACTIONS, [action], **at(project))
    if "pathway" not in allowed:
        project.move(task, "Review")
    here = {"task": task, **at(project, "Review")}
    (review,) = rest(platform, REVIEWS, user="ann@example.com", **here)["results"]
    act = [{"action": "APPROVE", "reviewUuid": review["reviewUuid"]}]
    may("review", f"POST {REVIEWS.removeprefix('GET ')}/actions", act, **here)
    expected = "APPROVED" if "review" in allowed else "NEW"
    assert rest(platform, REVIEWS, **here)["results"][0]["status"] == expected


def test_label_reviews(platform: LocalPlatform, project: LocalProject) -> None:
    """Each label of a task in review has one; the actions on them are all done, or none."""
    saved(project)
    task = project.tasks()[0].uuid
    with refused(400):
        rest(platform, REVIEWS, task=task, **at(project))
    with refused(400):
        rest(platform, REVIEWS, task=task, **at(project, "Review"))
    project.move(task, "Review")
    here: dict[str, str] = {"task": task, **at(project, "Review")}
    (review,) = rest(platform, REVIEWS, **here)["results"]
    assert (review["labelId"], review["status"]) == ("o1", "NEW")
    act = {"action": "REJECT", "reviewUuid": review["reviewUuid"], "comment": "too large"}
    for wrong, status in (({**act, "reviewUuid": NOBODY}, 403), ({**act, "action": "DANCE"}, 400)):
        with refused(status):
            rest(platform, f"POST {REVIEWS.removeprefix('GET ')}/actions", [act, wrong], **here)
        assert rest(platform, REVIEWS, **here)["results"] == [review]
    with refused(400):
        rest(platform, f"POST {REVIEWS.removeprefix('GET ')}/actions", [], **here)
    rest(platform, f"POST {REVIEWS.removeprefix('GET ')}/actions", [act], **here)
    assert rest(platform, REVIEWS, **here)["results"][0]["status"] == "REJECTED"


@pytest.mark.parametrize(
    ("more", "issue"),
    [
        ({"comment": "too loose", "commentTags": ["loose"]}, ("too loose", ["loose"])),
        ({"comment": "too loose"}, ("too loose", [])),
        ({"commentTags": ["loose"]}, ("", ["loose"])),
        ({}, None),
        ({"action": "APPROVE"}, None),
    ],
)
def test_why_a_label_is_rejected(
    platform: LocalPlatform, project: LocalProject, more: dict[str, Any], issue: tuple[str, list[str]] | None
) -> None:
    """The comment and the tags are an issue of the label, which is where the SDK reads them."""
    saved(project)
    task, request = project.tasks()[0], f"POST {REVIEWS.removeprefix('GET ')}/actions"
    project.move(task.uuid, "Review")
    here: dict[str, str] = {"task": task.uuid, **at(project, "Review")}
    (review,) = rest(platform, REVIEWS, **here)["results"]
    act = {"action": "REJECT", "reviewUuid": review["reviewUuid"]}
    with refused(400):
        rest(platform, request, [{**act, "commentTags": [1]}], **here)
    rest(platform, request, [act | more], **here)
    found = rest(platform, "GET projects/{project}/issues", project=project.project_hash)["results"]
    assert [(one["comments"][0]["content"], [tag["name"] for tag in one["tags"]]) for one in found] == [issue] * (
        issue is not None
    )
    for one in found:
        assert (one["type"], one["annotationId"], one["dataUuid"]) == ("annotation", "o1", task.data_hash)


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), True, "0.5", None])
def test_a_priority_that_is_none(platform: LocalPlatform, project: LocalProject, value: Any) -> None:
    """It is refused, and so are those that came with it."""
    one, two, _ = project.tasks()
    with refused(400):
        rest(
            platform, PRIORITIES, {"priorities": [[one.data_hash, 0.5], [two.data_hash, value]]},
            project=project.project_hash,
        )  # fmt: skip
    assert [task.priority for task in project.tasks()] == [None] * 3


def test_priorities(platform: LocalPlatform, project: LocalProject) -> None:
    """Of data units that are there; the task that has the highest is listed first."""
    last = project.tasks()[2].data_hash
    for body, status in (({}, 400), ({"priorities": [last]}, 400), ({"priorities": [[NOBODY, 1]]}, 403)):
        with refused(status):
            rest(platform, PRIORITIES, body, project=project.project_hash)
    rest(platform, PRIORITIES, {"priorities": [[last, 1]]}, project=project.project_hash)
    assert rest(platform, TASKS, **at(project))["results"][0]["dataTitle"] == "c.png"


def test_a_stage_of_another_project(platform: LocalPlatform, project: LocalProject) -> None:
    """It is none of this one."""
    other = platform.create_project(workflow={"stages": [{"title": "A", "type": "agent"}]})
    with refused(403):
        rest(platform, TASKS, project=project.project_hash, stage=other.stage("A").uuid)
    with refused(403):
        rest(
            platform, MOVE, {"taskUuids": [], "destinationStageUuid": other.stage("A").uuid}, **at(project)
        )  # fmt: skip


def test_ids_of_a_path() -> None:
    """They are read in any form, and what is no id is a 422, as the real platform has it."""
    assert routes_v2.checked({"project": NOBODY.upper().replace("-", "")}) == {"project": NOBODY}
    with refused(422):
        routes_v2.checked({"project": NOBODY, "stage": "Agent"})
