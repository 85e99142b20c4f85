"""The REST operations on projects, datasets, ontologies and users, and on the users' roles."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from typing import Any
from uuid import NAMESPACE_OID, UUID, uuid4, uuid5

import orjson

from encord_agents.local import branches, datasets, filters, labels, metadata_schemas, people, users, wire
from encord_agents.local import ontologies as editors
from encord_agents.local.auth import token_id
from encord_agents.local.database import SOME, listed
from encord_agents.local.filters import Listing
from encord_agents.local.service import Answer, Call, Given, Operation, Service, mapping, uuid
from encord_agents.local.trouble import LocalPlatformError, NotKnown, Refusal, forbidden, malformed

STATUSES = ("notStarted", "inProgress", "inReview", "paused", "completed", "cancelled", "archived")


def project(service: Service, call: Call) -> Answer:
    record = service.project(call.path["project"])
    ontology = service.catalogue.ontology(record.ontology)
    assert ontology is not None
    role = users.role(service.database, "project", record.hash, call.user)
    return Answer(wire.project(record, ontology, role))


def projects(service: Service, call: Call) -> Answer:
    wanted = Listing.of_query(call.query)
    found = [
        project(service, Call({"project": record.hash}, {}, None, call.user)).content
        for record in visible(service, call.user)
        if wanted.allows(record.title, record.description, record.created_at, record.edited_at)
    ]
    return Answer.listing(found)


def visible(service: Service, user: str) -> list[Any]:
    """Return the projects that a user is in."""
    return [
        record
        for record in service.catalogue.projects()
        if users.role(service.database, "project", record.hash, user) is not None
    ]


def project_status(service: Service, call: Call) -> Answer:
    record = service.project(call.path["project"])
    status = call.given.get("status")
    if status not in STATUSES:
        raise malformed(f"A status is one of {', '.join(STATUSES)}.")
    service.catalogue.update(record.hash, status=status)
    return Answer(None, 1)


def project_datasets(service: Service, call: Call) -> Answer:
    record = service.project(call.path["project"])
    found = [
        {"datasetHash": row["hash"], "title": row["title"], "description": row["description"]}
        for row in service.catalogue.datasets(record)
    ]
    return Answer.listing(found)


def project_branches(service: Service, call: Call) -> Answer:
    found = labels.branches(service.database, service.project(call.path["project"]))
    limit = filters.one(call.query, "limit") or str(len(found))
    if not (limit.isascii() and limit.isdigit() and len(limit) < 10):
        raise malformed("limit is a number.")
    found = found[: int(limit)]
    return Answer.listing([{"name": name} for name in found])


def copy_branch(service: Service, call: Call) -> Answer:
    record = service.project(call.path["project"])
    given = call.given
    source, target = given.text("source_branch_name"), given.text("target_branch_name")
    if not source or not target or source == target:
        raise malformed("Two branches are needed.")
    done = branches.copy(
        service.database, record, source, target, overwrite=given.flag("overwrite") or False,
        data_hashes=None if given.get("data_uuids") is None else given.ids("data_uuids"),
        label_hashes=None if given.get("label_uuids") is None else given.ids("label_uuids"),
    )  # fmt: skip
    return Answer({"copiedCount": done}, done)


def project_users(service: Service, call: Call) -> Answer:
    record = service.project(call.path["project"])
    found = [
        {"userEmail": email, "userRole": role}
        for email, role in users.members(service.database, "project", record.hash)
    ]
    return Answer.listing(found)


def remove_project_users(service: Service, call: Call) -> Answer:
    return _remove_users(service, call, "project", service.project(call.path["project"]).hash)


def _remove_users(service: Service, call: Call, kind: users.Kind, hash: str) -> Answer:
    emails = call.given.list("user_emails")
    if emails is None:
        raise malformed("userEmails must be a list.")
    with service.database.write() as connection:
        users.remove(connection, kind, hash, emails)
    return Answer(None, len(emails))


def classifications(service: Service, call: Call) -> Answer:
    record = service.project(call.path["project"])
    branch = call.given.text("branch_name") or "main"
    rows = labels.get(service.database, record, call.given.ids("label_uuids"))
    found = []
    for row in rows:
        if row["label_branch"] == branch:
            content = orjson.loads(row["content"]) if row["content"] is not None else {}
            found.append(
                {
                    "labelUuid": row["label_hash"],
                    "dataUuid": row["data_hash"],
                    "dataTitle": row["title"],
                    "branchName": branch,
                    "classificationAnswers": content.get("classification_answers", {}),
                }
            )
    return Answer({"labels": found}, len(found))


def validation(service: Service, call: Call) -> Answer:
    record = service.project(call.path["project"])
    if not labels.get(service.database, record, [call.path["label"]]):
        raise forbidden(f"No access to the label row {call.path['label']}.")
    # Invalid labels are refused when they are saved, so stored labels are always valid.
    return Answer(
        {"labelHash": call.path["label"], "branchName": "main", "isValid": True, "errors": [], "version": 0}, 1
    )


def list_datasets(service: Service, call: Call) -> Answer:
    wanted = Listing.of_query(call.query)
    found = []
    for row in service.catalogue.all_datasets():
        role = users.role(service.database, "dataset", row["hash"], call.user)
        if role is not None and wanted.allows(row["title"], row["description"], row["created_at"], row["edited_at"]):
            found.append(wire.dataset_info(row, role))
    return Answer({"result": found}, len(found))


def new_dataset(service: Service, call: Call) -> Answer:
    given = Given(call.body, "A dataset")
    title, description = given.needed("title"), given.text("description") or ""
    with service.database.write() as connection:
        backing = given.get("create_backing_folder") is not False
        folder = datasets.new_folder(connection, title) if backing else None
        made = datasets.create(connection, title, description=description, folder=folder)
        users.add(connection, "dataset", made, [call.user], users.ADMIN)
    return Answer({"datasetUuid": made, "backingFolderUuid": folder}, 1)


def dataset_users(service: Service, call: Call) -> Answer:
    hash = datasets.get(service.database, call.path["dataset"])["hash"]
    found = [
        {"datasetUuid": hash, "userEmail": email, "userRole": role}
        for email, role in users.members(service.database, "dataset", hash)
    ]
    return Answer.listing(found)


def remove_dataset_users(service: Service, call: Call) -> Answer:
    return _remove_users(service, call, "dataset", datasets.get(service.database, call.path["dataset"])["hash"])


def ontology(service: Service, call: Call) -> Answer:
    record = service.catalogue.ontology(call.path["ontology"])
    if record is None:
        raise forbidden(f"No access to the ontology {call.path['ontology']}.")
    return Answer(wire.ontology(record), 1)


def list_ontologies(service: Service, call: Call) -> Answer:
    wanted = Listing.of_query(call.query)
    found = [
        wire.ontology(record)
        for record in service.catalogue.ontologies()
        if wanted.allows(record.title, record.description, record.created_at, record.edited_at)
    ]
    return Answer.listing(found)


def new_ontology(service: Service, call: Call) -> Answer:
    hash = service.catalogue.add_ontology(*_ontology(call))
    return ontology(service, Call({"ontology": hash}, {}, None, call.user))


def save_ontology(service: Service, call: Call) -> Answer:
    ontology(service, call)
    title, description, editor = _ontology(call)
    with service.database.write() as connection:
        before = service.catalogue.ontology(call.path["ontology"])
        assert before is not None
        kept, old = _features(editor), _features(before.editor)
        lost = [hash for hash, (kind, _) in old.items() if hash not in kept or kept[hash][0] != kind]
        used = connection.execute(
            "SELECT lost.value AS hash, count(*) AS n FROM projects p JOIN entries e ON e.project = p.id"
            f" JOIN labels l ON l.unit = e.id JOIN {SOME} lost ON instr(l.content, CAST(lost.value AS BLOB))"
            " WHERE p.ontology = ? GROUP BY 1 ORDER BY 1",
            (listed(orjson.dumps(hash).decode() for hash in lost), before.hash),
        ).fetchone()
        if used is not None:
            name = old[orjson.loads(used["hash"])][1]
            raise malformed(
                f"{name!r} would be gone or of another kind, and label rows use it ({used['n']}): archive it instead."
            )
        service.catalogue.save_ontology(before.hash, title, description, editor)
    return Answer(None, 1)


def _features(editor: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Return the kind and the name of each object, classification, attribute and option, by feature hash."""
    found, waiting = {}, [*editor["objects"], *editor["classifications"]]
    while waiting:
        one = waiting.pop()
        hash = one["featureNodeHash"]
        kind = one.get("shape") or one.get("type") or ""
        found[hash] = kind, one.get("name") or one.get("label") or f"the classification {hash}"
        waiting += [*(one.get("attributes") or []), *(one.get("options") or [])]
    return found


def _ontology(call: Call) -> tuple[str, str, dict[str, Any]]:
    given = Given(call.body, "An ontology")
    try:
        editor = editors.understood(given.part("editor").fields)
    except LocalPlatformError as error:
        raise malformed(str(error)) from None
    return given.needed("title"), given.text("description") or "", editor


def organisation_users(service: Service, call: Call) -> Answer:
    found = [
        {
            "email": email,
            "roleMnemonicName": "ADMIN" if email == users.OWNER else "MEMBER",
            "roleUuid": str(uuid5(NAMESPACE_OID, "role")),
            "memberType": "MEMBER",
            "createdAt": wire.iso(0),
            "lastEditedAt": wire.iso(0),
        }
        for email in users.everybody(service.database)
    ]
    return Answer.listing(found)


def groups(service: Service, call: Call) -> Answer:
    """Return an empty list: the platform has no groups, and users get their roles one by one."""
    return Answer.listing([])


def new_group(service: Service, call: Call) -> Answer:
    raise NotKnown("groups of users.", "Give users their roles one by one: project.add_users(...).")


def metadata_schema(service: Service, call: Call) -> Answer:
    schema = service.setting("metadata_schema")
    return Answer(None if schema is None else metadata_schemas.newer(schema), 1)


def save_metadata_schema(service: Service, call: Call) -> Answer:
    schema = mapping(call.body, "The schema")
    if isinstance(schema.get("metadataSchema"), dict):  # the older of the two requests wraps it
        schema = schema["metadataSchema"]
    metadata_schemas.check(schema)
    service.set_setting("metadata_schema", schema)
    return Answer(None, 1)


def old_metadata_schema(service: Service, call: Call) -> Answer:
    schema = service.setting("metadata_schema")
    if schema is None:
        return Answer(None, 0)
    plain, now = metadata_schemas.older(schema), wire.iso(time.time())
    return Answer(
        {"uuid": str(UUID(int=1)), "metadataSchema": plain, "organisationId": 1, "createdAt": now, "updatedAt": now}, 1
    )


def project_tags(service: Service, call: Call) -> Answer:
    service.project(call.path["project"])
    return Answer.listing([])


def tags(service: Service, call: Call) -> Answer:
    found = service.setting("organisation_tags") or []
    return Answer.listing(found)


def new_tag(service: Service, call: Call) -> Answer:
    made = {"uuid": str(uuid4()), "name": Given(call.body, "A tag").needed("name")}

    def added(there: list[Any] | None) -> list[Any]:
        if any(tag["name"] == made["name"] for tag in there or []):
            raise Refusal(409, f"There is a tag {made['name'][:100]!r} already.")
        return [*(there or []), made]

    service.change_setting("organisation_tags", added)
    return Answer(made, 1)


def delete_tag(service: Service, call: Call) -> Answer:
    def left(there: list[Any] | None) -> list[Any]:
        kept = [tag for tag in there or [] if tag["uuid"] != call.path["tag"]]
        if len(kept) == len(there or []):
            raise Refusal(404, f"There is no tag {call.path['tag']}.")
        return kept

    service.change_setting("organisation_tags", left)
    return Answer(None, 1)


def bearer_token(service: Service, call: Call) -> Answer:
    token = secrets.token_urlsafe(32)
    service.database.add_key(token_id(token), call.user)
    return Answer({"token": token}, 1)


_TASK_ACTIONS = (
    "project_uuid", "after", "before", "actor_emails", "event_types", "workflow_stage_uuids", "data_unit_uuids",
)  # fmt: skip


def task_actions(service: Service, call: Call) -> Answer:
    record = service.project(uuid(filters.one(call.query, "project_uuid"), "projectUuid"))
    if users.role(service.database, "project", record.hash, call.user) is None:
        raise forbidden(f"No access to the project {record.hash}.")
    found = people.actions(
        service.database, record,
        after=filters.date(filters.one(call.query, "after"), "after"),
        before=filters.date(filters.one(call.query, "before"), "before"),
        actors=filters.many(call.query, "actor_emails"), kinds=filters.many(call.query, "event_types"),
        stages=filters.many(call.query, "workflow_stage_uuids"),
        data_hashes=filters.many(call.query, "data_unit_uuids"),
    )  # fmt: skip
    results = [
        {
            "timestamp": wire.iso(row["at"]), "actionType": row["kind"], "projectUuid": record.hash,
            "workflowStageUuid": row["stage"], "taskUuid": row["task"], "dataUnitUuid": row["data_hash"],
            "actorEmail": row["actor"],
        }
        for row in found
    ]  # fmt: skip
    return Answer.listing(results)


ROUTES = {
    "GET user/bearer-token": Operation("bearer_token", bearer_token),
    "GET analytics/task-actions": Operation("task_actions", task_actions, query=_TASK_ACTIONS, off=("page_token",)),
    "GET projects": Operation(
        "projects", projects, query=filters.NAMES, off=("include_org_access", "tags_anyof", "page_token")
    ),
    "PUT projects/{project}/status": Operation("project_status", project_status, needs="manage"),
    "GET projects/{project}/datasets": Operation("datasets", project_datasets),
    "GET projects/{project}/branches": Operation("branches", project_branches, query=("limit",), off=("page_token",)),
    "POST projects/{project}/labels/copy-branch": Operation("copy_branch", copy_branch, needs="label"),
    "GET projects/{project}/users": Operation("project_users", project_users, off=("page_token",)),
    "POST projects/{project}/users/bulk-delete": Operation("project_users", remove_project_users, needs="manage"),
    "GET projects/{project}/tags": Operation("project_tags", project_tags),
    "GET projects/{project}/groups": Operation("groups", groups),
    "POST projects/{project}/label-rows/classifications": Operation("classifications", classifications),
    "GET projects/{project}/labels/{label}/validation-state": Operation("validation", validation),
    "GET datasets/list": Operation("dataset_list", list_datasets, query=filters.NAMES, off=("include_org_access",)),
    "POST datasets": Operation("dataset_create", new_dataset),
    "GET datasets/{dataset}/users": Operation("dataset_users", dataset_users),
    "POST datasets/{dataset}/users/bulk-delete": Operation("dataset_users", remove_dataset_users, needs="manage"),
    "GET datasets/{dataset}/groups": Operation("groups", groups),
    "GET ontologies": Operation(
        "ontologies", list_ontologies, query=filters.NAMES, off=("include_org_access", "page_token")
    ),
    "POST ontologies": Operation("ontology_create", new_ontology),
    "GET ontologies/{ontology}": Operation("ontology", ontology),
    "PUT ontologies/{ontology}": Operation("ontology_save", save_ontology),
    "GET ontologies/{ontology}/groups": Operation("groups", groups),
    "GET organisation/users": Operation("organisation_users", organisation_users),
    "GET user/current-organisation/groups": Operation("groups", groups),
    "POST organisation/groups": Operation("group_create", new_group),
    "GET organisation/client-metadata-schema": Operation("metadata_schema", old_metadata_schema),
    "POST organisation/client-metadata-schema": Operation("metadata_schema", save_metadata_schema),
    "GET organisation/client-metadata-schema-v2": Operation("metadata_schema", metadata_schema),
    "POST organisation/client-metadata-schema-v2": Operation("metadata_schema", save_metadata_schema),
    "GET organisation/organisation-tags": Operation("tags", tags),
    "POST organisation/organisation-tags": Operation("tags", new_tag),
    "DELETE organisation/organisation-tags/{tag}": Operation("tags", delete_tag),
}
