"""A project with a row of everything that can hang on one."""

from __future__ import annotations

from encord_agents.local import LocalPlatform, LocalProject

HANGING = (
    "entries",
    "tasks",
    "labels",
    "label_classes",
    "history",
    "versions",
    "baselines",
    "reviews",
    "actions",
    "issues",
)


def counts(platform: LocalPlatform, *tables: str) -> dict[str, int]:
    with platform._service.database.read() as connection:
        return {table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables or HANGING}


def filled(platform: LocalPlatform, project: LocalProject) -> None:
    """Put a row of everything into a project."""
    client_like = project.tasks()[0]
    with platform._service.database.write() as connection:
        task = connection.execute("SELECT * FROM tasks WHERE uuid = ?", (client_like.uuid,)).fetchone()
        unit = (task["unit"], "main")
        connection.execute("INSERT INTO labels VALUES (?, ?, 'hash', '{}', 1, 0, 0)", unit)
        connection.execute("INSERT INTO label_classes VALUES (?, ?, 'f', 1, 0, 0)", unit)
        connection.execute("INSERT INTO versions VALUES (?, ?, 1, NULL)", unit)
        connection.execute("INSERT INTO baselines VALUES (?, ?, 's', NULL)", unit)
        connection.execute("INSERT INTO reviews VALUES ('r', ?, 'Object', 'o', 'NEW', NULL)", (task["uuid"],))
        connection.execute(
            "INSERT INTO issues VALUES ('i', ?, ?, '{}', '', '[]', '', 0)", (project._record.id, client_like.data_hash)
        )
        connection.execute(
            "INSERT INTO actions (project, at, kind, stage, task, actor) VALUES (?, 0, 'submit', 's', ?, 'a')",
            (project._record.id, task["uuid"]),
        )
    project.move(client_like.uuid, "Done")
