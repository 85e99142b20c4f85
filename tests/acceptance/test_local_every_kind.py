"""Projects with every kind of data, and workflows of every kind of stage, can be looked at and worked on."""

from __future__ import annotations

import re
from pathlib import Path

import requests
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
