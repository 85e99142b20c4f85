"""The routes of the platform: every operation has one, and what has none is never silently something else."""

from __future__ import annotations

import re

import pytest
from starlette.routing import Match, Route

from encord_agents.local import LocalPlatform, routes_v2
from encord_agents.local.door import Door

UUID = "10ca1000-0000-4000-8000-000000000000"


@pytest.fixture
def door(platform: LocalPlatform) -> Door:
    return Door(platform._service, platform.faults, platform.journal, lambda scope: None)


def found(door: Door, method: str, path: str) -> str:
    """Return the path of the route that a request takes."""
    scope = {"type": "http", "method": method, "path": path, "root_path": "", "headers": []}
    for route in door.application.routes:
        assert isinstance(route, Route)
        if route.matches(scope)[0] is Match.FULL:
            return route.path
    raise AssertionError(f"nothing takes {method} {path}")


def test_every_operation_has_its_own_route(door: Door) -> None:
    """Whichever ids are in its path; no other route takes it before."""
    for request in routes_v2.ROUTES:
        method, path = request.split(" ")
        assert found(door, method, f"/v2/public/{re.sub(r'{[a-z]+}', UUID, path)}") == f"/v2/public/{path}"


@pytest.mark.parametrize(
    ("method", "path", "route"),
    [
        ("HEAD", f"/v2/public/projects/{UUID}", "/v2/public/projects/{project}"),
        ("PUT", f"/v2/public/projects/{UUID}", "/v2/public/{path:path}"),
        ("GET", "/v2/public/projects/", "/v2/public/{path:path}"),
        ("GET", "/v2/public/projects/a/b/c/d", "/v2/public/{path:path}"),
        ("OPTIONS", f"/v2/public/projects/{UUID}", "/{path:path}"),
        ("BREW", "/v2/public/projects", "/{path:path}"),
        ("GET", "/public", "/{path:path}"),
        ("POST", "/public/user", "/public/user"),
        ("DELETE", "/assets/x/y", "/{path:path}"),
        ("GET", "/assets/x/a/b.png", "/assets/{item}/{name:path}"),
        ("PUT", "/uploads/x", "/uploads/{item}"),
        ("GET", "/local-platform/faults", "/{path:path}"),
        ("GET", "/", "/"),
    ],
)
def test_the_route_of_a_request(door: Door, method: str, path: str, route: str) -> None:
    """A wrong method, a trailing slash and an unknown path are unknown requests, which are loud."""
    assert found(door, method, path) == route


def test_agents_do_not_wait_for_routes_of_others(door: Door) -> None:
    """Routes are tried in order: those that an agent's run uses all the time are among the first."""
    paths = [route.path for route in door.application.routes if isinstance(route, Route)]
    often = ("/public", "stages/{stage}/tasks", "stages/{stage}/actions", "/priorities", "get-bulk", "items/{item}")
    for path in often:
        assert any(known.endswith(path) for known in paths[:12]), path
