"""How much goes into one save."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from encord.objects import LabelRowV2, OntologyStructure, Shape
from encord.objects.bitmask import BitmaskCoordinates
from encord.objects.coordinates import BoundingBoxCoordinates, PointCoordinate, PolygonCoordinates

from encord_agents.local import AgentStage, Stage, Workflow
from encord_agents.tasks.engine.context import Result
from encord_agents.tasks.engine.weight import weight_of
from encord_agents.tasks.models import TaskAgentReturnStruct

if TYPE_CHECKING:
    from tests.conftest import World


def box(row: LabelRowV2, number: int) -> Any:
    return BoundingBoxCoordinates(height=0.1, width=0.2, top_left_x=0.25, top_left_y=0.4)


def polygon(row: LabelRowV2, number: int) -> Any:
    corners = [PointCoordinate(0.1 + i / 2000, 0.1 + (i * i % 97) / 200) for i in range(400)]
    return PolygonCoordinates(values=corners)


def bitmask(row: LabelRowV2, number: int) -> Any:
    rng = np.random.default_rng(number)
    return BitmaskCoordinates(rng.random((row.height or 64, row.width or 64)) > 0.5)


@pytest.mark.parametrize(
    ("shape", "coordinates", "each"),
    [(Shape.BOUNDING_BOX, box, 30), (Shape.POLYGON, polygon, 3), (Shape.BITMASK, bitmask, 12)],
)
def test_heavy_images_are_saved_apart(world: World, shape: Shape, coordinates: Any, each: int) -> None:
    """Many boxes, long outlines and dense masks on images count, as objects on frames of a video do."""
    structure = OntologyStructure()
    structure.add_object(name="Thing", shape=shape)
    workflow = Workflow([AgentStage("Pre-label", {"complete": "Done"}), Stage("Done", "done")])
    world.project = world.platform.create_project(workflow=workflow, ontology=structure)
    hashes = world.project.add_placeholders(12)

    def agent(label_row: LabelRowV2) -> TaskAgentReturnStruct:
        template = label_row.ontology_structure.objects[0]
        for number in range(each):
            instance = template.create_instance()
            instance.set_for_frames(coordinates(label_row, number), 0)
            label_row.add_object_instance(instance)
        weights.append(weight_of(Result(None, label_row=label_row), 70))  # type: ignore[arg-type]
        return TaskAgentReturnStruct(pathway="complete", label_row=label_row)

    weights: list[int] = []
    world.numbers["weight"] = 70
    report = world.run(agent)
    assert report.raise_for_failures().moved == 12
    assert min(weights) >= 30
    saves = world.platform.journal.of("save")
    assert max(entry.items for entry in saves) <= 70 // min(weights) + 1
    assert max(entry.items for entry in saves) < 12
    assert all(world.project.saves(data_hash) == 1 for data_hash in hashes)
