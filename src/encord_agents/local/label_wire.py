"""Label rows in the SDK's wire format, for every kind of data."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import orjson

from encord_agents.local.catalogue import ProjectRecord
from encord_agents.local.wire import Link, data_type, iso, legacy_date

GROUPS = ("imageGroup", "imageSequence", "dicomSeries", "group")
"""Types of items that consist of other items."""
_BY_FRAME = ("image", "img_group", "group")
"""Kinds of data whose units have the labels of one frame; units of other kinds have them by frame number."""
_SPACES = {
    "image": "image", "video": "video", "audio": "audio", "pdf": "pdf", "plainText": "text",
    "imageSequence": "image_sequence", "dicomFile": "medical_file", "nifti": "medical_file",
}  # fmt: skip
"""The types of spaces, by the type of the item that is a member of a data group."""


def label_status(row: sqlite3.Row, stages: Mapping[str, Any]) -> tuple[str, str]:
    """Return ``(label status, status of the annotation task)``."""
    stage = stages.get(row["stage"])
    if stage is not None and stage.type == "done":
        return "LABELLED", "COMPLETED"
    status = "LABEL_IN_PROGRESS" if row["label_hash"] else "NOT_LABELLED"
    if stage is not None and "review" in stage.type:
        return status, "IN_REVIEW"
    return status, {"REOPENED": "RETURNED", "ASSIGNED": "ASSIGNED"}.get(row["status"], "QUEUED")


def label_row(
    row: sqlite3.Row,
    record: ProjectRecord,
    branch: str,
    *,
    metadata: bool,
    node: bool,
    members: Sequence[sqlite3.Row] = (),
    images: bool = False,
) -> dict[str, Any]:
    """Return a label row as an entry of a list, without its labels."""
    status, task_status = label_status(row, record.stages)
    stage = record.stages.get(row["stage"])
    priority = row["priority"] if row["priority"] is not None else 0.5
    wire: dict[str, Any] = {
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
        "number_of_frames": _frames(row),
        "frames_per_second": row["fps"],
        "duration": row["duration"],
        "width": row["width"],
        "height": row["height"],
        "audio_sample_rate": row["sample_rate"],
        "audio_codec": row["codec"],
        "audio_bit_depth": row["bit_depth"],
        "audio_num_channels": row["channels"],
        "spaces": _spaces(members, {}, None) if row["item_type"] == "group" else {},
        "task_uuid": row["task"],
        "priority": None if task_status == "COMPLETED" else priority,
        "file_type": row["mime_type"],
        "is_valid": True,
        "backing_item_uuid": row["item"],
        "assigned_user_email": row["assignee"],
        "last_actioned_by_user_email": row["actor"],
    }
    if metadata:
        wire["client_metadata"] = orjson.loads(row["metadata"])
    if node:
        wire["workflow_graph_node"] = stage and {"uuid": stage.uuid, "title": stage.title}
    if images and data_type(row["item_type"]) == "img_group":
        wire["images_data"] = [
            {
                "index": index, "title": one["title"], "file_type": one["mime_type"], "height": one["height"],
                "width": one["width"], "image_hash": one["uuid"],
            }
            for index, one in enumerate(members)
        ]  # fmt: skip
    return wire


def _frames(row: sqlite3.Row) -> int:
    if row["item_type"] == "audio" and row["duration"] and row["sample_rate"]:
        return -int(-row["duration"] * row["sample_rate"] // 1)
    return row["frames"] or 1


def label(
    row: sqlite3.Row,
    record: ProjectRecord,
    link: Link | None,
    members: Sequence[sqlite3.Row] = (),
    *,
    objects: Collection[str] | None = None,
    classifications: Collection[str] | None = None,
) -> dict[str, Any]:
    """Return a label row with its labels; ``objects`` and ``classifications`` limit them to those features."""
    kind = data_type(row["item_type"])
    content = orjson.loads(row["content"]) if row["content"] is not None else {}
    saved = content.get("data_units", {})
    if kind == "img_group":
        units = {
            one["uuid"]: _unit(one["uuid"], one, one["uuid"], str(index), kind, saved, link)
            for index, one in enumerate(members)
        }
    else:
        units = {row["data_hash"]: _unit(row["data_hash"], row, row["item"], 0, kind, saved, link)}
    if kind == "group":
        children = [
            {"data_hash": one["uuid"], "label_hash": None, "name": one["title"], "layout_key": one["layout_key"] or ""}
            for one in members
        ]
        units[row["data_hash"]]["metadata"] = {"children": children}
    spaces = _spaces(members, content.get("spaces", {}), link) if kind == "group" else content.get("spaces", {})
    answers = content.get("object_answers", {})
    if objects is not None:
        answers = _only(objects, answers, units.values() if kind != "group" else spaces.values(), kind)
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
        "data_units": units,
        "object_answers": answers,
        "classification_answers": classified,
        "object_actions": content.get("object_actions", {}),
        "label_status": status,
        "annotation_task_status": task_status,
        "is_valid": True,
        "spaces": spaces,
    }


def _unit(
    hash: str, row: sqlite3.Row, item: str, sequence: int | str, kind: str, saved: Mapping[str, Any], link: Link | None
) -> dict[str, Any]:
    """Return a data unit: the file of a row, or one image of a group."""
    empty: dict[str, Any] = {"objects": [], "classifications": []} if kind in _BY_FRAME else {}
    unit: dict[str, Any] = {
        "data_hash": hash,
        "data_title": row["title"],
        "data_type": row["mime_type"] or kind,
        "data_sequence": sequence,
        "width": row["width"],
        "height": row["height"],
        "labels": saved.get(hash, {}).get("labels", empty),
    }
    if kind not in ("group", "dicom"):
        unit["data_link"] = link(item, row["title"]) if link and item else None
    if kind == "video":
        unit |= {"data_fps": row["fps"], "data_duration": row["duration"]}
    if kind == "audio":
        unit |= {
            "audio_codec": row["codec"] or "", "audio_sample_rate": row["sample_rate"] or 0,
            "audio_bit_depth": row["bit_depth"] or 0, "audio_num_channels": row["channels"] or 0,
            "data_duration": row["duration"],
        }  # fmt: skip
    return unit


def _spaces(members: Iterable[sqlite3.Row], saved: Mapping[str, Any], link: Link | None) -> dict[str, Any]:
    """Return the members of a data group as spaces, each with its saved labels."""
    spaces = {}
    for one in members:
        kind = "html" if one["mime_type"] == "text/html" else _SPACES.get(one["item_type"])
        if kind is None:
            continue
        space: dict[str, Any] = {
            "space_type": kind,
            "labels": saved.get(one["uuid"], {}).get("labels", {}),
            "child_info": {
                "layout_key": one["layout_key"], "file_name": one["title"],
                "data_link": link(one["uuid"], one["title"]) if link and one["digest"] else None,
            },
        }  # fmt: skip
        if kind in ("image", "video", "image_sequence", "medical_file"):
            space |= {"width": one["width"] or 0, "height": one["height"] or 0}
        if kind in ("video", "image_sequence", "medical_file"):
            space["number_of_frames"] = one["frames"] or 1
        if kind == "video":
            space |= {"data_fps": one["fps"], "data_duration": one["duration"]}
        if kind == "image_sequence":
            space["frames"] = []
        if kind == "audio":
            space["duration_ms"] = round((one["duration"] or 0) * 1000)
        if kind == "pdf":
            space["number_of_pages"] = one["frames"] or 1
        spaces[one["uuid"]] = space
    return spaces


def _only(
    features: Collection[str], answers: Mapping[str, Any], holders: Iterable[dict[str, Any]], kind: str
) -> dict[str, Any]:
    """Remove objects of other features from the data units or spaces, and return the answers of those that stay."""
    kept: set[str] = set()
    for holder in holders:
        by_frame = kind in ("image", "img_group")
        for frame in [holder["labels"]] if by_frame else list(holder["labels"].values()):
            frame["objects"] = [found for found in frame.get("objects", []) if found["featureHash"] in features]
            kept |= {found["objectHash"] for found in frame["objects"]}
    return {key: answer for key, answer in answers.items() if key in kept or answer.get("featureHash") in features}
