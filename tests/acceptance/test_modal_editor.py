"""The example of editor agents on Modal: its app answers, without Modal."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests
from tests.editors import listening

if TYPE_CHECKING:
    from tests.conftest import World

pytest.importorskip("modal")
EXAMPLE = Path(__file__).parents[2] / "examples" / "modal_editor.py"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_app_of_the_example(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Modal would serve answers the editor."""
    for name, value in world.platform.environment().items():
        monkeypatch.setenv(name, value)
    spec = importlib.util.spec_from_file_location("modal_editor", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "modal_editor", module)
    spec.loader.exec_module(module)
    body = {"projectHash": world.project.project_hash, "dataHash": world.project.add_image("image"), "frame": 0}
    with listening(module.web) as address:
        answer = requests.post(f"{address}/describe", json=body, timeout=60)
    assert (answer.status_code, answer.json()) == (200, {"message": "0 objects on frame 0"})
