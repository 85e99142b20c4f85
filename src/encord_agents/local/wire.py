"""The platform's records in the SDK's wire format."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Any

import orjson

from encord_agents.local.catalogue import OntologyRecord, ProjectRecord
from encord_agents.local.items import TYPES
from encord_agents.local.users import OWNER

Link = Callable[[str, str], str]
"""Storage item and name -> a signed URL."""


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def legacy_date(seconds: float) -> str:
    """Return a date in English words, whatever the locale of the process."""
    return formatdate(seconds).replace("-0000", "UTC")


def data_type(item_type: str) -> str:
    """Return the label rows' name for a storage item's type."""
    return TYPES[item_type]


def project(record: ProjectRecord, ontology: OntologyRecord, role: int | None = 0) -> dict[str, Any]:
    return {
        "projectHash": record.hash,
        "projectType": record.type,
        "status": record.status,
        "title": record.title,
        "description": record.description,
        "createdAt": iso(record.created_at),
        "creatorEmail": OWNER,
        "lastEditedAt": iso(record.edited_at),
        "ontologyHash": record.ontology,
        "editorOntology": ontology.editor,
        "userRole": role,
        "sourceProjects": [],
        "workflowManagerUuid": None,
        "workflow": {"stages": [stage.to_wire() for stage in record.stages.values()]}
        if record.type == "workflow"
        else None,
    }


def ontology(record: OntologyRecord) -> dict[str, Any]:
    return {
        "ontologyUuid": record.hash,
        "title": record.title,
        "description": record.description,
        "editor": record.editor,
        "createdAt": iso(record.created_at),
        "lastEditedAt": iso(record.edited_at),
        "userRole": 0,
    }


def task(row: sqlite3.Row) -> dict[str, Any]:
    return {
        "uuid": row["uuid"],
        "createdAt": iso(row["created_at"]),
        "updatedAt": iso(row["updated_at"]),
        "status": row["status"],
        "dataHash": row["data_hash"],
        "dataTitle": row["title"],
        "labelBranchName": row["branch"],
        "assignee": row["assignee"],
        "lastActionedBy": row["actor"],
    }


def item(row: sqlite3.Row, link: Link | None) -> dict[str, Any]:
    absent = ("integrationHash", "dicomInstanceUid", "dicomStudyUid", "dicomSeriesUid")
    return {
        "uuid": row["uuid"],
        "parent": row["folder"],
        "itemType": row["item_type"],
        "name": row["title"],
        "description": row["description"],
        "clientMetadata": row["metadata"],
        "owner": OWNER,
        "createdAt": iso(row["created_at"]),
        "lastEditedAt": iso(row["edited_at"]),
        "isTombstone": False,
        "isPlaceholder": False,
        "backedDataUnitsCount": row["uses"],
        "storageLocation": "encord",
        "url": row["url"],
        "signedUrl": link(row["uuid"], row["title"]) if link and row["digest"] else None,
        "fileSize": row["size"],
        "mimeType": row["mime_type"],
        "duration": row["duration"],
        "fps": row["fps"],
        "height": row["height"],
        "width": row["width"],
        "frameCount": row["frames"],
        "audioSampleRate": row["sample_rate"],
        "audioBitDepth": row["bit_depth"],
        "audioCodec": row["codec"],
        "audioNumChannels": row["channels"],
        **dict.fromkeys(absent),
    }


def folder(row: sqlite3.Row, above: Sequence[sqlite3.Row], datasets: Mapping[str, str]) -> dict[str, Any]:
    """Return a storage folder with the folders above it, and the datasets that they belong to."""
    return {
        "uuid": row["uuid"],
        "parent": row["parent"],
        "name": row["name"],
        "description": row["description"],
        "clientMetadata": row["metadata"],
        "owner": OWNER,
        "createdAt": iso(row["created_at"]),
        "lastEditedAt": iso(row["edited_at"]),
        "userRole": "admin",
        "syncedDatasetHash": datasets.get(row["uuid"]),
        "pathToRoot": [
            {
                "uuid": one["uuid"], "parentUuid": one["parent"], "name": one["name"],
                "syncedDatasetHash": datasets.get(one["uuid"]),
            }
            for one in above
        ],
        "folderType": "generic",
    }  # fmt: skip


def item_summary(
    row: sqlite3.Row, groups: Sequence[sqlite3.Row], uses: Sequence[sqlite3.Row], members: Sequence[sqlite3.Row]
) -> dict[str, Any]:
    """Return the uses of an item in groups and datasets; for a data group, also its layout."""
    by_dataset: dict[str, dict[str, Any]] = {}
    for use in uses:
        found = by_dataset.setdefault(
            use["hash"],
            {
                "datasetHash": use["hash"], "backingFolderUuid": use["folder"], "title": use["title"], "dataHashes": [],
                "dataUnitsCreatedAt": iso(use["linked_at"]),
            },
        )  # fmt: skip
        found["dataHashes"].append(use["data_hash"])
    answer: dict[str, Any] = {
        "frameInGroups": len(groups),
        "accessibleGroupItems": [
            {
                "uuid": one["uuid"], "name": one["title"], "itemType": one["item_type"],
                "parentUuid": one["folder"], "parentName": one["folder_name"],
            }
            for one in groups
        ],
        "usedInDatasets": len(by_dataset),
        "accessibleDatasets": list(by_dataset.values()),
    }  # fmt: skip
    if row["layout"] is not None:
        layout = orjson.loads(row["layout"])
        answer["groupLayout"] = {
            "layoutContents": {one["layout_key"]: {"uuid": one["uuid"]} for one in members},
            "layout": layout["layout"],
            "layoutSettings": layout["settings"],
            "timeline": layout["timeline"],
        }
    return answer


def dataset_info(row: sqlite3.Row, role: int) -> dict[str, Any]:
    return {
        "datasetUuid": row["hash"],
        "title": row["title"],
        "description": row["description"],
        "createdAt": iso(row["created_at"]),
        "lastEditedAt": iso(row["edited_at"]),
        "userRole": "admin" if role == 0 else "user",
        "storageLocation": 0,
        "backingFolderUuid": row["folder"],
    }


def data_row(
    row: sqlite3.Row,
    members: Sequence[sqlite3.Row] | None,
    *,
    metadata: bool,
    link: Link | None = None,
    image_link: Link | None = None,
) -> dict[str, Any]:
    """Return a row of a dataset; for a group of images, with its images, which have signed URLs of their own."""
    kind = data_type(row["item_type"])
    answer = {
        "data_hash": row["data_hash"],
        "data_title": row["title"],
        "data_type": kind.upper(),
        "created_at": sql_date(row["linked_at"]),
        "last_edited_at": sql_date(row["edited_at"]),
        "width": row["width"],
        "height": row["height"],
        "file_link": None if kind == "dicom" else row["url"] or row["uuid"],
        "file_size": row["size"],
        "file_type": row["mime_type"],
        "storage_location": 0,
        "frames_per_second": row["fps"],
        "duration": row["duration"],
        "backing_item_uuid": row["uuid"],
        "client_metadata": orjson.loads(row["metadata"]) if metadata else None,
        "signed_url": link(row["uuid"], row["title"]) if link and row["digest"] else None,
        "is_optimised_image_group": row["item_type"] == "imageSequence" if members is not None else None,
    }
    if members is not None:
        answer["images_data"] = [
            {
                "image_hash": one["uuid"], "title": one["title"], "file_link": one["url"] or one["uuid"],
                "file_type": one["mime_type"], "file_size": one["size"], "storage_location": 0,
                "created_at": sql_date(one["created_at"]), "last_edited_at": sql_date(one["edited_at"]),
                "width": one["width"], "height": one["height"],
                "signed_url": image_link(one["uuid"], one["title"]) if image_link else None,
            }
            for one in members
        ]  # fmt: skip
    return answer


def file_link(
    data_hash: str, row: sqlite3.Row, link: Link | None, *, item: str | None = None, image_hash: str | None = None
) -> dict[str, Any]:
    """Return a file in the form of the v1 protocol. A signed URL is in ``file_link``: the SDK reads no other field."""
    uuid = item or row["uuid"]
    answer: dict[str, Any] = {
        "data_hash": data_hash, "title": row["title"], "backing_item_uuid": uuid,
        "file_link": link(uuid, row["title"]) if link else uuid,
    }  # fmt: skip
    if image_hash is not None:
        answer["image_hash"] = image_hash
    return answer


def dumped(value: Any) -> str:
    return orjson.dumps(value).decode()


def sql_date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
