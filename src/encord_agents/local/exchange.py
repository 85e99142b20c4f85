"""A request in flight, as the journal and the faults see it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from encord_agents.local.history import LONGEST_CLIENT


@dataclass(slots=True)
class Exchange:
    """A request and its answer.

    Attributes:
        kind: The journal's word for it; ``refused`` until it is authenticated.
        method: The HTTP method (v1: of the query in the body).
        body: The request's body, once it is authenticated.
        items: The number of rows, tasks or items that it is about.
        latency, latency_per_item: Seconds by which the answer is delayed.
        envelope: True if errors are written inside a 200, as the older protocol does.
    """

    request: Request
    method: str
    kind: str = "refused"
    body: bytes = b""
    items: int = 0
    latency: float = 0.0
    latency_per_item: float = 0.0
    envelope: bool = False

    @property
    def path(self) -> str:
        """The requested path, without the query."""
        return str(self.request.scope["path"])

    @property
    def target(self) -> str:
        """The path with the query."""
        return f"{self.path}?{self.request.scope['query_string'].decode('latin-1')}"

    @property
    def client(self) -> str:
        """The ``User-Agent``, truncated."""
        return self.request.headers.get("user-agent", "")[:LONGEST_CLIENT]


Work = Callable[[], Awaitable[Response]]
Prepare = Callable[[Exchange], Awaitable[Work]]
"""Authenticates a request and returns its work. A refusal here is answered without delay, and uses up no fault."""
