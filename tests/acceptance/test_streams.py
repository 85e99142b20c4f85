"""Narrow encodings, readers that leave and terminals that close: no task's failure, and no other exit code."""

from __future__ import annotations

import itertools
import json
import os
import pty
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests import preloaded
from tests.thorough import THOROUGH

from encord_agents.local import AgentStage, Stage, Workflow

if TYPE_CHECKING:
    from encord_agents.local import LocalPlatform, LocalProject

TITLE = "写真 ✓"
STAGE = "Prüfung ✓"
AGENTS = """
import os, sys
from encord.workflow.stages.agent import AgentTask
from encord_agents.tasks import Runner

runner = Runner()

@runner.stage("Prüfung ✓")
def agent(task: AgentTask) -> str:
    '''Look at it: ✓.'''
    if os.environ.get("WAIT_FOR"):
        open(os.environ["WAIT_FOR"]).close()  # a named pipe: until the test has done what it does
    if os.environ.get("PRINT"):
        print("seen", task.data_title, flush=True)
        print("seen", task.data_title, file=sys.stderr, flush=True)
    if "bad" in task.data_title:
        raise ValueError("bad pixels: ✗")
    return "done"

if __name__ == "__main__":
    runner.run()
"""
ENCODINGS = {
    "cp1252": {"PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"},
    "ascii": {"PYTHONIOENCODING": "ascii:strict", "PYTHONUTF8": "0"},
    "C locale": {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
}


@pytest.fixture
def project(local_platform: LocalPlatform) -> LocalProject:
    workflow = Workflow([AgentStage(STAGE, {"done": "Done"}), Stage("Done", "done")])
    return local_platform.create_project(title=TITLE, workflow=workflow)


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "agents.py"
    path.write_text(AGENTS, encoding="utf-8")
    return path


def environment(platform: LocalPlatform, **more: str) -> dict[str, str]:
    inherited = {k: v for k, v in os.environ.items() if k not in ("PYTHONIOENCODING", "LC_ALL", "LANG", "PYTHONUTF8")}
    return inherited | platform.environment() | {"PYTHONUNBUFFERED": ""} | more


BUFFERED = pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
"""As images of containers mostly have it, streams have no buffer."""


def command(script: Path, project: LocalProject, *options: str) -> list[str]:
    return [sys.executable, str(script), "--project-hash", project.project_hash, "--num-retries", "0", *options]


TOOL = [sys.executable, "-m", "encord_agents.cli.main"]


@pytest.mark.parametrize(
    ("encoding", "unbuffered"),
    itertools.product(ENCODINGS, ["", "1"]) if THOROUGH else [("cp1252", ""), ("ascii", "1"), ("C locale", "")],
)
def test_a_narrow_encoding(
    encoding: str, unbuffered: str, local_platform: LocalPlatform, project: LocalProject, script: Path
) -> None:
    """Titles that the streams of an interpreter cannot encode are escaped; what is shown is the same, and the code."""
    env = environment(local_platform, PYTHONUNBUFFERED=unbuffered, **ENCODINGS[encoding])
    project.add_placeholders(2, title="写 {index}")
    project.add_placeholders(1, title="bad 写")
    done = subprocess.run(
        command(script, project, "--progress", "plain"), env=env, capture_output=True, timeout=100, check=False
    )
    assert b"EncodeError" not in done.stderr, done.stderr.decode("utf-8", "replace")
    assert done.returncode == 1
    assert b"3 tasks" in done.stdout
    assert b"bad \\u5199" in done.stderr


@pytest.mark.parametrize(("encoding", "unbuffered"), [("cp1252", ""), ("ascii", "1")])
def test_narrow_encodings_on_every_command(
    encoding: str, unbuffered: str, local_platform: LocalPlatform, project: LocalProject, script: Path, tmp_path: Path
) -> None:
    """Titles that stdout cannot encode are escaped, on every command; what is shown, and exit codes, are the same."""
    env = environment(local_platform, PYTHONUNBUFFERED=unbuffered, **ENCODINGS[encoding])
    project.add_placeholders(2, title="写 {index}")

    def shown(code: int, *arguments: str) -> str:
        done = preloaded.run(arguments, env=env, capture_output=True, timeout=100)
        assert b"EncodeError" not in done.stderr, done.stderr.decode("utf-8", "replace")
        assert done.returncode == code, done.stderr.decode("utf-8", "replace")
        return done.stdout.decode("latin-1")

    assert STAGE[:2] in shown(0, *command(script, project, "--help"))
    assert "agent()" in shown(0, *command(script, project, "--check"))
    dry = shown(0, *command(script, project, "--dry-run", "--progress", "plain"))
    assert dry.count("would move along 'done'") == 2
    assert "\\u5199 0" in dry
    assert "2 tasks" in shown(0, *command(script, project, "--progress", "plain"))
    project.add_placeholders(1, title="bad 写")
    assert "1 task failed" in shown(1, *command(script, project, "--progress", "none"))
    assert len(shown(0, *TOOL, "print", "agent-nodes", project.project_hash).splitlines()) == 2
    (tmp_path / "workflow.yaml").write_text(
        "stages:\n- {title: A, type: agent, pathways: {b: B}}\n- {title: B, type: done}\n"
    )
    (tmp_path / "pictures").mkdir()
    from PIL import Image

    Image.new("RGB", (4, 4)).save(tmp_path / "pictures" / "写.png")
    data = ["--data", str(tmp_path / "data")]
    made = shown(
        0,
        *(*TOOL, "local", "create", "--title", TITLE, *data, "--images", str(tmp_path / "pictures")),
        *("--workflow", str(tmp_path / "workflow.yaml")),
    )
    assert "export ENCORD_SSH_KEY_FILE=" in made
    assert "A" in shown(0, *TOOL, "local", "status", *data)


def leaving_reader(arguments: list[str], env: dict[str, str], *, merged: bool = False) -> tuple[int, str]:
    """Run a command whose stdout nobody reads any more; its exit code and stderr."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        stderr = writing if merged else subprocess.PIPE
        done = preloaded.run(arguments, env=env, stdout=writing, stderr=stderr, timeout=100, spawning=True)
    finally:
        os.close(writing)
    return done.returncode, (done.stderr or b"").decode()


@BUFFERED
def test_a_reader_that_left(
    unbuffered: str, local_platform: LocalPlatform, project: LocalProject, script: Path
) -> None:
    """``--help``, ``--check`` and a run into ``| head`` are quiet and succeed, also where agents print."""
    project.add_placeholders(3)
    env = environment(local_platform, PRINT="1", PYTHONUNBUFFERED=unbuffered)
    for arguments in (
        command(script, project, "--help"),
        command(script, project, "--check"),
        [*TOOL, "print", "agent-nodes", project.project_hash],
    ):
        code, stderr = leaving_reader(arguments, env)
        assert (code, stderr) == (0, "")
    code, stderr = leaving_reader(command(script, project, "--progress", "none"), env)
    assert code == 0
    assert "Error" not in stderr
    assert project.stage("Done").tasks == 3
    project.add_placeholders(3)
    assert leaving_reader(command(script, project), env, merged=True)[0] == 0
    assert project.stage("Done").tasks == 6


@BUFFERED
def test_a_dry_run_ends_with_its_reader(
    unbuffered: str, local_platform: LocalPlatform, project: LocalProject, script: Path
) -> None:
    """Nobody reads what it would do, so it stops, quietly, as a program does that SIGPIPE ends."""
    project.add_placeholders(400)
    for progress in ("none", "plain"):
        local_platform.journal.clear()
        code, stderr = leaving_reader(
            command(script, project, "--dry-run", "--task-batch-size", "10", "--progress", progress),
            environment(local_platform, PYTHONUNBUFFERED=unbuffered),
        )
        assert code == 141
        assert "raised" not in stderr
        assert "Traceback" not in stderr
        initialised = sum(entry.kind == "tasks" for entry in local_platform.journal)
        assert initialised < 20


DRAIN = """
import os, sys
from encord.workflow.stages.agent import AgentTask
from encord_agents.tasks import QueueRunner

runner = QueueRunner(os.environ["PROJECT_HASH"])

@runner.stage("Prüfung ✓")
def agent(task: AgentTask) -> str:
    for stream in (sys.stdout, sys.stderr):
        print("seen", task.data_title, file=stream, flush=True)
    return "done"

if __name__ == "__main__":
    runner.drain(workers=1, progress="none")
"""


@BUFFERED
def test_what_agents_print_in_worker_processes(
    unbuffered: str, local_platform: LocalPlatform, project: LocalProject, tmp_path: Path
) -> None:
    """In the processes of a drain it fails no task either: not in a narrow encoding, nor where nobody reads."""
    script = tmp_path / "agents.py"
    script.write_text(DRAIN, encoding="utf-8")
    env = environment(
        local_platform, **ENCODINGS["ascii"], PROJECT_HASH=project.project_hash, PYTHONUNBUFFERED=unbuffered
    )
    project.add_placeholders(2, title="写 {index}")
    if unbuffered:
        done = preloaded.run([sys.executable, str(script)], env=env, capture_output=True, timeout=100, spawning=True)
    else:  # with the interpreter's own streams
        done = subprocess.run([sys.executable, str(script)], env=env, capture_output=True, timeout=100)
    assert b"seen \\u5199 1" in done.stdout
    assert project.stage("Done").tasks == 2
    project.add_placeholders(2, title="写 {index}")
    assert leaving_reader([sys.executable, str(script)], env, merged=True)[0] == 0
    assert project.stage("Done").tasks == 4


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """A named pipe that an agent waits at until somebody writes to it."""
    path = tmp_path / "gate"
    os.mkfifo(path)
    return path


ON_ITS_TERMINAL = """
import fcntl, runpy, signal, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Runs a script with the terminal on its stdin as the one that it is attached to, as ``nohup`` does."""


@BUFFERED
@pytest.mark.parametrize("progress", ["plain", "rich"])
def test_a_terminal_that_closes(
    progress: str,
    unbuffered: str,
    local_platform: LocalPlatform,
    project: LocalProject,
    script: Path,
    gate: Path,
    tmp_path: Path,
) -> None:
    """If the hang-up signal is ignored, as under nohup, the run goes on to its true end, whatever agents print."""
    project.add_placeholders(5)
    report = tmp_path / "report.jsonl"
    master, slave = pty.openpty()
    program, path, *options = command(script, project, "--progress", progress, "--report", str(report))
    child = preloaded.Popen(
        [program, "-c", ON_ITS_TERMINAL, path, *options],
        env=environment(local_platform, PRINT="1", WAIT_FOR=str(gate), TERM="xterm", PYTHONUNBUFFERED=unbuffered),
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    opened = os.open(gate, os.O_WRONLY)  # returns when the first agent has come to the gate
    os.close(master)
    os.close(opened)
    done = threading.Event()

    def let_through() -> None:
        while not done.is_set():
            try:
                os.close(os.open(gate, os.O_WRONLY | os.O_NONBLOCK))
            except OSError:  # nobody waits there just now
                done.wait(0.01)

    opener = threading.Thread(target=let_through)
    opener.start()
    try:
        assert child.wait(100) == 0
    finally:
        done.set()
        opener.join()
        if child.poll() is None:
            child.kill()
            child.wait()
    outcomes = [json.loads(line)["outcome"] for line in report.read_text().splitlines()]
    assert outcomes == ["moved"] * 5
