"""The history of saves, moves, resets and agent calls: when, by which client, and the labels that were replaced."""

from __future__ import annotations

import sqlite3
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from encord_agents.local.catalogue import ProjectRecord
from encord_agents.local.database import SOME, Database, listed

MOST_EVENTS = 500_000
"""Events that are kept, of all projects together; about 60 MB. The oldest are removed first."""
VERSIONS_KEPT = 20
"""Replaced labels that are kept per label row."""
LARGEST_VERSION = 4 * 2**20
"""Bytes of compressed labels. For larger ones, only the event is kept."""
BASELINE = 0
"""The version that a row was pulled with, if its project was pulled."""
LONGEST_CLIENT = 200


@dataclass(frozen=True)
class Client:
    """The sender of a request.

    Attributes:
        name: Its ``User-Agent``, or a name in its place for calls that do not come over HTTP.
        user: The email of the key's user.
    """

    name: str
    user: str | None = None


@dataclass(frozen=True)
class Event:
    """A save, move or reset of one task's data unit, or a call of an editor agent for it.

    Attributes:
        kind: ``save``, ``move``, ``reset`` or ``call``.
        stage: The uuid of the stage that it left (moves and resets).
        destination: The uuid of the stage that it went to.
        version: The version number of the saved labels; ``None`` for other events.
    """

    id: int
    at: float
    kind: str
    client: str
    user: str | None
    branch: str
    stage: str | None
    destination: str | None
    version: int | None


_THIS_PROCESS = Client("Python on this machine")
_CLIENT: ContextVar[Client] = ContextVar("client", default=_THIS_PROCESS)


@contextmanager
def acting(client: Client) -> Iterator[None]:
    """Attribute everything that is done in the block to this client."""
    token = _CLIENT.set(Client(client.name[:LONGEST_CLIENT], client.user))
    try:
        yield
    finally:
        _CLIENT.reset(token)


_INSERT = (
    "INSERT INTO history (project, unit, branch, at, kind, client, user, stage, destination, version)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


def moved(
    connection: sqlite3.Connection,
    project: int,
    origin: str,
    moves: Iterable[tuple[int, str, str]],
    *,
    at: float,
    user: str | None = None,
) -> None:
    """Record moves, ``(unit, branch, destination)``, in the caller's transaction."""
    client = _CLIENT.get()
    connection.executemany(
        _INSERT,
        [
            (project, unit, branch, at, "move", client.name, user or client.user, origin, destination, None)
            for unit, branch, destination in moves
        ],
    )
    _trim(connection)


def saved(
    connection: sqlite3.Connection,
    project: int,
    saves: Sequence[tuple[int, str, bytes | None, bytes]],
    *,
    at: float,
) -> None:
    """Record saves, ``(unit, branch, labels before, labels now)``, and keep the replaced labels as versions.

    A save that changes nothing is recorded with the same version.
    """
    client = _CLIENT.get()
    events, replaced, too_old = [], [], []
    for unit, branch, before, now in saves:
        (latest,) = connection.execute(
            "SELECT coalesce(max(number), 0) FROM versions WHERE unit = ? AND branch = ?", (unit, branch)
        ).fetchone()
        current = latest + 1  # the version of the labels before this save
        if before is not None and before != now:
            packed = zlib.compress(before, 1)
            replaced.append((unit, branch, current, packed if len(packed) <= LARGEST_VERSION else None))
            too_old.append((unit, branch, current - VERSIONS_KEPT))
            current += 1
        events.append((project, unit, branch, at, "save", client.name, client.user, None, None, current))
    # In the caller's transaction, with the save itself: no event may refer to a missing version, or to a save that was
    # rolled back.
    connection.executemany(_INSERT, events)
    connection.executemany("INSERT INTO versions (unit, branch, number, content) VALUES (?, ?, ?, ?)", replaced)
    connection.executemany("DELETE FROM versions WHERE unit = ? AND branch = ? AND number <= ?", too_old)
    _trim(connection)


def called(connection: sqlite3.Connection, project: int, unit: int, branch: str) -> None:
    """Record that the client, an editor agent, was called for a data unit."""
    client = _CLIENT.get()
    connection.execute(
        _INSERT, (project, unit, branch, time.time(), "call", client.name, client.user, None, None, None)
    )
    _trim(connection)


def reset(connection: sqlite3.Connection, project: int, *, keep_labels: bool) -> None:
    """Record, before a reset, that all tasks go back to their start. Labels that it removes become versions."""
    client = _CLIENT.get()
    connection.execute(
        "INSERT INTO history (project, unit, branch, at, kind, client, user, stage, destination, version)"
        " SELECT project, unit, branch, ?, 'reset', ?, ?, stage, start, NULL FROM tasks"
        " WHERE project = ? AND (stage != start OR unit IN (SELECT unit FROM labels))",
        (time.time(), client.name, client.user, project),
    )
    if not keep_labels:
        connection.create_function("packed", 1, _packed, deterministic=True)
        connection.execute(
            "INSERT INTO versions (unit, branch, number, content)"
            " SELECT l.unit, l.branch, 1 + coalesce((SELECT max(v.number) FROM versions v"
            " WHERE v.unit = l.unit AND v.branch = l.branch), 0), packed(l.content)"
            " FROM labels l JOIN units u ON u.id = l.unit WHERE u.project = ? AND l.content IS NOT NULL",
            (project,),
        )
    _trim(connection)


def _packed(content: bytes) -> bytes | None:
    packed = zlib.compress(content, 1)
    return packed if len(packed) <= LARGEST_VERSION else None


def _trim(connection: sqlite3.Connection) -> None:
    # By id, not by count: counting would read the whole table at each save.
    connection.execute("DELETE FROM history WHERE id <= (SELECT max(id) FROM history) - ?", (MOST_EVENTS,))


def of_unit(database: Database, unit: int, branch: str, *, limit: int = 100) -> list[Event]:
    """Return the latest events of a data unit on a branch, latest first."""
    with database.read() as connection:
        rows = connection.execute(
            "SELECT * FROM history WHERE unit = ? AND branch = ? ORDER BY id DESC LIMIT ?", (unit, branch, limit)
        ).fetchall()
    return [_event(row) for row in rows]


def of_project(database: Database, project: ProjectRecord, *, limit: int = 20) -> list[tuple[Event, sqlite3.Row]]:
    """Return the latest events of a project, latest first, each with its data unit and task."""
    with database.read() as connection:
        rows = connection.execute(
            "SELECT h.*, u.title, (SELECT t.uuid FROM tasks t WHERE t.unit = h.unit AND t.branch = h.branch LIMIT 1)"
            " AS task FROM (SELECT * FROM history WHERE project = ? ORDER BY id DESC LIMIT ?) h"
            " JOIN units u ON u.id = h.unit ORDER BY h.id DESC",
            (project.id, limit),
        ).fetchall()
    return [(_event(row), row) for row in rows]


def latest(database: Database, units: Sequence[int]) -> dict[tuple[int, str], Event]:
    """Return the latest event of each data unit and branch that has any."""
    with database.read() as connection:
        rows = connection.execute(
            "SELECT * FROM history WHERE id IN (SELECT max(id) FROM history"
            f" WHERE unit IN {SOME} GROUP BY unit, branch)",
            (listed(units),),
        ).fetchall()
    return {(row["unit"], row["branch"]): _event(row) for row in rows}


def moves_since(database: Database, project: ProjectRecord, since: float) -> dict[tuple[str, str], int]:
    """Count the tasks that left each stage since a time: ``(client, uuid of the stage)`` -> number of tasks."""
    with database.read() as connection:
        rows = connection.execute(
            "SELECT client, stage, count(*) AS n FROM history"
            " WHERE project = ? AND kind = 'move' AND at >= ? GROUP BY client, stage",
            (project.id, since),
        ).fetchall()
    return {(row["client"], row["stage"]): row["n"] for row in rows}


def version(database: Database, unit: int, branch: str, number: int) -> bytes | None:
    """Return the labels of a version, as they were saved; ``None`` if they are not kept."""
    with database.read() as connection:
        if number == BASELINE:
            copied = connection.execute(
                "SELECT content FROM baselines WHERE unit = ? AND branch = ?", (unit, branch)
            ).fetchone()
            return bytes(copied["content"]) if copied is not None and copied["content"] is not None else None
        row = connection.execute(
            "SELECT content FROM versions WHERE unit = ? AND branch = ? AND number = ?", (unit, branch, number)
        ).fetchone()
        if row is not None:
            return None if row["content"] is None else zlib.decompress(row["content"])
        current = connection.execute(
            "SELECT l.content, (SELECT coalesce(max(v.number), 0) FROM versions v"
            " WHERE v.unit = l.unit AND v.branch = l.branch) AS replaced"
            " FROM labels l WHERE l.unit = ? AND l.branch = ?",
            (unit, branch),
        ).fetchone()
    if current is None or number != current["replaced"] + 1:
        return None
    content: bytes | None = current["content"]
    return content


def versions(database: Database, unit: int, branch: str) -> list[int]:
    """Return the numbers of the versions whose labels are kept, oldest first, including the current one."""
    with database.read() as connection:
        kept = connection.execute(
            "SELECT number, content IS NOT NULL AS there FROM versions WHERE unit = ? AND branch = ? ORDER BY number",
            (unit, branch),
        ).fetchall()
        current = connection.execute(
            "SELECT 1 FROM labels WHERE unit = ? AND branch = ? AND content IS NOT NULL", (unit, branch)
        ).fetchone()
        copied = connection.execute("SELECT 1 FROM baselines WHERE unit = ? AND branch = ?", (unit, branch)).fetchone()
    numbers = [BASELINE] if copied is not None else []
    numbers += [row["number"] for row in kept if row["there"]]
    if current is not None:
        numbers.append((kept[-1]["number"] if kept else 0) + 1)
    return numbers


def _event(row: sqlite3.Row) -> Event:
    return Event(
        row["id"], row["at"], row["kind"], row["client"], row["user"], row["branch"], row["stage"],
        row["destination"], row["version"],
    )  # fmt: skip
