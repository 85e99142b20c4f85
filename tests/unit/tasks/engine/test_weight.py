"""How much goes into one save."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from encord.objects import LabelRowV2, OntologyStructure, Shape
from encord.objects.attributes import TextAttribute
from encord.objects.bitmask import BitmaskCoordinates
from encord.objects.coordinates import (
    BoundingBoxCoordinates,
    PointCoordinate,
    PolygonCoordinates,
    SkeletonCoordinate,
    SkeletonCoordinates,
)
from encord.objects.skeleton_template import SkeletonTemplate, SkeletonTemplateCoordinate

from encord_agents.core.sdk.bundle import Parcel, packed
from encord_agents.local import AgentStage, Stage, Workflow
from encord_agents.tasks.engine.timing import Limits
from encord_agents.tasks.engine.weight import by_weight, weight_of
from encord_agents.tasks.models import TaskAgentReturnStruct

if TYPE_CHECKING:
    from tests.conftest import World

JOINTS = {f"joint_{number}": f"joint{number:03}" for number in range(17)}


def ontology() -> OntologyStructure:
    structure = OntologyStructure()
    for shape in (Shape.BOUNDING_BOX, Shape.POLYGON, Shape.BITMASK):
        structure.add_object(name=shape.value, shape=shape)
    joints = {name: SkeletonTemplateCoordinate(x=0.1, y=0.2, name=name, feature_hash=JOINTS[name]) for name in JOINTS}
    template = SkeletonTemplate(name="skeleton", width=1, height=1, skeleton=joints, skeleton_edges={})
    structure.add_object("skeleton", shape=Shape.SKELETON)
    structure.add_skeleton_template(template)  # the oldest SDK cannot add both at once
    structure.add_classification().add_attribute(TextAttribute, "Caption")
    return structure


def draw(row: LabelRowV2, shape: Shape, times: int, coordinates: Any) -> None:
    (template,) = (one for one in row.ontology_structure.objects if one.shape is shape)
    for _ in range(times):
        instance = template.create_instance()
        instance.set_for_frames(coordinates, 0)
        row.add_object_instance(instance)


def boxes(row: LabelRowV2) -> None:
    draw(row, Shape.BOUNDING_BOX, 60, BoundingBoxCoordinates(height=0.1, width=0.2, top_left_x=0.25, top_left_y=0.4))


def polygons(row: LabelRowV2) -> None:
    corners = [PointCoordinate(0.1 + i / 2000, 0.1 + (i * i % 97) / 200) for i in range(400)]
    draw(row, Shape.POLYGON, 1, PolygonCoordinates(values=corners))


def bitmasks(row: LabelRowV2) -> None:
    picture = np.random.default_rng(1).random((row.height or 64, row.width or 64))
    draw(row, Shape.BITMASK, 14, BitmaskCoordinates(picture > 0.5))


def skeletons(row: LabelRowV2) -> None:
    joints = [
        SkeletonCoordinate(x=0.123456789, y=0.987654321, name=name, color="#00ff00", feature_hash=hash_, value=name)
        for name, hash_ in JOINTS.items()
    ]
    draw(row, Shape.SKELETON, 10, SkeletonCoordinates(values=joints, name="skeleton"))


def text(row: LabelRowV2) -> None:
    instance = row.ontology_structure.classifications[0].create_instance()
    instance.set_answer("word " * 5000)
    instance.set_for_frames(0)
    row.add_classification_instance(instance)


@pytest.mark.parametrize("label", [boxes, polygons, bitmasks, skeletons, text])
def test_heavy_rows_are_saved_apart(world: World, label: Callable[[LabelRowV2], None]) -> None:
    """Whatever makes labels large, a save has about as many bytes of them as it may."""
    workflow = Workflow([AgentStage("Pre-label", {"complete": "Done"}), Stage("Done", "done")])
    world.project = world.platform.create_project(workflow=workflow, ontology=ontology())
    hashes = world.project.add_placeholders(12)
    sizes = []

    def agent(label_row: LabelRowV2) -> TaskAgentReturnStruct:
        label(label_row)
        size = len(json.dumps(label_row.to_encord_dict()))
        assert size / 2 < weight_of(packed(label_row.save), -1) < 1.5 * size
        sizes.append(size)
        return TaskAgentReturnStruct(pathway="complete", label_row=label_row)

    world.numbers["weight"] = 70_000
    assert world.run(agent).raise_for_failures().moved == 12
    assert min(sizes) > 20_000
    saves = world.platform.journal.of("save")
    assert all(entry.items == 1 or entry.items * min(sizes) < 140_000 for entry in saves)
    assert max(entry.items for entry in saves) > 1
    assert all(world.project.saves(data_hash) == 1 for data_hash in hashes)


def test_chunks() -> None:
    """They have at most a number of payloads and a weight; what is heavier, or cannot be weighed, is alone."""

    def parcel(text: object) -> Parcel:
        return Parcel(SimpleNamespace(payload=text), lambda bundle: None)

    limits = Limits(weight=1000, at_once=3)
    items = ["a", "b", "c", "d", "x" * 5000, "e", object(), "f" * 600, "g" * 600]
    lengths = [len(chunk) for chunk in by_weight(items, parcel, limits)]
    assert lengths == [3, 1, 1, 1, 1, 1, 1]
    assert by_weight([], parcel, limits) == []
