"""The code of the page on editor agents runs as it is."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
import requests
from tests.editors import listening

if TYPE_CHECKING:
    from tests.conftest import World

PAGE = (Path(__file__).parents[2] / "docs" / "editor_agents.md").read_text(encoding="utf-8")


def section(title: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run the code of a section, and return its names."""
    text = PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    (code,) = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    module = ModuleType("agents")
    monkeypatch.setitem(sys.modules, "agents", module)
    exec(compile(code, "agents.py", "exec"), module.__dict__)
    return vars(module)


@pytest.fixture
def body(world: World, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A request for an image with one box."""
    for name, value in world.platform.environment().items():
        monkeypatch.setenv(name, value)
    data_hash = world.project.add_image("image")
    (row,) = world.client.get_project(world.project.project_hash).list_label_rows_v2(data_hashes=[data_hash])
    row.initialise_labels()
    world.mark(row)
    row.save()
    return {"projectHash": world.project.project_hash, "dataHash": data_hash, "frame": 0}


def test_fastapi(world: World, body: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The box is saved besides the one that was there, and the messages are shown."""
    with listening(section("FastAPI", monkeypatch)["app"]) as address:
        answer = requests.post(f"{address}/box", json=body, timeout=60)
        refusal = requests.post(f"{address}/box", json=body | {"objectHashes": ["abcdefgh"]}, timeout=60)
    assert (answer.status_code, answer.json()) == (200, {"message": "One box in the middle."})
    assert (refusal.status_code, refusal.json()["message"][:14]) == (400, "Select nothing")
    assert len(world.marks(body["dataHash"]) or ()) == 2


def test_cloud_functions(body: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The functions framework serves the function."""
    import functions_framework

    section("Google Cloud Functions", monkeypatch)
    text = PAGE.partition("\n## Google Cloud Functions\n")[2]
    (tmp_path / "main.py").write_text(re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)[0])
    monkeypatch.setenv("FUNCTION_SIGNATURE_TYPE", "http")
    client = functions_framework.create_app("count", str(tmp_path / "main.py")).test_client()
    assert client.post("/", json=body).get_json() == {"message": "1 objects"}


def test_lambda(body: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The handler answers an event of a function URL."""
    answer = section("AWS Lambda", monkeypatch)["handler"]({"version": "2.0", "body": json.dumps(body)}, None)
    assert (answer["statusCode"], json.loads(answer["body"])) == (200, {"message": "1 objects"})
