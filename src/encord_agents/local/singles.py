"""Copies one task into a project of its own, to try an agent on it without changing the original project."""

from __future__ import annotations

from uuid import uuid4

from encord_agents.local import labels
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
    """Copy a project with one of its tasks, in its stage, and that task's data unit and labels."""
    with service.database.write() as connection:
        stages = connection.execute("SELECT stages FROM projects WHERE id = ?", (record.id,)).fetchone()["stages"]
        made = service.catalogue.create_from(
            title=f"{record.title} (one task)", description=record.description, ontology=record.ontology,
            stages=stages, start=record.start, dataset_hashes=[],
        )  # fmt: skip
        task = connection.execute("SELECT * FROM tasks WHERE uuid = ?", (task_uuid,)).fetchone()
        entry = connection.execute(
            "INSERT INTO entries (project, data, refusal, deleted)"
            " SELECT ?, data, refusal, deleted FROM entries WHERE id = ?",
            (made.id, task["unit"]),
        ).lastrowid
        assert entry is not None
        connection.execute(
            "INSERT INTO tasks (uuid, project, unit, stage, start, branch, status, priority, created_at, updated_at,"
            " assignee, actor) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                str(uuid4()), made.id, entry, task["stage"], task["start"], task["branch"], task["status"],
                task["priority"], task["created_at"], task["updated_at"], task["assignee"], task["actor"],
            ),
        )  # fmt: skip
        for label in connection.execute("SELECT * FROM labels WHERE unit = ?", (task["unit"],)).fetchall():
            labels.put(connection, entry, label["branch"], label["content"], saves=0)  # nothing was saved in this copy
    return made


def delete(service: Service, record: ProjectRecord) -> None:
    """Remove a project that `copy` made."""
    service.catalogue.delete(record)
