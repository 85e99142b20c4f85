"""The demonstration: photographs in; labels, drawings and moved tasks out."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests import preloaded

from encord_agents.local import LocalPlatform

EXAMPLES = Path(__file__).parents[2] / "examples"


def scikit_image_data() -> Path:
    """The directory of scikit-image's photographs."""
    found = importlib.util.find_spec("skimage")
    if found is None or found.origin is None:
        reason = "the demonstration needs scikit-image: install the `demo` extra"
        if os.environ.get("ENCORD_AGENTS_FORBID_SKIPS"):
            pytest.fail(reason)
        pytest.skip(reason)
    return Path(found.origin).parent / "data"


def demo(*arguments: str | Path, home: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXAMPLES / "demo.py"), *map(str, arguments)]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8:strict", **({"HOME": str(home)} if home else {})}
    return preloaded.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)


def test_photographs_become_labels_drawings_and_moved_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels are saved and drawn, tasks end where they belong, a broken file is named, a second run finds nothing. A
    key of the real platform is not used, or talked of."""
    monkeypatch.setenv("ENCORD_SSH_KEY_FILE", "~/.ssh/encord")
    photographs = scikit_image_data()
    images, data = tmp_path / "images", tmp_path / "data"
    images.mkdir()
    for name in ("astronaut.png", "coins.png"):
        (images / name).write_bytes((photographs / name).read_bytes())
    (images / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    (images / os.fsdecode(b"broken\xff.jpg")).write_bytes(b"\xff\xd8 no picture")

    # As a shell that leaves the ~ alone passes it on.
    ran = demo("--images", "~/images", "--data", "~/data", home=tmp_path)

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "ENCORD_SSH_KEY" not in ran.stderr
    assert "broken.jpg" in ran.stdout
    assert "broken\N{REPLACEMENT CHARACTER}.jpg" in ran.stdout
    assert "0 tasks are waiting" in ran.stdout
    assert ran.stdout.count("$ python ") == 2
    assert {path.name for path in (data / "overlays").iterdir()} == {"astronaut.png", "coins.png", "contact-sheet.png"}
    assert (data / "overlays/coins.png").read_bytes() != (images / "coins.png").read_bytes()
    assert json.loads((data / "labels/astronaut.json").read_text())["data_title"] == "astronaut.png"

    platform = LocalPlatform(data)
    try:
        (project,) = platform.projects()
        counts = {stage.title: stage.tasks for stage in project.stages}
        assert counts == {"Pre-label": 0, "Triage": 0, "Review": 0, "Complete": 2}
        found = {}
        for task in project.tasks():
            assert project.moves(task.uuid) == 2  # the second run moved nothing
            assert project.saves(task.data_hash) == 1
            label = project.label(task.data_hash)
            assert label is not None
            found[task.data_title] = label["data_units"][task.data_hash]["labels"]["objects"]
    finally:
        platform.close()
    (face,) = found["astronaut.png"]
    assert face["name"] == "Face"
    box = face["boundingBox"]
    assert box["x"] < 0.44 < box["x"] + box["w"]  # her nose
    assert box["y"] < 0.23 < box["y"] + box["h"]
    assert {coin["name"] for coin in found["coins.png"]} == {"Round object"}
    assert 20 <= len(found["coins.png"]) <= 24  # there are 24
    assert all(0.0 < label["confidence"] <= 1.0 for labels in found.values() for label in labels)


@pytest.mark.parametrize("exists", [True, False])
def test_a_folder_without_pictures_is_a_clear_error(tmp_path: Path, exists: bool) -> None:
    """No traceback: the message names the folder, and the exit code is 2."""
    scikit_image_data()
    images = tmp_path / "nothing-here"
    if exists:
        images.mkdir()

    ran = demo("--images", images, "--data", tmp_path / "data")

    assert ran.returncode == 2
    assert "nothing-here" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_only_a_directory_of_the_demo_is_emptied(tmp_path: Path) -> None:
    """A directory of the user's that is passed as --data is left alone."""
    scikit_image_data()
    (tmp_path / "thesis.txt").write_text("years of work")

    ran = demo("--data", tmp_path)

    assert ran.returncode == 2
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_the_agents_are_a_short_file() -> None:
    """A user's file with two agents has fewer than 60 lines."""
    assert len((EXAMPLES / "prelabel_and_triage.py").read_text().splitlines()) < 60


def test_the_agents_can_be_notified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--notifications`: a server of the agents is told of the tasks, and they end where they end otherwise."""
    monkeypatch.setenv("ENCORD_SSH_KEY_FILE", "~/.ssh/encord")
    photographs = scikit_image_data()
    images, data = tmp_path / "images", tmp_path / "data"
    images.mkdir()
    (images / "coins.png").write_bytes((photographs / "coins.png").read_bytes())

    ran = demo("--images", images, "--data", data, "--notifications")

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "ENCORD_SSH_KEY" not in ran.stderr
    assert "Notified (1 waiting in Pre-label): 200 OK" in ran.stdout
    platform = LocalPlatform(data)
    try:
        (project,) = platform.projects()
        (task,) = project.tasks()
        assert (task.stage_title, project.moves(task.uuid), project.saves(task.data_hash)) == ("Complete", 2, 1)
    finally:
        platform.close()
