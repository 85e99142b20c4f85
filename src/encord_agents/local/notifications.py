"""Notifications of tasks that are waiting in agent stages: when they are due, their payload, and their outcome.

Triggers count the tasks that arrive in a stage, in the transaction that moves them. `collect` makes notifications of
the counts; each address and stage of a project has at most one waiting notification, and later arrivals go into the
next one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import uuid4

import orjson

from encord_agents.local import wire
from encord_agents.local.catalogue import Catalogue
from encord_agents.local.database import Database

EVENT = "agent_stage_work_available_event"
VERSION = 1
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 60.0
"""Seconds between two attempts, with exponential backoff: they double from the first to the longest."""
FIRST_REMINDER = 60.0
LONGEST_REMINDER = 3600.0
"""Seconds after which a receiver is reminded of tasks that stay, doubling likewise: it may have been restarted."""
AT_ONCE = -1e300
"""A ``since`` so long ago that every ``max_wait`` has elapsed."""
KEPT = 200
"""Finished notifications that are remembered."""
SILENT = "silent "
"""Begins the name of a setting; a project's hash completes it, and nobody is notified of that project."""


@dataclass(frozen=True)
class Notification:
    """A notification and its outcome.

    Attributes:
        uid: Its id, the same in every attempt.
        address: The receiver's address.
        project: The project's hash.
        stage: The stage's uuid.
        pending: The number of tasks that were waiting when it was made.
        reason: ``batch_size_reached`` or ``max_wait_elapsed``.
        status: ``waiting`` (for its first or next attempt), ``delivered``, or ``overtaken``: no task is there any more.
        attempts: The number of attempts so far.
        next_at: The time of the next attempt.
        sent_at: The time of the latest attempt.
        seconds: How long the latest attempt took.
        answer: The status of the answer, such as ``200 OK``, or the reason why there was none.
    """

    uid: str
    receiver: int
    address: str
    project: str
    stage: str
    pending: int
    reason: str
    status: str
    attempts: int
    created_at: float
    next_at: float
    sent_at: float | None
    seconds: float | None
    answer: str


@dataclass(frozen=True)
class Sending:
    """A notification that is due."""

    uid: str
    receiver: int
    address: str
    secret: str
    body: bytes


def tell_of_all(connection: sqlite3.Connection, receiver: int) -> None:
    """Make notifications of all stages with tasks due at once for a receiver, in the caller's transaction."""
    connection.execute(
        "INSERT INTO arrivals (receiver, project, stage, n, since)"
        " SELECT r.id, t.project, t.stage, count(*), ? FROM receivers r JOIN tasks t"
        " ON coalesce(r.project, t.project) = t.project AND coalesce(r.stage, t.stage) = t.stage"
        " WHERE r.id = ? AND NOT EXISTS (SELECT 1 FROM notifications n"
        " WHERE n.status = 'waiting' AND n.receiver = r.id AND n.project = t.project AND n.stage = t.stage)"
        " GROUP BY t.project, t.stage"
        " ON CONFLICT (receiver, project, stage) DO UPDATE SET n = excluded.n, since = excluded.since, reminders = 0",
        (AT_ONCE, receiver),
    )
    connection.execute("UPDATE notifications SET next_at = 0 WHERE receiver = ? AND status = 'waiting'", (receiver,))


def try_all_again(database: Database) -> None:
    """Retry all waiting notifications at once, as after a restart."""
    with database.read() as connection:
        if connection.execute("SELECT 1 FROM notifications WHERE status = 'waiting'").fetchone() is None:
            return
    with database.write() as connection:
        connection.execute("UPDATE notifications SET next_at = 0 WHERE status = 'waiting'")


_DUE = (
    "SELECT a.*, r.batch_size FROM arrivals a JOIN receivers r ON r.id = a.receiver"
    " WHERE (a.n >= r.batch_size OR a.since + iif(a.n > 0, r.max_wait, 0) <= ?)"
    " AND NOT EXISTS (SELECT 1 FROM notifications n"
    " WHERE n.status = 'waiting' AND n.receiver = a.receiver AND n.project = a.project AND n.stage = a.stage)"
)


def collect(database: Database, catalogue: Catalogue, now: float) -> None:
    """Make the notifications that are due."""
    with database.read() as connection:
        if connection.execute(f"{_DUE} LIMIT 1", (now,)).fetchone() is None:
            return
    with database.write() as connection:
        for row in connection.execute(_DUE, (now,)).fetchall():
            connection.execute(
                "DELETE FROM arrivals WHERE receiver = ? AND project = ? AND stage = ?",
                (row["receiver"], row["project"], row["stage"]),
            )
            found = connection.execute(
                "SELECT hash FROM projects WHERE id = ? AND NOT EXISTS (SELECT 1 FROM settings WHERE name = ? || hash)",
                (row["project"], SILENT),
            ).fetchone()
            project = catalogue.project(found["hash"]) if found is not None else None
            stage = project.stages.get(row["stage"]) if project is not None else None
            pending = _pending(connection, row["project"], row["stage"])
            if project is None or stage is None or stage.type != "agent" or not pending:
                continue
            reason = "batch_size_reached" if row["n"] >= row["batch_size"] else "max_wait_elapsed"
            uid = str(uuid4())
            connection.execute(
                "INSERT INTO notifications (uid, receiver, project, stage, pending, reason, body, reminders,"
                " created_at, next_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    uid, row["receiver"], project.id, stage.uuid, pending, reason,
                    _body(uid, project.hash, stage.uuid, pending, reason, now), row["reminders"], now, now,
                ),
            )  # fmt: skip


def _pending(connection: sqlite3.Connection, project: int, stage: str) -> int:
    sql = "SELECT count(*) FROM tasks WHERE project = ? AND stage = ?"
    return int(connection.execute(sql, (project, stage)).fetchone()[0])


def _body(uid: str, project: str, stage: str, pending: int, reason: str, now: float) -> bytes:
    return orjson.dumps(
        {
            "uid": uid,
            "version": VERSION,
            "source": "encord",
            "event_type": EVENT,
            "event_created_timestamp": wire.iso(now),
            "payload": {"project_hash": project, "stage_uuid": stage, "pending_count": pending, "reason": reason},
        }
    )


def due(database: Database, now: float) -> list[Sending]:
    """Return the notifications to send now, oldest first. Mark those whose stage is empty by now as overtaken."""
    sql = (
        "SELECT n.*, r.address, r.secret FROM notifications n JOIN receivers r ON r.id = n.receiver"
        " WHERE n.status = 'waiting' AND n.next_at <= ? ORDER BY n.id"
    )
    with database.read() as connection:
        rows = connection.execute(sql, (now,)).fetchall()
        empty = [row["id"] for row in rows if not _pending(connection, row["project"], row["stage"])]
    if empty:
        _overtake(database, empty)
    return [
        Sending(row["uid"], row["receiver"], row["address"], row["secret"], row["body"])
        for row in rows
        if row["id"] not in empty
    ]


def _overtake(database: Database, ids: Sequence[int]) -> None:
    with database.write() as connection:
        connection.executemany("UPDATE notifications SET status = 'overtaken' WHERE id = ?", [(id,) for id in ids])
        _trim(connection)


def answered(
    database: Database, uid: str, answer: str, *, accepted: bool, at: float, seconds: float, now: float
) -> None:
    """Record an attempt: it was accepted, or there will be another one."""
    with database.write() as connection:
        row = connection.execute("SELECT * FROM notifications WHERE uid = ? AND status = 'waiting'", (uid,)).fetchone()
        if row is None:  # its receiver was removed, or the platform was cleared
            return
        connection.execute(
            "UPDATE notifications SET status = ?, attempts = attempts + 1, sent_at = ?, seconds = ?, answer = ?,"
            " next_at = ? WHERE id = ?",
            (
                "delivered" if accepted else "waiting", at, seconds, answer,
                now + pause(row["attempts"], FIRST_PAUSE, LONGEST_PAUSE), row["id"],
            ),
        )  # fmt: skip
        if accepted:
            later = now + pause(row["reminders"], FIRST_REMINDER, LONGEST_REMINDER)
            connection.execute(
                "INSERT OR IGNORE INTO arrivals (receiver, project, stage, n, since, reminders)"
                " VALUES (?, ?, ?, 0, ?, ?)",
                (row["receiver"], row["project"], row["stage"], later, row["reminders"] + 1),
            )
            _trim(connection)


def pause(before: int, first: float, longest: float) -> float:
    """Return the seconds to wait after this many earlier waits."""
    return float(min(first * 2.0 ** min(before, 32), longest))


def _trim(connection: sqlite3.Connection) -> None:
    connection.execute(
        "DELETE FROM notifications WHERE status != 'waiting' AND id NOT IN"
        " (SELECT id FROM notifications WHERE status != 'waiting' ORDER BY id DESC LIMIT ?)",
        (KEPT,),
    )


def latest(database: Database, limit: int) -> list[Notification]:
    """Return the latest notifications, latest first."""
    with database.read() as connection:
        rows = connection.execute(
            "SELECT n.*, r.address, p.hash FROM notifications n JOIN receivers r ON r.id = n.receiver"
            " JOIN projects p ON p.id = n.project ORDER BY n.id DESC LIMIT ?",
            (limit,),
        ).fetchall()
    return [
        Notification(
            row["uid"], row["receiver"], row["address"], row["hash"], row["stage"], row["pending"], row["reason"],
            row["status"], row["attempts"], row["created_at"], row["next_at"], row["sent_at"], row["seconds"],
            row["answer"],
        )
        for row in rows
    ]  # fmt: skip
