"""Projects and their ontologies."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any
from uuid import uuid4

import orjson

from encord_agents.local.database import Database
from encord_agents.local.features import Feature, features
from encord_agents.local.trouble import LocalPlatformError, WorkflowError
from encord_agents.local.workflow import Pathway, ResolvedStage, Workflow


@dataclass(frozen=True)
class ProjectRecord:
    """A project. It does not change once it is made, so it may be kept.

    Attributes:
        id: Its row.
        hash: What the SDK calls ``project_hash``.
        type: ``workflow`` or ``manual_qa``.
        stages: By uuid, in order; without routers, in which no task ever is.
        routers: By uuid.
        features: The objects and classifications in its ontology, by feature hash.
    """

    id: int
    hash: str
    title: str
    description: str
    type: str
    ontology: str
    dataset: str
    folder: str
    stages: Mapping[str, ResolvedStage]
    routers: Mapping[str, ResolvedStage]
    start: str
    created_at: float
    features: Mapping[str, Feature]


@dataclass(frozen=True)
class OntologyRecord:
    hash: str
    title: str
    editor: dict[str, Any]
    created_at: float


class Catalogue:
    """Finds and makes projects."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._projects: dict[str, ProjectRecord] = {}

    def create(
        self, *, title: str, description: str, type: str, workflow: Workflow, editor: Mapping[str, Any]
    ) -> ProjectRecord:
        project, ontology, dataset, folder = (str(uuid4()) for _ in range(4))
        now = time.time()
        try:
            stages = orjson.dumps([asdict(stage) for stage in workflow.resolved]).decode()
        except TypeError as error:  # half a character, which JSON files may have
            raise WorkflowError(f"The workflow cannot be stored: {error}.") from error
        with self._database.write() as connection:
            connection.execute(
                "INSERT INTO ontologies VALUES (?, ?, ?, ?)", (ontology, title, orjson.dumps(editor).decode(), now)
            )
            connection.execute(
                "INSERT INTO projects"
                " (hash, title, description, type, ontology, dataset, folder, stages, start, created_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    project,
                    title,
                    description,
                    type,
                    ontology,
                    dataset,
                    folder,
                    stages,
                    workflow.start_uuid,
                    now,
                ),
            )
        found = self.project(project)
        assert found is not None
        return found

    def project(self, hash: str) -> ProjectRecord | None:
        if hash in self._projects:
            return self._projects[hash]
        with self._database.read() as connection:
            row = connection.execute("SELECT * FROM projects WHERE hash = ?", (hash,)).fetchone()
        if row is None:
            return None
        ontology = self.ontology(row["ontology"])
        assert ontology is not None
        try:
            stages = [_stage(stage) for stage in orjson.loads(row["stages"])]
        except (ValueError, KeyError, TypeError) as error:
            raise LocalPlatformError(f"Project {hash} is damaged: its stages cannot be read ({error}).") from error
        record = self._projects[hash] = ProjectRecord(
            **{k: row[k] for k in ("id", "hash", "title", "description", "type", "ontology", "dataset", "folder")},
            stages={stage.uuid: stage for stage in stages if stage.type != "router"},
            routers={stage.uuid: stage for stage in stages if stage.type == "router"},
            start=row["start"],
            created_at=row["created_at"],
            features=features(ontology.editor),
        )
        return record

    def projects(self) -> list[ProjectRecord]:
        """All projects, oldest first."""
        with self._database.read() as connection:
            hashes = [row["hash"] for row in connection.execute("SELECT hash FROM projects ORDER BY id")]
        return [record for record in map(self.project, hashes) if record is not None]

    def ontology(self, hash: str) -> OntologyRecord | None:
        with self._database.read() as connection:
            row = connection.execute("SELECT * FROM ontologies WHERE hash = ?", (hash,)).fetchone()
        return row and OntologyRecord(row["hash"], row["title"], orjson.loads(row["editor"]), row["created_at"])


def _stage(data: dict[str, Any]) -> ResolvedStage:
    ways = tuple(Pathway(**p) for p in data["pathways"])
    return ResolvedStage(data["uuid"], data["title"], data["type"], ways, tuple(data["shares"]))
