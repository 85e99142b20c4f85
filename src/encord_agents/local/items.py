"""Data units and the storage items behind them: two ids of one thing here."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import orjson

from encord_agents.local import tasks
from encord_agents.local.catalogue import ProjectRecord
from encord_agents.local.database import Database
from encord_agents.local.trouble import forbidden


@dataclass(frozen=True)
class NewUnit:
    """A file to add.

    Attributes:
        item_type: As storage items have it: ``image``, ``video``, ...
        digest: Where its bytes are (see :mod:`encord_agents.local.assets`).
        size: Bytes.
        duration: Seconds.
    """

    title: str
    item_type: str
    mime_type: str | None
    digest: str | None
    size: int
    width: int | None = None
    height: int | None = None
    frames: int | None = None
    fps: float | None = None
    duration: float | None = None


def add(
    database: Database,
    project: ProjectRecord,
    units: Sequence[NewUnit],
    *,
    stage: str | None = None,
    parent: str | None = None,
) -> list[str]:
    """Add data units, each with a task at the start of the workflow. Returns their data hashes, in order.

    Args:
        parent: The data hash of the group they are the images of. They have no tasks then: the group has one.
    """
    now = time.time()
    hashes = [str(uuid4()) for _ in units]
    with database.write() as connection:
        first = connection.execute("SELECT coalesce(max(id), 0) + 1 FROM units").fetchone()[0]
        connection.executemany(
            "INSERT INTO units (id, project, data_hash, item, title, item_type, mime_type, width, height, frames,"
            " fps, duration, digest, size, created_at, edited_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?,"
            " ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    first + index,
                    project.id,
                    hashes[index],
                    str(uuid4()),
                    u.title,
                    u.item_type,
                    u.mime_type,
                    u.width,
                    u.height,
                    u.frames,
                    u.fps,
                    u.duration,
                    u.digest,
                    u.size,
                    now,
                    now,
                )
                for index, u in enumerate(units)
            ),
        )
        added = range(first, first + len(units))
        if parent is None:
            tasks.add(connection, project, added, stage or project.start, "main")
        else:
            connection.executemany(
                "INSERT INTO children (item, parent) SELECT u.item, p.item FROM units u, units p"
                " WHERE u.id = ? AND p.data_hash = ?",
                ((unit, parent) for unit in added),
            )
    return hashes


def get(database: Database, uuids: Sequence[str]) -> list[sqlite3.Row]:
    """Storage items, in the order asked for.

    Raises:
        Refusal: 403, one of them is unknown or forbidden.
    """
    with database.read() as connection:
        found = connection.execute(
            "SELECT u.*, p.folder FROM units u JOIN projects p ON p.id = u.project"
            " WHERE u.item IN (SELECT value FROM json_each(?))",
            (orjson.dumps(list(uuids)).decode(),),
        )
        by_uuid = {row["item"]: row for row in found}
    for uuid in uuids:
        if uuid not in by_uuid or by_uuid[uuid]["forbidden"]:
            raise forbidden(f"No access to the storage item {uuid}.")
    return [by_uuid[uuid] for uuid in uuids]


def children(database: Database, item: str, *, folder: str) -> list[sqlite3.Row]:
    """The items that a group consists of, in order.

    Raises:
        Refusal: 403, the group is unknown, or is not in the folder.
    """
    (group,) = get(database, [item])
    if group["folder"] != folder:
        raise forbidden(f"No access to the storage item {item}.")
    with database.read() as connection:
        return connection.execute(
            "SELECT u.*, p.folder FROM units u JOIN projects p ON p.id = u.project JOIN children c ON c.item = u.item"
            " WHERE c.parent = ? ORDER BY u.id",
            (item,),
        ).fetchall()


def asset(database: Database, uuid: str) -> sqlite3.Row | None:
    """What is needed to serve an item's file."""
    with database.read() as connection:
        row: sqlite3.Row | None = connection.execute(
            "SELECT digest, mime_type, broken, title FROM units WHERE item = ?", (uuid,)
        ).fetchone()
    return row


def update(
    database: Database, patches: Mapping[str, Mapping[str, Any]], *, folder: str | None = None
) -> list[sqlite3.Row]:
    """Change name, description or metadata of items. All of them, or none.

    Raises:
        Refusal: 403, one of them is unknown, or is not in the folder.
    """
    with database.write() as connection:
        for row in get(database, list(patches)):
            if folder is not None and row["folder"] != folder:
                raise forbidden(f"No access to the storage item {row['item']}.")
            patch = {"name": row["title"], "description": row["description"], "metadata": row["metadata"]}
            patch |= patches[row["item"]]
            connection.execute(
                "UPDATE units SET title = ?, description = ?, metadata = ?, edited_at = ? WHERE id = ?",
                (patch["name"], patch["description"], patch["metadata"], time.time(), row["id"]),
            )
        return get(database, list(patches))


def mark(database: Database, project: ProjectRecord, data_hash: str, column: str, value: str | int | None) -> bool:
    """Set one of the troubles a test asks for. Returns whether the data unit exists."""
    assert column in {"refusal", "deleted", "forbidden", "broken"}
    with database.write() as connection:
        done = connection.execute(
            f"UPDATE units SET {column} = ? WHERE project = ? AND data_hash = ?", (value, project.id, data_hash)
        )
        return done.rowcount == 1
