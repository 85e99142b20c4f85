"""Changes of labels and moves of tasks since a project was pulled or created."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from encord_agents.local.catalogue import ProjectRecord
from encord_agents.local.database import Database


@dataclass(frozen=True)
class Difference:
    """The changes of a task. Objects and classifications are counted by their hashes.

    Attributes:
        origin, stage: The titles of its former and present stages.
        task: The task's uuid.
        branch: The branch of its labels.
    """

    data_title: str
    data_hash: str
    origin: str
    stage: str
    added: int
    removed: int
    changed: int
    task: str = ""
    branch: str = "main"

    @property
    def moved(self) -> bool:
        return self.origin != self.stage


def differences(database: Database, project: ProjectRecord) -> list[Difference]:
    """Return the changes of all tasks that have any, oldest first.

    A pulled project is compared with the copy that was pulled; another one with its start, without labels.
    """
    found = []
    with database.read() as connection:
        for row in connection.execute(
            "SELECT u.title, u.data_hash, t.uuid, t.branch, t.stage, coalesce(b.stage, t.start) AS origin, l.content,"
            " b.content AS before"
            " FROM tasks t JOIN units u ON u.id = t.unit"
            " LEFT JOIN labels l ON l.unit = t.unit AND l.branch = t.branch"
            " LEFT JOIN baselines b ON b.unit = t.unit AND b.branch = t.branch"
            " WHERE t.project = ? ORDER BY t.id",
            (project.id,),
        ):
            if row["content"] == row["before"] and row["stage"] == row["origin"]:
                continue
            before, now = (_pieces(orjson.loads(row[key]) if row[key] else {}) for key in ("before", "content"))
            difference = Difference(
                row["title"], row["data_hash"], project.stages[row["origin"]].title, project.stages[row["stage"]].title,
                len(now.keys() - before.keys()), len(before.keys() - now.keys()),
                sum(before[key] != now[key] for key in before.keys() & now.keys()), row["uuid"], row["branch"],
            )  # fmt: skip
            if difference.moved or difference.added or difference.removed or difference.changed:
                found.append(difference)
    return found


_FLEETING = ("createdAt", "createdBy", "lastEditedAt", "lastEditedBy")


def _pieces(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return each object and classification by its hash, with all its facts except dates and authors."""
    pieces: dict[str, Any] = {}
    for unit in (*content.get("data_units", {}).items(), *content.get("spaces", {}).items()):
        labels = unit[1].get("labels") or {}
        frames = {"0": labels} if isinstance(labels.get("objects"), list) else labels
        for number, frame in frames.items():
            for one in frame.get("objects", ()):
                place = pieces.setdefault(one["objectHash"], {}).setdefault("places", {})
                place[f"{unit[0]} {number}"] = _lasting(one)
    for key, answer in content.get("object_answers", {}).items():
        pieces.setdefault(key, {})["answer"] = _lasting(answer)
    for key, answer in content.get("classification_answers", {}).items():
        pieces.setdefault(key, {})["answer"] = _lasting(answer)
    return pieces


def _lasting(found: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in found.items() if key not in _FLEETING}
