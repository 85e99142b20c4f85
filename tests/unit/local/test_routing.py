"""Routes whose paths are compiled once: each is one of its own, and takes its methods only."""

from __future__ import annotations

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from encord_agents.local.routing import operation_route, route


async def one(request: Request) -> Response:
    return Response("one")


async def other(request: Request) -> Response:
    return Response("other")


def scope(method: str, path: str = "/things/7") -> dict[str, object]:
    return {"type": "http", "method": method, "path": path, "root_path": "", "headers": []}


def test_routes_of_one_path_are_two() -> None:
    """Each has its own endpoint, though their path was compiled once."""
    for made in (route, operation_route):
        options = ["GET"] if made is route else "GET"
        first, second = made("/things/{id}", one, options), made("/things/{id}", other, options)  # type: ignore[operator]
        assert (first.endpoint, second.endpoint) == (one, other)
        assert first.app is not second.app
        assert first.param_convertors is second.param_convertors
        assert first.matches(scope("GET"))[1]["endpoint"] is one
        assert first.matches(scope("GET"))[1]["path_params"] == {"id": "7"}


@pytest.mark.parametrize(
    ("method", "plain", "operation"),
    [
        ("GET", Match.FULL, Match.FULL),
        ("HEAD", Match.FULL, Match.FULL),
        ("POST", Match.PARTIAL, Match.NONE),
        ("OPTIONS", Match.PARTIAL, Match.NONE),
    ],
)
def test_other_methods(method: str, plain: Match, operation: Match) -> None:
    """A route answers them itself, with a 405; an operation leaves them to the routes behind it."""
    assert route("/things/{id}", one, ["GET"]).matches(scope(method))[0] is plain
    assert operation_route("/things/{id}", one, "GET").matches(scope(method))[0] is operation


def test_other_paths() -> None:
    """They are for the routes behind it, whatever their method."""
    for path in ("/things", "/things/7/", "/things/7/8"):
        assert route("/things/{id}", one, ["GET"]).matches(scope("GET", path))[0] is Match.NONE
        assert operation_route("/things/{id}", one, "GET").matches(scope("GET", path))[0] is Match.NONE


def test_methods_are_not_shared() -> None:
    """The same path with other methods is compiled apart, and several methods are one route."""
    get, both = route("/things/{id}", one, ["GET"]), route("/things/{id}", one, ["POST", "PUT"])
    assert get.methods == {"GET", "HEAD"}
    assert both.methods == {"POST", "PUT"}
    assert both.matches(scope("PUT"))[0] is Match.FULL
