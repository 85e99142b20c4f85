"""`local create --files`: any file, one command; and what else begins and ends a project."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests import kinds, preloaded

from encord_agents.local import LocalPlatform, LocalPlatformError

COMMAND = Path(sys.executable).with_name("encord-agents")


def run(directory: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("ENCORD_")}
    return preloaded.run(
        [str(COMMAND), "local", *arguments],
        cwd=directory, env={**clean, **more, "NO_COLOR": "1", "TERM": "dumb"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A directory that `local init` has been run in, with files of every kind."""
    assert run(tmp_path, "init").returncode == 0
    kinds.five(tmp_path / "files")
    kinds.dicom(tmp_path / "files" / "scan.dcm")
    kinds.nifti(tmp_path / "files" / "volume.nii")
    return tmp_path


def create(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run(
        home, "create", "--files", "files", "--workflow", "workflow.yaml", "--ontology", "ontology.yaml", *arguments
    )


def hash_in(output: str) -> str:
    return next(line for line in output.splitlines() if line.count("-") == 4 and " " not in line)


def test_files_of_every_kind(home: Path) -> None:
    """All are there with their facts; what is left out is named, or counted, on stderr."""
    (home / "files" / "cut.mp4").write_bytes(b"no video")
    (home / "files" / "tool.bin").write_bytes(b"\0\1")
    made = create(home)
    assert made.returncode == 0, made.stderr
    assert "1 DICOM file" in made.stdout
    assert "1 video" in made.stdout
    assert "cut.mp4: it cannot be read as a video or sound" in made.stderr
    assert "1 file that is of no kind that the platform takes: 1 .bin" in made.stderr
    with LocalPlatform(home / ".encord-local") as platform:
        project = platform.client().get_project(hash_in(made.stdout))
        rows = {row.data_title: row for row in project.list_label_rows_v2()}
        assert {row.data_type.value for row in rows.values()} == {
            "image", "video", "audio", "plain_text", "pdf", "dicom", "nifti",
        }  # fmt: skip
        for row in rows.values():
            row.initialise_labels()
            row.save()
        assert (rows["film.mp4"].number_of_frames, rows["film.mp4"].fps, rows["pages.pdf"].number_of_frames) == (
            6,
            10,
            2,
        )
        platform.check()


@pytest.mark.parametrize(("groups", "kind"), [("group", "imageGroup"), ("sequence", "imageSequence")])
def test_directories_as_groups(home: Path, groups: str, kind: str) -> None:
    """The images of each directory are one item; other files stay by themselves."""
    for name in ("b.png", "a.png", "c.png"):
        (home / "files" / "shots").mkdir(exist_ok=True)
        kinds.picture(home / "files" / "shots" / name)
    made = create(home, "--groups", groups)
    assert made.returncode == 0, made.stderr
    with LocalPlatform(home / ".encord-local") as platform:
        client = platform.client()
        rows = client.get_project(hash_in(made.stdout)).list_label_rows_v2()
        (row,) = [row for row in rows if row.data_title == "shots"]
        row.initialise_labels()
        assert row.number_of_frames == 3
        item = client.get_storage_item(row.backing_item_uuid)
        assert item.item_type.value == kind
        assert [child.name for child in item.get_child_items()] == ["shots/a.png", "shots/b.png", "shots/c.png"]


def test_a_directory_is_enough(home: Path) -> None:
    """Without a workflow, the stages are those of the agent that `init` writes; they are named."""
    made = run(home, "create", "--files", "files")
    assert made.returncode == 0, made.stderr
    assert "# Its stages: Pre-label (agent), Annotate (annotation), Review (review), Done (done)." in made.stdout
    platform = LocalPlatform(home / ".encord-local")
    try:
        (project,) = platform.projects()
        assert [stage.title for stage in project.stages] == ["Pre-label", "Annotate", "Review", "Done"]
        assert len(project.tasks("Pre-label")) == len(project.tasks()) > 0
    finally:
        platform.close()


def test_what_init_writes_runs_at_once(home: Path) -> None:
    """The agent goes through all files, people finish the rest, and nothing that is there is written over."""
    made = create(home)
    hash = hash_in(made.stdout)
    with LocalPlatform(home / ".encord-local") as platform:
        ran = preloaded.run(
            [sys.executable, "agents.py", "--project-hash", hash],
            cwd=home, env={**os.environ, **platform.environment()},
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr
        counts = {stage.title: stage.tasks for stage in platform.project(hash).stages}
        assert counts == {"Pre-label": 0, "Annotate": 4, "Review": 3, "Done": 0}
    again = run(home, "init")
    assert again.returncode == 2
    assert "is there already" in again.stderr


def test_people_on_the_command_line(home: Path) -> None:
    """Submit, approve, reject and move, of some tasks or all; a stage without such tasks is a message.

    A project may be given by its title, and a stage in other case.
    """
    hash = hash_in(create(home).stdout)
    assert "7 tasks moved to Annotate" in run(home, "move", hash, "Pre-label", "Annotate").stdout
    assert "7 tasks submitted" in run(home, "submit", hash, "Annotate").stdout
    assert "1 task rejected" in run(home, "reject", "Local project", "review", "--title", "film").stdout
    assert "6 tasks approved" in run(home, "approve", hash, "Review").stdout
    refused = run(home, "approve", hash, "Review")
    assert refused.returncode == 2
    assert "no task" in refused.stderr
    wrong = run(home, "approve", hash, "Annotate")
    assert wrong.returncode == 2
    assert "No such action on the annotation stage 'Annotate': approve. People submit there." in wrong.stderr


def test_titles_do_not_collide_and_projects_can_be_deleted(home: Path) -> None:
    """Projects without a title are numbered; a title that is taken is refused; a deleted project is gone."""
    first, second = create(home).stdout, create(home).stdout
    assert "'Local project 2'" in second
    taken = create(home, "--title", "Local project")
    assert taken.returncode == 2
    assert "already" in taken.stderr
    assert "is deleted" in run(home, "delete", hash_in(first)).stdout
    assert hash_in(first) not in run(home, "status").stdout
    assert create(home, "--title", "Local project").returncode == 0


def test_from_python(tmp_path: Path) -> None:
    """`files=` takes a directory or a list; where nothing can be used, no project is made."""
    files = kinds.five(tmp_path / "files")
    with LocalPlatform() as platform:
        project = platform.create_project(workflow={"stages": [{"title": "A", "type": "agent"}]}, files=files)
        assert len(project.tasks()) == 5
        project.add_files([files / "film.mp4", tmp_path / "nowhere.png"])
        assert len(project.tasks()) == 6
        assert project.skipped == [f"{tmp_path / 'nowhere.png'}: No such file or directory"]
        (tmp_path / "none").mkdir()
        with pytest.raises(LocalPlatformError, match="There is no file in"):
            platform.create_project(workflow={"stages": [{"title": "A", "type": "agent"}]}, files=tmp_path / "none")
        assert len(platform.projects()) == 1
