"""The code of the page on editor agents runs as it is."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
import requests
from tests import preloaded
from tests.editors import listening
from tests.ports import free_port

from encord_agents.core.webhooks import sign
from encord_agents.local.images import png

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


def test_who_calls(body: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that the platform has signed is served, any other one is refused."""
    monkeypatch.setenv("ENCORD_WEBHOOK_SECRET", "s")
    content, now = json.dumps(body).encode(), str(int(time.time()))
    signature = sign(content, timestamp=now, secret="s")
    headers = {"Content-Type": "application/json", "X-Encord-Signature": signature, "X-Encord-Timestamp": now}
    with listening(section("Who calls", monkeypatch)["app"]) as address:
        answers = [
            requests.post(f"{address}/route", data=sent, headers=headers, timeout=60)
            for sent in (content, content + b" ")
        ]
        stranger = requests.post(f"{address}/route", json=body, timeout=60)
    assert answers[0].json() == {"decision": "accept"}
    assert [answer.status_code for answer in (*answers, stranger)] == [200, 401, 401]


@contextmanager
def standing(command: list[str], said: str, **options: Any) -> Iterator[None]:
    """A command that stays up, once it has said that it is."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with preloaded.Popen(command, **options, **pipes) as process:
        assert process.stdout is not None
        try:
            lines: list[str] = []
            for line in process.stdout:
                lines.append(line)
                if said in line:
                    break
            else:
                raise AssertionError("".join(lines))
            yield
        finally:
            process.terminate()
            process.stdout.read()


def test_on_the_local_platform(tmp_path: Path) -> None:
    """The commands of the page, as they are but for ports, pictures and the browser, end in a box that is drawn."""
    text = PAGE.partition("\n## On the local platform\n")[2].partition("\n## ")[0]
    blocks = "".join(re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "a.png").write_bytes(png(64, 48))
    fastapi = PAGE.partition("\n## FastAPI\n")[2]
    (tmp_path / "box.py").write_text(re.findall(r"^```python\n(.*?)^```$", fastapi, re.MULTILINE | re.DOTALL)[0])
    local, agents = str(free_port()), str(free_port())
    text = blocks.replace("8765", local).replace("8080", agents).replace("~/Pictures", str(pictures))
    environment = dict(os.environ)
    options: dict[str, Any] = {"cwd": tmp_path, "env": environment}
    with ExitStack() as stack:
        for line in text.splitlines():
            words = shlex.split(line, comments=True)
            if words[0] == "export":
                name, _, value = words[1].partition("=")
                environment[name] = value
                continue
            command = [sys.executable, "-m", "encord_agents.cli.main", *words[1:]]
            if words[1:3] == ["local", "up"]:
                command = [*command[:-1], "--port", local]  # without a browser
                stack.enter_context(standing(command, "export ENCORD_SSH_KEY", **options))
            elif words[1] == "serve":
                stack.enter_context(standing([*command, "--port", agents], "running on", **options))
            else:
                preloaded.run(command, check=True, capture_output=True, **options)
        start = f"http://127.0.0.1:{local}"
        project = re.findall(r"/projects/([0-9a-f-]{36})\"", requests.get(start, timeout=60).text)[0]
        tasks = requests.get(f"{start}/projects/{project}/tasks", timeout=60).text
        task = re.findall(rf"/projects/{project}/tasks/([0-9a-f-]{{36}})", tasks)[0]
        page = requests.get(f"{start}/projects/{project}/tasks/{task}", timeout=60).text
        form = {"token": re.findall(r'data-token="(\w+)"', page)[0], "agent": "box", "frame": "0"}
        answer = requests.post(f"{start}/projects/{project}/tasks/{task}/agents", data=form, timeout=60)
    assert "One box in the middle." in answer.text
    assert "Editor agent box" in answer.text
    assert 'class="label"' in answer.text
