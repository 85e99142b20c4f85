"""Storage items, and the data units of projects that are made of them."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from encord_agents.local import datasets
from encord_agents.local.catalogue import ProjectRecord
from encord_agents.local.database import SOME, Database, listed
from encord_agents.local.trouble import LocalPlatformError, forbidden

TYPES = {
    "image": "image",
    "video": "video",
    "audio": "audio",
    "plainText": "plain_text",
    "pdf": "pdf",
    "imageGroup": "img_group",
    "imageSequence": "img_group",
    "group": "group",
    "dicomFile": "dicom",
    "dicomSeries": "dicom",
    "nifti": "nifti",
}
"""The types of items that the platform supports, with the label rows' name for each."""


@dataclass(frozen=True)
class NewUnit:
    """A file to add.

    Attributes:
        item_type: The storage items' name for its type: ``image``, ``video``, ...
        digest: The digest that its bytes are stored under (see :mod:`encord_agents.local.assets`).
        size: Bytes.
        duration: Seconds.
        metadata: The client metadata, as JSON.
        url: The URL that it was fetched from, if any.
        layout: Data groups only: the layout of its members, as JSON.
        uuid: The item's uuid, if it is known already.
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
    sample_rate: int | None = None
    bit_depth: int | None = None
    codec: str | None = None
    channels: int | None = None
    metadata: str = "{}"
    url: str | None = None
    layout: str | None = None
    uuid: str | None = None


_INSERT = (
    "INSERT INTO items (id, uuid, folder, title, item_type, mime_type, width, height, frames, fps, duration,"
    " sample_rate, bit_depth, codec, channels, digest, size, url, layout, metadata, created_at, edited_at)"
    f" VALUES ({', '.join('?' * 22)})"
)


def insert(connection: sqlite3.Connection, folder: str, units: Sequence[NewUnit]) -> range:
    """Create storage items in a folder, in the caller's transaction. Return their row ids, in order."""
    now = time.time()
    first = connection.execute("SELECT coalesce(max(id), 0) + 1 FROM items").fetchone()[0]
    connection.executemany(
        _INSERT,
        (
            (
                first + index, u.uuid or str(uuid4()), folder, u.title, u.item_type, u.mime_type, u.width, u.height,
                u.frames, u.fps, u.duration, u.sample_rate, u.bit_depth, u.codec, u.channels, u.digest, u.size, u.url,
                u.layout, u.metadata, now, now,
            )
            for index, u in enumerate(units)
        ),
    )  # fmt: skip
    return range(first, first + len(units))


def insert_group(
    connection: sqlite3.Connection,
    folder: str,
    group: NewUnit,
    members: Iterable[str],
    *,
    keys: Sequence[str] | None = None,
) -> int:
    """Create an item that consists of others, given by their uuids in order. Return its row id."""
    (added,) = insert(connection, folder, [group])
    connection.executemany(
        "INSERT INTO children (parent, position, item, layout_key) SELECT uuid, ?, ?, ? FROM items WHERE id = ?",
        [(index, member, keys[index] if keys else None, added) for index, member in enumerate(members)],
    )
    return added


def add(database: Database, project: ProjectRecord, units: Sequence[NewUnit], *, stage: str | None = None) -> list[str]:
    """Add data units to a project's own dataset, each with a task. Return their data hashes, in order.

    Args:
        stage: The stage where the tasks begin, if not the start of the workflow.
    """
    with database.write() as connection:
        dataset, folder = home(connection, project)
        return datasets.link(connection, dataset, insert(connection, folder, units), stage=stage)


def add_group(database: Database, project: ProjectRecord, group: NewUnit, members: Sequence[NewUnit]) -> str:
    """Add a group of files to a project's own dataset, as one data unit with one task. Return its data hash."""
    with database.write() as connection:
        dataset, folder = home(connection, project)
        added = insert(connection, folder, members)
        uuids = uuids_of(connection, added)
        return datasets.link(connection, dataset, [insert_group(connection, folder, group, uuids)])[0]


def home(connection: sqlite3.Connection, project: ProjectRecord) -> tuple[str, str]:
    """Return the dataset for files that are added to a project, and its folder.

    Raises:
        LocalPlatformError: The project has no dataset.
    """
    if project.dataset is None:
        raise LocalPlatformError(f"The project {project.title!r} has no dataset that files could be added to.")
    return project.dataset, datasets.folder_of(connection, project.dataset)


def uuids_of(connection: sqlite3.Connection, ids: Iterable[int]) -> list[str]:
    """Return the uuids of items by their row ids, in order."""
    found = dict(
        connection.execute(
            f"SELECT id, uuid FROM items WHERE id IN {SOME}",
            (listed(ids),),
        ).fetchall()
    )
    return [found[id] for id in ids]


_USES = "(SELECT count(*) FROM data WHERE item = i.id) AS uses"


def get(database: Database, uuids: Sequence[str]) -> list[sqlite3.Row]:
    """Return storage items, in the order of the uuids.

    Raises:
        Refusal: 403, one of them is unknown or forbidden.
    """
    with database.read() as connection:
        found = connection.execute(
            f"SELECT i.*, {_USES} FROM items i WHERE i.uuid IN {SOME}",
            (listed(uuids),),
        )
        by_uuid = {row["uuid"]: row for row in found}
    for uuid in uuids:
        if uuid not in by_uuid or by_uuid[uuid]["forbidden"]:
            raise forbidden(f"No access to the storage item {uuid}.")
    return [by_uuid[uuid] for uuid in uuids]


def in_folder(database: Database, folder: str, uuid: str) -> sqlite3.Row:
    """Return a storage item of a folder.

    Raises:
        Refusal: 403, it is unknown or forbidden, or not in the folder.
    """
    (row,) = get(database, [uuid])
    if row["folder"] != folder:
        raise forbidden(f"No access to the storage item {uuid}.")
    return row


def children(database: Database, item: str) -> list[sqlite3.Row]:
    """Return the items that a group consists of, in order."""
    with database.read() as connection:
        return connection.execute(
            f"SELECT i.*, {_USES}, c.layout_key FROM items i JOIN children c ON c.item = i.uuid"
            " WHERE c.parent = ? ORDER BY c.position",
            (item,),
        ).fetchall()


def members(database: Database, items: Sequence[str]) -> dict[str, list[sqlite3.Row]]:
    """Return the items that several groups consist of, in order, by the group's uuid."""
    found: dict[str, list[sqlite3.Row]] = {}
    with database.read() as connection:
        for row in connection.execute(
            "SELECT i.*, c.parent, c.layout_key FROM children c JOIN items i ON i.uuid = c.item"
            f" WHERE c.parent IN {SOME} ORDER BY c.parent, c.position",
            (listed(items),),
        ):
            found.setdefault(row["parent"], []).append(row)
    return found


def asset(database: Database, uuid: str) -> sqlite3.Row | None:
    """Return the columns that are needed to serve an item's file."""
    with database.read() as connection:
        row: sqlite3.Row | None = connection.execute(
            "SELECT digest, mime_type, broken, title FROM items WHERE uuid = ?", (uuid,)
        ).fetchone()
    return row


def update(
    database: Database, patches: Mapping[str, Mapping[str, Any]], *, folder: str | None = None
) -> list[sqlite3.Row]:
    """Change the name, description or metadata of items: of all or, if one is refused, of none.

    Raises:
        Refusal: 403, one of them is unknown, or is not in the folder.
    """
    with database.write() as connection:
        for row in get(database, list(patches)):
            if folder is not None and row["folder"] != folder:
                raise forbidden(f"No access to the storage item {row['uuid']}.")
            patch = {"name": row["title"], "description": row["description"], "metadata": row["metadata"]}
            patch |= patches[row["uuid"]]
            connection.execute(
                "UPDATE items SET title = ?, description = ?, metadata = ?, edited_at = ? WHERE uuid = ?",
                (patch["name"], patch["description"], patch["metadata"], time.time(), row["uuid"]),
            )
        return get(database, list(patches))


def mark(database: Database, project: ProjectRecord, data_hash: str, column: str, value: str | int | None) -> bool:
    """Set one of the failures that a test asks for. Return True if the data unit exists."""
    assert column in {"refusal", "deleted", "forbidden", "broken"}
    with database.write() as connection:
        unit = connection.execute(
            "SELECT id, item FROM units WHERE project = ? AND data_hash = ?", (project.id, data_hash)
        ).fetchone()
        if unit is None:
            return False
        if column in ("refusal", "deleted"):
            connection.execute(f"UPDATE entries SET {column} = ? WHERE id = ?", (value, unit["id"]))
        else:
            connection.execute(f"UPDATE items SET {column} = ? WHERE uuid = ?", (value, unit["item"]))
        return True
