"""`encord-agents test` calls an agent as the label editor does; `encord-agents serve` serves agents."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest
import requests
from tests import preloaded
from tests.editors import served
from typer.testing import CliRunner

from encord_agents.cli.editor import LAMBDA, frame_of
from encord_agents.cli.main import app
from encord_agents.core.data_model import EditorAgentResponse
from encord_agents.exceptions import PrintableError

if TYPE_CHECKING:
    from tests.conftest import World

HASHES = ("3f2504e0-4f89-11d3-9a0c-0305e82c3301", "7d444840-9dc0-11d1-b245-5ffdce74fad2")
PATH = f"label_editor/{HASHES[0]}/{HASHES[1]}"


@pytest.mark.parametrize("domain", ["https://app.encord.com", "https://app.us.encord.com", "http://127.0.0.1:8123"])
@pytest.mark.parametrize(
    ("rest", "frame", "objects"),
    [("", 0, None), ("/7", 7, None), ("/7/more?objectHash=abc&objectHash=def&x=1", 7, ["abc", "def"])],
)
def test_addresses_of_the_editor(domain: str, rest: str, frame: int, objects: list[str] | None) -> None:
    """Of any domain: the project, the data unit, the frame and the selected objects are read."""
    found = frame_of(f"{domain}/{PATH}{rest}")
    assert (str(found.project_hash), str(found.data_hash), found.frame, found.object_hashes) == (
        *HASHES,
        frame,
        objects,
    )


@pytest.mark.parametrize("address", ["", "https://app.encord.com", f"https://x/label_editor/{'x' * 36}/{'y' * 36}"])
def test_other_addresses_are_refused(address: str) -> None:
    """The message says what an address looks like."""
    with pytest.raises(PrintableError, match="Copy it from the browser"):
        frame_of(address)


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        app(["test", *arguments])
    code: Any = ended.value.code
    return int(code or 0)


@pytest.mark.parametrize("content", [None, "garbage"])
def test_certificates_that_cannot_be_read(
    content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """There is no answer then, for a reason that names the variable and its path."""
    bundle = tmp_path / "bundle.pem"
    if content is not None:
        bundle.write_text(content)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    assert run("custom", "https://127.0.0.1:9/agent", f"https://app.encord.com/{PATH}/0") == 1
    assert f"cannot be trusted: REQUESTS_CA_BUNDLE names '{bundle}'" in capsys.readouterr().out


def test_a_call_is_shown(world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Request, answer and time are printed, and a curl line that does the same again; the exit code tells of errors."""
    for name, value in world.platform.environment().items():
        monkeypatch.setenv(name, value)
    data_hash = world.project.add_image("image")
    editor = f"{world.platform.domain}/label_editor/{world.project.project_hash}/{data_hash}/0"
    with served("fastapi", lambda *_: EditorAgentResponse(message="it's \x1b[31mdone")) as address:
        assert run("custom", address, editor) == 0
        shown = capsys.readouterr().out
        port = address.split(":")[2].partition("/")[0]
        assert run("local", "agent", editor, "--port", port) == 0
        assert run("local", "/agent", editor, "--port", port, "--test-header") == 0
        assert run("local", "agent", editor, "--port", port, "--no-test-header") == 0
        assert run("local", "nothing", editor, "--port", port) == 1
        lines = dict(line.split(":", 1) for line in shown.splitlines())
        again = shlex.split(lines["curl"])
        head, body = again[again.index("-H") + 1], again[-1]
        answer = requests.post(again[3], data=body, headers=dict([head.split(": ")]), timeout=60)
    assert lines["status"].strip() == "200"
    assert "done" in lines["answer"]
    assert "\x1b" not in shown
    assert lines["elapsed"].endswith(" s")
    assert answer.json()["message"].startswith("it's")
    assert run("custom", address, editor) == 1, "nobody listens there any more"
    assert "encord-agents serve" in capsys.readouterr().out


def test_a_lambda_container_gets_an_event(capsys: pytest.CaptureFixture[str]) -> None:
    """The event is that of a function URL, and the status is the function's."""
    events: list[tuple[str, Any]] = []

    class Container(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            events.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            content = json.dumps({"statusCode": 403, "body": "no"}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Container)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        assert run("aws", f"https://app.encord.com/{PATH}/3", "--port", str(server.server_port)) == 1
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    ((path, event),) = events
    assert path == LAMBDA
    assert json.loads(event["body"])["frame"] == 3
    assert "403" in capsys.readouterr().out


def test_a_shell_completes_the_command() -> None:
    """The line that `--install-completion` of 0.2.10 wrote into a shell's profile still works."""
    completing = {"_ENCORD_AGENTS_COMPLETE": "complete_bash", "COMP_WORDS": "encord-agents te", "COMP_CWORD": "1"}
    ran = CliRunner().invoke(app, [], env=completing, prog_name="encord-agents")
    assert ran.output.split() == ["test"]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_app_is_served_until_it_is_interrupted(tmp_path: Path, workers: int) -> None:
    """``serve agents:app`` finds the app in the working directory, also from the processes that it starts."""
    (tmp_path / "agents.py").write_text("from encord_agents.fastapi import get_encord_app\napp = get_encord_app()\n")
    command = [sys.executable, "-m", "encord_agents.cli.main", "serve", "agents:app", "--port", "0"]
    command += ["--workers", str(workers)]
    with preloaded.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, spawning=True) as server:
        assert server.stderr is not None
        try:
            address, ready = "", 0
            while not address or ready < workers:
                line = next(server.stderr)
                address = line.split("running on ")[1].split()[0] if "running on" in line else address
                ready += "startup complete" in line
            answer = requests.post(address, headers={"X-Encord-Editor-Agent": "test"}, timeout=60)
        finally:
            server.terminate()
        server.stderr.read()
    assert answer.status_code == 200


def test_no_app_is_a_message(tmp_path: Path) -> None:
    """A module or an app that is not there ends in a sentence, with exit code 2."""
    (tmp_path / "agents.py").write_text("other = 1\n")
    for where in ("nothing:app", "agents:other"):
        command = [sys.executable, "-m", "encord_agents.cli.main", "serve", where]
        ended = preloaded.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert ended.returncode == 2
        assert ended.stderr.startswith("Error: ")
        assert "Traceback" not in ended.stderr
