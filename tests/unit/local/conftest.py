"""A platform in memory that serves nobody, with one project of three pictures."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from encord_agents.local import AgentStage, LocalPlatform, LocalProject, Stage, Workflow

WORKFLOW = Workflow(
    [
        AgentStage("Agent", {"review": "Review", "done": "Done"}),
        Stage("Annotate"),
        Stage("Review", "review"),
        Stage("Done", "done"),
    ]
)


@pytest.fixture
def platform() -> Iterator[LocalPlatform]:
    platform = LocalPlatform()
    yield platform
    platform.close()


@pytest.fixture
def project(platform: LocalPlatform) -> LocalProject:
    made = platform.create_project(title="Project", workflow=WORKFLOW)
    for name in ("a.png", "b.png", "c.png"):
        made.add_image(name)
    return made
