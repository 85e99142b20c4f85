"""Projects with every kind of data, and workflows of every kind of stage, can be looked at and worked on."""

from __future__ import annotations

import re
from pathlib import Path

import requests
from encord.objects import OntologyStructure, Shape, TextAttribute
from encord.objects.coordinates import BoundingBoxCoordinates
from encord.objects.frames import Range
from encord.objects.metadata import DataGroupMetadata
from encord.orm.storage import DataGroupCustom
from tests import kinds

from encord_agents.local import AgentStage, LocalPlatform, Stage, Workflow

WORKFLOW = Workflow(
    [
        AgentStage("Agent", {"go": "Sample"}),
        Stage("Sample", "router", routes={"Review": 50, "Done": 50}),
        Stage("Annotate", pathways={"submit": "Sample"}),
        Stage("Consensus", "consensus_annotation"),
        Stage("Review", "review"),
        Stage("Done", "done"),
    ]
)


def test_every_page(local_platform: LocalPlatform, tmp_path: Path) -> None:
    """No link of the page fails, whatever the items are and wherever a pathway leads."""
    files = kinds.five(tmp_path / "files")
    kinds.dicom(files / "scan.dcm")
    kinds.nifti(files / "volume.nii")
    (files / "page.html").write_text("<html><script>alert(1)</script></html>")
    local = local_platform.create_project(workflow=WORKFLOW, files=files)
    shots = tmp_path / "shots"
    shots.mkdir()
    for name in ("a.png", "b.png"):
        kinds.picture(shots / name)
    local.add_files(shots, groups="group")
    local.add_files(shots, groups="sequence")
    client = local_platform.client()
    folder = client.create_storage_folder("Group")
    members = [folder.upload_image(files / "picture.png"), folder.upload_video(files / "film.mp4")]
    project = client.get_project(local.project_hash)
    dataset = client.get_dataset(next(iter(project.list_datasets())).dataset_hash)
    dataset.link_items([folder.create_data_group(members)])
    for row in project.list_label_rows_v2():
        row.initialise_labels()
        row.save()
    seen: set[str] = set()
    waiting = ["/"]
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        answer = requests.get(local_platform.domain + path, timeout=20)
        assert answer.status_code < 400, path
        if "html" in answer.headers.get("content-type", ""):
            waiting += [found.replace("&amp;", "&") for found in re.findall(r'(?:href|src)="(/[^"#]*)"', answer.text)]
    assert len([path for path in seen if "/tasks/" in path]) >= 11


def test_the_members_of_a_data_group(local_platform: LocalPlatform, tmp_path: Path) -> None:
    """The page shows the frames of its videos, and a card for what has no picture, each with its own labels."""
    files = kinds.five(tmp_path / "files")
    local = local_platform.create_project(workflow=WORKFLOW, ontology=_ontology())
    client = local_platform.client()
    folder = client.create_storage_folder("Group")
    members = {
        "left": folder.upload_image(files / "picture.png"),
        "right": folder.upload_video(files / "film.mp4"),
        "ear": folder.upload_audio(files / "sound.wav"),
    }
    group = folder.create_data_group(DataGroupCustom(name="trio", layout_contents=members))
    project = client.get_project(local.project_hash)
    client.get_dataset(next(iter(project.list_datasets())).dataset_hash).link_items([group])
    (row,) = project.list_label_rows_v2()
    row.initialise_labels()
    assert isinstance(row.metadata, DataGroupMetadata)
    assert {one.layout_key: one.data_hash for one in row.metadata.children_} == {k: str(v) for k, v in members.items()}
    person, noise = row.ontology_structure.objects
    box = BoundingBoxCoordinates(height=0.1, width=0.2, top_left_x=0.3, top_left_y=0.4)
    row.get_space(layout_key="right", type_="video").put_object_instance(person.create_instance(), 2, box)
    row.get_space(layout_key="ear", type_="audio").put_object_instance(noise.create_instance(), Range(10, 20))
    row.save()
    (task,) = local.tasks()
    base = f"{local_platform.domain}/projects/{local.project_hash}/tasks/{task.uuid}"
    counts = {}
    for frame in (0, 2, 3, 7):
        page = requests.get(f"{base}?frame={frame}", timeout=20).text
        assert 'data-frames="8"' in page
        (counts[frame],) = re.findall(rf"trio, picture {frame}: (\d) object", page)
    assert counts == {0: "0", 2: "0", 3: "1", 7: "1"}
    assert "10–20" in page
    card = requests.get(f"{local_platform.domain}/media/{members['ear']}/card", timeout=20)
    assert card.headers["content-type"] == "image/svg+xml"
    assert "sound.wav" in card.text
    for frame in (0, 3, 7):
        address = f"{local_platform.domain}/media/{group}/thumbnail?frame={frame}"
        assert requests.get(address, timeout=20).status_code == 200


def test_answers_that_change_in_a_data_group(local_platform: LocalPlatform, tmp_path: Path) -> None:
    """An object in the group's video may have another answer on each of its frames, up to the last."""
    files = kinds.five(tmp_path / "files")
    local = local_platform.create_project(workflow=WORKFLOW, ontology=_ontology())
    client = local_platform.client()
    folder = client.create_storage_folder("Group")
    members = {"film": folder.upload_video(files / "film.mp4"), "still": folder.upload_image(files / "picture.png")}
    group = folder.create_data_group(DataGroupCustom(name="pair", layout_contents=members))
    project = client.get_project(local.project_hash)
    client.get_dataset(next(iter(project.list_datasets())).dataset_hash).link_items([group])
    (row,) = project.list_label_rows_v2()
    row.initialise_labels()
    feature = row.ontology_structure.objects[0]
    person, box = (
        feature.create_instance(),
        BoundingBoxCoordinates(height=0.1, width=0.2, top_left_x=0.3, top_left_y=0.4),
    )
    last = 5
    row.get_space(layout_key="film", type_="video").put_object_instance(person, [1, last], box)
    person.set_answer("standing", feature.attributes[0], frames=1)
    person.set_answer("walking", feature.attributes[0], frames=last)
    row.save()
    (again,) = project.list_label_rows_v2()
    again.initialise_labels()
    (found,) = again.get_space(layout_key="film", type_="video").get_object_instances()
    (state,) = found.ontology_item.attributes
    answers = {at.start: one.answer for one in found.get_answer(state) for at in one.ranges}
    assert answers == {1: "standing", last: "walking"}


def _ontology() -> OntologyStructure:
    structure = OntologyStructure()
    structure.add_object("Person", Shape.BOUNDING_BOX).add_attribute(TextAttribute, "state", dynamic=True)
    structure.add_object("Noise", Shape.AUDIO)
    return structure
