"""Fault injection: failures that a test asks for, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from encord_agents.local.written import Number, Seconds, checked, known

Action = Literal["status", "drop_before", "drop_after", "stall", "envelope"]


@dataclass(frozen=True)
class Fault:
    """A failure that is injected into the next requests of a kind.

    Args:
        kind: The kind of request (see :class:`~encord_agents.local.Entry`), or ``None`` for any, including assets.
        times: How many requests fail; ``None``: no limit.
        skip: How many matching requests are served first.
        action: ``status``: a plain HTTP error, nothing done. ``envelope``: HTTP 200 with an error inside, as v1 does
            (v2 requests are not affected). ``drop_before``: the connection is closed, nothing done. ``drop_after``: the
            work is done, then the connection is closed without an answer. ``stall``: nothing happens for ``seconds``,
            or until the faults are cleared, then the request is served; if the client has disconnected by then, nothing
            is done.
        status: The HTTP status, or the one in the envelope.
        retry_after: Seconds, for the ``Retry-After`` header of ``status``.
        body: The text that ``status`` answers with, in place of the platform's JSON: a proxy answers with a page.
        error: The name of the error in the envelope.
        seconds: How long ``stall`` stalls.
        contains: Only requests whose body (or path, query included) contains this text.
    """

    kind: str | None = None
    times: Annotated[int, Field(strict=True)] | None = 1
    skip: Annotated[int, Field(strict=True, ge=0)] = 0
    action: Action = "status"
    status: Annotated[int, Field(strict=True, ge=100, le=599)] = 500
    retry_after: Number | None = None
    body: str | None = None
    error: str = "RATE_LIMIT_ERROR"
    seconds: Seconds = 0.0
    contains: str | None = None


_FAULT = TypeAdapter(Annotated[Fault, known(*Fault.__annotations__)])


def read_fault(given: Mapping[str, Any]) -> Fault:
    """Return the fault that a mapping describes.

    Raises:
        LocalPlatformError: It describes no valid fault.
    """
    checked(_FAULT, given)
    return Fault(**given)


class Faults:
    """The pending faults. The oldest one that matches a request is injected into it."""

    def __init__(self) -> None:
        self._waiting: list[_Waiting] = []
        self._lock = Lock()
        self.cleared = 0
        """The number of times that the faults were cleared."""

    def add(self, fault: Fault) -> None:
        """Add a fault, to be injected into the next requests that match.

        Raises:
            LocalPlatformError: The fault is not valid.
        """
        checked(_FAULT, fault)
        with self._lock:
            self._waiting.append(_Waiting(fault, fault.skip, fault.times))

    def clear(self) -> None:
        """Remove all faults; stalled requests go on."""
        with self._lock:
            self._waiting.clear()
            self.cleared += 1  # a counter, not a flag: stalled requests watch for a change, and never reset it

    @property
    def pending(self) -> list[Fault]:
        """The faults that have not been injected as often as requested."""
        with self._lock:
            return [waiting.fault for waiting in self._waiting]

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def take(self, kind: str, body: bytes, path: str, *, envelope: bool) -> Fault | None:
        """Return the fault to inject into this request, if any, and count it down.

        Args:
            kind: The request's kind.
            body: Its body.
            path: Its path.
            envelope: Whether it is a v1 request, the only ones that can have an error inside a 200.
        """
        with self._lock:
            # Counted down here, under the lock: two concurrent requests must not both take the last one.
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
