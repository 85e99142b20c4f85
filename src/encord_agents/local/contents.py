"""An index of the classes in a row's labels, so that tasks are found by class without parsing labels."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def classes(content: Mapping[str, Any]) -> dict[str, tuple[int, float | None, float | None]]:
    """Count the objects and classifications of each feature: feature hash -> (how many, lowest, highest confidence)."""
    members: dict[str, set[str]] = {}
    confidences: dict[str, list[float]] = {}
    for feature, hash, confidence in _found(content):
        members.setdefault(feature, set()).add(hash)
        if confidence is not None:
            confidences.setdefault(feature, []).append(confidence)
    return {
        feature: (len(hashes), *((min(given), max(given)) if (given := confidences.get(feature)) else (None, None)))
        for feature, hashes in members.items()
    }


def _found(content: Mapping[str, Any]) -> Iterator[tuple[str, str, float | None]]:
    for unit in (*content.get("data_units", {}).values(), *content.get("spaces", {}).values()):
        labels = unit.get("labels") or {}
        frames = [labels] if isinstance(labels.get("objects"), list) else labels.values()
        for frame in frames:
            if not isinstance(frame, Mapping):
                continue
            for found in _listed(frame.get("objects")):
                yield found["featureHash"], found["objectHash"], found.get("confidence")
            for found in _listed(frame.get("classifications")):
                if isinstance(found.get("confidence"), (int, float)):
                    yield str(found.get("featureHash")), str(found.get("classificationHash")), found["confidence"]
    for key, answer in content.get("object_answers", {}).items():
        if "range" in answer and isinstance(answer.get("featureHash"), str):  # objects of audio and text
            yield answer["featureHash"], key, answer.get("confidence")
    for key, answer in content.get("classification_answers", {}).items():
        yield answer["featureHash"], key, answer.get("confidence")


def _listed(value: object) -> list[Mapping[str, Any]]:
    """Return the labels in a list; none if the value is something that the platform stores uninterpreted."""
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def keep(connection: sqlite3.Connection, saves: Sequence[tuple[int, str, Mapping[str, Any]]]) -> None:
    """Index the classes of labels that are being saved, ``(unit, branch, labels)``, in the caller's transaction."""
    connection.executemany(
        "DELETE FROM label_classes WHERE unit = ? AND branch = ?", [(unit, branch) for unit, branch, _ in saves]
    )
    connection.executemany(
        "INSERT INTO label_classes (unit, branch, feature, n, low, high) VALUES (?, ?, ?, ?, ?, ?)",
        [
            (unit, branch, feature, *found)
            for unit, branch, content in saves
            for feature, found in classes(content).items()
        ],
    )


def forget(connection: sqlite3.Connection, project: int) -> None:
    """Remove all labels of a project from the index."""
    connection.execute("DELETE FROM label_classes WHERE unit IN (SELECT id FROM units WHERE project = ?)", (project,))
