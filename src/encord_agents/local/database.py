"""The platform's state: one SQLite connection, shared by all threads, one at a time."""

from __future__ import annotations

import os
import re
import secrets
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import RLock
from typing import Any

import orjson

from encord_agents.local.trouble import LocalPlatformError, machine_trouble

SCHEMA_VERSION = 5
OLDEST_VERSION = 4  # databases of this version and later are brought up to date, older ones are refused
APPLICATION_ID = 0x656E6C70
"""The number in the header of our SQLite files, which tells them from those of other programs."""

PATIENCE = 30.0
"""Seconds to wait for another process that is writing to the same database."""
_TABLE = re.compile(r"CREATE TABLE IF NOT EXISTS (\w+)")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS keys (id TEXT PRIMARY KEY, email TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ontologies (
    hash TEXT PRIMARY KEY, title TEXT NOT NULL, description TEXT NOT NULL DEFAULT '', editor TEXT NOT NULL,
    created_at REAL NOT NULL, edited_at REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS templates (
    uuid TEXT PRIMARY KEY, title TEXT NOT NULL, stages TEXT NOT NULL, start TEXT NOT NULL
) WITHOUT ROWID;
-- dataset is the one that files go to which are added to the project without naming one.
CREATE TABLE IF NOT EXISTS projects (
    id INTEGER PRIMARY KEY, hash TEXT NOT NULL UNIQUE, title TEXT NOT NULL,
    description TEXT NOT NULL, type TEXT NOT NULL, status TEXT NOT NULL DEFAULT 'inProgress',
    ontology TEXT NOT NULL REFERENCES ontologies(hash), dataset TEXT,
    stages TEXT NOT NULL, start TEXT NOT NULL, created_at REAL NOT NULL, edited_at REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS project_datasets (
    project INTEGER NOT NULL, dataset TEXT NOT NULL, PRIMARY KEY (project, dataset)
) WITHOUT ROWID;
-- Who may do what: kind is project or dataset.
CREATE TABLE IF NOT EXISTS members (
    kind TEXT NOT NULL, hash TEXT NOT NULL, email TEXT NOT NULL, role INTEGER NOT NULL, PRIMARY KEY (kind, hash, email)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS folders (
    uuid TEXT PRIMARY KEY, parent TEXT, name TEXT NOT NULL, description TEXT NOT NULL DEFAULT '', metadata TEXT,
    created_at REAL NOT NULL, edited_at REAL NOT NULL
) WITHOUT ROWID;
-- Storage items. forbidden and broken are troubles that tests ask for. layout is of data groups only.
CREATE TABLE IF NOT EXISTS items (
    id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, folder TEXT NOT NULL, title TEXT NOT NULL,
    item_type TEXT NOT NULL, mime_type TEXT, width INTEGER, height INTEGER, frames INTEGER, fps REAL, duration REAL,
    sample_rate INTEGER, bit_depth INTEGER, codec TEXT, channels INTEGER,
    digest TEXT, size INTEGER, url TEXT, layout TEXT,
    description TEXT NOT NULL DEFAULT '', metadata TEXT NOT NULL DEFAULT '{}',
    created_at REAL NOT NULL, edited_at REAL NOT NULL, forbidden INTEGER NOT NULL DEFAULT 0, broken TEXT
);
CREATE INDEX IF NOT EXISTS items_of_folder ON items (folder, title);
-- The items that a group consists of, in order. layout_key is of data groups only.
CREATE TABLE IF NOT EXISTS children (
    parent TEXT NOT NULL, position INTEGER NOT NULL, item TEXT NOT NULL, layout_key TEXT,
    PRIMARY KEY (parent, position)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS parents_of_item ON children (item);
CREATE TABLE IF NOT EXISTS datasets (
    hash TEXT PRIMARY KEY, title TEXT NOT NULL, description TEXT NOT NULL DEFAULT '', folder TEXT,
    created_at REAL NOT NULL, edited_at REAL NOT NULL
) WITHOUT ROWID;
-- A dataset's rows: items, each under a data hash.
CREATE TABLE IF NOT EXISTS data (
    id INTEGER PRIMARY KEY, data_hash TEXT NOT NULL UNIQUE, dataset TEXT NOT NULL, item INTEGER NOT NULL,
    created_at REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS data_of_dataset ON data (dataset);
CREATE INDEX IF NOT EXISTS data_of_item ON data (item);
-- A project's rows: data of its datasets. refusal and deleted are troubles that tests ask for.
CREATE TABLE IF NOT EXISTS entries (
    id INTEGER PRIMARY KEY, project INTEGER NOT NULL, data INTEGER NOT NULL,
    refusal TEXT, deleted INTEGER NOT NULL DEFAULT 0, UNIQUE (project, data)
);
CREATE INDEX IF NOT EXISTS entries_of_data ON entries (data);
-- What a project's row is: a data unit, and the storage item behind it.
CREATE VIEW IF NOT EXISTS units AS
SELECT e.id, e.project, d.data_hash, d.dataset, i.uuid AS item, i.folder, i.title, i.item_type, i.mime_type, i.width,
    i.height, i.frames, i.fps, i.duration, i.sample_rate, i.bit_depth, i.codec, i.channels, i.digest, i.size, i.layout,
    i.description, i.metadata, i.created_at, i.edited_at, e.refusal, e.deleted, i.forbidden, i.broken
FROM entries e JOIN data d ON d.id = e.data JOIN items i ON i.id = d.item;
-- Uploads: files that were sent to a signed address, until a job makes items of them; and such jobs.
CREATE TABLE IF NOT EXISTS uploads (
    item TEXT PRIMARY KEY, folder TEXT, digest TEXT, size INTEGER, created_at REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS jobs (uuid TEXT PRIMARY KEY, answer TEXT NOT NULL, created_at REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tasks (
    id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, project INTEGER NOT NULL,
    unit INTEGER NOT NULL REFERENCES entries(id),
    stage TEXT NOT NULL, start TEXT NOT NULL, branch TEXT NOT NULL DEFAULT 'main', status TEXT NOT NULL DEFAULT 'NEW',
    priority REAL, moves INTEGER NOT NULL DEFAULT 0, created_at REAL NOT NULL, updated_at REAL NOT NULL,
    assignee TEXT, actor TEXT, rank REAL GENERATED ALWAYS AS (-coalesce(priority, 0.5)) VIRTUAL
);
CREATE INDEX IF NOT EXISTS queue_of_stage ON tasks (project, stage, rank, id);
CREATE INDEX IF NOT EXISTS tasks_of_stage ON tasks (project, stage, id);
CREATE INDEX IF NOT EXISTS tasks_of_project ON tasks (project, id);
CREATE INDEX IF NOT EXISTS tasks_of_unit ON tasks (unit, branch);
-- What reviewers say about the labels of a task.
CREATE TABLE IF NOT EXISTS reviews (
    uuid TEXT PRIMARY KEY, task TEXT NOT NULL, label_type TEXT NOT NULL, label_id TEXT NOT NULL,
    status TEXT NOT NULL DEFAULT 'NEW', comment TEXT
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS reviews_of_task ON reviews (task);
-- Where a task was, and which labels it had, when it was copied from another platform.
CREATE TABLE IF NOT EXISTS baselines (
    unit INTEGER NOT NULL, branch TEXT NOT NULL, stage TEXT NOT NULL, content BLOB, PRIMARY KEY (unit, branch)
) WITHOUT ROWID;
-- What people did, for those who ask who did what.
CREATE TABLE IF NOT EXISTS actions (
    id INTEGER PRIMARY KEY, project INTEGER NOT NULL, at REAL NOT NULL, kind TEXT NOT NULL, stage TEXT NOT NULL,
    task TEXT NOT NULL, actor TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS actions_of_project ON actions (project, at);
CREATE TABLE IF NOT EXISTS issues (
    uuid TEXT PRIMARY KEY, project INTEGER NOT NULL, data_hash TEXT NOT NULL, place TEXT NOT NULL,
    comment TEXT NOT NULL, tags TEXT NOT NULL, author TEXT NOT NULL, at REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS issues_of_project ON issues (project, data_hash);
-- How many tasks a router sent where.
CREATE TABLE IF NOT EXISTS routed (
    project INTEGER NOT NULL, router TEXT NOT NULL, destination TEXT NOT NULL, n INTEGER NOT NULL,
    PRIMARY KEY (project, router, destination)
) WITHOUT ROWID;
-- content is null until the first save.
CREATE TABLE IF NOT EXISTS labels (
    unit INTEGER NOT NULL REFERENCES entries(id), branch TEXT NOT NULL, hash TEXT NOT NULL UNIQUE, content BLOB,
    saves INTEGER NOT NULL DEFAULT 0, created_at REAL NOT NULL, edited_at REAL NOT NULL, PRIMARY KEY (unit, branch)
) WITHOUT ROWID;
-- The classes in the labels of a row: how many objects or classifications, lowest and highest confidence.
CREATE TABLE IF NOT EXISTS label_classes (
    unit INTEGER NOT NULL, branch TEXT NOT NULL, feature TEXT NOT NULL, n INTEGER NOT NULL, low REAL, high REAL,
    PRIMARY KEY (unit, branch, feature)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS units_of_class ON label_classes (feature, unit, branch);
-- Each save, move, reset and call of an agent. The version is the number of the labels that a save left.
CREATE TABLE IF NOT EXISTS history (
    id INTEGER PRIMARY KEY, project INTEGER NOT NULL, unit INTEGER NOT NULL, branch TEXT NOT NULL, at REAL NOT NULL,
    kind TEXT NOT NULL, client TEXT NOT NULL, user TEXT, stage TEXT, destination TEXT, version INTEGER
);
CREATE INDEX IF NOT EXISTS history_of_unit ON history (unit, branch, id);
CREATE INDEX IF NOT EXISTS history_of_project ON history (project, id);
CREATE INDEX IF NOT EXISTS moves_of_project ON history (project, at) WHERE kind = 'move';
-- Labels that were replaced, compressed; null where they were too large to keep.
CREATE TABLE IF NOT EXISTS versions (
    unit INTEGER NOT NULL, branch TEXT NOT NULL, number INTEGER NOT NULL, content BLOB,
    PRIMARY KEY (unit, branch, number)
) WITHOUT ROWID;
-- Addresses that are notified when tasks wait in an agent stage: of one project or stage, or, where null, of all.
CREATE TABLE IF NOT EXISTS receivers (
    id INTEGER PRIMARY KEY, address TEXT NOT NULL, secret TEXT NOT NULL, project INTEGER, stage TEXT,
    batch_size INTEGER NOT NULL, max_wait REAL NOT NULL, created_at REAL NOT NULL
);
-- Tasks that came to a stage since its receiver was notified last. With n = 0, a reminder of those that stay there.
-- Stages are told apart by project, too: all projects of a template, and copies of a project, have the same uuids.
CREATE TABLE IF NOT EXISTS arrivals (
    receiver INTEGER NOT NULL, project INTEGER NOT NULL, stage TEXT NOT NULL, n INTEGER NOT NULL, since REAL NOT NULL,
    reminders INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (receiver, project, stage)
) WITHOUT ROWID;
-- status is waiting (to be sent, or sent again), delivered or overtaken.
CREATE TABLE IF NOT EXISTS notifications (
    id INTEGER PRIMARY KEY, uid TEXT NOT NULL, receiver INTEGER NOT NULL, project INTEGER NOT NULL, stage TEXT NOT NULL,
    pending INTEGER NOT NULL, reason TEXT NOT NULL, body BLOB NOT NULL, reminders INTEGER NOT NULL,
    status TEXT NOT NULL DEFAULT 'waiting', attempts INTEGER NOT NULL DEFAULT 0, created_at REAL NOT NULL,
    next_at REAL NOT NULL, sent_at REAL, seconds REAL, answer TEXT NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS waiting_notifications ON notifications (next_at) WHERE status = 'waiting';
-- Arrivals are written along with the move itself, whichever process makes it.
CREATE TRIGGER IF NOT EXISTS task_added AFTER INSERT ON tasks WHEN EXISTS (SELECT 1 FROM receivers)
    BEGIN {arrived} END;
CREATE TRIGGER IF NOT EXISTS task_moved AFTER UPDATE OF stage ON tasks WHEN EXISTS (SELECT 1 FROM receivers)
    BEGIN {arrived} END;
""".replace(
    "{arrived}",
    "INSERT INTO arrivals (receiver, project, stage, n, since) SELECT id, NEW.project, NEW.stage, 1, NEW.updated_at"
    " FROM receivers WHERE coalesce(project, NEW.project) = NEW.project AND coalesce(stage, NEW.stage) = NEW.stage"
    " ON CONFLICT (receiver, project, stage)"
    " DO UPDATE SET n = n + 1, since = min(since, excluded.since), reminders = 0;",
)

SOME = "(SELECT value FROM json_each(?))"
"""A list of any length as one parameter of a query: see :func:`listed`.

In a query with a list of hashes or uuids, the project is compared as ``+project = ?``: SQLite does not know how long
the list is, and the plus keeps it from scanning all rows of the project instead of looking up the listed ones.
"""


def listed(values: Iterable[Any]) -> str:
    """Return values as the parameter of :data:`SOME`."""
    return orjson.dumps(list(values)).decode()


class Where:
    """The conditions of a query, all of which must hold, with their parameters. ``None`` as a value matches all.

    The first condition is the least selective, such as the project.
    """

    def __init__(self, condition: str, *values: Any) -> None:
        self._conditions = [condition]
        self._names = ""
        self.values = list(values)

    def also(self, condition: str, *values: Any) -> None:
        """Add a condition, unless one of its values is ``None``."""
        if None not in values:
            self._conditions.append(condition)
            self.values += values

    def among(self, column: str, wanted: Iterable[Any] | None) -> None:
        """Add the condition that a column has one of these values."""
        if wanted is not None:
            self.also(f"{column} IN {SOME}", listed(wanted))

    def named(self, column: str, wanted: Iterable[str] | None) -> None:
        """Add the condition that a column is one of these hashes, and look up the rows by them: see :data:`SOME`."""
        if wanted is not None:
            self._names = "+"
            self.among(column, wanted)

    def __str__(self) -> str:
        return self._names + " AND ".join(self._conditions)


def _make_tables(connection: sqlite3.Connection) -> None:
    """Create the tables that do not exist, and bring those of an earlier version up to date."""
    earlier = connection.execute("PRAGMA user_version").fetchone()[0] == OLDEST_VERSION
    if earlier:  # it counted the arrivals in a stage for one project only
        for dropped in ("TRIGGER task_added", "TRIGGER task_moved", "TABLE arrivals"):
            connection.execute(f"DROP {dropped}")
    for statement in _SCHEMA.split(";\n"):
        connection.execute(statement)
    if earlier:
        connection.execute("UPDATE tasks SET stage = stage")  # for the trigger, all of them arrive now
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


@cache
def _empty() -> sqlite3.Connection:
    """Return an empty in-memory database as a template: copying it is fifty times as fast as creating the tables,
    and tests do so thousands of times."""
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    _make_tables(connection)
    return connection


class Database:
    """The platform's state, in a file or in memory.

    Args:
        path: The file; ``None`` keeps everything in memory, for as long as the object lives.

    Raises:
        LocalPlatformError: The file is not a database of the local platform, or cannot be opened.
    """

    def __init__(self, path: Path | None) -> None:
        # One connection for all threads: an in-memory database has only one, and a file has one writer anyway.
        self._lock = RLock()  # reentrant, since a change may read, and may be part of a larger change
        self._closed = False
        if path is not None:
            # Created with mode 0600, because the file holds the secret that signs asset URLs.
            try:
                os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            except OSError as error:
                raise LocalPlatformError(f"{path} cannot be opened: {error.strerror}.") from error
        self._connection = sqlite3.connect(
            ":memory:" if path is None else path, isolation_level=None, check_same_thread=False, timeout=PATIENCE
        )
        self._connection.row_factory = sqlite3.Row
        # SQLite's own lower() and LIKE know the case of English letters only.
        self._connection.create_function("folded", 1, str.casefold, deterministic=True)
        try:
            self._prepare(path)
        except BaseException as error:
            self._connection.close()
            if isinstance(error, sqlite3.OperationalError):  # the disk or a lock: the file itself may be intact
                trouble = machine_trouble(error)
                raise LocalPlatformError(f"{path}: {trouble.message if trouble else error}") from error
            if isinstance(error, sqlite3.DatabaseError):
                raise LocalPlatformError(f"{path} is not a database of the local platform: {error}.") from error
            raise

    def _prepare(self, path: Path | None) -> None:
        self._refuse_others(path)
        if path is None:
            _empty().backup(self._connection)
        else:
            # Readers in other processes do not wait for our writes, and a commit does not wait for the disk. It
            # survives the end of this process; if the machine crashes, the last commits may be lost, each as a whole.
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
        with self.write() as connection:
            if path is not None:
                _make_tables(connection)
            connection.execute("INSERT OR IGNORE INTO settings VALUES ('secret', ?)", (secrets.token_hex(32),))

    def _refuse_others(self, path: Path | None) -> None:
        """Refuse a database that is not ours before anything is written to it.

        Raises:
            LocalPlatformError: The database is another program's, of another version, or damaged.
        """
        # The tables are checked before the application id: another process of ours may be creating the database, which
        # commits both together. So if there are tables here, there is an application id below.
        if self._connection.execute("SELECT 1 FROM sqlite_master").fetchone() is None:
            return
        if self._connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
            raise LocalPlatformError(f"{path} is not a database of the local platform. Use another directory.")
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if not OLDEST_VERSION <= version <= SCHEMA_VERSION:
            age = "a newer" if version > SCHEMA_VERSION else "an older"
            raise LocalPlatformError(f"{path} was made by {age} version of the local platform. Use another directory.")
        there = {row["name"] for row in self._connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if missing := sorted(set(_TABLE.findall(_SCHEMA)) - there):
            raise LocalPlatformError(f"{path} is damaged: it lacks {', '.join(missing)}. Use another directory.")

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Lend the connection for reading."""
        # Held for the whole block: rows are fetched one by one, and another thread may commit meanwhile.
        with self._lock:
            self._refuse_closed()
            yield self._connection

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Lend the connection in a transaction, which is rolled back if the block raises."""
        with self._lock:
            self._refuse_closed()
            if self._connection.in_transaction:  # part of a larger transaction, which commits
                yield self._connection
                return
            # Takes the write lock at once: a transaction that began as a reader would fail in the middle if another
            # process committed before its first write.
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                # A full disk may fail only the commit, and leave the transaction open. If it stayed open, later changes
                # would become part of it: acknowledged, but never written.
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # a full disk may also have ended it already
                    self._connection.execute("ROLLBACK")
                raise

    def secret(self) -> bytes:
        """Return the key that signs asset URLs. It stays the same for as long as the state exists."""
        with self.read() as connection:
            row = connection.execute("SELECT value FROM settings WHERE name = 'secret'").fetchone()
        return bytes.fromhex(row["value"])

    def add_key(self, key: str, email: str) -> None:
        with self.write() as connection:
            connection.execute("INSERT OR IGNORE INTO keys VALUES (?, ?)", (key, email))

    def owner_of(self, key: str) -> str:
        """Return the email of a key's user; empty if no user has it."""
        with self.read() as connection:
            row = connection.execute("SELECT email FROM keys WHERE id = ?", (key,)).fetchone()
        return "" if row is None else str(row["email"])

    def knows_key(self, key: str) -> bool:
        with self.read() as connection:
            return connection.execute("SELECT 1 FROM keys WHERE id = ?", (key,)).fetchone() is not None

    def clear(self, *, keep: str) -> None:
        """Delete everything except the secret and one key."""
        with self.write() as connection:
            for table in _TABLE.findall(_SCHEMA):
                if table == "keys":
                    connection.execute("DELETE FROM keys WHERE id != ?", (keep,))
                elif table == "settings":
                    connection.execute("DELETE FROM settings WHERE name != 'secret'")
                else:
                    connection.execute(f"DELETE FROM {table}")

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._connection.close()

    def _refuse_closed(self) -> None:
        if self._closed:
            raise LocalPlatformError("The platform is closed, and its state with it: make another LocalPlatform.")
