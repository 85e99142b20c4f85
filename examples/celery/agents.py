"""Two agents on Celery: box what stands out in a photograph, then send what is in doubt to a person."""

import os
from typing import Annotated

import numpy as np
from celery import Celery
from encord.objects import LabelRowV2, Object
from encord.objects.coordinates import BoundingBoxCoordinates
from PIL import Image
from skimage import color, filters, measure, segmentation

from encord_agents.core.data_model import ImageArray
from encord_agents.integrations.celery import register
from encord_agents.tasks import Depends, QueueRunner
from encord_agents.tasks.dependencies import dep_single_frame
from encord_agents.tasks.models import TaskAgentReturnStruct

Box = tuple[float, float, float, float]  # top, left, bottom, right: pixels

runner = QueueRunner(os.environ["PROJECT_HASH"])


def small(frame: Annotated[ImageArray, Depends(dep_single_frame)]) -> ImageArray:
    photo = Image.fromarray(frame)
    photo.thumbnail((320, 320))
    return np.asarray(photo)


def find_objects(photo: ImageArray) -> list[tuple[Box, float]]:
    """Bright regions (Otsu's threshold), each with how compact it is: 1 for a disc or a box, less for a branch."""
    grey = filters.gaussian(color.rgb2gray(photo), 1)
    bright = segmentation.clear_border(grey > filters.threshold_otsu(grey))
    regions = measure.regionprops(measure.label(bright))
    return [(region.bbox, float(region.solidity)) for region in regions if region.area > 0.005 * grey.size]


@runner.stage("Pre-label")
def pre_label(row: LabelRowV2, photo: Annotated[ImageArray, Depends(small)]) -> TaskAgentReturnStruct:
    for old in row.get_object_instances():  # from a worker that was killed before the task moved
        if not old.get_annotation(0).manual_annotation:  # what a person drew stays
            row.remove_object(old)
    height, width = photo.shape[:2]
    for (top, left, bottom, right), confidence in find_objects(photo):
        instance = row.ontology_structure.get_child_by_title("Object", type_=Object).create_instance()
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


app = Celery("agents", broker="redis://127.0.0.1:6379/0")
register(runner, app, batch_size=10, poll_every=5)
