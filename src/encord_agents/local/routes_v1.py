"""The v1 operations: label rows here, datasets and projects in `routes_data`."""

from __future__ import annotations

import sqlite3
from typing import Any

from encord_agents.local import filters, items, label_wire, labels, people, routes_data
from encord_agents.local.catalogue import ProjectRecord
from encord_agents.local.labels import RowFilter
from encord_agents.local.service import Answer, Call, Given, Operation, Service, mapping
from encord_agents.local.trouble import NotKnown, Refusal, forbidden, malformed


def rows(service: Service, call: Call) -> Answer:
    record = _project(service, call)
    payload = call.payload
    filters.only(payload.fields, "label rows", *_ROW_FILTERS)
    branch = payload.text("branch_name") or "main"
    wanted = RowFilter(
        branch=branch,
        all_branches=bool(payload.get("include_all_label_branches")),
        data_hashes=_texts(payload, "data_hashes"),
        label_hashes=_texts(payload, "label_hashes"),
        title_eq=payload.text("data_title_eq"),
        title_like=_like(payload, "data_title_like"),
        stage_eq=payload.text("workflow_graph_node_title_eq"),
        stage_like=_like(payload, "workflow_graph_node_title_like"),
        edited_before=filters.date(payload.get("edited_before"), "edited_before"),
        edited_after=filters.date(payload.get("edited_after"), "edited_after"),
        include_uninitialised=payload.get("include_uninitialised_labels") in (None, True),
    )
    metadata = bool(payload.get("include_client_metadata"))
    node = bool(payload.get("include_workflow_graph_node"))
    rows_ = labels.rows(service.database, record, wanted)
    members = _members(service, rows_)
    if payload.get("include_children") and any(row["item_type"] == "group" for row in rows_):
        raise NotKnown("label rows of members of data groups.", "The group's row has them as spaces.")
    images = bool(payload.get("include_images_data"))
    found = [
        label_wire.label_row(
            row, record, branch, metadata=metadata, node=node, members=members.get(row["item"], ()), images=images
        )
        for row in rows_
    ]
    statuses = _texts(payload, "label_statuses")
    if statuses:
        # The SDK filters by task statuses; clients of older projects filtered by label statuses.
        found = [row for row in found if not {row["annotation_task_status"], row["label_status"]}.isdisjoint(statuses)]
    if payload.get("shadow_data_state") == "SHADOW_DATA":
        found = []
    return Answer(service.arranged(found), len(found))


def label_create(service: Service, call: Call) -> Answer:
    record = _project(service, call)
    hashes, multiple = _hashes(call.body["uid"])
    payload = call.payload
    branch = payload.text("branch_name") or "main"
    found = labels.create(service.database, record, hashes, branch)
    link = service.link if payload.get("get_signed_url") else None
    members = _members(service, found)
    written = [label_wire.label(row, record, link, members.get(row["item"], ())) for row in found]
    return _labels(service, written, multiple)


def label_get(service: Service, call: Call) -> Answer:
    record = _project(service, call)
    hashes, multiple = _hashes(call.body["uid"])
    payload = call.payload
    objects = _texts(payload, "include_object_feature_hashes")
    classifications = _texts(payload, "include_classification_feature_hashes")
    link = service.link if payload.get("get_signed_url") else None
    rows_ = labels.get(service.database, record, hashes)
    members = _members(service, rows_)
    found = [
        label_wire.label(
            row, record, link, members.get(row["item"], ()), objects=objects, classifications=classifications
        )
        for row in rows_
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


# client_metadata_as_signed_url may be ignored: without a URL, the SDK uses the metadata in the row.
_ROW_FILTERS = (
    "client_metadata_as_signed_url",
    "edited_before", "edited_after", "label_statuses", "shadow_data_state", "include_uninitialised_labels",
    "data_hashes", "label_hashes", "data_title_eq", "data_title_like", "workflow_graph_node_title_eq",
    "workflow_graph_node_title_like", "include_client_metadata", "include_images_data", "include_children",
    "include_workflow_graph_node", "include_all_label_branches", "branch_name",
)  # fmt: skip


def _members(service: Service, rows: list[sqlite3.Row]) -> dict[str, list[sqlite3.Row]]:
    """Return the members of those label rows that are groups."""
    groups = [row["item"] for row in rows if row["item_type"] in label_wire.GROUPS]
    return items.members(service.database, groups) if groups else {}


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
    """Return the ids that a request is about, and whether it is the form for several ids."""
    if isinstance(uid, str):
        return [uid], False
    if not isinstance(uid, list) or not all(isinstance(entry, str) for entry in uid):
        raise malformed("uid must be a list of ids.")
    return uid, True


def _texts(payload: Given, key: str) -> list[str] | None:
    value = payload.list(key)
    if value is not None and not all(isinstance(entry, str) for entry in value):
        raise malformed(f"{key} must be a list of text.")
    return value


def _like(payload: Given, key: str) -> str | None:
    value = payload.text(key)
    if value is not None and len(value) > 1000:
        raise malformed(f"{key} is too long.")
    return value


OPERATIONS: dict[tuple[str, str], Operation] = {
    **routes_data.OPERATIONS,
    ("labelrowmetadata", "GET"): Operation("rows", rows),
    ("labelrow", "PUT"): Operation("label_create", label_create),
    ("labelrow", "GET"): Operation("label_get", label_get),
    ("labelrow", "POST"): Operation("save", save, needs="label"),
    ("labelworkflowgraphnode", "POST"): Operation("workflow_action", workflow_action, needs="manage"),
}
