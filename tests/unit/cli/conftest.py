"""Commands of `encord-agents` in this process, beside a local platform that serves nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from encord_agents.cli import main
from encord_agents.local import AgentStage, LocalPlatform, LocalProject, Stage, Workflow


@dataclass(frozen=True)
class Ran:
    """A command that has ended: its exit code, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def words(self) -> str:
        """The words on stderr, of panels too, with one space between them."""
        return " ".join(self.err.replace("│", " ").split())


Command = Callable[..., Ran]


@cache
def made() -> Any:
    """The command with all its subcommands, which takes longer to make than to run."""
    return get_command(main.app)


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """``encord-agents ...`` in an empty directory, without a platform or a key in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    for name in ("DOMAIN", "SSH_KEY", "SSH_KEY_FILE", "WEBHOOK_SECRET"):
        monkeypatch.delenv(f"ENCORD_{name}", raising=False)

    monkeypatch.setattr(main, "app", made())

    def run(*arguments: str) -> Ran:
        monkeypatch.setattr("sys.argv", ["encord-agents", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main.main()
        out, err = capsys.readouterr()
        return Ran(int(ended.value.code or 0), out, err)

    return run


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Where commands look for their platform by default."""
    return tmp_path / ".encord-local"


@pytest.fixture
def platform(data: Path) -> Iterator[LocalPlatform]:
    """The platform that commands find, with one project of two pictures."""
    platform = LocalPlatform(data)
    workflow = Workflow(
        [
            AgentStage("Agent", {"go": "Annotate"}),
            Stage("Annotate"),
            Stage("Review", "review"),
            Stage("Done", "done"),
        ]
    )
    platform.create_project(title="Project", workflow=workflow).add_placeholders(2)
    yield platform
    platform.close()


@pytest.fixture
def project(platform: LocalPlatform) -> LocalProject:
    """The only project of the platform."""
    (found,) = platform.projects()
    return found
