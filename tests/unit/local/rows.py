"""Label rows with a box, made and saved without HTTP."""

from __future__ import annotations

from typing import Any

from encord_agents.local import LocalProject, labels

BOX = {
    "objectHash": "o1", "featureHash": "pErs0nB1", "shape": "bounding_box", "confidence": 0.5,
    "boundingBox": {"x": 0.1, "y": 0.1, "w": 0.2, "h": 0.2},
}  # fmt: skip


def boxed(data_hash: str, **more: Any) -> dict[str, Any]:
    frame = {"objects": [BOX | more], "classifications": []}
    return {
        "data_units": {data_hash: {"data_hash": data_hash, "labels": frame}},
        "object_answers": {"o1": {"objectHash": "o1", "classifications": []}},
        "classification_answers": {},
    }


def made(project: LocalProject, number: int = 0, branch: str = "main") -> Any:
    (row,) = labels.create(project._database, project._record, [project.tasks()[number].data_hash], branch)
    return row


def saved(project: LocalProject, number: int = 0, branch: str = "main", **more: Any) -> Any:
    row = made(project, number, branch)
    labels.save(project._database, project._record, {row["label_hash"]: boxed(row["data_hash"], **more)})
    return row
