"""The agents that test_agents.py tests."""

from __future__ import annotations

from typing import Annotated

from encord.objects import LabelRowV2, Object
from encord.objects.coordinates import BoundingBoxCoordinates

from encord_agents.core.data_model import ImageArray
from encord_agents.tasks import Depends, Runner
from encord_agents.tasks.dependencies import dep_single_frame
from encord_agents.tasks.models import TaskAgentReturnStruct

runner = Runner()


def detect(image: ImageArray) -> list[tuple[float, float, float, float]]:
    """Your model: boxes as left, top, width and height, as fractions of the image."""
    return [(0.25, 0.25, 0.5, 0.5)] if image.mean() > 100 else []


@runner.stage("Agent")
def pre_label(label_row: LabelRowV2, image: Annotated[ImageArray, Depends(dep_single_frame)]) -> TaskAgentReturnStruct:
    person = label_row.ontology_structure.get_child_by_title("Person", Object)
    boxes = detect(image)
    for left, top, width, height in boxes:
        drawn = person.create_instance()
        box = BoundingBoxCoordinates(top_left_x=left, top_left_y=top, width=width, height=height)
        drawn.set_for_frames(box, frames=0, manual_annotation=False)
        label_row.add_object_instance(drawn)
    return TaskAgentReturnStruct(pathway="review" if boxes else "done", label_row=label_row)
