"""The journal: every request in order, so that a test can count them."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Lock

from encord_agents.local.pulse import Pulse

LONGEST_PATH = 8_192
"""Characters of a path that are kept: clients choose it, and thousands of long ones would fill the memory."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One request.

    Attributes:
        kind: ``project``, ``ontology``, ``tasks``, ``actions``, ``move``, ``priorities``, ``rows`` (a listing),
            ``label_create`` (the first initialise of a row), ``label_get``, ``save``, ``items`` (bulk), ``item``,
            ``asset``, ... or ``unknown``.
        method: The HTTP method (of the query inside a v1 request).
        path: The requested path, without the query.
        status: The status of the answer (v1: the status in the envelope); 0 if the connection was closed instead.
        items: The number of rows, tasks or ids that it was about.
        at: Seconds since the platform started.
        body: The beginning of the request's body.
        client: The request's ``User-Agent``.
        seconds: How long the answer took.
    """

    kind: str
    method: str
    path: str
    status: int
    items: int
    at: float
    body: str
    client: str = ""
    seconds: float = 0.0


class Journal:
    """The latest requests, and how many there were of each kind since the last :meth:`clear`."""

    def __init__(self, *, limit: int = 10_000, body_limit: int = 16_384) -> None:
        self._entries: deque[Entry] = deque(maxlen=limit)
        self._counts: Counter[str] = Counter()
        self._lock = Lock()
        self.body_limit = body_limit
        self.pulse = Pulse()
        """The same requests, counted by client."""

    def add(
        self,
        kind: str,
        method: str,
        path: str,
        status: int,
        items: int,
        at: float,
        body: bytes,
        *,
        client: str = "",
        seconds: float = 0.0,
    ) -> None:
        # Decoded before the lock is taken, because decoding takes longer than everything that is done under it.
        text = body[: self.body_limit].decode("utf-8", "replace")
        path = path[:LONGEST_PATH]
        with self._lock:  # a test's thread reads and clears while the server's thread writes
            self._entries.append(Entry(kind, method, path, status, items, at, text, client, seconds))
            self._counts[kind] += 1
        self.pulse.add(client, kind, status, items, at, seconds)

    def count(self, kind: str | None = None) -> int:
        """Return the number of requests of a kind, or of all kinds, including assets."""
        with self._lock:
            return self._counts.total() if kind is None else self._counts[kind]

    def kinds(self) -> dict[str, int]:
        """Return the number of requests of each kind."""
        with self._lock:
            return dict(self._counts)

    def of(self, kind: str) -> list[Entry]:
        """Return the remembered requests of one kind, oldest first."""
        return [entry for entry in self if entry.kind == kind]

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()
            self._counts.clear()

    def __iter__(self) -> Iterator[Entry]:
        with self._lock:  # a copy: a deque raises an error if it changes during iteration
            return iter(list(self._entries))

    def __len__(self) -> int:
        with self._lock:
            return len(self._entries)
