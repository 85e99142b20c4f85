"""`encord-agents local labels`: the saved labels as files, and drawn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from encord.objects.coordinates import BoundingBoxCoordinates
from encord.orm.storage import DataGroupGrid
from PIL import Image
from tests import kinds
from tests.films import HEIGHT, WIDTH, film
from typer.testing import CliRunner

from encord_agents.cli.main import app
from encord_agents.local import AgentStage, LocalPlatform, Stage, Workflow

WORKFLOW = Workflow([AgentStage("A", {"b": "B"}), Stage("B", "done")])
RED = (211, 49, 21)  # of the class Person, in the ontology of projects that are given none


def mark(platform: LocalPlatform, project_hash: str, title: str, frame: int = 0) -> None:
    (row,) = platform.client().get_project(project_hash).list_label_rows_v2(data_title_eq=title)
    row.initialise_labels()
    instance: Any = row.ontology_structure.objects[0].create_instance()
    instance.set_for_frames(BoundingBoxCoordinates(height=0.5, width=0.5, top_left_x=0.25, top_left_y=0.25), frame)
    row.add_object_instance(instance)
    row.save()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory with a labelled picture, a video with labels on two frames, and rows without labels."""
    content = film(tmp_path / "film.mp4", 12).read_bytes()
    with LocalPlatform(tmp_path / "data") as platform:
        project = platform.create_project(workflow=WORKFLOW)
        project.add_image("folder/one.png", width=200, height=100)
        project.add_image("other/one.png", width=200, height=100)
        project.add_image("folder_one.png", width=200, height=100)
        project.add_file(
            "film.mp4", content, item_type="video", mime_type="video/mp4", width=WIDTH, height=HEIGHT, frames=12,
            fps=10.0,
        )  # fmt: skip
        mark(platform, project.project_hash, "folder/one.png")
        mark(platform, project.project_hash, "folder_one.png")
        mark(platform, project.project_hash, "film.mp4", frame=7)
    return tmp_path / "data"


def labels(data: Path, *arguments: str) -> Any:
    platform = LocalPlatform(data)
    hash = platform.projects()[0].project_hash
    platform.close()
    return CliRunner().invoke(app, ["local", "labels", hash, "--data", str(data), *arguments])


def test_labels_as_files(data: Path, tmp_path: Path) -> None:
    """A JSON file for each row that has labels, as the SDK gets them; no title becomes a directory."""
    ran = labels(data, "--out", str(tmp_path / "out"))
    assert ran.exit_code == 0, ran.output
    assert "3 label rows in" in ran.output
    found = {path.name: json.loads(path.read_text()) for path in (tmp_path / "out").iterdir()}
    assert len(found) == 3
    assert {label["data_title"] for label in found.values()} == {"folder/one.png", "folder_one.png", "film.mp4"}
    assert found["film.json"]["data_type"] == "video"
    assert "folder_one.json" in found


def test_labels_are_drawn(data: Path, tmp_path: Path) -> None:
    """The box is on the picture where the label says, in the colour of its class; of a video, on its own frame."""
    ran = labels(data, "--out", str(tmp_path / "out"), "--draw")
    assert "3 label rows, 3 drawings in" in ran.output
    pixels = np.asarray(Image.open(tmp_path / "out/folder_one.png"))
    assert pixels.shape == (100, 200, 3)
    assert tuple(pixels[50, 50]) == RED
    assert tuple(pixels[74, 100]) == RED
    assert tuple(pixels[50, 60]) == (128, 128, 128)
    assert [path.name for path in (tmp_path / "out/film").iterdir()] == ["000007.png"]
    frame = np.asarray(Image.open(tmp_path / "out/film/000007.png"))
    assert tuple(frame[HEIGHT // 2, WIDTH // 4]) == RED
    assert frame[22:42, 6:26].min() > 200  # bit 0 of the number in the film, which its neighbours lack
    assert frame[22:42, 38:58].min() > 200


def test_nothing_to_write(tmp_path: Path) -> None:
    """A project without labels is told so; one that is not there, too."""
    with LocalPlatform(tmp_path / "data") as platform:
        platform.create_project(workflow=WORKFLOW).add_image("a.png")
    ran = labels(tmp_path / "data", "--out", str(tmp_path / "out"))
    assert ran.exit_code == 0
    assert "No labels were saved yet." in ran.output
    assert list((tmp_path / "out").iterdir()) == []


def test_every_kind_is_drawn_or_named(tmp_path: Path) -> None:
    """Pages, members of groups and of data groups are drawn by their number; of what is not, the reason is said."""
    files = kinds.five(tmp_path / "files")
    kinds.dicom(files / "scan.dcm")
    kinds.nifti(files / "volume.nii")
    shots = tmp_path / "shots"
    shots.mkdir()
    for name in ("a.png", "b.png"):
        kinds.picture(shots / name)
    with LocalPlatform(tmp_path / "data") as platform:
        project = platform.create_project(workflow=WORKFLOW, files=files)
        project.add_files(shots, groups="group")
        client = platform.client()
        folder = client.create_storage_folder("Group")
        members = [folder.upload_image(files / "picture.png"), folder.upload_pdf(files / "pages.pdf")]
        sdk = client.get_project(project.project_hash)
        dataset = client.get_dataset(next(iter(sdk.list_datasets())).dataset_hash)
        dataset.link_items([folder.create_data_group(DataGroupGrid(name="grid", layout_contents=members))])
        for row in sdk.list_label_rows_v2():
            row.initialise_labels()
            structure = row.ontology_structure
            box = BoundingBoxCoordinates(height=0.5, width=0.5, top_left_x=0.25, top_left_y=0.25)
            if row.data_title == "grid":
                instance: Any = structure.objects[0].create_instance()
                row.get_space(id=str(members[0]), type_="image").put_object_instance(instance, box)
            elif row.data_title not in ("sound.wav", "words.txt", "scan.dcm", "volume.nii"):
                instance = structure.objects[0].create_instance()
                instance.set_for_frames(box, row.number_of_frames - 1)
                row.add_object_instance(instance)
            row.save()
        done = project.export_labels(tmp_path / "out", draw=True)
    found = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.png")}
    assert found == {"film/000005.png", "grid/000000.png", "pages/000001.png", "picture.png", "shots/000001.png"}
    assert done.drawings == 5
    reasons = dict(reason.split(": ", 1) for reason in done.not_drawn)
    assert set(reasons) == {"sound.wav", "words.txt", "scan.dcm", "volume.nii"}
    assert reasons["scan.dcm"].startswith("DICOM is not drawn")
    assert reasons["volume.nii"].startswith("NIfTI is not drawn")
    page = np.asarray(Image.open(tmp_path / "out/pages/000001.png"))
    assert tuple(page[page.shape[0] // 2, page.shape[1] // 4]) == RED
