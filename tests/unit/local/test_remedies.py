"""Each 501 says what to do instead."""

from __future__ import annotations

import re

import pytest

from encord_agents.local import routes_v2
from encord_agents.local.remedies import DEFAULT, REMEDIES, remedy


@pytest.mark.parametrize(
    ("method", "path", "says"),
    [
        ("GET", "/v2/public/analytics/time-spent", "get_task_actions"),
        ("POST", "/v2/public/storage/items/reencode", "ffmpeg"),
        ("PUT", "reencodevideotask", "ffmpeg"),
        ("GET", "reencodevideotask", "ffmpeg"),
        ("GET", "model", "agent of your own"),
        ("DELETE", "/v2/public/organisation/users/a@b.c", "project.remove_users"),
        ("POST", "/v2/public/projects/x/groups", "project.add_users"),
        ("POST", "/v2/public/datasets/x/groups", "dataset.add_users"),
        ("POST", "/v2/public/ontologies/x/groups", "Leave it out"),
        ("DELETE", "/v2/public/storage/folders/x/groups", "Leave it out"),
        ("GET", "labellog", "history"),
        ("GET", "/v2/public/index/collections", "hashes"),
        ("GET", "/v2/public/nothing/at/all", DEFAULT),
    ],
)
def test_a_remedy(method: str, path: str, says: str) -> None:
    """In the words of the SDK; without one, where to look."""
    assert says in remedy(method, path)


def test_remedies_are_for_what_is_not_there() -> None:
    """Nothing that has a route has a remedy, but for the lists that are always empty."""
    for request in routes_v2.ROUTES:
        method, path = request.split(" ")
        if not path.endswith(("/groups", "/tags", "organisation/groups")):
            assert remedy(method, re.sub(r"\{\w+\}", "x", path)) == DEFAULT
    assert all(sentence.endswith(".") for _, sentence in REMEDIES.values())
