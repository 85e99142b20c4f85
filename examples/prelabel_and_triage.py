"""Pre-label photographs with faces and round objects; send those in doubt to a person, the most doubtful first."""

from typing import Annotated

import numpy as np
from encord.objects import LabelRowV2, Object
from encord.objects.coordinates import BoundingBoxCoordinates
from PIL import Image

from detectors import find_faces, find_round_objects
from encord_agents.core.data_model import ImageArray
from encord_agents.tasks import Depends, Runner
from encord_agents.tasks.dependencies import dep_single_frame
from encord_agents.tasks.models import TaskAgentReturnStruct

runner = Runner()


def small(frame: Annotated[ImageArray, Depends(dep_single_frame)]) -> ImageArray:
    photo = Image.fromarray(frame)
    photo.thumbnail((640, 640))  # is enough for both detectors; labels are fractions of the picture anyway
    return np.asarray(photo)


@runner.stage("Pre-label")
def pre_label(row: LabelRowV2, photo: Annotated[ImageArray, Depends(small)]) -> TaskAgentReturnStruct:
    found = {"Face": find_faces(photo), "Round object": find_round_objects(photo)}
    for old in row.get_object_instances():  # from an earlier run that was cut off before the task moved
        if not old.get_annotation(0).manual_annotation:  # what a person drew stays
            row.remove_object(old)
    height, width = photo.shape[:2]
    for title, boxes in found.items():
        for (top, left, bottom, right), confidence in boxes:
            instance = row.ontology_structure.get_child_by_title(title, type_=Object).create_instance()
            box = BoundingBoxCoordinates(
                height=(bottom - top) / height,
                width=(right - left) / width,
                top_left_x=left / width,
                top_left_y=top / height,
            )
            instance.set_for_frames(box, frames=0, confidence=confidence, manual_annotation=False)
            row.add_object_instance(instance)
    return TaskAgentReturnStruct(pathway="triage", label_row=row)


@runner.stage("Triage")
def triage(row: LabelRowV2) -> TaskAgentReturnStruct:
    confidences = [instance.get_annotation(0).confidence for instance in row.get_object_instances()]
    doubt = 1.0 - min(confidences, default=1.0)
    return TaskAgentReturnStruct(pathway="review" if doubt > 0.1 else "complete", label_row_priority=doubt)


if __name__ == "__main__":
    runner.run()
