"""The operations of the legacy protocol: label rows."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from encord_agents.local import labels, people, wire
from encord_agents.local.catalogue import ProjectRecord
from encord_agents.local.labels import RowFilter
from encord_agents.local.service import Answer, Call, Operation, Service, mapping, optional
from encord_agents.local.trouble import Refusal, forbidden, malformed


def rows(service: Service, call: Call) -> Answer:
    record = _project(service, call)
    payload = mapping(call.body["payload"] or {}, "payload")
    branch = optional(payload.get("branch_name"), str, "branch_name") or "main"
    wanted = RowFilter(
        branch=branch,
        all_branches=bool(payload.get("include_all_label_branches")),
        data_hashes=_texts(payload, "data_hashes"),
        label_hashes=_texts(payload, "label_hashes"),
        title_eq=optional(payload.get("data_title_eq"), str, "data_title_eq"),
        title_like=_like(payload, "data_title_like"),
        stage_eq=optional(payload.get("workflow_graph_node_title_eq"), str, "workflow_graph_node_title_eq"),
        stage_like=_like(payload, "workflow_graph_node_title_like"),
        edited_before=_date(payload, "edited_before"),
        edited_after=_date(payload, "edited_after"),
        include_uninitialised=bool(payload.get("include_uninitialised_labels", True)),
    )
    metadata = bool(payload.get("include_client_metadata"))
    node = bool(payload.get("include_workflow_graph_node"))
    found = [
        wire.label_row(row, record, branch, metadata=metadata, node=node)
        for row in labels.rows(service.database, record, wanted)
    ]
    statuses = _texts(payload, "label_statuses")
    if statuses:
        # The SDK asks for statuses of the task; clients of older projects asked for those of the label.
        found = [row for row in found if not {row["annotation_task_status"], row["label_status"]}.isdisjoint(statuses)]
    if payload.get("shadow_data_state") == "SHADOW_DATA":
        found = []
    return Answer(service.arranged(found), len(found))


def label_create(service: Service, call: Call) -> Answer:
    record = _project(service, call)
    hashes, multiple = _hashes(call.body["uid"])
    payload = mapping(call.body["payload"] or {}, "payload")
    branch = optional(payload.get("branch_name"), str, "branch_name") or "main"
    found = labels.create(service.database, record, hashes, branch)
    link = service.link if payload.get("get_signed_url") else None
    return _labels(service, [wire.label(row, record, link) for row in found], multiple)


def label_get(service: Service, call: Call) -> Answer:
    record = _project(service, call)
    hashes, multiple = _hashes(call.body["uid"])
    payload = mapping(call.body["payload"] or {}, "payload")
    objects = _texts(payload, "include_object_feature_hashes")
    classifications = _texts(payload, "include_classification_feature_hashes")
    link = service.link if payload.get("get_signed_url") else None
    found = [
        wire.label(row, record, link, objects=objects, classifications=classifications)
        for row in labels.get(service.database, record, hashes)
    ]
    return _labels(service, found, multiple)


def save(service: Service, call: Call) -> Answer:
    record = _project(service, call)
    hashes, multiple = _hashes(call.body["uid"])
    payload = mapping(call.body["payload"], "payload")
    given = payload.get("labels") if multiple else [payload]
    if not isinstance(given, list) or len(given) != len(hashes) or len(set(hashes)) != len(hashes):
        raise malformed("labels must be a list with one entry for each label hash.")
    labels.save(
        service.database,
        record,
        {hash: mapping(label, "A label row") for hash, label in zip(hashes, given, strict=True)},
    )
    return Answer(True, len(hashes))


def workflow_action(service: Service, call: Call) -> Answer:
    record = _project(service, call)
    hashes, _ = _hashes(call.body["uid"])
    action = mapping(call.body["payload"], "payload").get("action")
    if action not in ("complete", "reopen"):
        raise malformed("action is complete or reopen.")
    act = people.complete if action == "complete" else people.reopen
    act(service.database, record, hashes, user=call.user)
    return Answer(True, len(hashes))


def _labels(service: Service, found: list[dict[str, Any]], multiple: bool) -> Answer:
    if multiple:
        return Answer(service.arranged(found), len(found))
    if not found:
        raise Refusal(404, "The label row is gone.")
    return Answer(found[0], 1)


def _project(service: Service, call: Call) -> ProjectRecord:
    if call.path["type"] != "project":
        raise forbidden("This is asked of a project.")
    return service.project(call.path["id"])


def _hashes(uid: Any) -> tuple[list[str], bool]:
    """The ids a request is about, and whether it is the form for several."""
    if isinstance(uid, str):
        return [uid], False
    if not isinstance(uid, list) or not all(isinstance(entry, str) for entry in uid):
        raise malformed("uid must be a list of ids.")
    return uid, True


def _texts(payload: dict[str, Any], key: str) -> list[str] | None:
    value = optional(payload.get(key), list, key)
    if value is not None and not all(isinstance(entry, str) for entry in value):
        raise malformed(f"{key} must be a list of text.")
    return value


def _like(payload: dict[str, Any], key: str) -> str | None:
    value = optional(payload.get(key), str, key)
    if value is not None and len(value) > 1000:
        raise malformed(f"{key} is too long.")
    return value


def _date(payload: dict[str, Any], key: str) -> float | None:
    value = optional(payload.get(key), str, key)
    if value is None:
        return None
    try:
        date = datetime.fromisoformat(value)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise Refusal(400, f"{key} is not a date.", name="INVALID_DATE_FORMAT_ERROR") from None


OPERATIONS = {
    ("labelrowmetadata", "GET"): Operation("rows", rows),
    ("labelrow", "PUT"): Operation("label_create", label_create),
    ("labelrow", "GET"): Operation("label_get", label_get),
    ("labelrow", "POST"): Operation("save", save),
    ("labelworkflowgraphnode", "POST"): Operation("workflow_action", workflow_action),
}
