"""Tools that all pages share, and look-ups of the projects and tasks in their URLs."""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import orjson
from starlette.requests import Request

from encord_agents.local import history, items
from encord_agents.local.catalogue import ProjectRecord
from encord_agents.local.database import SOME, listed
from encord_agents.local.journal import Journal
from encord_agents.local.page import frames, listing
from encord_agents.local.page.classes import Classes, LabelClass, read
from encord_agents.local.page.film import Films
from encord_agents.local.page.labelled import Labelled, Row
from encord_agents.local.page.outcomes import Outcomes
from encord_agents.local.page.pictures import Kept
from encord_agents.local.service import Service
from encord_agents.local.trouble import Refusal

MOST_COVERS = 5_000
GROUPS = ("imageGroup", "imageSequence", "group")
MOST_DRAWN = 200
"""The most objects that are drawn on a thumbnail."""


@dataclass(frozen=True)
class Cover:
    """The labels on a thumbnail: those of the first frame that has any."""

    frame: int
    size: tuple[int, int]
    objects: Sequence[Labelled]
    counts: Sequence[tuple[LabelClass, int]]


@dataclass
class Pages:
    """The platform's state, and caches of pictures, videos, outcomes and covers.

    Attributes:
        now: The journal's clock.
    """

    service: Service
    journal: Journal
    now: Callable[[], float]
    kept: Kept = field(default_factory=Kept)
    films: Films = field(default_factory=Films)
    outcomes: Outcomes = field(default_factory=Outcomes)
    _covers: OrderedDict[tuple[int, str, float, float], Cover] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    def project(self, request: Request) -> ProjectRecord:
        """Return the project in the URL.

        Raises:
            Refusal: 404, there is no such project.
        """
        record = self.service.catalogue.project(request.path_params["project"].lower())
        if record is None:
            raise Refusal(404, "There is no such project.")
        return record

    def task(self, project: ProjectRecord, request: Request) -> sqlite3.Row:
        """Return the task in the URL.

        Raises:
            Refusal: 404, the project has no such task.
        """
        row = listing.task(self.service.database, project, request.path_params["task"].lower())
        if row is None:
            raise Refusal(404, "The project has no such task.")
        return row

    def classes(self, project: ProjectRecord) -> Classes:
        ontology = self.service.catalogue.ontology(project.ontology)
        assert ontology is not None
        return read(ontology.editor, edited_at=ontology.edited_at)

    def labels(self, task: sqlite3.Row, known: Classes, version: int | None = None) -> Row:
        """Return the labels of a task: the saved ones, or an earlier version."""
        if version is None:
            stored = self._stored(task["unit"], task["branch"])
            content = None if stored is None else stored["content"]
        else:
            content = history.version(self.service.database, task["unit"], task["branch"], version)
        members = items.children(self.service.database, task["item"]) if task["item_type"] in GROUPS else []
        shown = frames.group(self, members) if members else frames.of(self, task)
        return Row(orjson.loads(content) if content else None, known, task["item_type"], shown.sizes, shown.parts)

    def covers(self, tasks: Sequence[sqlite3.Row], known: Classes) -> dict[str, Cover]:
        """Return the labels for thumbnails, by the tasks' uuids. Cached until a save or a change of the ontology."""
        edited = self._edited([task["unit"] for task in tasks])
        found = {}
        for task in tasks:
            at = edited.get((task["unit"], task["branch"]))
            if at is None:
                continue
            key = (task["unit"], task["branch"], at, known.edited_at)
            with self._lock:
                cover = self._covers.get(key)
            if cover is None:
                cover = _cover(self.labels(task, known), frames.of(self, task))
                with self._lock:
                    self._covers[key] = cover
                    while len(self._covers) > MOST_COVERS:
                        self._covers.popitem(last=False)
            found[task["uuid"]] = cover
        return found

    def _edited(self, units: Sequence[int]) -> dict[tuple[int, str], float]:
        with self.service.database.read() as connection:
            rows = connection.execute(
                f"SELECT unit, branch, edited_at FROM labels WHERE content IS NOT NULL AND unit IN {SOME}",
                (listed(units),),
            ).fetchall()
        return {(row["unit"], row["branch"]): row["edited_at"] for row in rows}

    def _stored(self, unit: int, branch: str) -> Any:
        with self.service.database.read() as connection:
            return connection.execute(
                "SELECT content, hash, saves, edited_at FROM labels WHERE unit = ? AND branch = ?", (unit, branch)
            ).fetchone()


def _cover(row: Row, shown: frames.Frames) -> Cover:
    frame = row.frames[0] if row.frames else 0
    found: dict[LabelClass, int] = {}
    drawn = row.objects(frame)
    everything = drawn if row.is_ranged or len(row.frames) <= 1 else [labelled for labelled, _ in row.tracks()]
    for labelled in [*everything, *row.classifications()]:
        found[labelled.label_class] = found.get(labelled.label_class, 0) + 1
    return Cover(frame, shown.size(frame), drawn[:MOST_DRAWN] if shown.is_drawn else [], list(found.items()))
