"""Pytest fixtures. As an installed plugin, imported in every pytest run, it imports everything heavy lazily."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from encord_agents.local.platform import LocalPlatform
    from encord_agents.local.project import LocalProject
    from encord_agents.local.workflow import Workflow

__all__ = ["encord_platform", "encord_project", "local_platform", "run_agent"]


@pytest.fixture
def local_platform() -> Iterator[LocalPlatform]:
    """An empty platform in memory, on a free port.

    A request that it did not understand fails the test that sent it, even if the code under test handled the 501.
    """
    from encord_agents.local import LocalPlatform

    with LocalPlatform() as platform:
        yield platform
        platform.check()


@pytest.fixture(scope="session")
def _encord_platform_of_the_session() -> Iterator[LocalPlatform]:
    from encord_agents.local import LocalPlatform

    with LocalPlatform() as platform:
        yield platform


@pytest.fixture
def encord_platform(
    _encord_platform_of_the_session: LocalPlatform, monkeypatch: pytest.MonkeyPatch
) -> Iterator[LocalPlatform]:
    """A platform in memory, shared by all tests and empty for each; environment variables make agents use it.

    A request that it did not understand fails the test that sent it, even if the code under test handled the 501.
    """
    platform = _encord_platform_of_the_session
    platform.clear()
    for name in ("ENCORD_SSH_KEY_FILE",):
        monkeypatch.delenv(name, raising=False)
    for name, value in platform.environment().items():
        monkeypatch.setenv(name, value)
    yield platform
    platform.check()


@pytest.fixture
def encord_project(encord_platform: LocalPlatform) -> Callable[..., LocalProject]:
    """Creates projects: ``encord_project(files=..., workflow=..., ontology=...)``.

    ``files`` is a directory or a list of files (default: one small grey picture), ``workflow`` a file, a mapping or a
    ``Workflow`` (default: an agent stage "Agent" with the pathways "review" and "done"), ``ontology`` a file, a mapping
    or an ``OntologyStructure`` (default: ``Person`` boxes, a ``Scene`` radio).
    """
    from encord_agents.local.workflow import AgentStage, Stage, Workflow

    def make(
        files: Any = None,
        workflow: Workflow | Mapping[str, Any] | str | Path | None = None,
        ontology: Any = None,
        **options: Any,
    ) -> LocalProject:
        default = Workflow(
            [
                AgentStage("Agent", {"review": "Review", "done": "Done"}),
                Stage("Review", "review"),
                Stage("Done", "done"),
            ]
        )
        project = encord_platform.create_project(
            workflow=workflow or default, ontology=ontology, files=files, **options
        )
        if files is None:
            project.add_placeholders(1)
        return project

    return make


@pytest.fixture
def run_agent(encord_platform: LocalPlatform) -> Callable[..., Any]:
    """Runs an agent on one task: ``run_agent(agent, task)``. The project is not changed.

    Returns an :class:`encord_agents.testing.AgentRun`: outcome, pathway, labels, priority, exception.
    """
    # Imported by name: this package does not depend on the library's other packages.
    testing = importlib.import_module("encord_agents.testing")

    def run(agent: Any, task: Any, **options: Any) -> Any:
        return testing.run_agent(encord_platform, agent, task, **options)

    return run
