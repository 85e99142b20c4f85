"""`local pull` and `local diff`: a copy of a project of another platform, and what became of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests
from encord.objects.coordinates import BoundingBoxCoordinates
from tests import kinds

from encord_agents.local import AgentStage, LocalPlatform, LocalPlatformError, LocalProject, Stage, Workflow

COMMAND = Path(sys.executable).with_name("encord-agents")
WORKFLOW = Workflow(
    [AgentStage("Pre-label", {"go": "Review"}), Stage("Annotate"), Stage("Review", "review"), Stage("Done", "done")]
)
BOX = BoundingBoxCoordinates(height=0.1, width=0.2, top_left_x=0.3, top_left_y=0.4)


def draw(row: Any) -> None:
    box = row.ontology_structure.objects[0].create_instance()
    box.set_for_frames(BOX, 0)
    row.add_object_instance(box)
    row.save()


@pytest.fixture
def real(local_platform: LocalPlatform, tmp_path: Path) -> LocalProject:
    """The platform that stands for the real one, with a project of every kind of file, and a label on the first."""
    files = kinds.five(tmp_path / "files")
    (files / "shots").mkdir()
    for name in ("a.png", "b.png"):
        kinds.picture(files / "shots" / name)
    project = local_platform.create_project(title="Real", workflow=WORKFLOW, files=files)
    project.add_files(files / "shots", groups="group")
    for row in local_platform.client().get_project(project.project_hash).list_label_rows_v2():
        if row.data_type.value in ("image", "img_group"):
            row.initialise_labels()
            draw(row)
    project.act("move", "Pre-label", title="sound", destination="Review")
    return project


def test_a_copy_with_labels_and_files(local_platform: LocalPlatform, real: LocalProject) -> None:
    """Stages, pathways, ontology, tasks, labels and files are the same, and an agent's run shows as a difference."""
    with LocalPlatform() as copy:
        pulled = copy.pull(local_platform.client(), real.project_hash, with_labels=True, with_files=True)
        assert pulled.skipped == []
        client, source = copy.client(), local_platform.client()
        mine, theirs = client.get_project(pulled.project_hash), source.get_project(real.project_hash)
        assert [(s.title, s.uuid) for s in mine.workflow.stages] == [(s.title, s.uuid) for s in theirs.workflow.stages]
        assert (
            mine.workflow.get_stage(name="Pre-label").pathways == theirs.workflow.get_stage(name="Pre-label").pathways
        )
        assert mine.ontology_structure.to_dict() == theirs.ontology_structure.to_dict()
        assert {(t.data_hash, t.stage_title) for t in pulled.tasks()} == {
            (t.data_hash, t.stage_title) for t in real.tasks()
        }
        for row in mine.list_label_rows_v2():
            (other,) = theirs.list_label_rows_v2(data_hashes=[row.data_hash])
            row.initialise_labels()
            other.initialise_labels()
            assert len(row.get_object_instances()) == len(other.get_object_instances())
            assert (row.number_of_frames, row.data_title) == (other.number_of_frames, other.data_title)
            item = client.get_storage_item(row.backing_item_uuid or "", sign_url=True)
            for one in [item, *item.get_child_items(get_signed_urls=True)]:
                if one.mime_type is not None:
                    theirs_url = source.get_storage_item(one.uuid, sign_url=True).get_signed_url()
                    bytes_ = requests.get(str(one.get_signed_url()), timeout=5).content
                    assert bytes_ == requests.get(str(theirs_url), timeout=5).content
        assert pulled.differences() == []
        (row,) = mine.list_label_rows_v2(data_title_eq="picture.png")
        row.initialise_labels()
        draw(row)
        pulled.act("move", "Pre-label", title="picture", destination="Annotate")
        (difference,) = pulled.differences()
        assert (difference.data_title, difference.added, difference.changed) == ("picture.png", 1, 0)
        assert (difference.origin, difference.stage) == ("Pre-label", "Annotate")
        copy.check()
    assert real.saves(real.tasks()[0].data_hash) <= 1


def test_in_parts(local_platform: LocalPlatform, real: LocalProject) -> None:
    """One stage, some tasks, and again for the rest: nothing is there twice; without files there are facts."""
    with LocalPlatform() as copy:
        client = local_platform.client()
        pulled = copy.pull(client, real.project_hash, stage="Pre-label", max_tasks=2)
        assert len(pulled.tasks()) == 2
        again = copy.pull(client, real.project_hash)
        assert again.project_hash == pulled.project_hash
        assert len(again.tasks()) == len(real.tasks())
        (film,) = copy.client().get_project(again.project_hash).list_label_rows_v2(data_title_eq="film.mp4")
        assert film.number_of_frames == 6
        assert copy.client().get_storage_item(film.backing_item_uuid or "", sign_url=True).get_signed_url() is None
        with pytest.raises(LocalPlatformError, match="no stage 'Nowhere'"):
            copy.pull(client, real.project_hash, stage="Nowhere")


def test_on_the_command_line(local_platform: LocalPlatform, real: LocalProject, tmp_path: Path) -> None:
    """`pull` reads with the environment's key, `diff` shows what happened since."""
    environment = {**os.environ, **local_platform.environment(), "NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "100"}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(COMMAND), "local", *arguments],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    pulled = run("pull", real.project_hash, "--with-labels", "--with-files", "--data", "copy")
    assert pulled.returncode == 0, pulled.stderr
    hash = pulled.stdout.splitlines()[-1]
    assert "0 tasks: 0 moves" in run("diff", hash, "--data", "copy").stdout
    run("move", hash, "Pre-label", "Annotate", "--title", "film", "--data", "copy")
    shown = run("diff", hash, "--data", "copy").stdout
    assert "Pre-label -> Annotate" in shown
    assert "1 task: 1 move; labels: 0 new, 0 gone, 0 changed" in shown
