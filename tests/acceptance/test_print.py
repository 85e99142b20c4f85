"""`encord-agents print` and `--version`: what the command tells of a project and of itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest
from tests import preloaded

from encord_agents import __version__
from encord_agents.local import AgentStage, LocalPlatform, Stage, Workflow

COMMAND = Path(sys.executable).with_name("encord-agents")


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("ENCORD_", "PYTHONWARNINGS"))}
    return preloaded.run(
        [str(COMMAND), *arguments],
        env={**clean, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("option", ["--version", "-v", "-V"])
def test_the_version(option: str) -> None:
    """The version can be asked for in three ways."""
    assert run(option).stdout == f"{__version__}\n"


def test_agent_nodes(local_platform: LocalPlatform) -> None:
    """Each agent stage has a line with its uuid, and below it a line for each pathway; other stages have none."""
    workflow = Workflow(
        [
            AgentStage("Pre-[red]label", {"go": "Done", "again": "Triage"}),
            AgentStage("Triage", {"go": "Done"}),
            Stage("Done", "done"),
        ]
    )
    project = local_platform.create_project(workflow=workflow)
    stages = local_platform.client().get_project(project.project_hash).workflow.stages
    done = run("print", "agent-nodes", project.project_hash, **local_platform.environment())
    expected = [
        line
        for stage in stages
        if stage.title != "Done"
        for line in (f"{stage.uuid}  {stage.title}", *(f"  {p.uuid}  {p.name}" for p in stage.pathways))  # type: ignore[union-attr]
    ]
    assert (done.returncode, done.stdout.splitlines()) == (0, expected), done.stderr


def test_a_project_that_cannot_be_opened(local_platform: LocalPlatform) -> None:
    """A message that says what to do, on stderr, and exit code 2; no traceback."""
    unknown = str(uuid4())
    done = run("print", "agent-nodes", unknown, **local_platform.environment())
    assert (done.returncode, done.stdout) == (2, "")
    assert unknown in done.stderr
    assert "member" in done.stderr
    assert "Traceback" not in done.stderr


def test_system_info() -> None:
    """The system and the versions, without asking the platform."""
    done = run("print", "system-info")
    assert done.returncode == 0
    assert f"encord-agents: {__version__}" in done.stdout.splitlines()
    assert "Python: 3." in done.stdout
