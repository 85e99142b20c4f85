"""Routes whose paths are compiled once per process, not once per platform: each test may create a platform."""

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
    """A route for one method. Other methods do not match at all, instead of partially, which Starlette would answer
    with a 405: the request is to be reported as unknown."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope.get("method") not in (self.methods or ()):  # checked before the path, as this rules out most routes
            return Match.NONE, {}
        return super().matches(scope)


def route(path: str, endpoint: Callable[[Request], Any], methods: Collection[str]) -> Route:
    """Return a route for these methods. Other methods get a 405."""
    return _with(endpoint, _compiled(Route, path, tuple(methods)))


def operation_route(path: str, endpoint: Callable[[Request], Any], method: str) -> Route:
    """Return a route for one method. Other methods of the same path are left to later routes."""
    return _with(endpoint, _compiled(_Operation, path, (method,)))


@cache
def _compiled(kind: type[Route], path: str, methods: tuple[str, ...]) -> Route:
    return kind(path, Response, methods=list(methods))  # a placeholder endpoint: `_with` replaces it


def _with(endpoint: Callable[[Request], Any], compiled: Route) -> Route:
    made = object.__new__(type(compiled))  # five times as fast as `copy.copy`
    made.__dict__.update(compiled.__dict__, endpoint=endpoint, app=request_response(endpoint))
    return made
