"""Projects, the templates of their workflows, and ontologies."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from uuid import uuid4

import orjson

from encord_agents.local import datasets
from encord_agents.local.database import Database
from encord_agents.local.features import Feature, features
from encord_agents.local.trouble import LocalPlatformError
from encord_agents.local.workflow import Pathway, ResolvedStage, Workflow


@dataclass(frozen=True)
class ProjectRecord:
    """A project. A change makes a new record.

    Attributes:
        id: Its row.
        hash: The SDK's ``project_hash``.
        type: ``workflow`` or ``manual_qa``.
        dataset: The dataset of files that are added to the project without naming one.
        stages: By uuid, in order; without routers, which never hold a task.
        routers: By uuid.
        features: The objects and classifications in its ontology, by feature hash.
    """

    id: int
    hash: str
    title: str
    description: str
    type: str
    status: str
    ontology: str
    dataset: str | None
    stages: Mapping[str, ResolvedStage]
    routers: Mapping[str, ResolvedStage]
    start: str
    created_at: float
    edited_at: float
    features: Mapping[str, Feature]


@dataclass(frozen=True)
class OntologyRecord:
    hash: str
    title: str
    description: str
    editor: dict[str, Any]
    created_at: float
    edited_at: float


class Catalogue:
    """Finds, creates and changes projects, ontologies and workflow templates."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._projects: dict[str, tuple[tuple[Any, ...], ProjectRecord]] = {}

    def create(
        self, *, title: str, description: str, type: str, workflow: Workflow, editor: Mapping[str, Any]
    ) -> ProjectRecord:
        """Create a project with a dataset and an ontology of its own."""
        stages, start = dumped(workflow), workflow.start_uuid
        with self._database.write() as connection:
            dataset = datasets.create(connection, title, folder=datasets.new_folder(connection, title))
            ontology = self.add_ontology(title, "", editor)
            return self._insert(connection, title, description, type, ontology, stages, start, [dataset])

    def create_from(
        self, *, title: str, description: str, ontology: str, stages: str, start: str, dataset_hashes: Sequence[str]
    ) -> ProjectRecord:
        """Create a project from an existing ontology and existing datasets."""
        with self._database.write() as connection:
            return self._insert(connection, title, description, "workflow", ontology, stages, start, dataset_hashes)

    def _insert(
        self,
        connection: sqlite3.Connection,
        title: str,
        description: str,
        type: str,
        ontology: str,
        stages: str,
        start: str,
        dataset_hashes: Sequence[str],
    ) -> ProjectRecord:
        hash, now = str(uuid4()), time.time()
        added = connection.execute(
            "INSERT INTO projects (hash, title, description, type, ontology, dataset, stages, start, created_at,"
            " edited_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (hash, title, description, type, ontology, next(iter(dataset_hashes), None), stages, start, now, now),
        )
        assert added.lastrowid is not None
        for dataset in dataset_hashes:
            datasets.attach(connection, added.lastrowid, dataset)
        found = self.project(hash)
        assert found is not None
        return found

    def project(self, hash: str) -> ProjectRecord | None:
        with self._database.read() as connection:
            row = connection.execute(
                "SELECT p.*, o.edited_at AS ontology_edited_at FROM projects p JOIN ontologies o ON o.hash = p.ontology"
                " WHERE p.hash = ?",
                (hash,),
            ).fetchone()
        if row is None:
            self._projects.pop(hash, None)
            return None
        stamp = (row["id"], row["edited_at"], row["ontology"], row["ontology_edited_at"])
        known = self._projects.get(hash)
        if known is not None and known[0] == stamp:
            return known[1]
        ontology = self.ontology(row["ontology"])
        assert ontology is not None
        try:
            stages = [_stage(stage) for stage in orjson.loads(row["stages"])]
        except (ValueError, KeyError, TypeError) as error:
            raise LocalPlatformError(f"Project {hash} is damaged: its stages cannot be read ({error}).") from error
        plain = ("id", "hash", "title", "description", "type", "status", "ontology", "dataset", "start", "created_at")
        record = ProjectRecord(
            **{key: row[key] for key in plain},
            edited_at=row["edited_at"],
            stages={stage.uuid: stage for stage in stages if stage.type != "router"},
            routers={stage.uuid: stage for stage in stages if stage.type == "router"},
            features=features(ontology.editor),
        )
        self._projects[hash] = stamp, record
        return record

    def projects(self) -> list[ProjectRecord]:
        """Return all projects, oldest first."""
        with self._database.read() as connection:
            hashes = [row["hash"] for row in connection.execute("SELECT hash FROM projects ORDER BY id")]
        return [record for record in map(self.project, hashes) if record is not None]

    def update(self, hash: str, **values: str | None) -> None:
        """Change title, description, status or dataset of a project."""
        assert values.keys() <= {"title", "description", "status", "dataset"}
        columns = ", ".join(f"{name} = ?" for name in values)
        with self._database.write() as connection:
            connection.execute(
                f"UPDATE projects SET {columns}, edited_at = ? WHERE hash = ?", (*values.values(), time.time(), hash)
            )

    def delete(self, record: ProjectRecord) -> None:
        """Remove a project with its tasks and labels, but not its datasets, files and ontology."""
        with self._database.write() as connection:
            # A later project may get the same row id, and must not inherit anything.
            datasets.forget(connection, "SELECT id FROM entries WHERE project = ?", (record.id,))
            for table in (
                "project_datasets", "routed", "receivers", "arrivals", "notifications", "actions", "issues",
            ):  # fmt: skip
                connection.execute(f"DELETE FROM {table} WHERE project = ?", (record.id,))
            connection.execute("DELETE FROM settings WHERE name = ?", (f"issue_tags {record.hash}",))
            connection.execute("DELETE FROM members WHERE kind = 'project' AND hash = ?", (record.hash,))
            connection.execute("DELETE FROM projects WHERE id = ?", (record.id,))

    def datasets(self, record: ProjectRecord) -> list[sqlite3.Row]:
        """Return the datasets of a project, oldest first."""
        with self._database.read() as connection:
            return connection.execute(
                "SELECT d.* FROM datasets d JOIN project_datasets p ON p.dataset = d.hash WHERE p.project = ?"
                " ORDER BY d.created_at, d.hash",
                (record.id,),
            ).fetchall()

    def all_datasets(self) -> list[sqlite3.Row]:
        """Return all datasets, oldest first."""
        with self._database.read() as connection:
            return connection.execute("SELECT * FROM datasets ORDER BY created_at, hash").fetchall()

    def add_ontology(self, title: str, description: str, editor: Mapping[str, Any]) -> str:
        """Create an ontology and return its hash."""
        hash, now = str(uuid4()), time.time()
        with self._database.write() as connection:
            connection.execute(
                "INSERT INTO ontologies VALUES (?, ?, ?, ?, ?, ?)",
                (hash, title, description, orjson.dumps(editor).decode(), now, now),
            )
        return hash

    def save_ontology(self, hash: str, title: str, description: str, editor: Mapping[str, Any]) -> None:
        """Replace an ontology; existing labels stay as they are."""
        with self._database.write() as connection:
            connection.execute(
                "UPDATE ontologies SET title = ?, description = ?, editor = ?, edited_at = ? WHERE hash = ?",
                (title, description, orjson.dumps(editor).decode(), time.time(), hash),
            )

    def ontology(self, hash: str) -> OntologyRecord | None:
        with self._database.read() as connection:
            row = connection.execute("SELECT * FROM ontologies WHERE hash = ?", (hash,)).fetchone()
        return row and _ontology(row)

    def ontologies(self) -> list[OntologyRecord]:
        """Return all ontologies, oldest first."""
        with self._database.read() as connection:
            rows = connection.execute("SELECT * FROM ontologies ORDER BY created_at, hash").fetchall()
        return [_ontology(row) for row in rows]

    def add_template(self, title: str, workflow: Workflow, uuid: str | None = None) -> str:
        """Create a workflow template, from which projects with the same stages and pathways can be created."""
        uuid = uuid or str(uuid4())
        with self._database.write() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO templates VALUES (?, ?, ?, ?)",
                (uuid, title, dumped(workflow), workflow.start_uuid),
            )
        return uuid

    def template(self, uuid: str) -> sqlite3.Row | None:
        with self._database.read() as connection:
            row: sqlite3.Row | None = connection.execute("SELECT * FROM templates WHERE uuid = ?", (uuid,)).fetchone()
        return row


def dumped(workflow: Workflow) -> str:
    """Return a workflow's stages as the database stores them."""
    return orjson.dumps([asdict(stage) for stage in workflow.resolved]).decode()


def _ontology(row: sqlite3.Row) -> OntologyRecord:
    return OntologyRecord(
        row["hash"], row["title"], row["description"], orjson.loads(row["editor"]), row["created_at"], row["edited_at"]
    )


def _stage(data: dict[str, Any]) -> ResolvedStage:
    ways = tuple(Pathway(**p) for p in data["pathways"])
    return ResolvedStage(data["uuid"], data["title"], data["type"], ways, tuple(data["shares"]))
