"""A project from nothing, through people's hands, to an export: with the SDK only.

It runs as it is against a real account and against `encord-agents local up`, which ENCORD_DOMAIN leads to::

    python sdk_program.py FILES TEMPLATE

FILES is a directory with files of five kinds, TEMPLATE the hash of a workflow template in which tasks go from a
stage Annotate over a stage Review to the end.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from encord import EncordUserClient
from encord.constants.enums import DataType
from encord.objects import OntologyStructure, Shape
from encord.objects.attributes import TextAttribute
from encord.objects.bitmask import BitmaskCoordinates
from encord.objects.coordinates import (
    AudioCoordinates,
    BoundingBoxCoordinates,
    PointCoordinate,
    PolygonCoordinates,
    PolylineCoordinates,
    RotatableBoundingBoxCoordinates,
    TextCoordinates,
)
from encord.objects.frames import Range
from encord.orm.dataset import StorageLocation
from encord.workflow import AnnotationStage, ReviewStage

UPLOADS = {".png": "image", ".mp4": "video", ".wav": "audio", ".txt": "text", ".pdf": "pdf"}
CORNERS = [PointCoordinate(0.1, 0.1), PointCoordinate(0.5, 0.1), PointCoordinate(0.5, 0.5)]
SHAPES: dict[Shape, Any] = {
    Shape.BOUNDING_BOX: BoundingBoxCoordinates(height=0.2, width=0.3, top_left_x=0.1, top_left_y=0.1),
    Shape.ROTATABLE_BOUNDING_BOX: RotatableBoundingBoxCoordinates(
        height=0.2, width=0.3, top_left_x=0.1, top_left_y=0.1, theta=30.0
    ),
    Shape.POLYGON: PolygonCoordinates(CORNERS),
    Shape.POLYLINE: PolylineCoordinates(CORNERS),
    Shape.POINT: PointCoordinate(0.4, 0.6),
}


def label(row: Any, structure: OntologyStructure) -> None:
    """Give a row labels of every shape that its kind of data takes."""
    row.initialise_labels()
    ranges: dict[DataType, Any] = {
        DataType.AUDIO: (Shape.AUDIO, AudioCoordinates),
        DataType.PLAIN_TEXT: (Shape.TEXT, TextCoordinates),
    }
    for object_ in structure.objects:
        instance = object_.create_instance()
        if row.data_type in ranges:
            shape, place = ranges[row.data_type]
            if object_.shape != shape:
                continue
            instance.set_for_frames(place(range=[Range(0, 5)]))
        elif object_.shape == Shape.BITMASK and row.data_type == DataType.IMAGE:
            mask = np.zeros((row.height, row.width), dtype=bool)
            mask[2:6, 3:9] = True
            instance.set_for_frames(BitmaskCoordinates(mask), 0)
        elif object_.shape in SHAPES:
            instance.set_for_frames(SHAPES[object_.shape], list(range(row.number_of_frames)))
        else:
            continue
        row.add_object_instance(instance)
    caption = structure.classifications[0].create_instance(range_only=row.data_type in ranges)
    caption.set_answer(f"This is {row.data_title}.")
    caption.set_for_frames(Range(0, 0))
    row.add_classification_instance(caption)
    row.save()


def main(directory: Path, template: str) -> dict[str, Any]:
    client = EncordUserClient.create_with_ssh_private_key(domain=os.environ["ENCORD_DOMAIN"])
    folder = client.create_storage_folder("SDK program", client_metadata={"made by": "sdk_program.py"})
    items = [
        getattr(folder, f"upload_{UPLOADS[path.suffix]}")(path, client_metadata={"path": path.name})
        for path in sorted(directory.iterdir())
        if path.suffix in UPLOADS
    ]
    structure = OntologyStructure()
    for shape in (*SHAPES, Shape.BITMASK, Shape.AUDIO, Shape.TEXT):
        structure.add_object(shape.value, shape)
    structure.add_classification().add_attribute(TextAttribute, "Caption")
    ontology = client.create_ontology("SDK program", structure=structure)
    dataset = client.get_dataset(client.create_dataset("SDK program", StorageLocation.CORD_STORAGE).dataset_hash)
    dataset.link_items(items)
    project = client.get_project(
        client.create_project(
            "SDK program", [dataset.dataset_hash], ontology_hash=ontology.ontology_hash, workflow_template_hash=template
        )
    )
    for row in project.list_label_rows_v2():
        label(row, project.ontology_structure)
    for task in project.workflow.get_stage(name="Annotate", type_=AnnotationStage).get_tasks():
        task.submit()
    for review in project.workflow.get_stage(name="Review", type_=ReviewStage).get_tasks():
        review.approve()
    rows = project.list_label_rows_v2()
    with project.create_bundle() as bundle:
        for row in rows:
            row.initialise_labels(bundle=bundle)
    return {row.data_title: row.to_encord_dict() for row in rows}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), sys.argv[2]), indent=2))
