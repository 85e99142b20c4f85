"""Labels that the SDK cannot read to the end, since one box among others is damaged."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from encord_agents.local import Fault

if TYPE_CHECKING:
    from tests.conftest import World

__all__ = ["DAMAGES", "damage", "label_all"]

DAMAGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "unknown class": lambda box: box.update(featureHash="gone1234"),
    "missing number": lambda box: box["boundingBox"].pop("h"),
    "number for a date": lambda box: box.update(createdAt=5),
    "text for a date": lambda box: box.update(createdAt="Invalid Date"),
}
"""The kinds of damage, after each of which the SDK raises another exception."""


def label_all(world: World, number: int = 3) -> None:
    """Save boxes on every row."""
    for row in world.client.get_project(world.project.project_hash).list_label_rows_v2():
        row.initialise_labels()
        for _ in range(number):
            world.mark(row)
        row.save()


def damage(world: World, data_hash: str, how: str) -> None:
    """Have the platform send one row's labels with a damaged box from now on, alone and among all others."""
    rows = [world.project.label(task.data_hash) for task in world.project.tasks()]
    (bad,) = (row for row in rows if row is not None and data_hash in row["data_units"])
    DAMAGES[how](bad["data_units"][data_hash]["labels"]["objects"][1])
    name = bad["label_hash"]
    for asked, sent in ((f'["{name}"]', [bad]), (name, rows)):
        body = json.dumps({"status": 200, "response": sent})
        world.platform.faults.add(Fault("label_get", times=None, contains=asked, status=200, body=body))
