"""The check of the credentials before a server's first request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from encord.exceptions import EncordException

from encord_agents.editor.credentials import verify_auth
from encord_agents.exceptions import CredentialsError
from encord_agents.local import Fault
from encord_agents.local.keys import new_key

if TYPE_CHECKING:
    from tests.conftest import World


@pytest.fixture(autouse=True)
def credentials(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in world.platform.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("ENCORD_SSH_KEY_FILE", raising=False)


def test_a_key_that_the_platform_takes(world: World) -> None:
    """One request shows that the platform takes the key."""
    verify_auth()
    (entry,) = world.platform.journal
    assert (entry.kind, entry.status) == ("projects", 200)


@pytest.mark.parametrize("key", [None, "", "no key"])
def test_a_key_that_cannot_be_used(world: World, monkeypatch: pytest.MonkeyPatch, key: str | None) -> None:
    """The error is about the key itself, and nothing is asked of the platform."""
    if key is None:
        monkeypatch.delenv("ENCORD_SSH_KEY")
    else:
        monkeypatch.setenv("ENCORD_SSH_KEY", key)
    with pytest.raises(CredentialsError) as caught:
        verify_auth()
    assert "can be read" not in str(caught.value)
    assert world.requests() == []


def test_a_key_that_is_nobodys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says that the key is readable and not taken, with the platform's own words, and does not show it."""
    key = new_key()
    monkeypatch.setenv("ENCORD_SSH_KEY", key)
    with pytest.raises(CredentialsError, match="The key can be read, but the platform did not list") as caught:
        verify_auth()
    assert isinstance(caught.value.__cause__, EncordException)
    assert type(caught.value.__cause__).__name__ in str(caught.value)
    assert key.splitlines()[1] not in str(caught.value)


def test_a_platform_that_refuses(world: World) -> None:
    """A refusal that is not about the key ends in the same error, for a server that does not start without one."""
    world.platform.faults.add(Fault("projects", status=403, times=None))
    with pytest.raises(CredentialsError, match="did not list its projects"):
        verify_auth()
