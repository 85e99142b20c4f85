"""Datasets: items under data hashes. Each item that is linked to a dataset gets a task in each of its projects."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Sequence
from uuid import uuid4

from encord_agents.local.database import SOME, Database, Where, listed
from encord_agents.local.trouble import Refusal, forbidden


def create(
    connection: sqlite3.Connection, title: str, *, description: str = "", folder: str | None, hash: str | None = None
) -> str:
    """Create a dataset, with the folder for files that are uploaded to it, and return its hash."""
    now = time.time()
    hash = hash or str(uuid4())
    connection.execute(
        "INSERT INTO datasets (hash, title, description, folder, created_at, edited_at) VALUES (?, ?, ?, ?, ?, ?)",
        (hash, title, description, folder, now, now),
    )
    return hash


def get(database: Database, hash: str) -> sqlite3.Row:
    """Return a dataset.

    Raises:
        Refusal: 403, there is no such dataset.
    """
    with database.read() as connection:
        row: sqlite3.Row | None = connection.execute("SELECT * FROM datasets WHERE hash = ?", (hash,)).fetchone()
    if row is None:
        raise forbidden(f"No access to the dataset {hash}.")
    return row


def folder_of(connection: sqlite3.Connection, hash: str) -> str:
    """Return the folder of a dataset, creating one if it has none."""
    row = connection.execute("SELECT title, folder FROM datasets WHERE hash = ?", (hash,)).fetchone()
    if row["folder"] is not None:
        return str(row["folder"])
    folder = new_folder(connection, row["title"])
    connection.execute("UPDATE datasets SET folder = ? WHERE hash = ?", (folder, hash))
    return folder


def new_folder(
    connection: sqlite3.Connection,
    name: str,
    *,
    description: str = "",
    parent: str | None = None,
    metadata: str | None = None,
) -> str:
    """Create a storage folder and return its uuid."""
    now = time.time()
    uuid = str(uuid4())
    connection.execute(
        "INSERT INTO folders VALUES (?, ?, ?, ?, ?, ?, ?)", (uuid, parent, name, description, metadata, now, now)
    )
    return uuid


def link(connection: sqlite3.Connection, dataset: str, items: Iterable[int], *, stage: str | None = None) -> list[str]:
    """Make data units of items (row ids), with tasks in all projects of the dataset. Return the data hashes.

    Args:
        stage: The stage where the tasks begin, if not the start of the workflow.
    """
    now = time.time()
    # Ids are assigned here, so that one statement inserts many rows; the caller's transaction keeps other writers out.
    first = connection.execute("SELECT coalesce(max(id), 0) + 1 FROM data").fetchone()[0]
    rows = [(first + index, str(uuid4()), dataset, item, now) for index, item in enumerate(items)]
    connection.executemany("INSERT INTO data VALUES (?, ?, ?, ?, ?)", rows)
    connection.execute("UPDATE datasets SET edited_at = ? WHERE hash = ?", (now, dataset))
    for (project,) in connection.execute(
        "SELECT project FROM project_datasets WHERE dataset = ?", (dataset,)
    ).fetchall():
        enter(connection, project, [row[0] for row in rows], stage=stage)
    return [row[1] for row in rows]


def enter(connection: sqlite3.Connection, project: int, data: Sequence[int], *, stage: str | None = None) -> None:
    """Put data units (row ids) into a project, each with a task."""
    now = time.time()
    start = stage or connection.execute("SELECT start FROM projects WHERE id = ?", (project,)).fetchone()[0]
    first = connection.execute("SELECT coalesce(max(id), 0) + 1 FROM entries").fetchone()[0]
    connection.executemany(
        "INSERT INTO entries (id, project, data) VALUES (?, ?, ?)",
        ((first + index, project, row) for index, row in enumerate(data)),
    )
    connection.executemany(
        "INSERT INTO tasks (uuid, project, unit, stage, start, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
        ((str(uuid4()), project, first + index, start, start, now, now) for index in range(len(data))),
    )


def attach(connection: sqlite3.Connection, project: int, dataset: str) -> None:
    """Attach a dataset to a project, with a task for each of its data units. Idempotent."""
    added = connection.execute("INSERT OR IGNORE INTO project_datasets VALUES (?, ?)", (project, dataset))
    if added.rowcount:
        data = connection.execute("SELECT id FROM data WHERE dataset = ? ORDER BY id", (dataset,)).fetchall()
        enter(connection, project, [row["id"] for row in data])


def detach(connection: sqlite3.Connection, project: int, dataset: str) -> None:
    """Detach a dataset from a project, and remove the tasks and labels of its data units."""
    connection.execute("DELETE FROM project_datasets WHERE project = ? AND dataset = ?", (project, dataset))
    forget(
        connection,
        "SELECT e.id FROM entries e JOIN data d ON d.id = e.data WHERE e.project = ? AND d.dataset = ?",
        (project, dataset),
    )


def unlink(connection: sqlite3.Connection, data: Sequence[int]) -> None:
    """Remove data units (row ids) from their dataset and from all projects, but keep the items."""
    ids = listed(data)
    forget(connection, f"SELECT id FROM entries WHERE data IN {SOME}", (ids,))
    connection.execute(f"DELETE FROM data WHERE id IN {SOME}", (ids,))


def forget(connection: sqlite3.Connection, entries: str, values: Sequence[object]) -> None:
    """Remove rows of projects, with their tasks, labels, reviews, issues, history and recorded actions.

    Args:
        entries: A query for the rows' ids.
        values: Its parameters.
    """
    ids = [row[0] for row in connection.execute(entries, values).fetchall()]
    some = (listed(ids),)
    for table in ("reviews", "actions"):
        connection.execute(f"DELETE FROM {table} WHERE task IN (SELECT uuid FROM tasks WHERE unit IN {SOME})", some)
    connection.execute(
        "DELETE FROM issues WHERE (project, data_hash) IN"
        f" (SELECT e.project, d.data_hash FROM entries e JOIN data d ON d.id = e.data WHERE e.id IN {SOME})",
        some,
    )
    for table in ("tasks", "labels", "label_classes", "history", "versions", "baselines"):
        connection.execute(f"DELETE FROM {table} WHERE unit IN {SOME}", some)
    connection.execute(f"DELETE FROM entries WHERE id IN {SOME}", some)


def rows(database: Database, dataset: str, *, hashes: Sequence[str] | None = None) -> list[sqlite3.Row]:
    """Return the rows of a dataset, oldest first: all, or those of the given data hashes.

    Raises:
        Refusal: 403, a data hash is not of this dataset.
    """
    where = Where("d.dataset = ?", dataset)
    where.named("d.data_hash", hashes)
    with database.read() as connection:
        found = connection.execute(
            "SELECT d.id AS row, d.data_hash, d.created_at AS linked_at, i.* FROM data d JOIN items i ON i.id = d.item"
            f" WHERE {where} ORDER BY d.id",
            where.values,
        ).fetchall()
    for hash in hashes or ():
        if all(row["data_hash"] != hash for row in found):
            raise forbidden(f"No access to the data unit {hash}.")
    return found


def link_items(database: Database, dataset: str, uuids: Sequence[str], duplicates: str) -> list[sqlite3.Row]:
    """Link storage items to a dataset, and return the new rows.

    Args:
        duplicates: How to treat an item that is in the dataset already: ``DUPLICATE``, ``FAIL`` or ``SKIP``.

    Raises:
        Refusal: 403, an item is unknown; 409, an item is in the dataset already.
    """
    with database.write() as connection:
        found = dict(
            connection.execute(
                f"SELECT uuid, id FROM items WHERE forbidden = 0 AND uuid IN {SOME}", (listed(uuids),)
            ).fetchall()
        )
        there = {row["item"] for row in connection.execute("SELECT item FROM data WHERE dataset = ?", (dataset,))}
        new = []
        for uuid in uuids:
            if uuid not in found:
                raise forbidden(f"No access to the storage item {uuid}.")
            if duplicates != "DUPLICATE" and found[uuid] in there:
                if duplicates == "FAIL":
                    raise Refusal(409, f"The storage item {uuid} is in the dataset already.")
                continue
            there.add(found[uuid])
            new.append(found[uuid])
        hashes = link(connection, dataset, new)
        return rows(database, dataset, hashes=hashes)
