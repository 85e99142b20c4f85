"""The v1 operations on datasets and projects."""

from __future__ import annotations

import sqlite3
from typing import Any

from encord_agents.local import copying, datasets, filters, folders, items, label_wire, labels, uploads, users, wire
from encord_agents.local.catalogue import ProjectRecord
from encord_agents.local.labels import RowFilter
from encord_agents.local.service import Answer, Call, Given, Operation, Service, uuid
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


def _rows(
    service: Service,
    found: list[sqlite3.Row],
    *,
    metadata: bool = False,
    link: wire.Link | None = None,
    image_link: wire.Link | None = None,
) -> list[dict[str, Any]]:
    groups = [row["uuid"] for row in found if row["item_type"] in ("imageGroup", "imageSequence")]
    members = items.members(service.database, groups)
    return [
        wire.data_row(row, members.get(row["uuid"]), metadata=metadata, link=link, image_link=image_link)
        for row in found
    ]


def dataset(service: Service, call: Call) -> Answer:
    row = _dataset(service, call)
    settings = call.payload.part("dataset_access_settings")
    rows = datasets.rows(service.database, row["hash"]) if settings.flag("fetch_rows") is not False else []
    answer = {
        "dataset_hash": row["hash"],
        "title": row["title"],
        "description": row["description"],
        "dataset_type": "CORD_STORAGE",
        "data_rows": _rows(service, rows, metadata=bool(settings.flag("fetch_client_metadata"))),
        "backing_folder_uuid": row["folder"],
    }
    return Answer(answer, len(rows))


def data_rows(service: Service, call: Call) -> Answer:
    row, payload = _dataset(service, call), call.payload
    known = ("title_eq", "title_like", "created_before", "created_after", "data_types", "data_hashes")
    filters.only(payload.fields, "data rows", *known, "dataset_access_settings")
    chosen = payload.get("data_hashes") is not None
    found = datasets.rows(service.database, row["hash"], hashes=payload.ids("data_hashes") if chosen else None)
    before, after = (filters.date(payload.get(key), key) for key in ("created_before", "created_after"))
    types, eq, like = payload.list("data_types"), payload.text("title_eq"), payload.text("title_like")
    found = [
        one
        for one in found
        if (eq is None or one["title"] == eq)
        and (like is None or filters.like(one["title"], like))
        and (before is None or one["linked_at"] < before)
        and (after is None or one["linked_at"] > after)
        and (types is None or wire.data_type(one["item_type"]).upper() in types)
    ]
    metadata = bool(payload.part("dataset_access_settings").flag("fetch_client_metadata"))
    return Answer(_rows(service, found, metadata=metadata), len(found))


def data_row(service: Service, call: Call) -> Answer:
    row = _dataset(service, call)
    more = call.payload.part("additional_data")
    found = datasets.rows(service.database, row["hash"], hashes=[uuid(call.body["uid"], "uid")])
    link = service.link if more.get("signed_url") else None
    image_link = service.link if more.part("images_data_fetch_options").get("fetch_signed_urls") else None
    metadata = bool(more.get("client_metadata"))
    return Answer(_rows(service, found, metadata=metadata, link=link, image_link=image_link)[0], 1)


def data_row_save(service: Service, call: Call) -> Answer:
    row, payload = _dataset(service, call), call.payload
    (found,) = datasets.rows(service.database, row["hash"], hashes=[uuid(call.body["uid"], "uid")])
    if unknown := payload.fields.keys() - {"data_title", "client_metadata"}:
        raise malformed(f"A data row's {min(unknown)[:100]} cannot be changed.")
    changes: dict[str, Any] = {}
    if payload.get("data_title") is not None:
        changes["name"] = payload.needed("data_title")
    if payload.get("client_metadata") is not None:
        changes["metadata"] = wire.dumped(payload.part("client_metadata").fields)
    items.update(service.database, {found["uuid"]: changes})
    again = datasets.rows(service.database, row["hash"], hashes=[found["data_hash"]])
    answer = {"data_row": _rows(service, again, metadata=True)[0], "updated_fields": list(payload.fields)}
    return Answer(answer, 1)


def link_items(service: Service, call: Call) -> Answer:
    row, payload = _dataset(service, call), call.payload
    behaviour = payload.get("duplicates_behavior") or "SKIP"
    if behaviour not in ("DUPLICATE", "FAIL", "SKIP"):
        raise malformed("duplicates_behavior is DUPLICATE, FAIL or SKIP.")
    found = datasets.link_items(service.database, row["hash"], payload.ids("item_uuids"), behaviour)
    return Answer(_rows(service, found), len(found))


def delete_data(service: Service, call: Call) -> Answer:
    row = _dataset(service, call)
    found = datasets.rows(service.database, row["hash"], hashes=call.uids)
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
            change = Given(entry, "A change")
            (found,) = datasets.rows(service.database, row["hash"], hashes=[change.id("video_hash")])
            items.update(service.database, {found["uuid"]: {"name": change.needed("title")}})
    return Answer({"success": True}, len(given))


def add_data(service: Service, call: Call) -> Answer:
    row, payload = _dataset(service, call), call.payload
    with service.database.write() as connection:
        if payload.get("folder_uuid") is None:
            folder = datasets.folder_of(connection, row["hash"])
        else:
            folder = folders.get(service.database, payload.id("folder_uuid"))["uuid"]
    ignore = payload.flag("ignore_errors") or False
    job = uploads.run(service, folder, uploads.wanted(payload, "data_items", "files"), call.user, ignore_errors=ignore)
    linked = uploads.into_dataset(service, row["hash"], job)
    more = {"data_hashes_with_titles": linked, "data_unit_errors": []}
    return Answer({"process_hash": uploads.keep(service, job, ignore_errors=ignore, answer=more)}, len(linked))


def add_data_state(service: Service, call: Call) -> Answer:
    _dataset(service, call)
    job = call.payload.get("process_hash")
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
    payload = call.payload
    emails = payload.list("user_emails") or []
    with service.database.write() as connection:
        users.add(connection, kind, hash, emails, payload.get("user_role"))
    roles = dict(users.members(service.database, kind, hash))
    found = [{"user_email": email, "user_role": roles[email], f"{kind}_hash": hash} for email in emails]
    return Answer(found, len(found))


def new_project(service: Service, call: Call) -> Answer:
    payload = Given(call.body["payload"] or {}, "A project")
    if payload.get("editor") is not None:
        raise NotKnown(
            "project.add_object() and project.add_classification().",
            "Change the structure of the ontology, client.get_ontology(project.ontology_hash), and save it.",
        )
    title = payload.needed("title")
    if payload.get("source_projects"):
        raise NotKnown("projects of benchmark QA.", "Make a project from a workflow template.")
    listed = list(dict.fromkeys(payload.ids("dataset_hashes") if payload.get("dataset_hashes") else []))
    for hash in listed:
        datasets.get(service.database, hash)
    ontology = payload.get("ontology_hash")
    if ontology is None:
        with service.database.write():
            ontology = service.catalogue.add_ontology(title, "", {"objects": [], "classifications": []})
    elif service.catalogue.ontology(payload.id("ontology_hash")) is None:
        raise forbidden(f"No access to the ontology {ontology}.")
    template = payload.get("workflow_template_id")
    if template is None:
        stages, start = copying.stages_of(DEFAULT)
    else:
        row = service.catalogue.template(payload.id("workflow_template_id"))
        if row is None:
            raise forbidden(f"No access to the workflow template {template}.")
        stages, start = row["stages"], row["start"]
    with service.database.write() as connection:
        record = service.catalogue.create_from(
            title=title, description=payload.text("description") or "",
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
    record, payload = _project(service, call), call.payload
    return Answer(copying.copy(service, record, payload, call.user), 1)


def old_project(service: Service, call: Call) -> Answer:
    with_rows = bool(call.payload.get("include_labels_metadata"))
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
    given = call.payload.part("filter").fields
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
    listed = call.payload.ids("dataset_hashes")
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
    listed = call.uids
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
    given = Given(call.body["uid"], "uid")
    wanted = given.id("data_hash")
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
    ("video", "DELETE"): Operation("data_delete", delete_data, needs="manage"),
    ("video", "POST"): Operation("data_rename", rename_data),
    ("datasetdatalongpolling", "POST"): Operation("upload_job", add_data, slow=True),
    ("datasetdatalongpolling", "GET"): Operation("upload_state", add_data_state),
    ("datasetusers", "POST"): Operation("dataset_users", add_dataset_users, needs="manage"),
    ("projectusers", "POST"): Operation("project_users", add_project_users),
    ("project", "GET"): Operation("project", old_project),
    ("project", "POST"): Operation("project_create", new_project),
    ("project", "DELETE"): Operation("project_delete", delete_project),
    ("projectcopy", "POST"): Operation("project_copy", copy_project, needs="manage"),
    ("projectwithuserrole", "GET"): Operation("projects", old_projects),
    ("projectdataset", "POST"): Operation("project_datasets", add_datasets),
    ("projectdataset", "DELETE"): Operation("project_datasets", remove_datasets),
    ("datasetdata", "GET"): Operation("data", data_urls),
}
