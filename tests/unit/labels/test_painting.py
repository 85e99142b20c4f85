"""Objects painted on a frame."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from encord.objects import LabelRowV2, OntologyStructure, Shape
from encord.objects.bitmask import BitmaskCoordinates
from encord.objects.coordinates import (
    BoundingBoxCoordinates,
    PointCoordinate,
    PolygonCoordinates,
    PolylineCoordinates,
    RotatableBoundingBoxCoordinates,
    SkeletonCoordinate,
)
from encord.objects.skeleton_template import SkeletonTemplate
from encord.orm.skeleton_template import SkeletonTemplateCoordinate
from PIL import Image

from encord_agents.labels.painting import painted, some_labelled_frames
from encord_agents.local import AgentStage, LocalPlatform, Stage, Workflow
from encord_agents.local.images import png

POINTS = [PointCoordinate(0.2, 0.4), PointCoordinate(0.4, 0.4), PointCoordinate(0.4, 0.8), PointCoordinate(0.2, 0.8)]
MASK = np.zeros((100, 200), dtype=bool)
MASK[40:80, 40:80] = True
FAR = (180, 90)


@pytest.mark.parametrize(
    ("shape", "coordinates", "on_it"),
    [
        (Shape.BOUNDING_BOX, BoundingBoxCoordinates(height=0.4, width=0.2, top_left_x=0.2, top_left_y=0.4), (40, 70)),
        (
            Shape.ROTATABLE_BOUNDING_BOX,
            RotatableBoundingBoxCoordinates(height=0.4, width=0.2, top_left_x=0.2, top_left_y=0.4, theta=90),
            (40, 60),
        ),
        (Shape.POLYGON, PolygonCoordinates(values=POINTS), (40, 60)),
        (Shape.POLYLINE, PolylineCoordinates(values=POINTS), (80, 60)),
        (Shape.POINT, PointCoordinate(0.2, 0.4), (40, 40)),
        (Shape.BITMASK, BitmaskCoordinates(MASK), (60, 60)),
    ],
    ids=lambda given: getattr(given, "value", ""),
)
def test_a_kind_of_object(
    local_platform: LocalPlatform, shape: Shape, coordinates: Any, on_it: tuple[int, int]
) -> None:
    """There is paint where the object is, in its colour, and none elsewhere."""
    structure = OntologyStructure()
    structure.add_object("Thing", shape, color="#ff0000")
    workflow = Workflow([AgentStage("Agent", {"done": "Done"}), Stage("Done", "done")])
    project = local_platform.create_project(workflow=workflow, ontology=structure)
    project.add_image("a.png", width=200, height=100)
    (row,) = local_platform.client().get_project(project.project_hash).list_label_rows_v2()
    row.initialise_labels()
    assert some_labelled_frames(row, 4) == [0]
    grey = np.full((100, 200, 3), 128, dtype=np.uint8)
    assert _pixel(grey, row, on_it) == (128, 128, 128)
    instance = row.ontology_structure.objects[0].create_instance()
    instance.set_for_frames(coordinates, 0)
    row.add_object_instance(instance)
    red, green, blue = _pixel(grey, row, on_it)
    assert red > 180
    assert max(green, blue) < 90
    assert _pixel(grey, row, FAR) == (128, 128, 128)
    assert _pixel(grey, row, on_it, frame=1) == (128, 128, 128)


def _pixel(image: Any, row: LabelRowV2, at: tuple[int, int], frame: int = 0) -> Any:
    return Image.open(io.BytesIO(painted(image, row, frame))).convert("RGB").getpixel(at)


def test_a_skeleton(local_platform: LocalPlatform) -> None:
    """Its points are joined as its template says."""
    points = {"0": (0.2, 0.4), "1": (0.8, 0.4), "2": (0.8, 0.8)}
    template = SkeletonTemplate(
        name="Person",
        width=1,
        height=1,
        skeleton={key: SkeletonTemplateCoordinate(x=x, y=y, name=f"p{key}") for key, (x, y) in points.items()},
        skeleton_edges={"0": {"1": {"color": "#000000"}}},
    )
    structure = OntologyStructure()
    structure.add_object("Person", Shape.SKELETON, color="#ff0000")
    structure.add_skeleton_template(template)
    workflow = Workflow([AgentStage("Agent", {"done": "Done"}), Stage("Done", "done")])
    project = local_platform.create_project(workflow=workflow, ontology=structure)
    project.add_image("a.png", width=200, height=100)
    (row,) = local_platform.client().get_project(project.project_hash).list_label_rows_v2()
    row.initialise_labels()
    instance = row.ontology_structure.objects[0].create_instance()
    placed = [SkeletonCoordinate(x=x, y=y, name=f"p{key}") for key, (x, y) in points.items()]
    instance.set_for_frames(row.ontology_structure.skeleton_templates["Person"].create_instance(placed), 0)
    row.add_object_instance(instance)
    black = np.zeros((100, 200, 3), dtype=np.uint8)
    assert [_pixel(black, row, at) for at in ((40, 40), (100, 40), (160, 80))] == [(255, 0, 0)] * 3
    assert _pixel(black, row, (160, 60)) == (0, 0, 0)


def test_an_image_of_a_group(local_platform: LocalPlatform) -> None:
    """Objects are painted on their own image only."""
    structure = OntologyStructure()
    structure.add_object("Thing", Shape.POINT, color="#ff0000")
    workflow = Workflow([AgentStage("Agent", {"done": "Done"}), Stage("Done", "done")])
    project = local_platform.create_project(workflow=workflow, ontology=structure)
    project.add_image_group("holiday", [png(200, 100, grey) for grey in (0, 1, 2)])
    (row,) = local_platform.client().get_project(project.project_hash).list_label_rows_v2()
    row.initialise_labels()
    instance = row.ontology_structure.objects[0].create_instance()
    instance.set_for_frames(PointCoordinate(0.2, 0.4), 1)
    row.add_object_instance(instance)
    black = np.zeros((100, 200, 3), dtype=np.uint8)
    assert [_pixel(black, row, (40, 40), frame=n)[0] for n in range(3)] == [0, 255, 0]
