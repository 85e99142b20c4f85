"""The editor agent that `benchmarks.editor` calls: the same file for both libraries."""

from __future__ import annotations

from typing import Annotated

from encord.objects import LabelRowV2
from encord.objects.coordinates import BoundingBoxCoordinates
from fastapi import Depends

from encord_agents import FrameData
from encord_agents.fastapi import get_encord_app
from encord_agents.fastapi.dependencies import dep_label_row

app = get_encord_app()


@app.post("/nothing")
def nothing(frame_data: FrameData) -> None:
    """Ask for nothing: what the door costs."""


@app.post("/look")
def look(frame_data: FrameData, row: Annotated[LabelRowV2, Depends(dep_label_row)]) -> None:
    """Read the label row."""
    row.get_object_instances()


@app.post("/box")
def box(frame_data: FrameData, row: Annotated[LabelRowV2, Depends(dep_label_row)]) -> None:
    """Put a box on the label row, and save it."""
    instance = row.ontology_structure.objects[0].create_instance()
    corner = BoundingBoxCoordinates(height=0.1, width=0.1, top_left_x=0.25, top_left_y=0.25)
    instance.set_for_frames(corner, frames=frame_data.frame)
    row.add_object_instance(instance)
    row.save()
