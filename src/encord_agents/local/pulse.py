"""Live statistics of the platform's clients, run by run: requests per second, latencies and errors."""

from __future__ import annotations

import bisect
from collections import Counter, OrderedDict, deque
from dataclasses import dataclass, field
from threading import Lock

PAUSE = 60.0
"""Seconds without a request after which a client's next request begins a new run."""
MOST_RUNS = 50
SECONDS_SHOWN = 120
"""The number of seconds for which requests are counted second by second."""
_BOUNDS = tuple(0.0005 * 1.3**step for step in range(50))
"""Upper bounds of the latency histogram in seconds, in steps of 30 %, from 0.5 ms to about three minutes."""


@dataclass
class Latencies:
    """A histogram of the seconds that answers took."""

    counts: Counter[int] = field(default_factory=Counter)
    total: int = 0

    def add(self, seconds: float) -> None:
        self.counts[bisect.bisect_left(_BOUNDS, seconds)] += 1
        self.total += 1

    def quantile(self, share: float) -> float:
        """Return the latency in seconds that this share of answers did not exceed, rounded up to a bound."""
        wanted = share * self.total
        seen = 0
        for step in sorted(self.counts):
            seen += self.counts[step]
            if seen >= wanted:
                return _BOUNDS[min(step, len(_BOUNDS) - 1)]
        return 0.0


@dataclass
class Run:
    """A client's requests without a long pause. Times are the journal's: seconds since the platform started.

    Attributes:
        client: The ``User-Agent``.
        kinds, items: For each kind, the number of requests, and of the rows, tasks or ids that they were about.
        errors: The number of answers with each status of 400 and above; 0 is a closed connection.
    """

    client: str
    started: float
    last: float
    requests: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    items: Counter[str] = field(default_factory=Counter)
    errors: Counter[int] = field(default_factory=Counter)
    latencies: dict[str, Latencies] = field(default_factory=dict)
    seconds: deque[list[int]] = field(default_factory=lambda: deque(maxlen=SECONDS_SHOWN))

    def per_second(self, now: float, over: int = 10) -> float:
        """Return the requests per second over the latest full seconds."""
        end = int(now)
        return sum(n for second, n in list(self.seconds) if end - over <= second < end) / over

    def series(self, now: float, length: int = 60) -> list[int]:
        """Return the number of requests in each of the latest full seconds, oldest first."""
        counts = {pair[0]: pair[1] for pair in list(self.seconds)}
        return [counts.get(second, 0) for second in range(int(now) - length, int(now))]


class Pulse:
    """The latest runs of all clients."""

    def __init__(self) -> None:
        self._runs: OrderedDict[int, Run] = OrderedDict()
        self._current: dict[str, int] = {}
        self._number = 0
        self._lock = Lock()

    def add(self, client: str, kind: str, status: int, items: int, at: float, seconds: float) -> None:
        """Count a request that arrived at ``at`` and took ``seconds``."""
        end = at + seconds
        with self._lock:
            run = self._runs.get(self._current.get(client, -1))
            if run is None or at - run.last > PAUSE:
                self._number += 1
                run = self._runs[self._number] = Run(client, at, end)
                self._current[client] = self._number
                while len(self._runs) > MOST_RUNS:
                    # A client that sends a new User-Agent with each request must not fill the memory.
                    _, gone = self._runs.popitem(last=False)
                    if self._current.get(gone.client, -1) not in self._runs:
                        self._current.pop(gone.client, None)
            run.last = max(run.last, end)
            run.requests += 1
            run.kinds[kind] += 1
            run.items[kind] += items
            if status >= 400 or status == 0:
                run.errors[status] += 1
            run.latencies.setdefault(kind, Latencies()).add(seconds)
            # Requests may end out of order: one that ended in an earlier second is counted in the latest.
            second = int(end)
            if run.seconds and run.seconds[-1][0] >= second:
                run.seconds[-1][1] += 1
            else:
                run.seconds.append([second, 1])

    def runs(self) -> list[Run]:
        """Return the latest runs, the one with the latest request first."""
        with self._lock:
            return sorted(self._runs.values(), key=lambda run: -run.last)
