"""Copying labels from one branch to another."""

from __future__ import annotations

import time
from collections.abc import Sequence
from uuid import uuid4

import orjson

from encord_agents.local import contents
from encord_agents.local.catalogue import ProjectRecord
from encord_agents.local.database import Database


def copy(
    database: Database,
    project: ProjectRecord,
    source: str,
    target: str,
    *,
    overwrite: bool,
    data_hashes: Sequence[str] | None,
    label_hashes: Sequence[str] | None,
) -> int:
    """Copy labels from a branch to another one, where there are none or they may be overwritten. Returns how many."""
    sql = (
        "SELECT l.unit, l.content, (SELECT count(*) FROM labels t WHERE t.unit = l.unit AND t.branch = ?) AS there"
        " FROM labels l JOIN units u ON u.id = l.unit WHERE u.project = ? AND l.branch = ?"
    )
    values: list[object] = [target, project.id, source]
    for column, hashes in (("u.data_hash", data_hashes), ("l.hash", label_hashes)):
        if hashes is not None:
            sql += f" AND {column} IN (SELECT value FROM json_each(?))"
            values.append(orjson.dumps(list(hashes)).decode())
    now, done = time.time(), 0
    with database.write() as connection:
        for row in connection.execute(sql, values).fetchall():
            if row["there"] and not overwrite:
                continue
            if row["there"]:
                connection.execute(
                    "UPDATE labels SET content = ?, saves = saves + 1, edited_at = ? WHERE unit = ? AND branch = ?",
                    (row["content"], now, row["unit"], target),
                )
            else:
                connection.execute(
                    "INSERT INTO labels (unit, branch, hash, content, saves, created_at, edited_at)"
                    " VALUES (?, ?, ?, ?, 1, ?, ?)",
                    (row["unit"], target, str(uuid4()), row["content"], now, now),
                )
            contents.keep(connection, [(row["unit"], target, orjson.loads(row["content"] or b"{}"))])
            done += 1
    return done
