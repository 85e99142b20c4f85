"""Label reviews: the reviewers' verdict on each object and classification of a task."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import orjson

from encord_agents.local.catalogue import ProjectRecord
from encord_agents.local.database import SOME, listed
from encord_agents.local.trouble import forbidden

ACTIONS = {"APPROVE": "APPROVED", "REJECT": "REJECTED", "REOPEN": "REOPENED"}
"""The actions of reviewers, and the status that each sets."""


def open_for(connection: sqlite3.Connection, project: ProjectRecord, task_uuids: Sequence[str]) -> None:
    """Open a review of each label of these tasks that has none yet; remove reviews of labels that are gone."""
    for row in connection.execute(
        "SELECT t.uuid, l.content FROM tasks t JOIN labels l ON l.unit = t.unit AND l.branch = t.branch"
        f" WHERE +t.project = ? AND t.uuid IN {SOME}",
        (project.id, listed(task_uuids)),
    ).fetchall():
        labels = dict(_labels(orjson.loads(row["content"]) if row["content"] else {}))
        connection.executemany(
            "INSERT OR IGNORE INTO reviews (uuid, task, label_type, label_id) VALUES (?, ?, ?, ?)",
            [(str(uuid5(NAMESPACE_OID, f"{row['uuid']}/{id}")), row["uuid"], kind, id) for id, kind in labels.items()],
        )
        connection.execute(
            f"DELETE FROM reviews WHERE task = ? AND label_id NOT IN {SOME}",
            (row["uuid"], listed(labels)),
        )


def settle(
    connection: sqlite3.Connection, project: ProjectRecord, task_uuids: Sequence[str], status: str, new: str
) -> None:
    """Change the reviews of these tasks from one status to another."""
    connection.execute(
        "UPDATE reviews SET status = ? WHERE status = ? AND task IN"
        f" (SELECT uuid FROM tasks WHERE +project = ? AND uuid IN {SOME})",
        (new, status, project.id, listed(task_uuids)),
    )


def of_task(connection: sqlite3.Connection, project: ProjectRecord, task_uuid: str) -> list[sqlite3.Row]:
    """Return the reviews of a task's labels, in order of their ids. Opens missing ones."""
    open_for(connection, project, [task_uuid])
    return connection.execute("SELECT * FROM reviews WHERE task = ? ORDER BY label_id", (task_uuid,)).fetchall()


def act(connection: sqlite3.Connection, task_uuid: str, actions: Sequence[tuple[str, str, str | None]]) -> None:
    """Set the status and the comment of reviews of a task, given by uuid, in the caller's transaction.

    Raises:
        Refusal: 403, a review is unknown.
    """
    for review, status, comment in actions:
        done = connection.execute(
            "UPDATE reviews SET status = ?, comment = ? WHERE uuid = ? AND task = ?",
            (status, comment, review, task_uuid),
        )
        if done.rowcount != 1:
            raise forbidden(f"No access to the label review {review}.")


def to_wire(row: sqlite3.Row) -> dict[str, Any]:
    return {
        "reviewUuid": row["uuid"],
        "status": row["status"],
        "labelType": row["label_type"],
        "labelId": row["label_id"],
    }


def _labels(content: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for hash in content.get("object_answers", {}):
        yield hash, "Object"
    for hash in content.get("classification_answers", {}):
        yield hash, "Classification"
