"""Remembers the outcomes of editor agents' calls for the page, and limits the calls in flight."""

from __future__ import annotations

from collections import OrderedDict
from threading import BoundedSemaphore, Lock

from encord_agents.local.calling import Outcome
from encord_agents.local.trouble import Refusal

CALLS_AT_ONCE = 8
"""The most calls in flight: each blocks one of the 40 threads in the page's thread pool."""
MOST_KEPT = 500
"""The most outcomes that are kept in memory."""


class Outcomes:
    """The last outcome for each task, and of the test call of each agent. A context manager around each call."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Outcome] = OrderedDict()
        self._lock = Lock()
        self._calls = BoundedSemaphore(CALLS_AT_ONCE)

    def of(self, key: str) -> Outcome | None:
        return self._kept.get(key)

    def forget(self, key: str) -> None:
        with self._lock:
            self._kept.pop(key, None)

    def keep(self, key: str, outcome: Outcome) -> None:
        with self._lock:
            self._kept.pop(key, None)
            self._kept[key] = outcome
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)

    def __enter__(self) -> None:
        """Begin a call.

        Raises:
            Refusal: 503, too many calls are in flight.
        """
        if not self._calls.acquire(blocking=False):
            raise Refusal(503, f"{CALLS_AT_ONCE} editor agents are at work already. Try again when one has answered.")

    def __exit__(self, *_: object) -> None:
        self._calls.release()
