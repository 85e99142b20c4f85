"""Recent calls of editor agents: the history recognises their saves by the trace ids that they pass on."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from threading import Lock

__all__ = ["TRACE_HEADER", "Calls", "client_of"]

TRACE_HEADER = "X-Cloud-Trace-Context"
MOST_REMEMBERED = 1_000
"""Calls whose trace ids are remembered: an agent may save after its call has timed out."""


class Calls:
    """The trace ids of recent calls, and the agents that were called with them."""

    def __init__(self) -> None:
        self._names: OrderedDict[str, str] = OrderedDict()
        self._lock = Lock()

    def new(self, agent: str) -> str:
        """Return a trace id for a call of an agent."""
        trace_id = secrets.token_hex(16)
        with self._lock:
            self._names[trace_id] = agent
            while len(self._names) > MOST_REMEMBERED:
                self._names.popitem(last=False)
        return trace_id

    def caller(self, header: str | None) -> str | None:
        """Return the client name of the agent that sent a request with this trace header, if it was called."""
        name = self._names.get((header or "").partition("/")[0])
        return None if name is None else client_of(name)


def client_of(agent: str) -> str:
    """Return the name under which the history knows an agent."""
    return f"Editor agent {agent}"
