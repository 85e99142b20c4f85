"""Errors of usage quote no secret."""

from __future__ import annotations

from pathlib import Path

import pytest
from encord.workflow.stages.agent import AgentTask

from encord_agents.cli.main import app
from encord_agents.exceptions import PrintableError
from encord_agents.tasks import Runner

KEY = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZWQyNTUxOQ"
NOT_SHOWN = KEY[20:36]


@pytest.mark.parametrize("arguments", [["--help"], ["local", "--help"], ["local", "up", "--help"]])
def test_help_without_a_width(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """COLUMNS=0, from a program that does not know the terminal's width, leaves no help blank."""
    monkeypatch.setenv("COLUMNS", "0")
    with pytest.raises(SystemExit):
        app(arguments)
    assert "Usage" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        [KEY],
        ["local", KEY],
        ["local", "up", "--port", KEY],
        ["local", "up", f"--{KEY}"],
        ["local", "reset", "0", KEY],
        ["print", "agent-nodes", "0", KEY],
        ["celery", "enqueue", "agents:app", "--max-tasks", KEY],
    ],
    ids=lambda arguments: " ".join(arguments).replace(KEY, "KEY"),
)
def test_the_command(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    """A key in the place of a command, an option or an argument is refused without being quoted."""
    with pytest.raises(SystemExit) as ended:
        app(arguments)
    assert ended.value.code == 2
    shown = "".join(capfd.readouterr().err.replace("│", "").split())  # panels break it into lines
    assert NOT_SHOWN not in shown


@pytest.mark.parametrize(
    "arguments", [[KEY], ["--max-workers", KEY], ["--retry-delay", KEY], ["--progress", KEY], [f"--{KEY}"]]
)
def test_a_runner(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    """So it is on a runner's command line."""
    runner = Runner()

    @runner.stage("Pre")
    def agent(task: AgentTask) -> str:
        return "done"

    from encord_agents.cli.runner import run_as_command

    with pytest.raises(SystemExit) as ended:
        run_as_command(runner, arguments)
    assert ended.value.code == 2
    assert NOT_SHOWN not in capfd.readouterr().err


@pytest.mark.parametrize("path", ["x" * 300, "/dev/null/data", f"{KEY}/{KEY}{KEY}{KEY}{KEY}"])
@pytest.mark.parametrize(
    "arguments",
    [
        ["local", "status", "--data"],
        ["local", "reset", "0", "--data"],
        ["local", "up", "--port", "0", "--data"],
        ["local", "create", "--workflow", "w.yaml", "--images"],
    ],
    ids=lambda arguments: arguments[1],
)
def test_paths_that_the_machine_refuses(
    arguments: list[str],
    path: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A path that is too long, or leads through a file, is a message without a traceback; a key in it is hidden."""
    monkeypatch.chdir(tmp_path)  # the readable part of a path is made before the machine refuses the rest
    with pytest.raises((SystemExit, PrintableError)) as ended:
        app([*arguments, path])
    told = f"{ended.value}{capfd.readouterr().err}"
    assert NOT_SHOWN not in told
    assert "Traceback" not in told
