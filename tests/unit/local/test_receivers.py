"""The addresses that are notified: which are taken, and what is kept of them."""

from __future__ import annotations

from typing import Any

import pytest

from encord_agents.local import LocalPlatform, LocalPlatformError, LocalProject
from encord_agents.local.receivers import MOST

ADDRESS = "http://127.0.0.1:9/notifications"


def test_an_address_is_kept_in_one_form(platform: LocalPlatform) -> None:
    """Blanks around it and what a server never sees do not make it another."""
    first = platform.receivers.add(" http://127.0.0.1:9#part ")
    assert first.address == "http://127.0.0.1:9/"
    assert platform.receivers.add("http://127.0.0.1:9/").id == first.id


def test_the_same_address_twice(platform: LocalPlatform) -> None:
    """It is registered once, and what is given then holds; its secret stays unless another is given."""
    first = platform.receivers.add(ADDRESS)
    again = platform.receivers.add(ADDRESS, batch_size=7)
    assert (again.id, again.secret, again.batch_size) == (first.id, first.secret, 7)
    assert platform.receivers.add(ADDRESS, secret="mine").secret == "mine"
    assert len(platform.receivers) == 1
    assert len(first.secret) == 64


def test_one_address_for_several_stages(platform: LocalPlatform, project: LocalProject) -> None:
    """For all, for a project and for a stage of it, by title or uuid: each is a registration of its own."""
    hash, stage = project.project_hash, project.stage("Agent").uuid
    every = platform.receivers.add(ADDRESS)
    one = platform.receivers.add(ADDRESS, project=hash.upper())
    by_title = platform.receivers.add(ADDRESS, project=hash, stage="Agent")
    assert platform.receivers.add(ADDRESS, project=hash, stage=stage).id == by_title.id
    assert [(found.id, found.project, found.stage) for found in platform.receivers] == [
        (every.id, None, None), (one.id, hash, None), (by_title.id, hash, stage),
    ]  # fmt: skip
    platform.receivers.remove(one)
    platform.receivers.remove(by_title.id)
    assert [found.id for found in platform.receivers] == [every.id]
    for unknown in (one, by_title.id):
        with pytest.raises(LocalPlatformError, match="No such address"):
            platform.receivers.tell(unknown)


@pytest.mark.parametrize(
    "address",
    ["", "127.0.0.1:8000", "ftp://127.0.0.1/", "http://", "http://a b/", "http://u:p@127.0.0.1/", "http://[::1",
     "http://h:99999/", "http://h:0/", "javascript:alert(1)", "http://h/\r\nX: y", "http://h/" + "x" * 3000],
)  # fmt: skip
def test_no_address(platform: LocalPlatform, address: str) -> None:
    """What nothing can be sent to is refused, with an example or a reason."""
    with pytest.raises(LocalPlatformError, match=r"http://127.0.0.1:8000/notifications|leave them out"):
        platform.receivers.add(address)


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 0}, {"max_wait": -1}, {"max_wait": float("nan")}, {"secret": ""}, {"secret": "a\n"},
        {"project": "11111111-1111-4111-8111-111111111111"}, {"stage": "Agent"},
    ],
)  # fmt: skip
def test_senseless_options(platform: LocalPlatform, project: LocalProject, options: dict[str, Any]) -> None:
    """They are refused, and nothing is registered."""
    with pytest.raises(LocalPlatformError):
        platform.receivers.add(ADDRESS, **options)
    assert list(platform.receivers) == []


@pytest.mark.parametrize("stage", ["Review", "agent", "Nowhere"])
def test_a_stage_without_agents(platform: LocalPlatform, project: LocalProject, stage: str) -> None:
    """It is refused, and the answer names the agent stages there are."""
    with pytest.raises(LocalPlatformError, match="there are 'Agent'"):
        platform.receivers.add(ADDRESS, project=project.project_hash, stage=stage)


def test_addresses_are_bounded(platform: LocalPlatform) -> None:
    """Each task is counted for every one of them, so there are not many."""
    for number in range(MOST):
        platform.receivers.add(f"http://127.0.0.1:9/{number}")
    with pytest.raises(LocalPlatformError, match="all there can be"):
        platform.receivers.add("http://127.0.0.1:9/more")
    platform.receivers.add("http://127.0.0.1:9/0", batch_size=2)
