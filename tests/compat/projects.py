"""Projects that public programs fit: media, ontology, workflow, and labels that are there already."""

from __future__ import annotations

import io
import tempfile
import wave
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from encord.objects import Classification, LabelRowV2, Object, OntologyStructure, Option, Shape
from encord.objects.attributes import ChecklistAttribute, RadioAttribute, TextAttribute
from encord.objects.coordinates import BoundingBoxCoordinates
from PIL import Image

if TYPE_CHECKING:
    from encord_agents.local import LocalPlatform, LocalProject

__all__ = ["SHAPES", "labels", "made"]

SHAPES = ("images", "labelled images", "video", "audio", "text", "image, video and text", "twins", "people")


def ontology() -> OntologyStructure:
    structure = OntologyStructure()
    person = structure.add_object("Person", Shape.BOUNDING_BOX)
    clothes = person.add_attribute(RadioAttribute, "Clothes")
    for title in ("Red", "Blue"):
        clothes.add_option(title)
    structure.add_object("Mask", Shape.BITMASK)
    structure.add_object("Outline", Shape.POLYGON)
    speaker = structure.add_object("Speaker", Shape.AUDIO)
    speaker.add_attribute(TextAttribute, "Transcript", dynamic=False)
    for title in ("Caption", "Rephrased 1", "Rephrased 2"):
        structure.add_classification().add_attribute(TextAttribute, title)
    for title, options in (
        ("Scene", ("Street", "Forest")),
        ("Mood", ("Happy", "Sad")),
        ("Language", ("English", "German")),
    ):
        radio = structure.add_classification().add_attribute(RadioAttribute, title)
        for option in options:
            radio.add_option(option)
    tags = structure.add_classification().add_attribute(ChecklistAttribute, "Tags")
    for option in ("Dark", "Crowded"):
        tags.add_option(option)
    return structure


def made(platform: LocalPlatform, shape: str) -> LocalProject:
    """Return a project of one of the `SHAPES`."""
    from encord_agents.local import AgentStage, Stage, Workflow

    first = Stage("Annotate", "annotation") if shape == "people" else None
    workflow = Workflow(
        [
            *([first] if first else []),
            AgentStage("Agent", {"Review": "Review", "Complete": "Done", "Second": "Agent 2"}),
            AgentStage("Agent 2", {"Review": "Review", "Complete": "Done"}),
            Stage("Review", "review"),
            Stage("Done", "done"),
        ]
    )
    project = platform.create_project(workflow=workflow, ontology=ontology())
    with tempfile.TemporaryDirectory() as folder:
        project.add_files(_files(Path(folder), shape))
    if shape == "labelled images":
        for row in _rows(platform, project):
            _label(row)
            row.save()
    if shape == "twins":
        _twin(platform, project)
    if shape == "people":
        project.act("submit", "Annotate")
    return project


def _files(folder: Path, shape: str) -> list[Path]:
    from tests.films import film

    found = []
    if "image" in shape or shape in ("twins", "people"):
        for number, name in enumerate(("a.png", "b.png")):
            pixels = np.zeros((48, 64, 3), np.uint8)
            pixels[10:30, 16 + number : 40] = (200, 40 * number, 90)
            Image.fromarray(pixels).save(folder / name)
            found.append(folder / name)
    if "video" in shape:
        found.append(film(folder / "c.mp4", 12, options={"bf": "0", "g": "4", "crf": "20"}))
    if "text" in shape:
        for name, text in (("d.txt", "Good morning. All is well."), ("e.txt", "Guten Morgen. Alles schlecht.")):
            (folder / name).write_text(text)
            found.append(folder / name)
    if shape == "audio":
        (folder / "f.wav").write_bytes(_sound())
        found.append(folder / "f.wav")
    return found


def _sound() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes((np.sin(np.arange(16000) / 8) * 9000).astype("<i2").tobytes())
    return file.getvalue()


def _rows(platform: LocalPlatform, project: LocalProject) -> list[LabelRowV2]:
    rows = platform.client().get_project(project.project_hash).list_label_rows_v2()
    for row in rows:
        row.initialise_labels()
    return list(rows)


def _label(row: LabelRowV2) -> None:
    structure = row.ontology_structure
    person: Object = structure.get_child_by_title("Person", Object)
    for left in (0.25, 0.5):
        instance = person.create_instance()
        box = BoundingBoxCoordinates(height=0.25, width=0.125, top_left_x=left, top_left_y=0.25)
        instance.set_for_frames(box, 0)
        row.add_object_instance(instance)
    caption: Classification = structure.get_child_by_title("Caption", Classification)
    answer = caption.create_instance()
    answer.set_answer(f"A picture: {row.data_title}")
    answer.set_for_frames(0)
    row.add_classification_instance(answer)


def _twin(platform: LocalPlatform, project: LocalProject) -> None:
    """Make a labelled project of the same data, whose hash is the project's description."""
    from encord_agents.local import AgentStage, Stage, Workflow

    client = platform.client()
    (dataset,) = client.get_project(project.project_hash).list_datasets()
    workflow = Workflow([AgentStage("Other", {"go": "Done"}), Stage("Done", "done")])
    twin = platform.create_project(workflow=workflow, ontology=ontology(), title=f"Twin of {project.project_hash}")
    client.get_project(twin.project_hash).add_datasets([str(dataset.dataset_hash)])
    for row in _rows(platform, twin):
        _label(row)
        row.save()


def labels(platform: LocalPlatform, project: LocalProject) -> dict[str, Any]:
    """Return each data unit's labels: for every instance its class, answers, and coordinates or frames."""
    found = {}
    for row in _rows(platform, project):
        objects = [
            [
                instance.object_name,
                _answers(instance),
                {str(one.frame): _rounded(one.coordinates.to_dict()) for one in instance.get_annotations()},
            ]
            for instance in row.get_object_instances()
        ]
        answers = [
            [instance.classification_name, _answer(instance.get_answer()), str(instance.range_list)]
            for instance in row.get_classification_instances()
        ]
        found[row.data_title] = {"objects": sorted(objects, key=str), "answers": sorted(answers, key=str)}
    return dict(sorted(found.items()))


def _answers(instance: Any) -> dict[str, Any]:
    attributes = instance.ontology_item.attributes
    return {one.title: _answer(instance.get_answer(one)) for one in attributes if not one.dynamic}


def _answer(given: Any) -> Any:
    if isinstance(given, list | tuple | set):
        return sorted(_answer(one) for one in given)
    return given.title if isinstance(given, Option) else given


def _rounded(given: Any) -> Any:
    if isinstance(given, float):
        return round(given, 4)
    if isinstance(given, dict):
        return {key: _rounded(value) for key, value in given.items()}
    return [_rounded(one) for one in given] if isinstance(given, list | tuple) else given
