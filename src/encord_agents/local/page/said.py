"""The words of people about a task: issues, and reviews of single labels."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Any

import orjson

from encord_agents.local.catalogue import ProjectRecord
from encord_agents.local.page.labelled import Row
from encord_agents.local.page.pages import Pages

MOST = 100
"""Issues, and reviews, that are shown of a task."""


@dataclass(frozen=True)
class Issue:
    """An issue.

    Attributes:
        about: The place in words: a label, frames; empty where it is the whole file.
        frame: The frame to look at, if it names one.
        label: The hash of the object or classification, if it names one.
    """

    comment: str
    tags: list[str]
    author: str
    at: float
    about: str
    frame: int | None
    label: str | None


@dataclass(frozen=True)
class Review:
    """A label that a reviewer has judged: ``approved``, ``rejected``, ``reopened`` or ``resolved``."""

    name: str
    label: str
    status: str
    comment: str


def issues(pages: Pages, project: ProjectRecord, task: sqlite3.Row, row: Row) -> list[Issue]:
    """The issues of a task's file, latest first."""
    with pages.service.database.read() as connection:
        rows = connection.execute(
            "SELECT * FROM issues WHERE project = ? AND data_hash = ? ORDER BY at DESC, uuid LIMIT ?",
            (project.id, task["data_hash"], MOST),
        ).fetchall()
    names = row.names()
    return [_issue(found, names) for found in rows]


def _issue(row: sqlite3.Row, names: dict[str, str]) -> Issue:
    place: dict[str, Any] = orjson.loads(row["place"])
    label = str(place["annotationId"]) if "annotationId" in place else None
    frame = place.get("frameIndex")
    frame = int(frame) if isinstance(frame, (int, float)) and 0 <= frame < 1e9 else None
    about = ""
    if label is not None:
        about = names.get(label, "a label that is gone")
    elif place["type"] == "frameRange":
        about = f"frames {_ranges(place['frameRanges'])}"
    elif frame is not None:
        about = f"frame {frame:,}"
    return Issue(row["comment"], orjson.loads(row["tags"]), row["author"], row["at"], about, frame, label)


def _ranges(given: Any) -> str:
    found = given if isinstance(given, list) else []
    pairs = [pair for pair in found if isinstance(pair, list) and len(pair) == 2]
    return ", ".join(f"{first} to {last}" for first, last in pairs[:10])


def reviews(pages: Pages, task: sqlite3.Row, row: Row) -> list[Review]:
    """The reviews of a task's labels that say something."""
    with pages.service.database.read() as connection:
        rows = connection.execute(
            "SELECT * FROM reviews WHERE task = ? AND (status != 'NEW' OR comment IS NOT NULL)"
            " ORDER BY label_id LIMIT ?",
            (task["uuid"], MOST),
        ).fetchall()
    names = row.names()
    return [
        Review(names[found["label_id"]], found["label_id"], found["status"].lower(), found["comment"] or "")
        for found in rows
        if found["label_id"] in names
    ]
