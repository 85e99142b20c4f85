"""The operations of the legacy protocol on datasets and projects."""

from __future__ import annotations

import sqlite3
from typing import Any

from encord_agents.local import copying, datasets, filters, folders, items, label_wire, labels, uploads, users, wire
from encord_agents.local.catalogue import ProjectRecord
from encord_agents.local.labels import RowFilter
from encord_agents.local.service import Answer, Call, Operation, Service, mapping, optional, uuid, uuids
from encord_agents.local.trouble import NotKnown, forbidden, malformed
from encord_agents.local.workflow import DEFAULT


def _dataset(service: Service, call: Call) -> sqlite3.Row:
    if call.path["type"] != "dataset":
        raise forbidden("This is asked of a dataset.")
    return datasets.get(service.database, call.path["id"])


def _project(service: Service, call: Call) -> ProjectRecord:
    if call.path["type"] != "project":
        raise forbidden("This is asked of a project.")
    return service.project(call.path["id"])


def _payload(call: Call) -> dict[str, Any]:
    return mapping(call.body["payload"] or {}, "payload")


def _rows(service: Service, found: list[sqlite3.Row], settings: Any, *, sign: bool = False) -> list[dict[str, Any]]:
    metadata = bool(mapping(settings or {}, "dataset_access_settings").get("fetch_client_metadata"))
    groups = [row["uuid"] for row in found if row["item_type"] in ("imageGroup", "imageSequence")]
    members = items.members(service.database, groups)
    link = service.link if sign else None
    return [wire.data_row(row, members.get(row["uuid"]), metadata=metadata, link=link) for row in found]


def dataset(service: Service, call: Call) -> Answer:
    row = _dataset(service, call)
    settings = mapping(_payload(call).get("dataset_access_settings") or {}, "dataset_access_settings")
    rows = datasets.rows(service.database, row["hash"]) if settings.get("fetch_rows", True) else []
    answer = {
        "dataset_hash": row["hash"],
        "title": row["title"],
        "description": row["description"],
        "dataset_type": "CORD_STORAGE",
        "data_rows": _rows(service, rows, settings),
        "backing_folder_uuid": row["folder"],
    }
    return Answer(answer, len(rows))


def data_rows(service: Service, call: Call) -> Answer:
    row, payload = _dataset(service, call), _payload(call)
    known = ("title_eq", "title_like", "created_before", "created_after", "data_types", "data_hashes")
    filters.only(payload, "data rows", *known, "dataset_access_settings")
    hashes = payload.get("data_hashes")
    found = datasets.rows(
        service.database, row["hash"], hashes=None if hashes is None else uuids(hashes, "data_hashes")
    )
    before, after = (filters.date(payload.get(key), key) for key in ("created_before", "created_after"))
    types = optional(payload.get("data_types"), list, "data_types")
    eq, like = (optional(payload.get(key), str, key) for key in ("title_eq", "title_like"))
    found = [
        one
        for one in found
        if (eq is None or one["title"] == eq)
        and (like is None or filters.like(one["title"], like))
        and (before is None or one["linked_at"] < before)
        and (after is None or one["linked_at"] > after)
        and (types is None or wire.data_type(one["item_type"]).upper() in types)
    ]
    return Answer(_rows(service, found, payload.get("dataset_access_settings")), len(found))


def data_row(service: Service, call: Call) -> Answer:
    row = _dataset(service, call)
    more = mapping(_payload(call).get("additional_data") or {}, "additional_data")
    found = datasets.rows(service.database, row["hash"], hashes=[uuid(call.body["uid"], "uid")])
    settings = {"fetch_client_metadata": more.get("client_metadata")}
    return Answer(_rows(service, found, settings, sign=bool(more.get("signed_url")))[0], 1)


def data_row_save(service: Service, call: Call) -> Answer:
    row, payload = _dataset(service, call), _payload(call)
    (found,) = datasets.rows(service.database, row["hash"], hashes=[uuid(call.body["uid"], "uid")])
    if unknown := payload.keys() - {"data_title", "client_metadata"}:
        raise malformed(f"A data row's {min(unknown)[:100]} cannot be changed.")
    changes: dict[str, Any] = {}
    if (title := optional(payload.get("data_title"), str, "data_title")) is not None:
        changes["name"] = title
    if (metadata := optional(payload.get("client_metadata"), dict, "client_metadata")) is not None:
        changes["metadata"] = wire.dumped(metadata)
    items.update(service.database, {found["uuid"]: changes})
    again = datasets.rows(service.database, row["hash"], hashes=[found["data_hash"]])
    answer = {"data_row": _rows(service, again, {"fetch_client_metadata": True})[0], "updated_fields": list(payload)}
    return Answer(answer, 1)


def link_items(service: Service, call: Call) -> Answer:
    row, payload = _dataset(service, call), _payload(call)
    behaviour = payload.get("duplicates_behavior") or "SKIP"
    if behaviour not in ("DUPLICATE", "FAIL", "SKIP"):
        raise malformed("duplicates_behavior is DUPLICATE, FAIL or SKIP.")
    wanted = uuids(payload.get("item_uuids"), "item_uuids")
    found = datasets.link_items(service.database, row["hash"], wanted, behaviour)
    return Answer(_rows(service, found, None), len(found))


def delete_data(service: Service, call: Call) -> Answer:
    row = _dataset(service, call)
    given = call.body["uid"]
    found = datasets.rows(
        service.database, row["hash"], hashes=uuids([given] if isinstance(given, str) else given, "uid")
    )
    with service.database.write() as connection:
        datasets.unlink(connection, [one["row"] for one in found])
    return Answer(True, len(found))


def rename_data(service: Service, call: Call) -> Answer:
    row = _dataset(service, call)
    given = call.body["payload"]
    if not isinstance(given, list):
        raise malformed("payload must be a list.")
    with service.database.write():
        for entry in given:
            change = mapping(entry, "A change")
            title = optional(change.get("title"), str, "title")
            if not title:
                raise malformed("A title is needed.")
            (found,) = datasets.rows(
                service.database, row["hash"], hashes=[uuid(change.get("video_hash"), "video_hash")]
            )
            items.update(service.database, {found["uuid"]: {"name": title}})
    return Answer({"success": True}, len(given))


def add_data(service: Service, call: Call) -> Answer:
    row, payload = _dataset(service, call), _payload(call)
    folder_uuid = payload.get("folder_uuid")
    with service.database.write() as connection:
        if folder_uuid is None:
            folder = datasets.folder_of(connection, row["hash"])
        else:
            folder = folders.get(service.database, uuid(folder_uuid, "folder_uuid"))["uuid"]
    ignore = optional(payload.get("ignore_errors"), bool, "ignore_errors") or False
    job = uploads.run(service, folder, uploads.wanted(payload, "dataItems", "files"), call.user, ignore_errors=ignore)
    linked = uploads.into_dataset(service, row["hash"], job)
    more = {"data_hashes_with_titles": linked, "data_unit_errors": []}
    return Answer({"process_hash": uploads.keep(service, job, ignore_errors=ignore, answer=more)}, len(linked))


def add_data_state(service: Service, call: Call) -> Answer:
    _dataset(service, call)
    job = _payload(call).get("process_hash")
    state = uploads.state(service, job) if isinstance(job, str) else None
    if state is None:
        raise malformed("There is no such upload.")
    state["data_unit_errors"] = state.pop("unit_errors")
    return Answer(state, 1)


def add_dataset_users(service: Service, call: Call) -> Answer:
    row = _dataset(service, call)
    return _add_users(service, call, "dataset", row["hash"])


def add_project_users(service: Service, call: Call) -> Answer:
    record = _project(service, call)
    users.require(service.database, record.hash, call.user, "manage")
    return _add_users(service, call, "project", record.hash)


def _add_users(service: Service, call: Call, kind: users.Kind, hash: str) -> Answer:
    payload = _payload(call)
    emails = optional(payload.get("user_emails"), list, "user_emails") or []
    with service.database.write() as connection:
        users.add(connection, kind, hash, emails, payload.get("user_role"))
    roles = dict(users.members(service.database, kind, hash))
    found = [{"user_email": email, "user_role": roles[email], f"{kind}_hash": hash} for email in emails]
    return Answer(found, len(found))


def new_project(service: Service, call: Call) -> Answer:
    payload = _payload(call)
    title = optional(payload.get("title"), str, "title")
    if not title:
        raise malformed("A project needs a title.")
    if payload.get("source_projects"):
        raise NotKnown("projects of benchmark QA.", "Make a project from a workflow template.")
    listed = list(dict.fromkeys(uuids(payload.get("dataset_hashes") or [], "dataset_hashes")))
    for hash in listed:
        datasets.get(service.database, hash)
    ontology = payload.get("ontology_hash")
    if ontology is None:
        with service.database.write():
            ontology = service.catalogue.add_ontology(title, "", {"objects": [], "classifications": []})
    elif service.catalogue.ontology(uuid(ontology, "ontology_hash")) is None:
        raise forbidden(f"No access to the ontology {ontology}.")
    template = payload.get("workflow_template_id")
    if template is None:
        stages, start = copying.stages_of(DEFAULT)
    else:
        row = service.catalogue.template(uuid(template, "workflow_template_id"))
        if row is None:
            raise forbidden(f"No access to the workflow template {template}.")
        stages, start = row["stages"], row["start"]
    with service.database.write() as connection:
        record = service.catalogue.create_from(
            title=title, description=optional(payload.get("description"), str, "description") or "",
            ontology=uuid(ontology, "ontology_hash"), stages=stages, start=start, dataset_hashes=listed,
        )  # fmt: skip
        users.add(connection, "project", record.hash, [call.user], users.ADMIN)
    return Answer(record.hash, 1)


def delete_project(service: Service, call: Call) -> Answer:
    record = service.project(uuid(call.body["uid"], "uid"))
    users.require(service.database, record.hash, call.user, "manage")
    service.catalogue.delete(record)
    return Answer(True, 1)


def copy_project(service: Service, call: Call) -> Answer:
    record, payload = _project(service, call), _payload(call)
    return Answer(copying.copy(service, record, payload, call.user), 1)


def old_project(service: Service, call: Call) -> Answer:
    with_rows = bool(_payload(call).get("include_labels_metadata"))
    return Answer(_old_project(service, _project(service, call), with_rows=with_rows), 1)


def _old_project(service: Service, record: ProjectRecord, *, with_rows: bool) -> dict[str, Any]:
    ontology = service.catalogue.ontology(record.ontology)
    assert ontology is not None
    found = labels.rows(service.database, record, RowFilter()) if with_rows else []
    return {
        "project_hash": record.hash,
        "title": record.title,
        "description": record.description,
        "created_at": wire.sql_date(record.created_at),
        "last_edited_at": wire.sql_date(record.edited_at),
        "editor_ontology": ontology.editor,
        "ontology_hash": record.ontology,
        "datasets": [
            {"dataset_hash": row["hash"], "title": row["title"], "description": row["description"]}
            for row in service.catalogue.datasets(record)
        ],
        "label_rows": [label_wire.label_row(row, record, "main", metadata=False, node=False) for row in found],
        "source_projects": [],
        "workflow_manager_uuid": None,
    }


def old_projects(service: Service, call: Call) -> Answer:
    given = mapping(_payload(call).get("filter") or {}, "filter")
    filters.only(given, "projects", *filters.NAMES)
    wanted = filters.Listing(given)
    found = []
    for record in service.catalogue.projects():
        role = users.role(service.database, "project", record.hash, call.user)
        if role is not None and wanted.allows(record.title, record.description, record.created_at, record.edited_at):
            found.append({"project": _old_project(service, record, with_rows=False), "user_role": role})
    return Answer(found, len(found))


def add_datasets(service: Service, call: Call) -> Answer:
    record = _project(service, call)
    users.require(service.database, record.hash, call.user, "manage")
    listed = uuids(_payload(call).get("dataset_hashes"), "dataset_hashes")
    for hash in listed:
        datasets.get(service.database, hash)
    with service.database.write() as connection:
        for hash in listed:
            datasets.attach(connection, record.id, hash)
        if record.dataset is None and listed:
            service.catalogue.update(record.hash, dataset=listed[0])
    return Answer(True, len(listed))


def remove_datasets(service: Service, call: Call) -> Answer:
    record = _project(service, call)
    users.require(service.database, record.hash, call.user, "manage")
    given = call.body["uid"]
    listed = uuids([given] if isinstance(given, str) else given, "uid")
    there = {row["hash"] for row in service.catalogue.datasets(record)}
    if missing := set(listed) - there:
        raise forbidden(f"The project has no dataset {min(missing)}.")
    with service.database.write() as connection:
        for hash in listed:
            datasets.detach(connection, record.id, hash)
        if record.dataset in listed:
            service.catalogue.update(record.hash, dataset=next(iter(sorted(there - set(listed))), None))
    return Answer(True, len(listed))


def data_urls(service: Service, call: Call) -> Answer:
    record = _project(service, call)
    given = mapping(call.body["uid"], "uid")
    wanted = uuid(given.get("data_hash"), "data_hash")
    with service.database.read() as connection:
        row = connection.execute(
            "SELECT * FROM units WHERE project = ? AND data_hash = ?", (record.id, wanted)
        ).fetchone()
    if row is None:
        raise forbidden(f"No access to the data unit {wanted}.")
    link = service.link if given.get("get_signed_url") else None
    answer: dict[str, Any] = {"data_hash": wanted, "video": None, "images": None}
    members = items.members(service.database, [row["item"]]).get(row["item"], [])
    if members:
        answer["images"] = [wire.file_link(one["uuid"], one, link, image_hash=one["uuid"]) for one in members]
    elif row["item_type"] == "image":
        answer["images"] = [wire.file_link(wanted, row, link, item=row["item"], image_hash=wanted)]
    else:
        answer["video"] = wire.file_link(wanted, row, link, item=row["item"])
    return Answer(answer, 1)


OPERATIONS = {
    ("dataset", "GET"): Operation("dataset", dataset),
    ("datarows", "GET"): Operation("data_rows", data_rows),
    ("datarow", "GET"): Operation("data_row", data_row),
    ("datarow", "POST"): Operation("data_row_save", data_row_save),
    ("datasetlinkitems", "POST"): Operation("link_items", link_items),
    ("video", "DELETE"): Operation("data_delete", delete_data),
    ("video", "POST"): Operation("data_rename", rename_data),
    ("datasetdatalongpolling", "POST"): Operation("upload_job", add_data, slow=True),
    ("datasetdatalongpolling", "GET"): Operation("upload_state", add_data_state),
    ("datasetusers", "POST"): Operation("dataset_users", add_dataset_users),
    ("projectusers", "POST"): Operation("project_users", add_project_users),
    ("project", "GET"): Operation("project", old_project),
    ("project", "POST"): Operation("project_create", new_project),
    ("project", "DELETE"): Operation("project_delete", delete_project),
    ("projectcopy", "POST"): Operation("project_copy", copy_project),
    ("projectwithuserrole", "GET"): Operation("projects", old_projects),
    ("projectdataset", "POST"): Operation("project_datasets", add_datasets),
    ("projectdataset", "DELETE"): Operation("project_datasets", remove_datasets),
    ("datasetdata", "GET"): Operation("data", data_urls),
}
