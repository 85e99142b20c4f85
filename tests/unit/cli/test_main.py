"""The command: its help, its version, and a user's mistakes, which end without a traceback."""

from __future__ import annotations

import sqlite3
import subprocess
import sys

import pytest
import typer

from encord_agents import __version__
from encord_agents.cli import main as module
from encord_agents.exceptions import CredentialsError, OutageError, PrintableError


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The exit code of the command."""
    monkeypatch.setattr("sys.argv", ["encord-agents", *arguments])
    with pytest.raises(SystemExit) as ended:
        module.main()
    return ended.value.code if isinstance(ended.value.code, int) else int(ended.value.code is not None)


@pytest.mark.parametrize("option", ["--version", "-v", "-V"])
def test_version(option: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The version alone, on stdout."""
    assert run(monkeypatch, option) == 0
    assert capsys.readouterr().out == f"{__version__}\n"


def test_imports_of_help() -> None:
    """The SDK, which takes most of a second to import, is imported only by the commands that need it."""
    code = "import sys, encord_agents.cli.main\nprint(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "encord_agents.cli.editor" in ended.stdout.split()
    assert not {"encord", "rich.console", "starlette", "PIL"} & set(ended.stdout.split())


@pytest.mark.parametrize("arguments", [["--help"], []])
def test_help_names_every_command(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And each has a line that says what it does. The bare command shows it too; as in 0.2.10, that is not an error."""
    assert run(monkeypatch, *arguments) == 0
    shown = capsys.readouterr().out
    for name in ("local", "celery", "print", "test", "serve"):
        (line,) = [line for line in shown.splitlines() if line.strip("│ ").startswith(f"{name} ")]
        assert len(line.strip("│ ").split()) > 2


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (PrintableError("No \x1b[2Jproject."), 2, "Error: No \\x1b[2Jproject."),
        (CredentialsError("No key."), 2, "Error: No key."),
        (OutageError(300.0, ConnectionError()), 1, "Error: The platform has not answered for 300 s"),
        (sqlite3.DatabaseError("not a database"), 2, "database cannot be used: not a database."),
    ],
)
def test_mistakes_are_told(
    error: Exception, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line on stderr and an exit code: 2 where the set-up is wrong, 1 where it may be enough to run again later."""
    app = typer.Typer(pretty_exceptions_enable=False)

    @app.command()
    def fail() -> None:
        raise error

    monkeypatch.setattr(module, "app", app)
    assert run(monkeypatch) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert "Traceback" not in err


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other exceptions pass as they are."""
    app = typer.Typer(pretty_exceptions_enable=False)

    @app.command()
    def fail() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(module, "app", app)
    monkeypatch.setattr("sys.argv", ["encord-agents"])
    with pytest.raises(ZeroDivisionError):
        module.main()
