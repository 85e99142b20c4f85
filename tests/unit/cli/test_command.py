"""A runner as a command: its options are the arguments of the call."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests import preloaded

from encord_agents.cli import host
from encord_agents.cli.options import DRAIN_OPTIONS, RUNNER_OPTIONS
from encord_agents.cli.runner import drain_as_command, run_as_command
from encord_agents.tasks import QueueRunner, Runner

HASH = "11111111-1111-4111-8111-111111111111"


def help_of(capsys: pytest.CaptureFixture[str], kind: str) -> str:
    commands = {
        "runner": lambda: run_as_command(Runner(), ["--help"]),
        "drain": lambda: drain_as_command(QueueRunner(HASH), ["--help"]),
    }
    with pytest.raises(SystemExit) as ended:
        commands[kind]()
    assert ended.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("kind", ["runner", "drain"])
def test_every_argument_is_an_option(capsys: pytest.CaptureFixture[str], kind: str) -> None:
    """But objects, which no command line can give; with the call's own defaults."""
    call = Runner.__call__ if kind == "runner" else QueueRunner.drain
    arguments = inspect.signature(call).parameters
    text = help_of(capsys, kind)
    named = {name.replace("-", "_") for name in re.findall(r"^  --([a-z-]+)", text, re.MULTILINE)}
    assert named - {"help", "check"} == arguments.keys() - {"self", "executor", "stop"}
    assert ("check" in named) == (kind == "runner")
    for name in named - {"help", "check"}:
        line = re.search(rf"--{name.replace('_', '-')}\b(.*?)(?=\n  --|\Z)", text, re.DOTALL)
        assert line is not None
        default = arguments[name].default
        if default is not None and default is not False:
            assert f"[default: {default}]" in " ".join(line[1].split())
    assert (RUNNER_OPTIONS if kind == "runner" else DRAIN_OPTIONS).keys() == named - {"help", "check"}


def test_a_number_out_of_range(capsys: pytest.CaptureFixture[str]) -> None:
    """With ``--check`` too, before the project is asked for."""
    for argv in (["--max-workers", "0"], ["--max-workers", "0", "--check"]):
        with pytest.raises(SystemExit) as ended:
            run_as_command(Runner(), argv)
        assert ended.value.code == 2
        assert "max_workers=0 is out of range" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(("argv", "code"), [(["--help"], 0), (["--max-workers", "0"], 2)])
def test_in_a_notebook(monkeypatch: pytest.MonkeyPatch, argv: list[str], code: int) -> None:
    """With arguments of its own it may be called there, and returns its exit code: the kernel goes on, quietly."""
    monkeypatch.setattr("encord_agents.cli.command.host", lambda: host.NOTEBOOK)
    assert run_as_command(Runner(), argv) == code


def test_in_a_real_main_module_without_a_file(tmp_path: Path) -> None:
    """As kernels have it."""
    code = (
        "import sys, types\n"
        "sys.modules['ipykernel'] = types.ModuleType('ipykernel')\n"
        "sys.argv = ['/lib/ipykernel_launcher.py', '-f', 'kernel.json']\n"
        "from encord_agents.cli.runner import run_as_command\n"
        "from encord_agents.tasks import Runner\n"
        "print('code', run_as_command(Runner(), ['--help']))\n"
    )
    ended = preloaded.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "code 0" in ended.stdout, ended.stderr


@pytest.mark.parametrize(("argv", "sought"), [("--help", False), ("--wrong", False), ("--max-workers=0", True)])
def test_the_end_of_the_process(argv: str, sought: bool) -> None:
    """Garbage is looked for after a call, since files may be in it, and not where nothing was called: it takes long."""
    code = (
        "import sys\n"
        "from encord_agents.tasks import Runner\n"
        "class Open:\n"
        "    def __init__(self):\n"
        "        self.itself = self\n"
        "    def __del__(self):\n"
        "        print('its garbage')\n"
        "opened = Open()\n"
        "Runner().run()\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, argv], capture_output=True, text=True, check=False)
    assert ("its garbage" in ended.stdout) == sought, ended.stderr


def test_imports_of_help() -> None:
    """Nothing is imported that only a run needs, or only several processes: a help should come at once."""
    code = (
        "import atexit, sys\n"
        "from encord_agents.tasks import Runner\n"
        "atexit.register(lambda: print(*sys.modules))\n"
        "Runner().run()\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=True)
    imported = set(ended.stdout.split())
    assert "encord_agents.tasks.runner.sequential_runner" in imported
    late = {"rich.live", "pydantic_settings", "multiprocessing", "encord_agents.tasks.runner.queue_runner"}
    assert not late & imported
