"""Label rows: listing, initialising and saving them."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import orjson

from encord_agents.local import contents, history, items, label_shape, label_wire
from encord_agents.local.catalogue import ProjectRecord
from encord_agents.local.database import SOME, Database, Where, listed
from encord_agents.local.trouble import Refusal, corrupted, forbidden

_UNIT = (
    "u.id AS unit, u.data_hash, u.dataset, (SELECT title FROM datasets WHERE hash = u.dataset) AS dataset_title,"
    " u.item, u.title, u.item_type, u.mime_type, u.width, u.height, u.frames, u.fps, u.duration, u.sample_rate,"
    " u.bit_depth, u.codec, u.channels, u.layout, u.metadata, u.created_at AS unit_created_at"
)
_LABEL = "l.hash AS label_hash, l.branch AS label_branch, l.saves, l.created_at, l.edited_at"
# The stage and status of the task on the label's branch or, if there is none, of any task of its data unit.
_TASK = ", ".join(
    f"coalesce((SELECT {column} FROM tasks t WHERE t.unit = u.id AND t.branch = l.branch LIMIT 1),"
    f" (SELECT {column} FROM tasks t WHERE t.unit = u.id LIMIT 1)) AS {column}"
    for column in ("stage", "status")
)


@dataclass(frozen=True)
class RowFilter:
    """A filter of label rows; ``None`` matches all. ``all_branches`` lists each branch that has labels."""

    branch: str = "main"
    all_branches: bool = False
    data_hashes: Sequence[str] | None = None
    label_hashes: Sequence[str] | None = None
    title_eq: str | None = None
    title_like: str | None = None
    stage_eq: str | None = None
    stage_like: str | None = None
    edited_before: float | None = None
    edited_after: float | None = None
    include_uninitialised: bool = True


def rows(database: Database, project: ProjectRecord, wanted: RowFilter) -> list[sqlite3.Row]:
    """Return one row per task: the task's data unit, and its label on the requested branch, if there is one."""
    # A unit may have tasks on several branches; tasks of another branch are listed only if this one has none.
    own = "(t.branch = {0} OR NOT EXISTS (SELECT 1 FROM tasks o WHERE o.unit = u.id AND o.branch = {0}))"
    where = Where("u.project = ?", project.id)
    where.also("u.deleted = 0")
    join = "LEFT JOIN labels l ON l.unit = u.id"
    if wanted.all_branches:
        where.also(f"(l.branch IS NULL OR {own.format('l.branch')})")
    else:
        join += " AND l.branch = ?"
        where.also(own.format("?"), wanted.branch, wanted.branch)
    where.named("u.data_hash", wanted.data_hashes)
    where.named("l.hash", wanted.label_hashes)
    if wanted.label_hashes is not None:  # repeated for SQLite, which does not look rows up by a LEFT JOINed table
        where.also(f"u.id IN (SELECT unit FROM labels WHERE hash IN {SOME})", listed(wanted.label_hashes))
    where.also("u.title = ?", wanted.title_eq)
    where.also("folded(u.title) LIKE folded(?)", wanted.title_like)
    where.also("l.edited_at < ?", wanted.edited_before)
    where.also("l.edited_at > ?", wanted.edited_after)
    if wanted.stage_eq is not None or wanted.stage_like is not None:
        where.among("t.stage", _stages(database, project, wanted))
    if not wanted.include_uninitialised:
        where.also("l.hash IS NOT NULL")
    with database.read() as connection:
        return connection.execute(
            f"SELECT {_UNIT}, {_LABEL}, t.uuid AS task, t.stage, t.priority, t.status, t.assignee, t.actor"
            f" FROM units u LEFT JOIN tasks t ON t.unit = u.id {join} WHERE {where} ORDER BY u.id, t.id",
            [*([] if wanted.all_branches else [wanted.branch]), *where.values],
        ).fetchall()


def _stages(database: Database, project: ProjectRecord, wanted: RowFilter) -> list[str]:
    found = [s for s in project.stages.values() if wanted.stage_eq is None or s.title == wanted.stage_eq]
    if wanted.stage_like is None:
        return [stage.uuid for stage in found]
    with database.read() as connection:
        # SQLite's own LIKE, so that stage titles and data titles follow the same rules.
        sql = "SELECT folded(?) LIKE folded(?)"
        return [s.uuid for s in found if connection.execute(sql, (s.title, wanted.stage_like)).fetchone()[0]]


def create(database: Database, project: ProjectRecord, data_hashes: Sequence[str], branch: str) -> list[sqlite3.Row]:
    """Return the label rows of data units on a branch, creating missing ones. Deleted rows are left out.

    Raises:
        Refusal: 403, one of the data units is unknown.
    """
    now = time.time()
    wanted = listed(data_hashes)
    with database.write() as connection:
        units = connection.execute(
            f"SELECT id, data_hash, deleted FROM units WHERE +project = ? AND data_hash IN {SOME}",
            (project.id, wanted),
        ).fetchall()
        _all_known(data_hashes, {row["data_hash"] for row in units}, "data unit")
        connection.executemany(
            "INSERT OR IGNORE INTO labels (unit, branch, hash, created_at, edited_at) VALUES (?, ?, ?, ?, ?)",
            [(row["id"], branch, str(uuid4()), now, now) for row in units if not row["deleted"]],
        )
        return connection.execute(
            f"SELECT {_UNIT}, {_LABEL}, l.content, {_TASK}"
            " FROM units u JOIN labels l ON l.unit = u.id"
            f" WHERE +u.project = ? AND u.deleted = 0 AND l.branch = ? AND u.data_hash IN {SOME}"
            " ORDER BY u.id",
            (project.id, branch, wanted),
        ).fetchall()


def get(database: Database, project: ProjectRecord, label_hashes: Sequence[str]) -> list[sqlite3.Row]:
    """Return label rows by their own hashes. Deleted rows are left out.

    Raises:
        Refusal: 403, one of them is unknown.
    """
    with database.read() as connection:
        found = _by_label_hash(connection, project, label_hashes)
    _all_known(label_hashes, {row["label_hash"] for row in found}, "label row")
    return [row for row in found if not row["deleted"]]


def save(database: Database, project: ProjectRecord, labels: Mapping[str, dict[str, Any]]) -> None:
    """Replace the labels of rows, given by label hash: of all or, if one is refused, of none.

    Raises:
        Refusal: 403 for an unknown row; 404 for a deleted one; 400 for labels of another row or another ontology, or a
            row that a test has marked as refused.
    """
    now = time.time()
    with database.write() as connection:
        found = _by_label_hash(connection, project, list(labels))
        _all_known(labels, {row["label_hash"] for row in found}, "label row")
        updates, classified, events = [], [], []
        members = items.members(database, [row["item"] for row in found if row["item_type"] in label_wire.GROUPS])
        for row in found:
            label = labels[row["label_hash"]]
            if row["deleted"]:
                raise Refusal(404, f"The label row of {row['title']} is gone.")
            if row["refusal"] is not None:
                raise corrupted(row["refusal"])
            label_shape.check(label, row, project.features, members.get(row["item"], ()))
            kept = {key: label[key] for key in label_shape.CONTENT if key in label}
            content = orjson.dumps(kept)
            updates.append((content, now, row["unit"], row["label_branch"]))
            classified.append((row["unit"], row["label_branch"], kept))
            events.append((row["unit"], row["label_branch"], row["content"], content))
        connection.executemany(
            "UPDATE labels SET content = ?, saves = saves + 1, edited_at = ? WHERE unit = ? AND branch = ?", updates
        )
        contents.keep(connection, classified)
        history.saved(connection, project.id, events, at=now)


def put(connection: sqlite3.Connection, unit: int, branch: str, content: bytes | None, *, saves: int = 1) -> None:
    """Write labels copied from another row, which need no validation. Create the row if it does not exist."""
    now = time.time()
    connection.execute(
        "INSERT INTO labels (unit, branch, hash, content, saves, created_at, edited_at) VALUES (?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (unit, branch) DO UPDATE SET content = excluded.content, saves = saves + 1,"
        " edited_at = excluded.edited_at",
        (unit, branch, str(uuid4()), content, saves, now, now),
    )
    contents.keep(connection, [(unit, branch, orjson.loads(content or b"{}"))])


def one(database: Database, project: ProjectRecord, data_hash: str, branch: str) -> sqlite3.Row | None:
    """Return the label row of one data unit, if it was ever initialised."""
    with database.read() as connection:
        row: sqlite3.Row | None = connection.execute(
            f"SELECT {_UNIT}, {_LABEL}, l.content, {_TASK}"
            " FROM units u JOIN labels l ON l.unit = u.id WHERE u.project = ? AND u.data_hash = ? AND l.branch = ?",
            (project.id, data_hash, branch),
        ).fetchone()
    return row


def branches(database: Database, project: ProjectRecord) -> list[str]:
    """Return the branches of all tasks and labels, ``main`` first."""
    with database.read() as connection:
        found = connection.execute(
            "SELECT branch FROM tasks WHERE project = :p UNION"
            " SELECT l.branch FROM labels l JOIN units u ON u.id = l.unit WHERE u.project = :p",
            {"p": project.id},
        )
        return ["main", *sorted({row["branch"] for row in found} - {"main"})]


def _by_label_hash(
    connection: sqlite3.Connection, project: ProjectRecord, label_hashes: Sequence[str]
) -> list[sqlite3.Row]:
    return connection.execute(
        f"SELECT {_UNIT}, {_LABEL}, l.content, u.deleted, u.refusal, {_TASK}"
        f" FROM labels l JOIN units u ON u.id = l.unit WHERE +u.project = ? AND l.hash IN {SOME} ORDER BY u.id",
        (project.id, listed(label_hashes)),
    ).fetchall()


def _all_known(asked: Sequence[str] | Mapping[str, Any], known: set[str], what: str) -> None:
    for hash in asked:
        if hash not in known:
            raise forbidden(f"No access to the {what} {hash}.")
