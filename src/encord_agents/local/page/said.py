"""People's feedback on a task: issues, and reviews of single labels."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Any

import orjson

from encord_agents.local.catalogue import ProjectRecord
from encord_agents.local.page.labelled import Row
from encord_agents.local.page.pages import Pages

MOST = 100
"""The most issues, and the most reviews, that are shown for a task."""


@dataclass(frozen=True)
class Issue:
    """An issue.

    Attributes:
        about: Its place in words: a label or frames; empty for the whole file.
        frame: The frame that it refers to, if any.
        label: The hash of the object or classification that it refers to, if any.
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
    """Return the issues of a task's file, latest first."""
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
    """Return the reviews of a task's labels that have a verdict or a comment."""
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
