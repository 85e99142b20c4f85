"""The fixtures that come with the package, for tests of agents."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from encord_agents.local import (
    Fault,
    LocalPlatform,
    LocalPlatformError,
    LocalProject,
    UnknownRequestError,
    pytest_plugin,
)
from encord_agents.local.images import png

UNKNOWN = "/no-such-operation"


@contextmanager
def a_test_with(fixture: Any, *arguments: Any) -> Iterator[Any]:
    """Have a fixture as a test has it: up to its yield, and the rest at the end of the test."""
    made = inspect.unwrap(fixture)(*arguments)
    yield next(made)
    assert next(made, "ended") == "ended"


def asked(platform: LocalPlatform) -> int:
    return requests.get(platform.domain + UNKNOWN, timeout=60).status_code


@pytest.fixture
def shared() -> Iterator[LocalPlatform]:
    """A platform that several tests have, one after the other."""
    with LocalPlatform() as platform:
        yield platform


def test_the_platform_of_a_test() -> None:
    """It is up during the test, and down after it."""
    with a_test_with(pytest_plugin.local_platform) as platform:
        assert requests.get(platform.domain, timeout=60).status_code == 200
    with pytest.raises(requests.ConnectionError):
        requests.get(platform.domain, timeout=60)


def test_an_unknown_request_fails_the_test(shared: LocalPlatform) -> None:
    """It does so at the test's end, with its path, also if the answer was ignored; the next test is not blamed."""
    with pytest.raises(UnknownRequestError, match=UNKNOWN), a_test_with(pytest_plugin.local_platform) as platform:
        assert asked(platform) == 501
    with pytest.MonkeyPatch.context() as patch:
        with (
            pytest.raises(UnknownRequestError, match=UNKNOWN),
            a_test_with(pytest_plugin.encord_platform, shared, patch),
        ):
            assert asked(shared) == 501
        with a_test_with(pytest_plugin.encord_platform, shared, patch):
            pass


def test_each_test_begins_with_nothing(shared: LocalPlatform) -> None:
    """Projects, faults, outages, settings and the journal of the test before are gone; the address is the same."""
    with pytest.MonkeyPatch.context() as patch:
        with a_test_with(pytest_plugin.encord_platform, shared, patch) as platform:
            domain = platform.domain
            platform.create_project(workflow={"stages": [{"title": "A", "type": "agent"}]}).add_image("a.png")
            platform.faults.add(Fault("projects", times=None, status=503))
            platform.down()
            platform.settings.latency, platform.settings.page_size = 60.0, 1
            platform._service.clock.ahead = 3600.0
        with a_test_with(pytest_plugin.encord_platform, shared, patch) as platform:
            assert platform.domain == domain
            assert platform.journal.count() == 0
            assert (platform.settings.latency, platform.settings.page_size) == (0.0, 100)
            assert platform._service.clock.ahead == 0.0
            assert [*platform.client(retries=False).list_projects()] == []


def test_the_environment_leads_to_the_platform(shared: LocalPlatform, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key of the developer's own is out of the way during the test, and back after it."""
    monkeypatch.setenv("ENCORD_SSH_KEY_FILE", "/my/own/key")
    monkeypatch.setenv("ENCORD_DOMAIN", "https://api.encord.com")
    names = ("ENCORD_DOMAIN", "ENCORD_SSH_KEY", "ENCORD_SSH_KEY_FILE")
    before = [os.environ.get(name) for name in names]
    with pytest.MonkeyPatch.context() as patch, a_test_with(pytest_plugin.encord_platform, shared, patch):
        assert [os.environ.get(name) for name in names] == [shared.domain, shared.ssh_key, None]
    assert [os.environ.get(name) for name in names] == before


def test_a_project_by_default(encord_project: Callable[..., LocalProject]) -> None:
    """It has one picture in an agent stage with two pathways, and an ontology with a box and a radio."""
    project = encord_project()
    (task,) = project.tasks()
    assert task.stage_title == "Agent"
    assert [(stage.title, stage.type) for stage in project.stages] == [
        ("Agent", "agent"), ("Review", "review"), ("Done", "done"),
    ]  # fmt: skip
    assert {pathway.name for pathway in project._record.stages[project.stage("Agent").uuid].pathways} == {
        "review", "done",
    }  # fmt: skip


def test_a_project_with_everything_given(
    encord_platform: LocalPlatform, encord_project: Callable[..., LocalProject], tmp_path: Path
) -> None:
    """Files, workflow, ontology and further options are the caller's; there is no picture besides."""
    (tmp_path / "a.png").write_bytes(png(8, 8))
    stages = [{"title": "Mine", "type": "agent", "pathways": {"go": "End"}}, {"title": "End", "type": "done"}]
    ontology: dict[str, Any] = {"objects": [], "classifications": []}
    project = encord_project(files=tmp_path, workflow={"stages": stages}, ontology=ontology, title="Everything")
    assert [(task.data_title, task.stage_title) for task in project.tasks()] == [("a.png", "Mine")]
    sdk = encord_platform.client().get_project(project.project_hash)
    assert (sdk.title, sdk.ontology_structure.objects) == ("Everything", [])


def test_a_project_without_files(encord_platform: LocalPlatform, encord_project: Callable[..., LocalProject]) -> None:
    """An empty list is a mistake and not the default picture: the error says so, and no project is made."""
    with pytest.raises(LocalPlatformError, match="There is no file in the list"):
        encord_project(files=[])
    assert encord_platform.projects() == []


def test_an_agent_is_run_with_options(
    encord_project: Callable[..., LocalProject], run_agent: Callable[..., Any]
) -> None:
    """Options are handed on; by default an agent that fails is not called again."""
    (task,) = encord_project().tasks()
    called: list[int] = []

    def agent() -> str:
        called.append(1)
        if len(called) % 2:
            raise ValueError("every other time")
        return "done"

    assert run_agent(agent, task, num_retries=1).pathway == "done"
    assert (run_agent(agent, task.uuid).outcome, len(called)) == ("failed", 3)
