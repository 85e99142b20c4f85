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
from encord.orm.storage import DataGroupCustom
from tests import kinds, preloaded
from tests.waiting import until

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
                    bytes_ = requests.get(str(one.get_signed_url()), timeout=60).content
                    assert bytes_ == requests.get(str(theirs_url), timeout=60).content
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
        return preloaded.run(
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


def test_what_is_asked_for_later(local_platform: LocalPlatform, real: LocalProject) -> None:
    """Labels and files that the first call was not asked for are added by the next; what was labelled here stays."""
    with LocalPlatform() as copy:
        client = local_platform.client()
        pulled = copy.pull(client, real.project_hash)
        mine = copy.client().get_project(pulled.project_hash)
        (group,) = [row for row in mine.list_label_rows_v2() if row.data_type.value == "img_group"]
        group.initialise_labels()
        group.save()
        again = copy.pull(client, real.project_hash, with_labels=True, with_files=True)
        assert again.skipped == []
        assert len(again.tasks()) == len(real.tasks())
        counts = {}
        for row in mine.list_label_rows_v2():
            row.initialise_labels()
            counts[row.data_title] = len(row.get_object_instances())
            item = copy.client().get_storage_item(row.backing_item_uuid or "", sign_url=True)
            for one in [item, *item.get_child_items(get_signed_urls=True)]:
                assert one.mime_type is None or one.get_signed_url() is not None
        assert (counts["picture.png"], counts[group.data_title]) == (1, 0)


def test_a_data_group_with_its_labels(local_platform: LocalPlatform, real: LocalProject, tmp_path: Path) -> None:
    """Members, layout and the labels of each member are the same, and an image sequence's are, too."""
    client = local_platform.client()
    folder = client.create_storage_folder("Group")
    files = kinds.five(tmp_path / "more")
    members = {"left": folder.upload_image(files / "picture.png"), "right": folder.upload_video(files / "film.mp4")}
    group = folder.create_data_group(DataGroupCustom(name="pair", layout_contents=members))
    project = client.get_project(real.project_hash)
    client.get_dataset(next(iter(project.list_datasets())).dataset_hash).link_items([group])
    real.add_files(tmp_path / "files" / "shots", groups="sequence")
    (row,) = project.list_label_rows_v2(data_title_eq="pair")
    row.initialise_labels()
    person = row.ontology_structure.objects[0]
    row.get_space(layout_key="left", type_="image").put_object_instance(person.create_instance(), BOX)
    row.get_space(layout_key="right", type_="video").put_object_instance(person.create_instance(), [1, 4], BOX)
    row.save()
    (sequence,) = [row for row in project.list_label_rows_v2() if row.data_title == "shots" and row.label_hash is None]
    sequence.initialise_labels()
    draw(sequence)
    with LocalPlatform() as copy:
        pulled = copy.pull(client, real.project_hash, with_labels=True, with_files=True)
        assert pulled.skipped == []
        mine = copy.client().get_project(pulled.project_hash)
        (own,) = mine.list_label_rows_v2(data_title_eq="pair")
        own.initialise_labels()
        assert without_dates(own.to_encord_dict()["spaces"]) == without_dates(row.to_encord_dict()["spaces"])
        layouts = [platform.get_storage_item(group).get_summary().data_group for platform in (client, copy.client())]
        assert layouts[0] is not None
        assert layouts[1] is not None
        assert layouts[0].layout_contents == layouts[1].layout_contents
        (shots,) = mine.list_label_rows_v2(data_hashes=[sequence.data_hash])
        shots.initialise_labels()
        assert len(shots.get_object_instances()) == 1
        assert pulled.differences() == []
        own.save()
        assert pulled.differences() == []
        copy.check()


def test_two_branches_of_one_file(local_platform: LocalPlatform, real: LocalProject) -> None:
    """Each task is copied with the labels of its own branch."""
    task = real.tasks()[0]
    real.add_task(task.data_hash, "Annotate", branch="second")
    project = local_platform.client().get_project(real.project_hash)
    (row,) = project.list_label_rows_v2(data_hashes=[task.data_hash], branch_name="second")
    row.initialise_labels()
    for _ in range(3):
        draw(row)
    with LocalPlatform() as copy:
        for _ in range(2):
            pulled = copy.pull(local_platform.client(), real.project_hash, with_labels=True)
            assert pulled.skipped == []
            assert len(pulled.tasks()) == len(real.tasks())
        here = {(t.branch_name, t.stage_title) for t in pulled.tasks() if t.data_hash == task.data_hash}
        assert here == {("main", task.stage_title), ("second", "Annotate")}
        label = pulled.label(task.data_hash, "second")
        assert label is not None
        assert len(label["object_answers"]) == 3
        assert pulled.differences() == []
        pulled.act("move", "Annotate", destination="Done")
        (difference,) = pulled.differences()
        assert (difference.branch, difference.stage) == ("second", "Done")
        assert difference.task in {t.uuid for t in pulled.tasks("Done")}
        page = requests.get(f"{copy.domain}/projects/{pulled.project_hash}/changes", timeout=60).text
        assert f"/tasks/{difference.task}" in page
        real.act("move", "Annotate", destination="Review")
        (reason,) = copy.pull(local_platform.client(), real.project_hash).skipped
        assert reason == f"{task.data_title}: it has another task, which was copied"


def test_what_cannot_be_read_is_named(local_platform: LocalPlatform, real: LocalProject) -> None:
    """A forbidden item, a lost file and refused labels are named, each by its title; everything else is copied."""
    hashes = {task.data_title: task.data_hash for task in real.tasks()}
    real.forbid_item(hashes["sound.wav"])
    real.break_asset(hashes["film.mp4"], "missing")
    with LocalPlatform() as copy:
        client = local_platform.client(retries=False)
        pulled = copy.pull(client, real.project_hash, with_labels=True, with_files=True)
        assert sorted(reason.partition(":")[0] for reason in pulled.skipped) == ["film.mp4", "sound.wav"]
        assert len(pulled.tasks()) == len(real.tasks()) - 2
        real.forbid_item(hashes["sound.wav"], False)
        real.break_asset(hashes["film.mp4"], None)
        pulled = copy.pull(client, real.project_hash, with_labels=True, with_files=True)
        assert pulled.skipped == []
        assert len(pulled.tasks()) == len(real.tasks())


def test_cut_off_in_the_middle(local_platform: LocalPlatform, real: LocalProject, tmp_path: Path) -> None:
    """A copy that was killed while a file came goes on where it ended: nothing is there twice, nothing is missing."""
    hashes = {task.data_title: task.data_hash for task in real.tasks()}
    real.break_asset(hashes["pages.pdf"], "stall")
    environment = {**os.environ, **local_platform.environment()}
    command = [str(COMMAND), "local", "pull", real.project_hash, "--with-labels", "--with-files", "--data", "copy"]
    with preloaded.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as one:
        assert until(lambda: any("pages.pdf" in entry.path for entry in local_platform.journal.of("asset")))
        one.kill()
    real.break_asset(hashes["pages.pdf"], None)
    preloaded.run(command, cwd=tmp_path, env=environment, capture_output=True, timeout=150, check=True)
    platform = LocalPlatform(tmp_path / "copy")
    try:
        (pulled,) = platform.projects()
        assert sorted(t.data_hash for t in pulled.tasks()) == sorted(t.data_hash for t in real.tasks())
    finally:
        platform.close()


def without_dates(value: Any) -> Any:
    """Labels without what the platform says of its own: dates, people and addresses."""
    if isinstance(value, dict):
        dropped = {"createdAt", "createdBy", "lastEditedAt", "lastEditedBy", "data_link"}
        return {key: without_dates(inner) for key, inner in value.items() if key not in dropped}
    return [without_dates(inner) for inner in value] if isinstance(value, list) else value
