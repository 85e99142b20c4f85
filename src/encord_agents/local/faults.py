"""Trouble on demand: what a test wants to go wrong, as data."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from typing import Literal

Action = Literal["status", "drop_before", "drop_after", "stall", "envelope"]


@dataclass(frozen=True)
class Fault:
    """What goes wrong with the next requests of a kind.

    Args:
        kind: The kind of request (see :class:`~encord_agents.local.Entry`), or ``None`` for any, assets too.
        times: How many requests it spoils; ``None``: for ever.
        skip: How many matching requests it lets through first.
        action: ``status``: a plain HTTP error, nothing done. ``envelope``: HTTP 200 with an error inside, as v1 does
            (v2 requests are left alone). ``drop_before``: the connection is closed, nothing done. ``drop_after``: the
            work is done, then the connection is closed without an answer. ``stall``: nothing happens for ``seconds``,
            or until the faults are cleared, then the request is served; if the client has hung up by then, nothing is
            done.
        status: The HTTP status, or the one in the envelope.
        retry_after: Seconds, for the ``Retry-After`` header of ``status``.
        error: The name of the error in the envelope.
        seconds: How long ``stall`` stalls.
        contains: Only requests whose body (or path, query included) contains this text.
    """

    kind: str | None = None
    times: int | None = 1
    skip: int = 0
    action: Action = "status"
    status: int = 500
    retry_after: int | None = None
    error: str = "RATE_LIMIT_ERROR"
    seconds: float = 0.0
    contains: str | None = None


class Faults:
    """The faults that wait for their requests. The oldest that matches a request is the one that happens to it."""

    def __init__(self) -> None:
        self._waiting: list[_Waiting] = []
        self._lock = Lock()
        self.cleared = 0
        """How often the faults were cleared."""

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._waiting.append(_Waiting(fault, fault.skip, fault.times))

    def clear(self) -> None:
        """Forget all faults; requests that are stalled go on."""
        with self._lock:
            self._waiting.clear()
            self.cleared += 1

    @property
    def pending(self) -> list[Fault]:
        """The faults that have not happened as often as they should."""
        with self._lock:
            return [waiting.fault for waiting in self._waiting]

    def take(self, kind: str, body: bytes, path: str, *, envelope: bool) -> Fault | None:
        """The fault that happens to this request, if any.

        Args:
            kind: The request's kind.
            body: Its body.
            path: Its path.
            envelope: Whether it is a v1 request, the only ones that can have an error inside a 200.
        """
        if not self._waiting:
            return None
        with self._lock:
            for waiting in self._waiting:
                if not _matches(waiting.fault, kind, body, path, envelope):
                    continue
                if waiting.skip > 0:
                    waiting.skip -= 1
                    continue
                if waiting.left is not None:
                    waiting.left -= 1
                    if waiting.left <= 0:
                        self._waiting.remove(waiting)
                return waiting.fault
        return None


@dataclass(eq=False)
class _Waiting:
    fault: Fault
    skip: int
    left: int | None


def _matches(fault: Fault, kind: str, body: bytes, path: str, envelope: bool) -> bool:
    if fault.kind is not None and fault.kind != kind:
        return False
    if fault.action == "envelope" and not envelope:
        return False
    return fault.contains is None or fault.contains.encode() in body or fault.contains in path
