"""The platform's database: what is somebody else's is left alone."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from encord_agents.local import AgentStage, LocalPlatform, LocalPlatformError, Stage, Workflow, notifications
from encord_agents.local.database import APPLICATION_ID, SCHEMA_VERSION, Database


@pytest.mark.parametrize(
    ("statements", "says"),
    [
        ("CREATE TABLE projects (a)", "not a database of the local platform"),
        (f"CREATE TABLE projects (a); PRAGMA user_version = {SCHEMA_VERSION}", "not a database of the local platform"),
        (
            f"CREATE TABLE projects (a); PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 99",
            "a newer version",
        ),
        (
            f"CREATE TABLE projects (a); PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 3",
            "an older version",
        ),
    ],
)
def test_another_database_is_refused_untouched(tmp_path: Path, statements: str, says: str) -> None:
    """Not a byte of it changes, and nothing is put beside it."""
    path = tmp_path / "platform.sqlite3"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(statements)
    before = path.read_bytes()
    with pytest.raises(LocalPlatformError, match=says):
        LocalPlatform(tmp_path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_key_that_is_none_is_found_before_a_database_is_made(tmp_path: Path) -> None:
    """A directory with somebody else's key file stays as it was."""
    (tmp_path / "id_ed25519").write_text("somebody's words")
    with pytest.raises(LocalPlatformError, match="not an Ed25519"):
        LocalPlatform(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["id_ed25519"]


def test_an_empty_file_is_a_new_database(tmp_path: Path) -> None:
    """And one that was made here is known again."""
    path = tmp_path / "platform.sqlite3"
    path.touch()
    for _ in range(2):
        database = Database(path)
        database.add_key("a", "b")
        assert database.knows_key("a")
        database.close()


VERSION_4 = """
DROP TRIGGER task_added;
DROP TRIGGER task_moved;
DROP TABLE arrivals;
CREATE TABLE arrivals (
    receiver INTEGER NOT NULL, stage TEXT NOT NULL, project INTEGER NOT NULL, n INTEGER NOT NULL, since REAL NOT NULL,
    reminders INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (receiver, stage)
) WITHOUT ROWID;
CREATE TRIGGER task_added AFTER INSERT ON tasks BEGIN SELECT 1; END;
CREATE TRIGGER task_moved AFTER UPDATE OF stage ON tasks BEGIN SELECT 1; END;
INSERT INTO arrivals SELECT 1, stage, project, 3, updated_at, 0 FROM tasks LIMIT 1;
PRAGMA user_version = 4;
"""
"""Makes a database of version 4, which counted the arrivals in a stage for one of the projects that have it."""


def test_a_database_of_the_version_before(tmp_path: Path) -> None:
    """It is opened with what is in it, and also announces the projects that it had left out."""
    workflow = Workflow([AgentStage("Agent", {"done": "Done"}), Stage("Done", "done")])
    with closing(LocalPlatform(tmp_path)) as platform:
        hashes = [platform.create_project(workflow=workflow).project_hash for _ in range(2)]
        platform.receivers.add("http://127.0.0.1:9/")
        for hash in hashes:
            platform.project(hash).add_placeholders(3)
    with closing(sqlite3.connect(tmp_path / "platform.sqlite3")) as connection:
        connection.executescript(VERSION_4)
    for _ in range(2):
        with closing(LocalPlatform(tmp_path)) as platform:
            notifications.collect(platform._service.database, platform._service.catalogue, now=4e9)
            assert sorted(one.project for one in platform.receivers.sent()) == sorted(hashes)
            assert [one.pending for one in platform.receivers.sent()] == [3, 3]


def test_a_write_within_a_write_is_a_part_of_it() -> None:
    """All of it happens, or nothing."""
    database = Database(None)

    def add_and_fail() -> None:
        with database.write():
            database.add_key("a", "b")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        add_and_fail()
    assert not database.knows_key("a")
    with database.write():
        database.add_key("a", "b")
    assert database.knows_key("a")
    database.close()
