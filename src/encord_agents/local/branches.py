"""Copying labels from one branch to another."""

from __future__ import annotations

import time
from collections.abc import Sequence

from encord_agents.local import history, labels
from encord_agents.local.catalogue import ProjectRecord
from encord_agents.local.database import Database, Where


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
    """Copy labels from one branch to another where it has none or they may be overwritten. Return how many."""
    where = Where("u.project = ?", project.id)
    where.also("l.branch = ?", source)
    where.named("u.data_hash", data_hashes)
    where.named("l.hash", label_hashes)
    done = 0
    with database.write() as connection:
        for row in connection.execute(
            "SELECT l.unit, l.content, t.unit AS there, t.content AS before FROM labels l JOIN units u ON u.id = l.unit"
            f" LEFT JOIN labels t ON t.unit = l.unit AND t.branch = ? WHERE {where}",
            [target, *where.values],
        ).fetchall():
            if row["there"] is not None and not overwrite:
                continue
            content = row["content"]
            labels.put(connection, row["unit"], target, content)
            if content is not None:
                events = [(row["unit"], target, row["before"], content)]
                history.saved(connection, project.id, events, at=time.time())
            done += 1
    return done
