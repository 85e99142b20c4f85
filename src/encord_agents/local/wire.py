"""What the platform's records look like on the wire."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from encord_agents.local.catalogue import OntologyRecord, ProjectRecord
from encord_agents.local.items import TYPES
from encord_agents.local.trouble import NotKnown
from encord_agents.local.users import OWNER

Link = Callable[[str, str], str]
"""Storage item and name -> a signed URL."""


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def legacy_date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%a, %d %b %Y %H:%M:%S UTC")


def data_type(item_type: str) -> str:
    """A storage item's type in the words of label rows."""
    return TYPES[item_type]


def project(record: ProjectRecord, ontology: OntologyRecord) -> dict[str, Any]:
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
        "userRole": 0,
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


def label_status(row: sqlite3.Row, stages: Mapping[str, Any]) -> tuple[str, str]:
    """``(label status, status of the annotation task)``."""
    stage = stages.get(row["stage"])
    if stage is not None and stage.type == "done":
        return "LABELLED", "COMPLETED"
    status = "LABEL_IN_PROGRESS" if row["label_hash"] else "NOT_LABELLED"
    return status, "IN_REVIEW" if stage is not None and "review" in stage.type else "QUEUED"


def label_row(row: sqlite3.Row, record: ProjectRecord, branch: str, *, metadata: bool, node: bool) -> dict[str, Any]:
    status, task_status = label_status(row, record.stages)
    stage = record.stages.get(row["stage"])
    priority = row["priority"] if row["priority"] is not None else 0.5
    wire = {
        "label_hash": row["label_hash"],
        "created_at": iso(row["created_at"]) if row["label_hash"] else None,
        "last_edited_at": iso(row["edited_at"]) if row["label_hash"] else None,
        "branch_name": row["label_branch"] or branch,
        "data_hash": row["data_hash"],
        "dataset_hash": row["dataset"],
        "dataset_title": row["dataset_title"],
        "data_title": row["title"],
        "data_type": data_type(row["item_type"]).upper(),
        "data_link": None,
        "label_status": status,
        "annotation_task_status": task_status,
        "is_shadow_data": False,
        "number_of_frames": row["frames"] or 1,
        "frames_per_second": row["fps"],
        "duration": row["duration"],
        "width": row["width"],
        "height": row["height"],
        "spaces": {},
        "task_uuid": row["task"],
        "priority": None if task_status == "COMPLETED" else priority,
        "file_type": row["mime_type"],
        "is_valid": True,
        "backing_item_uuid": row["item"],
    }
    if metadata:
        wire["client_metadata"] = orjson.loads(row["metadata"])
    if node:
        wire["workflow_graph_node"] = stage and {"uuid": stage.uuid, "title": stage.title}
    return wire


def label(
    row: sqlite3.Row,
    record: ProjectRecord,
    link: Link | None,
    *,
    objects: Collection[str] | None = None,
    classifications: Collection[str] | None = None,
) -> dict[str, Any]:
    """A label row with its labels; ``objects`` and ``classifications`` leave only labels of those features."""
    kind = data_type(row["item_type"])
    if kind == "img_group":
        raise NotKnown("labels of image groups")
    content = orjson.loads(row["content"]) if row["content"] is not None else {}
    saved = content.get("data_units", {}).get(row["data_hash"], {})
    unit = {
        "data_hash": row["data_hash"],
        "data_title": row["title"],
        "data_link": link(row["item"], row["title"]) if link and row["item"] else None,
        "data_type": row["mime_type"],
        "data_sequence": 0,
        "width": row["width"],
        "height": row["height"],
        "labels": saved.get("labels", {"objects": [], "classifications": []} if kind == "image" else {}),
    }
    if kind == "video":
        unit |= {"data_fps": row["fps"], "data_duration": row["duration"]}
    if kind == "audio":
        unit |= {"audio_codec": "", "audio_sample_rate": 0, "audio_bit_depth": 0, "audio_num_channels": 0}
    answers = content.get("object_answers", {})
    if objects is not None:
        frames = [unit["labels"]] if kind == "image" else list(unit["labels"].values())
        for frame in frames:
            frame["objects"] = [found for found in frame.get("objects", []) if found["featureHash"] in objects]
        kept = {found["objectHash"] for frame in frames for found in frame["objects"]}
        answers = {key: a for key, a in answers.items() if key in kept or a.get("featureHash") in objects}
    classified = content.get("classification_answers", {})
    if classifications is not None:
        classified = {key: answer for key, answer in classified.items() if answer["featureHash"] in classifications}
    status, task_status = label_status(row, record.stages)
    return {
        "label_hash": row["label_hash"],
        "branch_name": row["label_branch"],
        "created_at": legacy_date(row["created_at"]),
        "last_edited_at": legacy_date(row["edited_at"]),
        "dataset_hash": row["dataset"],
        "dataset_title": row["dataset_title"],
        "data_title": row["title"],
        "data_hash": row["data_hash"],
        "data_type": kind,
        "data_units": {row["data_hash"]: unit},
        "object_answers": answers,
        "classification_answers": classified,
        "object_actions": content.get("object_actions", {}),
        "label_status": status,
        "annotation_task_status": task_status,
        "is_valid": True,
        "spaces": content.get("spaces", {}),
    }
