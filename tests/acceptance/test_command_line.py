"""A script that ends in `runner.run()` is a command: options, exit codes, panels, and what it prints where."""

from __future__ import annotations

import inspect
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import preloaded
from tests.waiting import PATIENCE

from encord_agents.local import AgentStage, LocalPlatform, Stage, Workflow
from encord_agents.local.project import LocalProject
from encord_agents.tasks import Runner

STAGE = "Pre [red]label[/red]"
WORKFLOW = Workflow([AgentStage(STAGE, {"go": "Done"}), Stage("Done", "done")])

SCRIPT = """
import os, sys, time
from encord.workflow.stages.agent import AgentTask
from encord_agents.tasks import Runner

runner = Runner()

@runner.stage("Pre [red]label[/red]")
def pre_label(task: AgentTask) -> str:
    '''Finds [bold]cats[/bold].

    And more.'''
    BODY
    return "go"

if __name__ == "__main__":
    runner.run()
"""


@pytest.fixture(scope="module")
def platform() -> Iterator[LocalPlatform]:
    with LocalPlatform() as platform:
        yield platform


@pytest.fixture
def project(platform: LocalPlatform) -> LocalProject:
    project = platform.create_project(workflow=WORKFLOW)
    project.add_placeholders(5)
    return project


def environment(platform: LocalPlatform) -> dict[str, str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("ENCORD_", "PYTHONWARNINGS"))}
    return {**clean, **platform.environment(), "COLUMNS": "100"}


def script(directory: Path, body: str = "pass") -> Path:
    path = directory / "agents.py"
    path.write_text(SCRIPT.replace("BODY", textwrap.indent(body, "    ").lstrip()))
    return path


def run(platform: LocalPlatform, path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(path), *options]
    return preloaded.run(command, env=environment(platform), capture_output=True, text=True, timeout=60, check=False)


def test_a_run_without_failures_exits_0(platform: LocalPlatform, project: LocalProject, tmp_path: Path) -> None:
    """The table is on stdout, progress in lines on stderr, titles are shown as they are, and there is no colour."""
    result = run(platform, script(tmp_path), "--project-hash", project.project_hash)
    assert result.returncode == 0, result.stderr
    assert f"{STAGE}      5" in result.stdout
    assert f"{STAGE}: started, pre_label()" in result.stderr
    assert "5 moved" in result.stderr
    assert "\x1b" not in result.stdout + result.stderr
    assert project.stage("Done").tasks == 5


def test_failed_tasks_exit_1(platform: LocalPlatform, project: LocalProject, tmp_path: Path) -> None:
    """The first failure's traceback is shown, once; each failure is in the log and in the list on stdout."""
    body = "if task.data_title[-5] in '13': raise ValueError(f'[bold]no cat in {task.data_title}[/bold]')"
    result = run(platform, script(tmp_path, body), "--project-hash", project.project_hash)
    assert result.returncode == 1
    assert result.stderr.count("Traceback") == 1
    assert result.stderr.count("ERROR: ") == 2
    assert "2 tasks failed:" in result.stdout
    assert "agent: ValueError: [bold]no cat in image-00003.png[/bold]" in result.stdout
    assert project.stage("Done").tasks == 3


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--project-hash", "nonsense"], "nonsense"),
        (["--project-hash", "11111111-1111-4111-8111-111111111111"], "11111111-1111-4111-8111-111111111111"),
        ([], "project_hash"),
        (["--num-retries", "-1"], "num_retries"),
        (["--no-such-option"], "--no-such-option"),
        (["--progress", "loud"], "plain"),
    ],
)
def test_a_wrong_set_up_exits_2(platform: LocalPlatform, tmp_path: Path, options: list[str], says: str) -> None:
    """A message that names the trouble, on stderr; no traceback, nothing on stdout."""
    result = run(platform, script(tmp_path), *options)
    assert result.returncode == 2, result.stderr
    assert says in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_missing_credentials_are_a_panel(platform: LocalPlatform, tmp_path: Path) -> None:
    """Without a key: a panel that names the variable, exit code 2."""
    path = script(tmp_path)
    env = {k: v for k, v in environment(platform).items() if k != "ENCORD_SSH_KEY"}
    options = ["--project-hash", "11111111-1111-4111-8111-111111111111"]
    result = preloaded.run(
        [sys.executable, str(path), *options], env=env, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert "╭" in result.stderr
    assert "ENCORD_SSH_KEY" in result.stderr
    assert "Traceback" not in result.stderr


def test_what_the_callback_raises_keeps_its_traceback(
    platform: LocalPlatform, project: LocalProject, tmp_path: Path
) -> None:
    """An exception that is no set-up error is a bug of somebody's, and is shown as one."""
    path = script(tmp_path)
    callback = "def broken(runner):\n    raise RuntimeError('mine')\n\nrunner = Runner(pre_execution_callback=broken)"
    path.write_text(path.read_text().replace("runner = Runner()", callback))
    result = run(platform, path, "--project-hash", project.project_hash)
    assert result.returncode == 1
    assert "in broken" in result.stderr
    assert result.stderr.rstrip().endswith("RuntimeError: mine")


def test_check_runs_nothing(platform: LocalPlatform, project: LocalProject, tmp_path: Path) -> None:
    """Each stage with its uuid, function and needs; every task stays; exit code 0, or 2 if something is wrong."""
    path = script(tmp_path)
    result = run(platform, path, "--project-hash", project.project_hash, "--check")
    assert result.returncode == 0, result.stderr
    assert STAGE in result.stdout
    assert "pre_label()" in result.stdout
    assert "AgentTask" in result.stdout
    assert project.stage(STAGE).tasks == 5
    path.write_text(path.read_text().replace('"Pre [red]', '"Pro [red]'))
    wrong = run(platform, path, "--project-hash", project.project_hash, "--check")
    assert wrong.returncode == 2
    assert "Did you mean 'Pre [red]label[/red]'?" in wrong.stderr


def test_help_tells_all(platform: LocalPlatform, tmp_path: Path) -> None:
    """Every option of a call with its default, the script's stages and functions, the exit codes; no platform asked."""
    result = run(platform, script(tmp_path), "--help")
    assert result.returncode == 0
    assert f"{STAGE}: pre_label() - Finds [bold]cats[/bold]." in result.stdout
    for parameter in inspect.signature(Runner.__call__).parameters.values():
        if parameter.name in ("self", "stop"):
            continue
        entry = result.stdout.partition(f"--{parameter.name.replace('_', '-')} ")[2].partition("\n  --")[0]
        assert entry, parameter.name
        if parameter.default not in (None, False):
            assert f"[default: {parameter.default}]" in " ".join(entry.split())
    for code in ("0 ", "1 ", "2 ", "130", "143"):
        assert f"\n    {code}" in result.stdout


def test_progress_none_is_silent(platform: LocalPlatform, project: LocalProject, tmp_path: Path) -> None:
    """Nothing on stderr; the table is still printed."""
    result = run(platform, script(tmp_path), "--project-hash", project.project_hash, "--progress", "none")
    assert result.returncode == 0
    assert result.stderr == ""
    assert STAGE in result.stdout


@pytest.mark.parametrize("progress", ["plain", "none"])
def test_a_dry_run_prints_and_writes_nothing(
    platform: LocalPlatform, project: LocalProject, tmp_path: Path, progress: str
) -> None:
    """A line per task on stdout, and every task stays."""
    options = ["--project-hash", project.project_hash, "--dry-run", "--progress", progress]
    result = run(platform, script(tmp_path), *options)
    assert result.returncode == 0, result.stderr
    assert len([line for line in result.stdout.splitlines() if line.startswith("image-") and "go" in line]) == 5
    assert project.stage(STAGE).tasks == 5


def test_report_file(platform: LocalPlatform, project: LocalProject, tmp_path: Path) -> None:
    """One JSON line per task."""
    file = tmp_path / "report.jsonl"
    run(platform, script(tmp_path), "--project-hash", project.project_hash, "--report", str(file))
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["outcome"] for line in lines] == ["moved"] * 5


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_run_with_a_report(
    platform: LocalPlatform, project: LocalProject, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    """Finished tasks are moved, the table is printed, and the exit code names the signal."""
    awake = tmp_path / "awake"
    sleep = f"while task.data_title[-5] != '0' and not os.path.exists({str(awake)!r}): time.sleep(0.01)"
    body = f"print('called', flush=True)\n{sleep}"
    command = [sys.executable, str(script(tmp_path, body)), "--project-hash", project.project_hash]
    process = preloaded.Popen(
        command, env=environment(platform), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "called\n"
    assert process.stdout.readline() == "called\n"  # the second is under way
    process.send_signal(number)
    if number == signal.SIGTERM:
        awake.touch()
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == code, err
    assert "Stopped early" in out
    assert "Traceback" not in err
    assert project.stage("Done").tasks == (1 if number == signal.SIGINT else 2)
