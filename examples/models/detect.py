"""Detect objects: a hosted detector's boxes become objects of the ontology."""

from __future__ import annotations

from typing import Annotated

from encord.objects import LabelRowV2
from hosted import find_objects

from encord_agents.core.data_model import ImageArray
from encord_agents.core.vision import encode_image
from encord_agents.labels import add_detections
from encord_agents.tasks import Depends, Runner
from encord_agents.tasks.dependencies import dep_single_frame
from encord_agents.tasks.models import TaskAgentReturnStruct

runner = Runner()

CLASSES = {"person": "Person"}
"""The detector's names, and the ontology's. What is not here is not drawn."""


@runner.stage("Detect")
def detect(label_row: LabelRowV2, image: Annotated[ImageArray, Depends(dep_single_frame)]) -> TaskAgentReturnStruct:
    found = find_objects(encode_image(image))
    add_detections(label_row, found, classes=CLASSES, min_confidence=0.5, replace=True, source="detr")
    return TaskAgentReturnStruct(pathway="done", label_row=label_row)


if __name__ == "__main__":
    runner.run()
