"""Clients of requests: each with its own trace id, over what all share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from encord_agents.editor.clients import client_for, open_project
from encord_agents.exceptions import CredentialsError
from encord_agents.local import LocalPlatform

if TYPE_CHECKING:
    from tests.conftest import World


@pytest.fixture(autouse=True)
def credentials(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in world.platform.environment().items():
        monkeypatch.setenv(name, value)


def test_a_trace_id_is_one_clients(world: World) -> None:
    """Clients that are used at the same time send each its own, and one without sends a new one each time."""
    clients = {trace_id: client_for(trace_id) for trace_id in ("a" * 32, "b" * 32, None)}
    sent = {}
    for _ in range(2):
        for trace_id, client in clients.items():
            provider = client.user_config.config.requests_settings.trace_id_provider
            sent[trace_id] = provider() if provider else None
            open_project(client, world.project.project_hash)
    assert sent == {"a" * 32: f"{'a' * 32}/1;o=1", "b" * 32: f"{'b' * 32}/1;o=1", None: None}


def test_another_environment_is_noticed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another platform, and a key that is gone: a server that was set up anew does not go on with what it knew."""
    client_for(None)
    with LocalPlatform() as other:
        for name, value in other.environment().items():
            monkeypatch.setenv(name, value)
        assert [*client_for(None).list_projects()] == []
    monkeypatch.delenv("ENCORD_SSH_KEY")
    with pytest.raises(CredentialsError):
        client_for(None)


def test_projects_are_asked_for_once_in_a_while(world: World) -> None:
    """Requests that come together share the answers, whatever their trace ids."""
    before = len(world.requests())
    for trace_id in ("a" * 32, "b" * 32):
        assert open_project(client_for(trace_id), world.project.project_hash).title == world.project.title
    assert len(world.requests()) - before <= 2
