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

SCHEMA_VERSION = 4
APPLICATION_ID = 0x656E6C70
"""The number in the header of our SQLite files, so that nobody else's is taken for one."""

PATIENCE = 30.0
"""Seconds to wait for another process that writes to the same database."""
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
CREATE TABLE IF NOT EXISTS arrivals (
    receiver INTEGER NOT NULL, stage TEXT NOT NULL, project INTEGER NOT NULL, n INTEGER NOT NULL, since REAL NOT NULL,
    reminders INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (receiver, stage)
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
    "INSERT INTO arrivals (receiver, stage, project, n, since)"
    " SELECT id, NEW.stage, NEW.project, 1, NEW.updated_at FROM receivers"
    " WHERE coalesce(project, NEW.project) = NEW.project AND coalesce(stage, NEW.stage) = NEW.stage"
    " ON CONFLICT (receiver, stage) DO UPDATE SET n = n + 1, since = min(since, excluded.since), reminders = 0;",
)


SOME = "(SELECT value FROM json_each(?))"
"""A list of any length as one value of a query: see :func:`listed`.

Beside a list of hashes or uuids, a project is compared as ``+project = ?``: the plus keeps SQLite, which does not know
how long the list is, from going through all rows of the project instead of looking up those that are named.
"""


def listed(values: Iterable[Any]) -> str:
    """Return values as :data:`SOME` takes them."""
    return orjson.dumps(list(values)).decode()


class Where:
    """The conditions of a query, all of which must hold, with their values. ``None`` as a value asks for all.

    The first of them is the wide one, such as the project.
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
        """Add the condition that a column has one of some values."""
        if wanted is not None:
            self.also(f"{column} IN {SOME}", listed(wanted))

    def named(self, column: str, wanted: Iterable[str] | None) -> None:
        """Add the condition that a column is one of some hashes, and look the rows up by them: see :data:`SOME`."""
        if wanted is not None:
            self._names = "+"
            self.among(column, wanted)

    def __str__(self) -> str:
        return self._names + " AND ".join(self._conditions)


def _make_tables(connection: sqlite3.Connection) -> None:
    """Make the tables that are not there."""
    for statement in _SCHEMA.split(";\n"):
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


@cache
def _empty() -> sqlite3.Connection:
    """Return an empty state, to be copied: making its tables takes fifty times as long, which tests do thousands of
    times."""
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    _make_tables(connection)
    return connection


class Database:
    """The state, in a file or in memory.

    Args:
        path: The file; ``None`` keeps everything in memory, for as long as the object lives.

    Raises:
        LocalPlatformError: The file holds something else, or cannot be opened.
    """

    def __init__(self, path: Path | None) -> None:
        # One connection for all threads: in memory there is only one, and in a file SQLite has one writer anyway.
        self._lock = RLock()  # reentrant, since a change may read, and be a part of a larger one
        self._closed = False
        if path is not None:
            # The secret that signs asset URLs is inside.
            try:
                os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            except OSError as error:
                raise LocalPlatformError(f"{path} cannot be opened: {error.strerror}.") from error
        self._connection = sqlite3.connect(
            ":memory:" if path is None else path, isolation_level=None, check_same_thread=False, timeout=PATIENCE
        )
        self._connection.row_factory = sqlite3.Row
        try:
            self._prepare(path)
        except BaseException as error:
            self._connection.close()
            if isinstance(error, sqlite3.OperationalError):  # the disk, or a lock: the file itself may be sound
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
            # Readers of another process do not wait for our writes; and a commit survives the end of this process
            # without waiting for the disk (of the machine's, the last ones may be lost, each as a whole).
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
        with self.write() as connection:
            if path is not None:
                _make_tables(connection)
            connection.execute("INSERT OR IGNORE INTO settings VALUES ('secret', ?)", (secrets.token_hex(32),))

    def _refuse_others(self, path: Path | None) -> None:
        """Look before anything is written: another program's database stays as it is.

        Raises:
            LocalPlatformError: It is one, or is of another version.
        """
        # In this order: another process of ours may be about to make it, and then the tables come with the rest.
        if self._connection.execute("SELECT 1 FROM sqlite_master").fetchone() is None:
            return
        if self._connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
            raise LocalPlatformError(f"{path} is not a database of the local platform. Use another directory.")
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if version != SCHEMA_VERSION:
            age = "a newer" if version > SCHEMA_VERSION else "an older"
            raise LocalPlatformError(f"{path} was made by {age} version of the local platform. Use another directory.")
        there = {row["name"] for row in self._connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if missing := sorted(set(_TABLE.findall(_SCHEMA)) - there):
            raise LocalPlatformError(f"{path} is damaged: it lacks {', '.join(missing)}. Use another directory.")

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Lend the connection, for looking something up."""
        with (
            self._lock
        ):  # to the end of the block: rows are fetched one by one, and another thread may commit meanwhile
            self._refuse_closed()
            yield self._connection

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Lend the connection in a transaction: all of it happens, or, if the block raises, nothing."""
        with self._lock:
            self._refuse_closed()
            if self._connection.in_transaction:  # within a larger whole
                yield self._connection
                return
            # At once for writing: a transaction that begins as a reader and is overtaken by another process could only
            # fail in the middle.
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                # A full disk may fail only this, and leave the transaction open. Whatever came next would then be
                # taken for a part of it: answered, and never written.
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # a full disk may also have ended it already
                    self._connection.execute("ROLLBACK")
                raise

    def secret(self) -> bytes:
        """The key that signs asset URLs; the same for as long as the state lives."""
        with self.read() as connection:
            row = connection.execute("SELECT value FROM settings WHERE name = 'secret'").fetchone()
        return bytes.fromhex(row["value"])

    def add_key(self, key: str, email: str) -> None:
        with self.write() as connection:
            connection.execute("INSERT OR IGNORE INTO keys VALUES (?, ?)", (key, email))

    def owner_of(self, key: str) -> str:
        """The email of a key's user; empty if nobody has it."""
        with self.read() as connection:
            row = connection.execute("SELECT email FROM keys WHERE id = ?", (key,)).fetchone()
        return "" if row is None else str(row["email"])

    def knows_key(self, key: str) -> bool:
        with self.read() as connection:
            return connection.execute("SELECT 1 FROM keys WHERE id = ?", (key,)).fetchone() is not None

    def clear(self, *, keep: str) -> None:
        """Forget everything but the secret and one key."""
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
