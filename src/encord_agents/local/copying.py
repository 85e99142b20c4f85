"""Copies of projects."""

from __future__ import annotations

from collections.abc import Mapping
from sqlite3 import Row

import orjson

from encord_agents.local import catalogue, datasets, labels, users
from encord_agents.local.catalogue import ProjectRecord
from encord_agents.local.database import SOME, listed
from encord_agents.local.service import Given, Service, uuid, uuids
from encord_agents.local.trouble import NotKnown, forbidden, malformed
from encord_agents.local.workflow import Workflow

_OPTIONS = {"collaborators", "datasets", "labels", "models"}
_ROWS = "Name label rows in accepted_label_hashes, by their label_hash, or copy all."


def stages_of(workflow: Workflow) -> tuple[str, str]:
    """Return a workflow's stages as the database stores them, and the uuid of the stage where tasks start."""
    return catalogue.dumped(workflow), workflow.start_uuid


def copy(service: Service, record: ProjectRecord, payload: Given, user: str) -> str:
    """Copy a project's workflow and ontology, and the parts that the options name. Return the hash of the copy.

    Raises:
        Refusal: 400, the request is malformed; 501, it asks for something that the platform does not have.
    """
    options = set(payload.list("copy_project_options") or [])
    if unknown := options - _OPTIONS:
        raise malformed(f"There is no option {min(map(str, unknown))[:100]!r}.")
    if "models" in options:
        raise NotKnown("models, which it has none of.", "Copy the project without copy_models.")
    named, wanted = payload.part("project_copy_metadata"), payload.part("copy_labels_options")
    with service.database.write() as connection:
        there = [row["hash"] for row in service.catalogue.datasets(record)]
        listed = there if "datasets" in options else []
        renamed: dict[str, str] = {}
        if wanted.get("create_new_dataset"):
            cloned, renamed = _clone(service, record, named, wanted)
            listed = [cloned]
        row = connection.execute("SELECT stages FROM projects WHERE id = ?", (record.id,)).fetchone()
        made = service.catalogue.create_from(
            title=named.text("project_title") or f"{record.title} (copy)",
            description=named.text("project_description") or record.description,
            ontology=record.ontology,
            stages=row["stages"],
            start=record.start,
            dataset_hashes=listed,
        )
        users.add(connection, "project", made.hash, [user], users.ADMIN)
        if "collaborators" in options:
            for email, role in users.members(service.database, "project", record.hash):
                users.add(connection, "project", made.hash, [email], role)
        if "labels" in options:
            _copy_labels(service, record, made, wanted, renamed)
    return made.hash


def _clone(service: Service, record: ProjectRecord, named: Given, wanted: Given) -> tuple[str, dict[str, str]]:
    """Make a new dataset of the same items, all or those that the request names.

    Returns:
        Its hash, and the data hash of each new row by the data hash of the old one: an item may be in several rows.
    """
    chosen = wanted.part("datasets_to_data_hashes_map").fields
    found: list[Row] = []
    for dataset in chosen or [row["hash"] for row in service.catalogue.datasets(record)]:
        hashes = uuids(chosen[dataset], "data hashes") if chosen else None
        if dataset not in {row["hash"] for row in service.catalogue.datasets(record)}:
            raise forbidden(f"The project has no dataset {uuid(dataset, 'A dataset')}.")
        found += datasets.rows(service.database, dataset, hashes=hashes)
    with service.database.write() as connection:
        title = named.text("dataset_title") or f"{record.title} (copy)"
        description = named.text("dataset_description") or ""
        made = datasets.create(
            connection, title, description=description, folder=datasets.new_folder(connection, title)
        )
        hashes = datasets.link(connection, made, [row["id"] for row in found])
    return made, dict(zip((row["data_hash"] for row in found), hashes, strict=True))


def _copy_labels(
    service: Service, record: ProjectRecord, made: ProjectRecord, wanted: Given, renamed: Mapping[str, str]
) -> None:
    """Copy labels, all or those that the request names, to the rows that the copy has, too.

    Args:
        renamed: The data hashes of cloned rows, by those of the old ones.
    """
    if wanted.get("accepted_label_statuses"):
        raise NotKnown("copies of labels by their review status.", _ROWS)
    chosen = wanted.list("accepted_label_hashes")
    if any(isinstance(hash, str) and len(hash) < 32 for hash in chosen or ()):  # shorter than a label row's
        raise NotKnown("copies of single objects or classifications.", _ROWS)
    accepted = None if chosen is None else listed(wanted.ids("accepted_label_hashes"))
    with service.database.write() as connection:
        sql = "SELECT data_hash, id FROM units WHERE project = ?"
        here = dict(connection.execute(sql, (made.id,)).fetchall())
        for row in connection.execute(
            "SELECT o.data_hash, l.branch, l.content, l.saves FROM labels l JOIN units o ON o.id = l.unit"
            f" WHERE o.project = ? AND (? IS NULL OR l.hash IN {SOME})",
            (record.id, accepted, accepted),
        ).fetchall():
            old, content = row["data_hash"], row["content"]
            new = renamed.get(old, old)
            if new not in here:
                continue
            if content is not None and new != old:
                copied = orjson.loads(content)
                units = copied.get("data_units", {})
                if old in units:
                    units[new] = {**units.pop(old), "data_hash": new}
                content = orjson.dumps(copied)
            labels.put(connection, here[new], row["branch"], content, saves=row["saves"])
