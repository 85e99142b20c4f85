"""Storage folders, and searches in them."""

from __future__ import annotations

import sqlite3
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from encord_agents.local import datasets, items
from encord_agents.local.database import SOME, Database, Where, listed
from encord_agents.local.trouble import Refusal, forbidden, malformed


@dataclass(frozen=True)
class Search:
    """A search for folders or items; ``None`` matches all.

    Attributes:
        folder: Search in this folder, with ``recursive`` also in the folders below it; ``None`` searches everywhere.
        top: Folders only: the ones at the top level.
        search: A part of the name; case does not matter.
        in_dataset: Items: whether they are in a dataset. Folders: whether they belong to a dataset.
        types: Items only: their types.
        order: ``name`` or ``createdAt``.
        size: The most rows of the page.
        after: The place of the last row seen: the page goes on there, even if that row has been moved or removed.
    """

    folder: str | None = None
    recursive: bool = False
    top: bool = False
    search: str | None = None
    in_dataset: bool | None = None
    types: Sequence[str] = ()
    order: str = "name"
    desc: bool = False
    size: int = 100
    after: tuple[str | float, int | str] | None = None


def token(row: sqlite3.Row) -> str:
    """Return the token of the page that begins after a row of a search."""
    return urlsafe_b64encode(orjson.dumps([row["place"], row["tie"]])).decode()


def after(token: str, order: str) -> tuple[str | float, int | str]:
    """Return the place that the token of a page names.

    Raises:
        Refusal: 400, the token is not one of ours.
    """
    try:
        place, tie = orjson.loads(urlsafe_b64decode(token))
    except (ValueError, TypeError):
        place = tie = None
    known = isinstance(tie, str) or (isinstance(tie, int) and 0 <= tie < 2**63)
    if not known or not isinstance(place, str if order == "name" else float):
        raise malformed("The page token is not one of ours.")
    return place, tie


def get(database: Database, uuid: str) -> sqlite3.Row:
    """Return a folder.

    Raises:
        Refusal: 403, there is no such folder.
    """
    with database.read() as connection:
        row: sqlite3.Row | None = connection.execute("SELECT * FROM folders WHERE uuid = ?", (uuid,)).fetchone()
    if row is None:
        raise forbidden(f"No access to the storage folder {uuid}.")
    return row


_BELOW = (
    "WITH RECURSIVE below (uuid) AS (SELECT ? UNION SELECT f.uuid FROM folders f JOIN below b ON f.parent = b.uuid) "
)


def find(database: Database, wanted: Search) -> list[sqlite3.Row]:
    """Return a page of folders, plus one more if there are more."""
    where = Where("1")
    if wanted.folder is not None and wanted.recursive:
        where.also("f.uuid IN (SELECT uuid FROM below) AND f.uuid != ?", wanted.folder)
    else:
        where.also("f.parent = ?", wanted.folder)
    if wanted.top:
        where.also("f.parent IS NULL")
    if wanted.in_dataset is not None:
        where.also(f"{'' if wanted.in_dataset else 'NOT '}EXISTS (SELECT 1 FROM datasets WHERE folder = f.uuid)")
    return _page(database, "SELECT f.*, {} FROM folders f", "f.name", "f.created_at", "f.uuid", where, wanted)


def find_items(database: Database, wanted: Search) -> list[sqlite3.Row]:
    """Return a page of items, including members of groups, plus one more if there are more."""
    where = Where("i.forbidden = 0")
    if wanted.folder is not None and wanted.recursive:
        where.also("i.folder IN (SELECT uuid FROM below)")
    else:
        where.also("i.folder = ?", wanted.folder)
    where.among("i.item_type", wanted.types or None)
    if wanted.in_dataset is not None:
        where.also(f"{'' if wanted.in_dataset else 'NOT '}EXISTS (SELECT 1 FROM data WHERE item = i.id)")
    sql = "SELECT i.*, {}, (SELECT count(*) FROM data WHERE item = i.id) AS uses FROM items i"
    return _page(database, sql, "i.title", "i.created_at", "i.id", where, wanted)


def _page(
    database: Database, sql: str, name: str, created: str, identity: str, where: Where, wanted: Search
) -> list[sqlite3.Row]:
    where.also(f"instr(folded({name}), folded(?)) > 0", wanted.search or None)
    order = name if wanted.order == "name" else created
    direction, beyond = ("DESC", "<") if wanted.desc else ("ASC", ">")
    where.also(f"({order}, {identity}) {beyond} (?, ?)", *(wanted.after or (None, None)))
    sql = sql.format(f"{order} AS place, {identity} AS tie")
    below = [wanted.folder] if wanted.folder is not None and wanted.recursive else []
    with database.read() as connection:
        return connection.execute(
            f"{_BELOW if below else ''}{sql} WHERE {where}"
            f" ORDER BY {order} {direction}, {identity} {direction} LIMIT ?",
            [*below, *where.values, wanted.size + 1],
        ).fetchall()


def path(database: Database, row: sqlite3.Row) -> list[sqlite3.Row]:
    """Return the folders above a folder, nearest first."""
    found: list[sqlite3.Row] = []
    while row["parent"] is not None and len(found) < 1000:
        row = get(database, row["parent"])
        found.append(row)
    return found


def datasets_of(database: Database, uuids: Sequence[str]) -> dict[str, str]:
    """Return the datasets that folders belong to, by the folder's uuid."""
    with database.read() as connection:
        return dict(
            connection.execute(
                f"SELECT folder, hash FROM datasets WHERE folder IN {SOME}",
                (listed(uuids),),
            ).fetchall()
        )


def update(database: Database, patches: Mapping[str, Mapping[str, Any]]) -> list[sqlite3.Row]:
    """Change the name, description or metadata of folders: of all or, if one is unknown, of none.

    Raises:
        Refusal: 403, a folder is unknown.
    """
    with database.write() as connection:
        for uuid, patch in patches.items():
            row = get(database, uuid)
            new = {"name": row["name"], "description": row["description"], "metadata": row["metadata"], **patch}
            connection.execute(
                "UPDATE folders SET name = ?, description = ?, metadata = ?, edited_at = ? WHERE uuid = ?",
                (new["name"], new["description"], new["metadata"], time.time(), uuid),
            )
    return [get(database, uuid) for uuid in patches]


def move(database: Database, uuids: Sequence[str], parent: str | None) -> None:
    """Move folders into another one, or to the top level.

    Raises:
        Refusal: 403, a folder is unknown; 400, a folder would be inside itself.
    """
    with database.write() as connection:
        above = {parent} if parent else set()
        if parent is not None:
            above |= {row["uuid"] for row in path(database, get(database, parent))}
        for uuid in uuids:
            get(database, uuid)
            if uuid in above:
                raise malformed("A folder cannot be moved into itself.")
            connection.execute(
                "UPDATE folders SET parent = ?, edited_at = ? WHERE uuid = ?", (parent, time.time(), uuid)
            )


def delete(database: Database, uuid: str) -> None:
    """Remove an empty folder.

    Raises:
        Refusal: 403, it is unknown; 400, it is not empty.
    """
    with database.write() as connection:
        get(database, uuid)
        inside = connection.execute(
            "SELECT (SELECT count(*) FROM items WHERE folder = :f) + (SELECT count(*) FROM folders WHERE parent = :f)",
            {"f": uuid},
        ).fetchone()[0]
        if inside:
            raise malformed(f"The folder is not empty: {inside} items and folders are in it.")
        connection.execute("UPDATE datasets SET folder = NULL WHERE folder = ?", (uuid,))
        connection.execute("DELETE FROM folders WHERE uuid = ?", (uuid,))


def move_items(database: Database, folder: str, uuids: Sequence[str], target: str) -> None:
    """Move items from one folder to another.

    Raises:
        Refusal: 403, an item is unknown or not in the folder.
    """
    with database.write() as connection:
        get(database, target)
        for uuid in uuids:
            items.in_folder(database, folder, uuid)
        connection.execute(
            f"UPDATE items SET folder = ?, edited_at = ? WHERE uuid IN {SOME}",
            (target, time.time(), listed(uuids)),
        )


def delete_items(database: Database, folder: str, uuids: Sequence[str], *, unused_frames: bool) -> int:
    """Remove items of a folder, also from datasets and projects. Return how many were removed.

    Raises:
        Refusal: 403, an item is unknown or not in the folder; 409, an item is part of a group that stays.
    """
    with database.write() as connection:
        rows = [items.in_folder(database, folder, uuid) for uuid in uuids]
        going = {row["uuid"] for row in rows}
        while unused_frames and (more := _unused(connection, going) - going):
            going |= more  # some of them may be groups, too
        these = (listed(sorted(going)),)
        kept = connection.execute(
            f"SELECT item FROM children WHERE item IN {SOME} AND parent NOT IN {SOME} LIMIT 1", these * 2
        ).fetchone()
        if kept is not None:
            raise Refusal(409, f"The storage item {kept['item']} is part of a group that stays.")
        data = connection.execute(
            f"SELECT d.id FROM data d JOIN items i ON i.id = d.item WHERE i.uuid IN {SOME}", these
        ).fetchall()
        datasets.unlink(connection, [row["id"] for row in data])
        connection.execute(f"DELETE FROM children WHERE parent IN {SOME}", these)
        return connection.execute(f"DELETE FROM items WHERE uuid IN {SOME}", these).rowcount


def _unused(connection: sqlite3.Connection, going: set[str]) -> set[str]:
    """Return the members of groups that are removed which no other group and no dataset has."""
    found = connection.execute(
        "SELECT i.uuid FROM items i WHERE NOT EXISTS (SELECT 1 FROM data WHERE item = i.id)"
        f" AND i.uuid IN (SELECT item FROM children WHERE parent IN {SOME})"
        f" AND NOT EXISTS (SELECT 1 FROM children WHERE item = i.uuid AND parent NOT IN {SOME})",
        (listed(sorted(going)),) * 2,
    )
    return {row["uuid"] for row in found}


def summary(database: Database, uuid: str) -> dict[str, Any]:
    """Count the contents of a folder, under the SDK's names."""
    with database.read() as connection:
        counts = Counter(
            dict(
                connection.execute(
                    "SELECT item_type, count(*) FROM items WHERE folder = ? GROUP BY item_type", (uuid,)
                ).fetchall()
            )
        )
        size, folders = connection.execute(
            "SELECT (SELECT coalesce(sum(size), 0) FROM items WHERE folder = :f),"
            " (SELECT count(*) FROM folders WHERE parent = :f)",
            {"f": uuid},
        ).fetchone()
    named = {
        "videos": "video", "images": "image", "imageGroups": "imageGroup", "imageSequences": "imageSequence",
        "dicomFiles": "dicomFile", "dicomSeries": "dicomSeries", "niftis": "nifti", "audios": "audio", "pdfs": "pdf",
        "plainTexts": "plainText",
    }  # fmt: skip
    return {
        "files": counts.total(), "folders": folders, "tombstones": 0, "uploadJobs": 0, "totalSize": float(size),
        **{name: counts[kind] for name, kind in named.items()},
    }  # fmt: skip
