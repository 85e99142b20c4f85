"""Routes whose paths are compiled once in a process, not once for each platform: a test has one of its own."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cache
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route, request_response
from starlette.types import Scope

__all__ = ["operation_route", "route"]


class _Operation(Route):
    """A route of one method. Another one is no partial match, which Starlette answers with a 405: it is unknown."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope.get("method") not in (self.methods or ()):  # before the path is looked at: most routes end here
            return Match.NONE, {}
        return super().matches(scope)


def route(path: str, endpoint: Callable[[Request], Any], methods: Collection[str]) -> Route:
    """Return a route for some methods. Others are answered with a 405."""
    return _with(endpoint, _compiled(Route, path, tuple(methods)))


def operation_route(path: str, endpoint: Callable[[Request], Any], method: str) -> Route:
    """Return a route for one method. Others of the same path are for the routes behind it."""
    return _with(endpoint, _compiled(_Operation, path, (method,)))


@cache
def _compiled(kind: type[Route], path: str, methods: tuple[str, ...]) -> Route:
    return kind(path, Response, methods=list(methods))  # any endpoint will do: `_with` sets another


def _with(endpoint: Callable[[Request], Any], compiled: Route) -> Route:
    made = object.__new__(type(compiled))  # `copy.copy` takes five times as long
    made.__dict__.update(compiled.__dict__, endpoint=endpoint, app=request_response(endpoint))
    return made
