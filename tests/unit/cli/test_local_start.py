"""`encord-agents local init`: which files it writes, and that the commands that it prints work."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from encord_agents.cli.local import existing
from encord_agents.local.images import png

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Command

NAMES = ["agents.py", "workflow.yaml", "ontology.yaml"]


def names(directory: Path) -> list[str]:
    """The names in a directory."""
    return sorted(path.name for path in directory.iterdir())


def test_the_working_directory(command: Command, tmp_path: Path) -> None:
    """Write the files here where no directory is given, and print commands without one."""
    ran = command("local", "init")
    assert (ran.code, ran.err) == (0, "")
    assert names(tmp_path) == sorted(NAMES)
    assert ran.out.splitlines() == [
        *[f"# wrote {name}" for name in NAMES],
        "# Now make a project of a directory of files, and serve it:",
        "encord-agents local create --files DIR --workflow workflow.yaml --ontology ontology.yaml",
        "encord-agents local up",
        "# In another terminal, after the `export` lines that `up` prints:",
        "python agents.py --project-hash HASH",
    ]


@pytest.mark.parametrize("directory", ["new", "new/deep", ".", "my dir", "it's here", "$HOME"])
def test_commands_that_are_printed(command: Command, tmp_path: Path, data: Path, directory: str) -> None:
    """Lead to the files that were written: the first makes a project, and the last names a script that is there."""
    ran = command("local", "init", directory)
    commands = [shlex.split(line) for line in ran.out.splitlines() if not line.startswith("#")]
    create, up, run = commands
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.png").write_bytes(png(8, 6))
    made = command(*["files" if word == "DIR" else word for word in create[1:]])
    assert made.code == 0, made.err
    with existing(data) as platform:
        assert next(stage.title for stage in platform.projects()[0].stages) == "Pre-label"
    assert up == ["encord-agents", "local", "up"]
    assert (tmp_path / run[1]).resolve() == (tmp_path / directory / "agents.py").resolve()
    assert (tmp_path / run[1]).is_file()


def test_a_home_directory(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write into the home directory where the shell has left a ~ alone."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    ran = command("local", "init", "~/agents")
    assert f"# wrote {tmp_path}/home/agents/agents.py" in ran.out.splitlines()
    assert names(tmp_path / "home" / "agents") == sorted(NAMES)
    assert not (tmp_path / "~").exists()


@pytest.mark.parametrize("there", NAMES)
def test_a_file_that_is_there_already(command: Command, tmp_path: Path, there: str) -> None:
    """Name it, leave it as it is, and write none of the others."""
    (tmp_path / there).write_text("mine")
    ran = command("local", "init")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == f"Error: {there} is there already, and nothing was written.\n"
    assert names(tmp_path) == [there]
    assert (tmp_path / there).read_text() == "mine"


def test_a_directory_that_is_a_file(command: Command, tmp_path: Path) -> None:
    """Name it, and exit with 2."""
    (tmp_path / "agents").write_text("mine")
    ran = command("local", "init", "agents")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("Error: agents cannot be written to")
    assert (tmp_path / "agents").read_text() == "mine"
