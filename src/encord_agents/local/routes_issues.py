"""The REST operations on issues: people's comments on data units and labels."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import NAMESPACE_OID, uuid4, uuid5

import orjson

from encord_agents.local import filters, items, label_shape, wire
from encord_agents.local.database import SOME, listed
from encord_agents.local.service import Answer, Call, Given, Operation, Service
from encord_agents.local.trouble import forbidden, malformed

KINDS = {
    "dataUnit": (),
    "frame": ("frameIndex",),
    "frameCoordinate": ("frameIndex", "x", "y"),
    "sceneCoordinate": ("frameIndex", "x", "y", "z"),
    "frameRange": ("frameRanges",),
    "annotation": ("annotationId",),
}
"""The kinds of places that an issue may refer to, and their required fields."""


def new_issues(service: Service, call: Call) -> Answer:
    record = service.project(call.path["project"])
    now, rows = time.time(), []
    for entry in call.given.list("issues") or []:
        issue = Given(entry, "An issue")
        anchor, tags = issue.part("anchor"), issue.list("issue_tags") or []
        if not all(isinstance(tag, str) for tag in tags):
            raise malformed("issueTags must be a list of text.")
        unit, comment = anchor.id("data_uuid"), issue.text("comment") or ""
        rows.append((str(uuid4()), record.id, unit, _place(anchor), comment, listed(tags), call.user, now))
    if not rows:
        raise malformed("issues must be a list.")
    with service.database.write() as connection:
        for row in rows:
            unit = connection.execute("SELECT * FROM units WHERE project = ? AND data_hash = ?", row[1:3]).fetchone()
            if unit is None:
                raise forbidden(f"No access to the data unit {row[2]}.")
            _check(orjson.loads(row[3]), unit, items.children(service.database, unit["item"]))
        connection.executemany("INSERT INTO issues VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
    return Answer(None, len(rows))


def _place(anchor: Given) -> str:
    kind = anchor.get("type")
    if not isinstance(kind, str) or kind not in KINDS:
        raise malformed("An issue is about a data unit, a frame, a point, frames or an annotation.")
    place: dict[str, Any] = {"type": kind}
    for name in ("frame_index", "x", "y", "z", "frame_ranges", "annotation_id", "space_id"):
        if (value := anchor.get(name)) is not None:
            place[filters.camel(name)] = value
    if missing := [name for name in KINDS[kind] if name not in place]:
        raise malformed(f"The place of an issue lacks {missing[0]}.")
    numbers = [place[name] for name in ("frameIndex", "x", "y", "z") if name in place]
    if any(isinstance(number, bool) or not isinstance(number, (int, float)) for number in numbers):
        raise malformed("The place of an issue is given in numbers.")
    return orjson.dumps(place).decode()


def _check(place: Mapping[str, Any], unit: sqlite3.Row, members: Sequence[sqlite3.Row]) -> None:
    """Refuse a place that the data unit does not have."""
    space, frame = place.get("spaceId"), place.get("frameIndex")
    if space is not None:
        found = [one for one in members if unit["item_type"] == "group" and one["uuid"] == space]
        if not found:
            raise forbidden(f"No access to the space {str(space)[:100]!r} of {unit['title']}.")
        (unit,) = found
    if frame is not None and (not isinstance(frame, int) or not 0 <= frame <= label_shape.last_of(unit)):
        raise malformed(f"{unit['title']} has no frame {frame}: its last is {label_shape.last_of(unit)}.")


def list_issues(service: Service, call: Call) -> Answer:
    record = service.project(call.path["project"])
    wanted = filters.one(call.query, "data_unit_id")
    with service.database.read() as connection:
        rows = connection.execute(
            "SELECT * FROM issues WHERE project = ? AND (? IS NULL OR data_hash = ?) ORDER BY at, uuid",
            (record.id, wanted, wanted),
        ).fetchall()
    found = []
    for row in rows:
        place = orjson.loads(row["place"])
        if place["type"] in ("frameCoordinate", "sceneCoordinate"):
            place["coordinate"] = {name: place.pop(name) for name in ("x", "y", "z") if name in place}
        found.append(
            {
                "uuid": row["uuid"],
                "dataUuid": row["data_hash"],
                "comments": [
                    {"content": row["comment"], "authorEmail": row["author"], "createdAt": wire.iso(row["at"])}
                ],
                "tags": [_tag(name) for name in orjson.loads(row["tags"])],
                "resolutionHistory": [],
                **place,
            }
        )
    return Answer.listing(found)


def delete_issues(service: Service, call: Call) -> Answer:
    record = service.project(call.path["project"])
    wanted = call.given.ids("issue_uuids")
    with service.database.write() as connection:
        issues, those = f"FROM issues WHERE +project = ? AND uuid IN {SOME}", (record.id, listed(wanted))
        there = {row["uuid"] for row in connection.execute(f"SELECT uuid {issues}", those)}
        if unknown := set(wanted) - there:
            raise forbidden(f"No access to the issue {min(unknown)}.")
        connection.execute(f"DELETE {issues}", those)
    return Answer(None, len(there))


def issue_tags(service: Service, call: Call) -> Answer:
    record = service.project(call.path["project"])
    found = [_tag(name) for name in service.setting(f"issue_tags {record.hash}") or []]
    return Answer.listing(found)


def new_issue_tags(service: Service, call: Call) -> Answer:
    record = service.project(call.path["project"])
    names = call.given.list("issue_tag_names")
    if names is None or not all(isinstance(name, str) and name for name in names):
        raise malformed("issueTagNames must be a list of text.")
    service.change_setting(f"issue_tags {record.hash}", lambda there: list(dict.fromkeys([*(there or []), *names])))
    return Answer(None, len(names))


def _tag(name: str) -> dict[str, str]:
    return {"name": name, "uuid": str(uuid5(NAMESPACE_OID, name))}


ROUTES = {
    "GET projects/{project}/issues": Operation("issues", list_issues, query=("data_unit_id",), off=("page_token",)),
    "POST projects/{project}/issues": Operation("issues", new_issues, needs="work"),
    "POST projects/{project}/issues/delete": Operation("issues", delete_issues, needs="work"),
    "GET projects/{project}/issue-tags": Operation("issue_tags", issue_tags),
    "POST projects/{project}/issue-tags": Operation("issue_tags", new_issue_tags, needs="manage"),
}
