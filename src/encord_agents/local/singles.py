"""Copies one task into a project of its own, to try an agent on it without changing the original project."""

from __future__ import annotations

import sqlite3
from typing import Any
from uuid import uuid4

from encord_agents.local import notifications
from encord_agents.local.catalogue import ProjectRecord
from encord_agents.local.service import Service
from encord_agents.local.trouble import LocalPlatformError


def find(service: Service, task_uuid: str) -> ProjectRecord:
    """Return the project of a task.

    Raises:
        LocalPlatformError: There is no such task.
    """
    with service.database.read() as connection:
        row = connection.execute(
            "SELECT p.hash FROM tasks t JOIN projects p ON p.id = t.project WHERE t.uuid = ?", (task_uuid,)
        ).fetchone()
    record = service.catalogue.project(row["hash"]) if row is not None else None
    if record is None:
        raise LocalPlatformError(f"There is no task {task_uuid}.")
    return record


def copy(service: Service, record: ProjectRecord, task_uuid: str) -> ProjectRecord:
    """Copy a project with one of its tasks, in its stage, and everything that the SDK shows of the two.

    Nobody is notified of the copy.
    """
    hash, task = _new(), _new()
    with service.database.write() as connection:
        old = connection.execute(
            "SELECT t.unit, u.data_hash FROM tasks t JOIN units u ON u.id = t.unit WHERE t.uuid = ?", (task_uuid,)
        ).fetchone()
        project = _again(connection, "projects", "id = ?", record.id, hash=hash)
        _again(connection, "project_datasets", "project = ?", record.id, project=project)
        _again(connection, "members", "kind = 'project' AND hash = ?", record.hash, hash=hash)
        _again(connection, "settings", "name = ?", f"issue_tags {record.hash}", name=f"issue_tags {hash}")
        unit = _again(connection, "entries", "id = ?", old["unit"], project=project)
        # The copy itself was neither moved nor saved yet.
        _again(connection, "tasks", "uuid = ?", task_uuid, uuid=task, project=project, unit=unit, moves=0)
        _again(connection, "labels", "unit = ?", old["unit"], unit=unit, hash=_new, saves=0)
        _again(connection, "label_classes", "unit = ?", old["unit"], unit=unit)
        _again(connection, "actions", "task = ?", task_uuid, project=project, task=task)
        _again(
            connection, "issues", "project = ? AND data_hash = ?", record.id, old["data_hash"],
            uuid=_new, project=project,
        )  # fmt: skip
        service.set_setting(notifications.SILENT + hash, True)
        made = service.catalogue.project(hash)
        assert made is not None
        return made


def delete(service: Service, record: ProjectRecord) -> None:
    """Remove a project that `copy` made."""
    with service.database.write() as connection:
        service.catalogue.delete(record)
        connection.execute("DELETE FROM settings WHERE name = ?", (notifications.SILENT + record.hash,))


def _again(connection: sqlite3.Connection, table: str, where: str, *which: Any, **changed: Any) -> int | None:
    """Insert rows of a table again, with other values in some columns; `_new` gives each row one of its own.

    Returns:
        The id of the last new row.
    """
    id = None
    for row in connection.execute(f"SELECT * FROM {table} WHERE {where}", which).fetchall():
        values = {name: row[name] for name in row.keys() if name not in ("id", "rank")}  # noqa: SIM118 - no mapping
        values |= {name: value() if value is _new else value for name, value in changed.items()}
        marks = ", ".join("?" * len(values))
        id = connection.execute(
            f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})", [*values.values()]
        ).lastrowid
    return id


def _new() -> str:
    return str(uuid4())
