"""Labels as files: under names that are safe anywhere, and drawn where they can be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from tests.unit.local.rows import made, saved

from encord_agents.local import LocalPlatform, LocalPlatformError, LocalProject, labels
from encord_agents.local.export import LONGEST_NAME, NOT_DRAWN


def unlabelled(project: LocalProject) -> None:
    """Save the last row of a project, with nothing on it."""
    row = made(project, -1)
    units = {row["data_hash"]: {"data_hash": row["data_hash"], "labels": {}}}
    empty = {"data_units": units, "object_answers": {}, "classification_answers": {}}
    labels.save(project._database, project._record, {row["label_hash"]: empty})


def test_rows_that_have_labels(project: LocalProject, tmp_path: Path) -> None:
    """Each is a file with what the SDK would get, and is counted as it is written; the others are none."""
    row, counted = saved(project, 1), []
    made(project, 2)
    done = project.export_labels(tmp_path / "a" / "b", progress=counted.append)
    (file,) = (tmp_path / "a" / "b").iterdir()
    assert file.name == "b.json"
    assert json.loads(file.read_text(encoding="utf-8")) == project.label(row["data_hash"])
    assert (done.rows, done.drawings, counted) == (1, 0, [1])


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("folder/one.png", "folder_one"),
        ("..\\..\\one.png", "_.._one"),
        ("/etc/passwd", "_etc_passwd"),
        ("...", "untitled"),
        ("a\nb<c>|d?.png", "a_b_c__d_"),
        ("Straße.tar.gz", "Straße.tar"),
        (f"{'x' * 400}.png", "x" * LONGEST_NAME),
        (f"x{'é' * 400}.png", f"x{'é' * (LONGEST_NAME // 2 - 1)}"),
    ],
)
def test_a_title_is_no_path(platform: LocalPlatform, tmp_path: Path, title: str, name: str) -> None:
    """Whatever a title has in it, its file is in the directory that was asked for, and can be there anywhere."""
    project = platform.create_project(workflow={"stages": [{"title": "A", "type": "agent"}]})
    project.add_image(title)
    saved(project)
    project.export_labels(tmp_path / "out")
    assert [path.name for path in tmp_path.rglob("*.json")] == [f"{name}.json"]


def test_titles_that_are_the_same(project: LocalProject, tmp_path: Path) -> None:
    """Also where only the case or the suffix differs; a branch is in the name; two tasks of a row are one file."""
    hash = project.add_image("A.jpg")
    project.add_task(hash)
    project.add_task(hash, branch="new/idea")
    for number in (0, 3):
        saved(project, number)
    saved(project, 3, "new/idea")
    done = project.export_labels(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"a.json", f"A-{hash[:8]}.json", "A-new_idea.json"}
    assert done.rows == 3


def test_titles_whose_files_would_be_the_same(platform: LocalPlatform, tmp_path: Path) -> None:
    """A video's directory of drawings is neither the JSON nor the drawing of another row, and none is overwritten."""
    project = platform.create_project(workflow={"stages": [{"title": "A", "type": "agent"}]})
    project.add_image("x.jpg")
    hashes = [project.add_image(title) for title in ("X.png.jpg", "x.json.jpg")]
    hash = project.add_image("y.jpg")
    branches = ["main", *(f"a{c}b" for c in "/_?:")]
    for branch in branches[1:]:
        project.add_task(hash, branch=branch)
    for number in range(3):
        saved(project, number)
    for branch in branches:
        saved(project, 3, branch)
    done = project.export_labels(tmp_path, draw=True)
    names = ["x", f"X.png-{hashes[0][:8]}", f"x.json-{hashes[1][:8]}", "y", "y-a_b"]
    names += [f"y-a_b-{hash[:8]}", f"y-a_b-{hash[:8]}-2", f"y-a_b-{hash[:8]}-3"]
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.{end}" for name in names for end in ("json", "png")}
    assert (done.rows, done.drawings) == (8, 8)


def test_two_tasks_of_a_row(project: LocalProject, tmp_path: Path) -> None:
    """They are one file."""
    row = saved(project, 0)
    for _ in range(2):
        project.add_task(row["data_hash"])
    done = project.export_labels(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert done.rows == 1


def test_drawn(project: LocalProject, tmp_path: Path) -> None:
    """A picture beside the JSON, of its own size; a row whose file is gone is named, and the others are drawn."""
    row = saved(project, 0)
    saved(project, 1)
    with project._database.write() as connection:
        connection.execute("UPDATE items SET digest = NULL WHERE title = 'a.png'")
    done = project.export_labels(tmp_path, draw=True)
    assert (done.rows, done.drawings, done.not_drawn) == (2, 1, ["a.png: its file is not there"])
    with Image.open(tmp_path / "b.png") as picture:
        assert picture.size == (64, 48)
    assert (tmp_path / "a.json").exists()
    assert project.saves(row["data_hash"]) == 1


@pytest.mark.parametrize(("kind", "mime"), [("audio", "audio/wav"), ("plainText", "text/plain")])
def test_what_is_not_drawn(project: LocalProject, tmp_path: Path, kind: str, mime: str) -> None:
    """Its labels are in the JSON file, and the result says why there is no picture."""
    project.add_file("x.bin", b"x", item_type=kind, mime_type=mime)
    unlabelled(project)
    done = project.export_labels(tmp_path, draw=True)
    assert (done.rows, done.drawings, done.not_drawn) == (1, 0, [f"x.bin: {NOT_DRAWN[kind]}"])


def test_a_picture_that_cannot_be_read(project: LocalProject, tmp_path: Path) -> None:
    """It is named with the reason, and its labels are written."""
    project.add_image("broken.png", b"no picture")
    saved(project, 3)
    done = project.export_labels(tmp_path, draw=True)
    assert (done.rows, done.drawings) == (1, 0)
    assert done.not_drawn[0].startswith("broken.png: ")


def test_a_directory_that_cannot_be(project: LocalProject, tmp_path: Path) -> None:
    """The message names what is in the way."""
    (tmp_path / "file").write_text("")
    with pytest.raises(LocalPlatformError, match=r"file.* cannot be written"):
        project.export_labels(tmp_path / "file")
