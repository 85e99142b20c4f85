"""Tasks: listing and moving them, and setting their priorities."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import uuid4

from encord_agents.local import contents, history
from encord_agents.local.catalogue import ProjectRecord
from encord_agents.local.database import SOME, Database, Where, listed
from encord_agents.local.trouble import Refusal, forbidden, malformed
from encord_agents.local.users import OWNER


@dataclass(frozen=True)
class TaskFilter:
    """A filter of a stage's tasks; ``None`` matches all."""

    data_hashes: Sequence[str] | None = None
    dataset_hashes: Sequence[str] | None = None
    title_contains: str | None = None
    statuses: Sequence[str] | None = None
    assignees: Sequence[str] | None = None


@dataclass(frozen=True)
class Page:
    rows: list[sqlite3.Row]
    next_token: str | None


@dataclass(frozen=True)
class Paging:
    """The start and the size of a page. A keyset token names the last task seen; an offset token counts tasks."""

    size: int
    offset: bool = False
    token: str = ""

    def after(self) -> tuple[float, int] | None:
        """Return the rank and id of the last task seen.

        Raises:
            Refusal: 400, the token is not one of ours.
        """
        match = _TOKEN.fullmatch(self.token)
        if match is None and self.token:
            raise malformed("The page token is not one of ours.")
        return (float(match[1]), int(match[2])) if match else None

    def start(self) -> int:
        """Return the number of tasks before the page.

        Raises:
            Refusal: 400, the token is not one of ours.
        """
        if not self.token:
            return 0
        if not (self.token.isascii() and self.token.isdigit() and len(self.token) < 16):
            raise malformed("The page token is not one of ours.")
        return int(self.token)


_TOKEN = re.compile(r"(-?[0-9]\.?[0-9]{0,20}(?:e-[0-9]{1,3})?)_([0-9]{1,15})", re.ASCII)


_COLUMNS = (
    "t.id, t.uuid, t.stage, t.branch, t.status, t.priority, t.created_at, t.updated_at, t.assignee, t.actor, t.rank,"
    " u.data_hash, u.title"
)


def page(database: Database, project: ProjectRecord, stage: str, wanted: TaskFilter, paging: Paging) -> Page:
    """Return a page of a stage's tasks, those of the highest priority first, the oldest first among equals."""
    where = Where("t.project = ?", project.id)
    where.also("t.stage = ?", stage)
    where.named("u.data_hash", wanted.data_hashes)
    where.among("u.dataset", wanted.dataset_hashes)
    where.among("t.status", wanted.statuses)
    where.among("t.assignee", wanted.assignees)
    where.also("instr(u.title, ?) > 0", wanted.title_contains)
    # A keyset continues after the last task seen, even if it has moved; an offset skips a task for each that has left.
    after = None if paging.offset else paging.after()
    if after is not None:
        where.also("(t.rank, t.id) > (?, ?)", *after)
    sql = f"SELECT {_COLUMNS} FROM tasks t JOIN units u ON u.id = t.unit WHERE {where} ORDER BY t.rank, t.id LIMIT ?"
    values = [*where.values, paging.size + 1]
    if paging.offset:
        sql += " OFFSET ?"
        values.append(paging.start())
    with database.read() as connection:
        rows = connection.execute(sql, values).fetchall()
    if len(rows) <= paging.size:
        return Page(rows, None)
    rows = rows[: paging.size]
    last = rows[-1]
    return Page(rows, str(paging.start() + paging.size) if paging.offset else f"{last['rank']!r}_{last['id']}")


def move(
    database: Database,
    project: ProjectRecord,
    origin: str,
    moves: Sequence[tuple[str, str]],
    *,
    user: str = OWNER,
    status: str = "NEW",
    assignee: str | None = None,
) -> None:
    """Move tasks out of a stage, all or none: ``(task uuid, destination's uuid)``.

    Args:
        user: The user who moves them.
        status: The status of the tasks in their new stage.
        assignee: The assignee of the tasks in their new stage.

    Raises:
        Refusal: 400, one of them is not in the stage.
    """
    now = time.time()
    by_task = dict(moves)
    if len(by_task) != len(moves):
        raise malformed("A task is there twice, and can leave its stage only once.")
    with database.write() as connection:
        here = connection.execute(
            f"SELECT id, uuid, unit, branch FROM tasks WHERE +project = ? AND stage = ? AND uuid IN {SOME}",
            (project.id, origin, listed(by_task)),
        ).fetchall()
        # Checked inside the transaction: if two clients move the same task, the second learns that it has left.
        if len(here) != len(by_task):
            missing = by_task.keys() - {row["uuid"] for row in here}
            raise malformed(f"{len(missing)} of {len(by_task)} tasks are not in this stage, for one {min(missing)}.")
        by_task = {uuid: _routed(connection, project, to) for uuid, to in by_task.items()}
        connection.executemany(
            "UPDATE tasks SET stage = ?, status = ?, assignee = ?, actor = ?, moves = moves + 1, updated_at = ?"
            " WHERE id = ?",
            [(by_task[row["uuid"]], status, assignee, user, now, row["id"]) for row in here],
        )
        moved = [(row["unit"], row["branch"], by_task[row["uuid"]]) for row in here]
        history.moved(connection, project.id, origin, moved, at=now, user=user)


def _routed(connection: sqlite3.Connection, project: ProjectRecord, destination: str) -> str:
    """Return the stage of a destination; for a router, the stage that it sends this task to.

    A router keeps its percentages as exactly as possible: of ten tasks at 20 %, always the same two go there.
    """
    for _ in range(len(project.routers) + 1):
        router = project.routers.get(destination)
        if router is None:
            return destination
        sent = {
            row["destination"]: row["n"]
            for row in connection.execute(
                "SELECT destination, n FROM routed WHERE project = ? AND router = ?", (project.id, router.uuid)
            )
        }
        total = sum(sent.values()) + 1
        lacking = [
            (share / 100 * total - sent.get(pathway.to, 0), -index, pathway.to)
            for index, (pathway, share) in enumerate(zip(router.pathways, router.shares, strict=True))
        ]
        destination = max(lacking)[2]
        connection.execute(
            "INSERT INTO routed VALUES (?, ?, ?, 1) ON CONFLICT DO UPDATE SET n = n + 1",
            (project.id, router.uuid, destination),
        )
    raise Refusal(400, "The routers of this workflow lead in a circle.")


def is_in(database: Database, project: ProjectRecord, stage: str, uuid: str) -> bool:
    """Return True if a task is in a stage."""
    with database.read() as connection:
        return (
            connection.execute(
                "SELECT 1 FROM tasks WHERE project = ? AND stage = ? AND uuid = ?", (project.id, stage, uuid)
            ).fetchone()
            is not None
        )


def set_priorities(database: Database, project: ProjectRecord, priorities: Sequence[tuple[str, float]]) -> None:
    """Set the priority of every task of these data units: of all or, if one is unknown, of none.

    Raises:
        Refusal: 403, a data unit is unknown.
    """
    with database.write() as connection:
        rows = connection.execute(
            f"SELECT id, data_hash FROM units WHERE +project = ? AND data_hash IN {SOME}",
            (project.id, listed([data_hash for data_hash, _ in priorities])),
        )
        units = {row["data_hash"]: row["id"] for row in rows}
        for data_hash, _ in priorities:
            if data_hash not in units:
                raise forbidden(f"No access to the data unit {data_hash}.")
        connection.executemany(
            "UPDATE tasks SET priority = ? WHERE unit = ?",
            [(value, units[data_hash]) for data_hash, value in priorities],
        )


def add(
    connection: sqlite3.Connection, project: ProjectRecord, units: Iterable[int], stage: str, branch: str
) -> list[str]:
    """Add a task for each data unit, in the caller's transaction. Return the tasks' uuids."""
    now = time.time()
    tasks = [(str(uuid4()), project.id, unit, stage, stage, branch, now, now) for unit in units]
    connection.executemany(
        "INSERT INTO tasks (uuid, project, unit, stage, start, branch, created_at, updated_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        tasks,
    )
    return [task[0] for task in tasks]


def records(database: Database, project: ProjectRecord, stage: str | None = None) -> list[sqlite3.Row]:
    """Return all tasks of a project, or of one of its stages, oldest first."""
    where = Where("t.project = ?", project.id)
    where.also("t.stage = ?", stage)
    sql = f"SELECT {_COLUMNS}, t.moves FROM tasks t JOIN units u ON u.id = t.unit WHERE {where} ORDER BY t.id"
    with database.read() as connection:
        return connection.execute(sql, where.values).fetchall()


def counts(database: Database, project: ProjectRecord) -> dict[str, int]:
    """Count the tasks in each stage that has any, by the stage's uuid."""
    with database.read() as connection:
        rows = connection.execute(
            "SELECT stage, count(*) AS n FROM tasks WHERE project = ? GROUP BY stage", (project.id,)
        )
        return {row["stage"]: row["n"] for row in rows}


def reset(database: Database, project: ProjectRecord, *, keep_labels: bool) -> int:
    """Send every task back to where it started, without priority; remove labels unless ``keep_labels``."""
    with database.write() as connection:
        history.reset(connection, project.id, keep_labels=keep_labels)
        done = connection.execute(
            "UPDATE tasks SET stage = start, status = 'NEW', priority = NULL, moves = 0, updated_at = ?,"
            " assignee = NULL, actor = NULL WHERE project = ?",
            (time.time(), project.id),
        ).rowcount
        connection.execute("DELETE FROM routed WHERE project = ?", (project.id,))
        of_project = "SELECT uuid FROM tasks WHERE project = ?"
        connection.execute(f"DELETE FROM reviews WHERE task IN ({of_project})", (project.id,))
        if not keep_labels:
            contents.forget(connection, project.id)
            connection.execute(
                "DELETE FROM labels WHERE unit IN (SELECT id FROM units WHERE project = ?)", (project.id,)
            )
    return done
