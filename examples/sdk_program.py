"""A project from nothing, through people's hands, to an export, with the SDK only: sdk_program.py FILES TEMPLATE DOMAIN

FILES is a directory, TEMPLATE a workflow template (Annotate, Review, an end), DOMAIN an account or a local platform."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from encord import EncordUserClient
from encord.constants.enums import DataType
from encord.objects import LabelRowV2, Object, OntologyStructure, Shape, TextAttribute, coordinates
from encord.objects.bitmask import BitmaskCoordinates
from encord.objects.frames import Range
from encord.orm.dataset import StorageLocation
from encord.workflow import AnnotationStage, ReviewStage

KINDS = {".png": "image", ".mp4": "video", ".wav": "audio", ".txt": "text", ".pdf": "pdf"}
CORNERS = [coordinates.PointCoordinate(x, y) for x, y in ((0.1, 0.1), (0.5, 0.1), (0.5, 0.5))]
BOX = {"height": 0.2, "width": 0.3, "top_left_x": 0.1, "top_left_y": 0.1}
DRAWN: dict[Shape, Any] = {
    Shape.BOUNDING_BOX: coordinates.BoundingBoxCoordinates(**BOX),
    Shape.ROTATABLE_BOUNDING_BOX: coordinates.RotatableBoundingBoxCoordinates(**BOX, theta=30.0),
    Shape.POLYGON: coordinates.PolygonCoordinates(CORNERS),
    Shape.POLYLINE: coordinates.PolylineCoordinates(CORNERS),
    Shape.POINT: coordinates.PointCoordinate(0.4, 0.6),
}
HEARD: dict[Shape, Any] = {Shape.AUDIO: coordinates.AudioCoordinates(range=[Range(0, 5)])}
READ: dict[Shape, Any] = {Shape.TEXT: coordinates.TextCoordinates(range=[Range(0, 5)])}


def label(row: LabelRowV2) -> None:
    """Give a row a label of every shape that its kind of data takes, and a caption."""
    row.initialise_labels()
    ranged = {DataType.AUDIO: HEARD, DataType.PLAIN_TEXT: READ}.get(row.data_type)
    shapes = dict(ranged or DRAWN)
    if row.data_type == DataType.IMAGE:
        shapes[Shape.BITMASK] = BitmaskCoordinates(np.ones((row.height or 1, row.width or 1), dtype=np.bool_))
    for shape, place in shapes.items():
        instance = row.ontology_structure.get_child_by_title(shape.value, Object).create_instance()
        instance.set_for_frames(place, 0 if ranged else list(range(row.number_of_frames)))
        row.add_object_instance(instance)
    caption = row.ontology_structure.classifications[0].create_instance(range_only=bool(ranged))
    caption.set_answer(f"This is {row.data_title}.")
    caption.set_for_frames(Range(0, 0))
    row.add_classification_instance(caption)
    row.save()


def main(directory: Path, template: str, domain: str) -> dict[str, Any]:
    client = EncordUserClient.create_with_ssh_private_key(domain=domain)
    folder = client.create_storage_folder("SDK program")
    files = sorted(path for path in directory.iterdir() if path.suffix in KINDS)
    items = [getattr(folder, f"upload_{KINDS[path.suffix]}")(path) for path in files]
    structure = OntologyStructure()
    for shape in (*DRAWN, Shape.BITMASK, *HEARD, *READ):
        structure.add_object(shape.value, shape)
    structure.add_classification().add_attribute(TextAttribute, "Caption")
    ontology = client.create_ontology("SDK program", structure=structure).ontology_hash
    dataset = client.create_dataset("SDK program", StorageLocation.CORD_STORAGE).dataset_hash
    client.get_dataset(dataset).link_items(items)
    made = client.create_project("SDK program", [dataset], ontology_hash=ontology, workflow_template_hash=template)
    project = client.get_project(made)
    for row in project.list_label_rows_v2():
        label(row)
    for task in project.workflow.get_stage(name="Annotate", type_=AnnotationStage).get_tasks():
        task.submit()
    for review in project.workflow.get_stage(name="Review", type_=ReviewStage).get_tasks():
        review.approve()
    rows = project.list_label_rows_v2()
    for row in rows:
        row.initialise_labels()
    return {row.data_title: row.to_encord_dict() for row in rows}


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    print(json.dumps(main(Path(sys.argv[1]), *sys.argv[2:]), indent=2))
