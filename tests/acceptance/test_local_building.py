"""The SDK's own set-up scripts run against the local platform."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from tests import kinds, preloaded

from encord_agents.local import LocalPlatform, Stage, Workflow

EXAMPLES = Path(__file__).parents[2] / "examples"
WORKFLOW = Workflow([Stage("Annotate"), Stage("Review", "review"), Stage("Complete", "done")])


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"examples_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_program_of_the_sdk(local_platform: LocalPlatform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folder, uploads, ontology, dataset, project from a template, labels of every shape, submit, approve, export."""
    monkeypatch.setenv("ENCORD_SSH_KEY", local_platform.ssh_key)
    template = local_platform.add_workflow_template(WORKFLOW)
    export = example("sdk_program").main(kinds.five(tmp_path / "files"), template, local_platform.domain)
    (project,) = local_platform.projects()
    assert {stage.title: stage.tasks for stage in project.stages} == {"Annotate": 0, "Review": 0, "Complete": 5}
    assert sorted(export) == ["film.mp4", "pages.pdf", "picture.png", "sound.wav", "words.txt"]
    counts = {title: len(labels["object_answers"]) for title, labels in export.items()}
    assert counts == {"film.mp4": 5, "pages.pdf": 5, "picture.png": 6, "sound.wav": 1, "words.txt": 1}
    assert all(len(labels["classification_answers"]) == 1 for labels in export.values())
    (film,) = export["film.mp4"]["data_units"].values()
    assert (len(film["labels"]), film["data_fps"]) == (6, 10)
    (sound,) = export["sound.wav"]["data_units"].values()
    assert (sound["audio_sample_rate"], sound["audio_num_channels"], sound["audio_bit_depth"]) == (8000, 1, 16)
    assert {labels["label_status"] for labels in export.values()} == {"LABELLED"}


def test_the_program_of_the_sdk_without_arguments() -> None:
    """It says how it is called."""
    ran = preloaded.run([sys.executable, EXAMPLES / "sdk_program.py"], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.splitlines()[0].endswith("sdk_program.py FILES TEMPLATE DOMAIN")


def test_the_program_of_the_sdk_is_short() -> None:
    """It has at most 80 lines, and uses the SDK only."""
    text = (EXAMPLES / "sdk_program.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 80
    assert "encord_agents" not in text
