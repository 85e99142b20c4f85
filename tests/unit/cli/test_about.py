"""`encord-agents print`: stages on lines of their own, and versions for a bug report."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest

from encord_agents import __version__
from encord_agents.local import AgentStage, Fault, LocalPlatform, Stage, Workflow

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Command, Ran

NODES = Workflow([AgentStage("Pre\nlabel\x1b[2J", {"go\non\x07": "Done"}), Stage("Done", "done")])


def nodes(command: Command, platform: LocalPlatform, workflow: Workflow, monkeypatch: pytest.MonkeyPatch) -> Ran:
    """The agent stages of a new project."""
    for name, value in platform.environment().items():
        monkeypatch.setenv(name, value)
    project = platform.create_project(title="Holidays", workflow=workflow)
    return command("print", "agent-nodes", project.project_hash)


def test_titles_forge_no_line(command: Command, local_platform: LocalPlatform, monkeypatch: pytest.MonkeyPatch) -> None:
    """Print one line for each stage and pathway, whatever characters their names have, and escape those that steer."""
    ran = nodes(command, local_platform, NODES, monkeypatch)
    stage, pathway = ran.out.splitlines()
    assert ran.code == 0
    assert stage.partition("  ")[2] == r"Pre label\x1b[2J"
    assert pathway.startswith("  ")
    assert pathway.strip().partition("  ")[2] == r"go on\x07"


def test_a_project_without_agent_stages(
    command: Command, local_platform: LocalPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Say so and name the project, instead of printing nothing."""
    ran = nodes(command, local_platform, Workflow([Stage("Annotate"), Stage("Done", "done")]), monkeypatch)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("Error: The workflow of project 'Holidays'")
    assert "has no agent stage" in ran.err


def test_a_refusal_of_the_platform(
    command: Command, local_platform: LocalPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Show the answer of the platform and the request that it was given to, without a traceback."""
    local_platform.faults.add(Fault("project", status=400, times=None))
    ran = nodes(command, local_platform, NODES, monkeypatch)
    answer, *notes = ran.err.splitlines()
    assert (ran.code, ran.out) == (2, "")
    assert answer.startswith("Error: A fault that was asked for.")
    assert any("trying to open project" in note for note in notes)
    assert "Traceback" not in ran.err


def test_a_long_refusal_is_cut(monkeypatch: pytest.MonkeyPatch, command: Command) -> None:
    """Keep the beginning of an answer that would fill the screen, and count the rest."""
    from encord.exceptions import EncordException

    def refuse(*_: object) -> None:
        raise EncordException("no. " * 1_000)

    monkeypatch.setattr("encord_agents.tasks.runner.base.RunnerBase.__init__", refuse)
    ran = command("print", "agent-nodes", f"{1:032x}")
    beginning, _, rest = ran.err.partition("... (")
    assert ran.code == 2
    assert beginning == "Error: " + "no. " * 500
    assert rest.endswith(" more characters)\n")


@pytest.mark.parametrize("given", ["nonsense", ""])
def test_a_hash_that_is_none(command: Command, given: str) -> None:
    """Say what a hash looks like, before a key or a platform is needed."""
    ran = command("print", "agent-nodes", given)
    assert ran.code == 2
    assert "is not a project hash" in ran.err


def test_versions_without_a_platform(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Name the system, the Python and both packages, also where the settings are what the bug report is about."""
    monkeypatch.setenv("ENCORD_DOMAIN", "nonsense")
    ran = command("print", "system-info")
    found = dict(line.split(": ", 1) for line in ran.out.splitlines())
    assert ran.code == 0
    assert [*found] == ["System", "Python", "encord", "encord-agents"]
    assert (found["encord"], found["encord-agents"]) == (version("encord"), __version__)


def test_help_without_a_command(command: Command) -> None:
    """Name both commands where none is given."""
    ran = command("print")
    assert "agent-nodes" in ran.out + ran.err
    assert "system-info" in ran.out + ran.err
