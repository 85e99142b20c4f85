"""The REST operations below ``/v2/public/``: workflow operations here, the others in modules of their own."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import orjson

from encord_agents.local import (
    filters,
    people,
    reviews,
    routes_catalogue,
    routes_issues,
    routes_storage,
    tasks,
    users,
    wire,
)
from encord_agents.local.database import listed
from encord_agents.local.service import Answer, Call, Given, Operation, Service, uuid, uuids
from encord_agents.local.tasks import Paging, TaskFilter
from encord_agents.local.trouble import Refusal, forbidden, malformed
from encord_agents.local.workflow import ResolvedStage

_TASK_FILTERS = ("data_hashes", "dataset_hashes", "data_title_contains", "statuses", "user_emails", "page_token")
_BY_PEOPLE: dict[str, Callable[..., None]] = {
    "SUBMIT": people.submit,
    "APPROVE": people.approve,
    "REJECT": people.reject,
}


# The reason of a rejection is an issue, as the SDK reads it nowhere else.
_ISSUE = (
    "INSERT INTO issues SELECT ?, t.project, u.data_hash,"
    " json_object('type', 'annotation', 'annotationId', r.label_id), ?, ?, ?, ?"
    " FROM reviews r JOIN tasks t ON t.uuid = r.task JOIN units u ON u.id = t.unit WHERE r.uuid = ?"
)


def list_tasks(service: Service, call: Call) -> Answer:
    record = service.project(call.path["project"])
    stage = _stage(service, call)
    token = filters.one(call.query, "page_token") or ""
    wanted = TaskFilter(
        data_hashes=_ids(call, "data_hashes"),
        dataset_hashes=_ids(call, "dataset_hashes"),
        title_contains=filters.one(call.query, "data_title_contains"),
        statuses=filters.many(call.query, "statuses"),
        assignees=filters.many(call.query, "user_emails"),
    )
    paging = Paging(service.settings.page_size, service.settings.page_tokens == "offset", token)
    page = tasks.page(service.database, record, stage.uuid, wanted, paging)
    # Consensus is not implemented: its tasks have no subtasks, and no options to choose from.
    parts: dict[str, Any] = {"subtasks": [], "options": []} if stage.type.startswith("consensus") else {}
    found = [wire.task(row) | parts for row in page.rows]
    return Answer({"results": found, "nextPageToken": page.next_token}, len(found))


def actions(service: Service, call: Call) -> Answer:
    record = service.project(call.path["project"])
    stage = _stage(service, call)
    if not isinstance(call.body, list) or not call.body:
        raise malformed("The body must be a list of actions.")
    pathways: list[tuple[str, str]] = []
    others: dict[tuple[str, str], list[str]] = {}
    for entry in call.body:
        action = Given(entry, "An action")
        task = action.id("task_uuid")
        if action.get("action") == "PATHWAY_ACTION" and stage.type == "agent":
            pathways.append((task, _destination(stage, action)))
        else:
            rest = {
                key: value for key, value in action.fields.items() if key not in ("taskUuid", "task_uuid", "action")
            }
            same = str(action.get("action")), orjson.dumps(rest, option=orjson.OPT_SORT_KEYS).decode()
            others.setdefault(same, []).append(task)
    with service.database.write():
        if pathways:
            users.require(service.database, record.hash, call.user, "work")
            tasks.move(service.database, record, stage.uuid, pathways, user=call.user)
        for (name, options), uuids in others.items():
            _by_people(service, call, stage, name, Given(orjson.loads(options)), uuids)
    return Answer(None, len(call.body))


def _by_people(service: Service, call: Call, stage: ResolvedStage, name: str, given: Given, uuids: list[str]) -> None:
    record = service.project(call.path["project"])
    assignee = given.text("assignee")
    if name == "ASSIGN":
        if assignee is None:
            raise malformed("An assignee is needed.")
        people.assign(service.database, record, stage, uuids, assignee=assignee, user=call.user)
    elif name == "RELEASE":
        people.release(service.database, record, stage, uuids, user=call.user)
    elif name in _BY_PEOPLE:
        retain = given.flag("retain_assignee") or False
        word = {"SUBMIT": "resolve", "APPROVE": "approve", "REJECT": "reject"}[name]
        labels_too = given.flag(f"{word}_label_reviews")
        _BY_PEOPLE[name](
            service.database, record, stage, uuids, user=call.user, assignee=assignee, retain_assignee=retain,
            label_reviews=labels_too is not False,
        )  # fmt: skip
    else:
        raise malformed(f"No such action on the {stage.type} stage {stage.title!r}.")


def _destination(stage: ResolvedStage, action: Given) -> str:
    by_uuid, name = action.get("pathway_uuid"), action.get("pathway_name")
    if by_uuid is not None:
        by_uuid = action.id("pathway_uuid")
    elif not isinstance(name, str):
        raise malformed("A pathway's name or uuid is needed.")
    for pathway in stage.pathways:
        if pathway.uuid == by_uuid if by_uuid is not None else pathway.name == name:
            return pathway.to
    raise malformed(f"Stage {stage.title!r} has no pathway {by_uuid or name!r}.")


def move(service: Service, call: Call) -> Answer:
    record = service.project(call.path["project"])
    wanted, destination = call.given.ids("task_uuids"), call.given.id("destination_stage_uuid")
    people.move(service.database, record, _stage(service, call), wanted, destination, user=call.user)
    return Answer(None, len(wanted))


def label_reviews(service: Service, call: Call) -> Answer:
    record = service.project(call.path["project"])
    _here(service, call)
    with service.database.write() as connection:
        found = reviews.of_task(connection, record, call.path["task"])
    return Answer.listing([reviews.to_wire(row) for row in found])


def review_actions(service: Service, call: Call) -> Answer:
    _here(service, call)
    if not isinstance(call.body, list) or not call.body:
        raise malformed("The body must be a list of actions.")
    given, reasons = [], []
    for entry in call.body:
        action = Given(entry, "An action")
        status = reviews.ACTIONS.get(str(action.get("action")))
        if status is None:
            raise malformed("A label review is approved, rejected or reopened.")
        review, comment, tags = action.id("review_uuid"), action.text("comment"), action.list("comment_tags") or []
        if not all(isinstance(tag, str) for tag in tags):
            raise malformed("commentTags must be a list of text.")
        given.append((review, status, comment))
        if status == "REJECTED" and (comment or tags):
            reasons.append((str(uuid4()), comment or "", listed(tags), call.user, time.time(), review))
    with service.database.write() as connection:
        reviews.act(connection, call.path["task"], given)
        connection.executemany(_ISSUE, reasons)
    return Answer(None, len(given))


def _here(service: Service, call: Call) -> None:
    """Refuse the request if the path's stage is not a review stage, or the task is not in it."""
    stage = _stage(service, call)
    if stage.type != "review":
        raise malformed(f"The {stage.type} stage {stage.title!r} has no label reviews.")
    if not tasks.is_in(service.database, service.project(call.path["project"]), stage.uuid, call.path["task"]):
        raise malformed(f"The task {call.path['task']} is not in this stage.")


def priorities(service: Service, call: Call) -> Answer:
    record = service.project(call.path["project"])
    given = call.given.list("priorities")
    if given is None:
        raise malformed("priorities must be a list.")
    tasks.set_priorities(service.database, record, [_priority(entry) for entry in given])
    return Answer(None, len(given))


def _priority(entry: Any) -> tuple[str, float]:
    if not isinstance(entry, list) or len(entry) != 2:
        raise malformed("A priority is a pair of a data hash and a number.")
    value = entry[1]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise malformed("A priority is a number from 0 to 1.")
    return uuid(entry[0], "A data hash"), float(value)


def _stage(service: Service, call: Call) -> ResolvedStage:
    stage = service.project(call.path["project"]).stages.get(call.path["stage"])
    if stage is None:
        raise forbidden(f"No access to the stage {call.path['stage']}.")
    return stage


def _ids(call: Call, name: str) -> list[str] | None:
    values = filters.many(call.query, name)
    return None if values is None else uuids(values, name)


# Routes are tried in order, so those that agents use most come first.
ROUTES: dict[str, Operation] = {
    "GET projects/{project}/workflow/stages/{stage}/tasks": Operation("tasks", list_tasks, query=_TASK_FILTERS),
    "POST projects/{project}/workflow/stages/{stage}/actions": Operation("actions", actions),
    "POST projects/{project}/priorities": Operation("priorities", priorities, needs="manage"),
    "GET projects/{project}": Operation("project", routes_catalogue.project),
    "POST projects/{project}/workflow/stages/{stage}/move-tasks": Operation("move", move),
    "GET projects/{project}/workflow/stages/{stage}/tasks/{task}/reviews": Operation(
        "reviews", label_reviews, off=("page_token",)
    ),
    "POST projects/{project}/workflow/stages/{stage}/tasks/{task}/reviews/actions": Operation(
        "review_actions", review_actions, needs="approve"
    ),
    **routes_storage.ROUTES,
    **routes_issues.ROUTES,
    **routes_catalogue.ROUTES,
}


def checked(ids: dict[str, str]) -> dict[str, str]:
    """Return the ids of a path in canonical form.

    Raises:
        Refusal: 422, one of them is not an id.
    """
    try:
        return {name: uuid(value, name) for name, value in ids.items()}
    except Refusal as refusal:
        raise Refusal(422, refusal.message) from None
