"""The REST operations, below ``/v2/public/``: those of workflows here, the others in modules of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from encord_agents.local import filters, people, reviews, routes_catalogue, routes_issues, routes_storage, tasks, wire
from encord_agents.local.service import Answer, Call, Operation, Service, either, mapping, optional, uuid, uuids
from encord_agents.local.tasks import Paging, TaskFilter
from encord_agents.local.trouble import Refusal, forbidden, malformed
from encord_agents.local.workflow import ResolvedStage

_TASK_FILTERS = ("data_hashes", "dataset_hashes", "data_title_contains", "statuses", "user_emails", "page_token")
_BY_PEOPLE: dict[str, Callable[..., None]] = {
    "SUBMIT": people.submit,
    "APPROVE": people.approve,
    "REJECT": people.reject,
}


def list_tasks(service: Service, call: Call) -> Answer:
    record = service.project(call.path["project"])
    stage = _stage(service, call)
    filters.only(call.query, "tasks", *_TASK_FILTERS)
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
    # Of consensus nothing is worked out: its tasks have no parts, and there is nothing to choose among.
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
        action = mapping(entry, "An action")
        task = uuid(either(action, "taskUuid", "task_uuid"), "taskUuid")
        if action.get("action") == "PATHWAY_ACTION" and stage.type == "agent":
            pathways.append((task, _destination(stage, action)))
        else:
            rest = {key: value for key, value in action.items() if key not in ("taskUuid", "task_uuid", "action")}
            same = str(action.get("action")), orjson.dumps(rest, option=orjson.OPT_SORT_KEYS).decode()
            others.setdefault(same, []).append(task)
    with service.database.write():
        if pathways:
            tasks.move(service.database, record, stage.uuid, pathways, user=call.user)
        for (name, options), uuids in others.items():
            _by_people(service, call, stage, name, orjson.loads(options), uuids)
    return Answer(None, len(call.body))


def _by_people(
    service: Service, call: Call, stage: ResolvedStage, name: str, given: dict[str, Any], uuids: list[str]
) -> None:
    record = service.project(call.path["project"])
    assignee = optional(given.get("assignee"), str, "assignee")
    if name == "ASSIGN":
        if assignee is None:
            raise malformed("An assignee is needed.")
        people.assign(service.database, record, stage, uuids, assignee=assignee, user=call.user)
    elif name == "RELEASE":
        people.release(service.database, record, stage, uuids, user=call.user)
    elif name in _BY_PEOPLE:
        retain = optional(either(given, "retainAssignee", "retain_assignee"), bool, "retainAssignee") or False
        word = {"SUBMIT": "resolve", "APPROVE": "approve", "REJECT": "reject"}[name]
        labels_too = optional(either(given, f"{word}LabelReviews", f"{word}_label_reviews"), bool, "LabelReviews")
        _BY_PEOPLE[name](
            service.database, record, stage, uuids, user=call.user, assignee=assignee, retain_assignee=retain,
            label_reviews=labels_too is not False,
        )  # fmt: skip
    else:
        raise malformed(f"No such action on the {stage.type} stage {stage.title!r}.")


def _destination(stage: ResolvedStage, action: dict[str, Any]) -> str:
    by_uuid = either(action, "pathwayUuid", "pathway_uuid")
    name = either(action, "pathwayName", "pathway_name")
    if by_uuid is not None:
        by_uuid = uuid(by_uuid, "pathwayUuid")
    elif not isinstance(name, str):
        raise malformed("A pathway's name or uuid is needed.")
    for pathway in stage.pathways:
        if pathway.uuid == by_uuid if by_uuid is not None else pathway.name == name:
            return pathway.to
    raise malformed(f"Stage {stage.title!r} has no pathway {by_uuid or name!r}.")


def move(service: Service, call: Call) -> Answer:
    record = service.project(call.path["project"])
    body = mapping(call.body, "The body")
    wanted = uuids(either(body, "taskUuids", "task_uuids"), "taskUuids")
    destination = uuid(either(body, "destinationStageUuid", "destination_stage_uuid"), "destinationStageUuid")
    people.move(service.database, record, _stage(service, call), wanted, destination, user=call.user)
    return Answer(None, len(wanted))


def label_reviews(service: Service, call: Call) -> Answer:
    record = service.project(call.path["project"])
    _here(service, call)
    with service.database.write() as connection:
        found = reviews.of_task(connection, record, call.path["task"])
    return Answer({"results": [reviews.to_wire(row) for row in found], "nextPageToken": None}, len(found))


def review_actions(service: Service, call: Call) -> Answer:
    _here(service, call)
    if not isinstance(call.body, list) or not call.body:
        raise malformed("The body must be a list of actions.")
    given = []
    for entry in call.body:
        action = mapping(entry, "An action")
        status = reviews.ACTIONS.get(str(action.get("action")))
        if status is None:
            raise malformed("A label review is approved, rejected or reopened.")
        comment = optional(action.get("comment"), str, "comment")
        given.append((uuid(either(action, "reviewUuid", "review_uuid"), "reviewUuid"), status, comment))
    with service.database.write() as connection:
        reviews.act(connection, call.path["task"], given)
    return Answer(None, len(given))


def _here(service: Service, call: Call) -> None:
    """Refuse a task that is not in the review stage of the path."""
    stage = _stage(service, call)
    if stage.type != "review":
        raise malformed(f"The {stage.type} stage {stage.title!r} has no label reviews.")
    if not tasks.is_in(service.database, service.project(call.path["project"]), stage.uuid, call.path["task"]):
        raise malformed(f"The task {call.path['task']} is not in this stage.")


def priorities(service: Service, call: Call) -> Answer:
    record = service.project(call.path["project"])
    given = mapping(call.body, "The body").get("priorities")
    if not isinstance(given, list):
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


ROUTES: dict[str, Operation] = {
    "GET projects/{project}/workflow/stages/{stage}/tasks": Operation("tasks", list_tasks),
    "POST projects/{project}/workflow/stages/{stage}/actions": Operation("actions", actions),
    "POST projects/{project}/workflow/stages/{stage}/move-tasks": Operation("move", move),
    "GET projects/{project}/workflow/stages/{stage}/tasks/{task}/reviews": Operation("reviews", label_reviews),
    "POST projects/{project}/workflow/stages/{stage}/tasks/{task}/reviews/actions": Operation(
        "review_actions", review_actions
    ),
    "POST projects/{project}/priorities": Operation("priorities", priorities, needs="manage"),
    **routes_issues.ROUTES,
    **routes_catalogue.ROUTES,
    **routes_storage.ROUTES,
}
_TABLE: dict[tuple[str, int], list[tuple[list[str], Operation]]] = {}
for _route, _operation in ROUTES.items():
    _method, _path = _route.split(" ")
    _TABLE.setdefault((_method, _path.count("/")), []).append((_path.split("/"), _operation))


def find(method: str, path: str) -> tuple[Operation, dict[str, str]] | None:
    """The operation that a path (without its prefix) names, and the ids in it; not checked yet."""
    parts = path.strip("/").split("/")
    for pattern, operation in _TABLE.get((method, len(parts) - 1), ()):
        if all(p[0] == "{" or p == part for p, part in zip(pattern, parts, strict=True)):
            return operation, {p[1:-1]: part for p, part in zip(pattern, parts, strict=True) if p[0] == "{"}
    return None


def checked(ids: dict[str, str]) -> dict[str, str]:
    """The ids of a path in canonical form.

    Raises:
        Refusal: 422, one of them is none.
    """
    try:
        return {name: uuid(value, name) for name, value in ids.items()}
    except Refusal as refusal:
        raise Refusal(422, refusal.message) from None
