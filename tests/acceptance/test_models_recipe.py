"""The agent of docs/howto/models.md works, against a service that answers as hosted models do."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from encord_agents.local import AgentStage, LocalPlatform, Stage, Workflow

PAGE = Path(__file__).parent.parent.parent / "docs" / "howto" / "models.md"
(CODE, *_) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
IMAGES = 6


class Model(ThreadingHTTPServer):
    """Answers 429 to its first requests, 400 to one picture, and finds the others fine."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.lock = threading.Lock()
        self.limited = 2
        self.keys: set[str | None] = set()
        self.answered: list[int] = []


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Model

    def do_POST(self) -> None:
        picture = self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.lock:
            self.server.keys.add(self.headers["Authorization"])
            status = 400 if picture == b"bad" else 200
            if self.server.limited:
                self.server.limited -= 1
                status = 429
            self.server.answered.append(status)
        body = json.dumps({"fine": True} if status == 200 else {"error": "no"}).encode()
        self.send_response(status)
        if status == 429:
            self.send_header("Retry-After", "1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def model() -> Iterator[Model]:
    server = Model()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("workers", [1, 4])
def test_the_agent_of_the_page(
    local_platform: LocalPlatform, model: Model, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    """It survives the rate limit, gives up on what the model refuses, and moves the rest."""
    monkeypatch.delenv("ENCORD_SSH_KEY_FILE", raising=False)
    for name, value in local_platform.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MODEL_KEY", "secret")
    monkeypatch.setenv("MODEL_URL", f"http://127.0.0.1:{model.server_port}/v1/look")
    workflow = Workflow(
        [
            AgentStage("Pre-label", {"review": "Review", "complete": "Done", "needs a person": "Review"}),
            Stage("Review", "review"),
            Stage("Done", "done"),
        ]
    )
    project = local_platform.create_project(workflow=workflow)
    for index in range(IMAGES - 1):
        project.add_image(f"{index}.png", b"good")
    project.add_image("bad.png", b"bad")
    names: dict[str, Any] = {"__name__": "agents"}
    exec(
        compile(CODE.replace("00000000-0000-0000-0000-000000000000", project.project_hash), "agents.py", "exec"), names
    )

    report = names["runner"](progress="none", max_workers=workers)

    assert (report.moved, report.failed) == (IMAGES - 1, 1)
    (failure,) = report.failures
    assert "RefusedError: 400" in str(failure.to_dict()["error"])
    assert failure.pathway == "needs a person"
    assert [task.data_title for task in project.tasks("Review")] == ["bad.png"]
    assert sorted(model.answered) == [200] * (IMAGES - 1) + [400] + [429] * 2
    assert model.keys == {"Bearer secret"}
