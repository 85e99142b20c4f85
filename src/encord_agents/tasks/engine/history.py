"""The history of an agent in a run: everything about the agent that changes during the run."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from typing import Literal
from uuid import UUID

from encord_agents.tasks.engine.quiet import Quiet
from encord_agents.tasks.engine.timing import Limits, Timing

__all__ = ["CHANGED_ROW", "HELD_BACK", "ODD_LABELS", "History", "Row"]

CHANGED_ROW = "changed row"
HELD_BACK = "held back"
ODD_LABELS = "odd labels"
"""Kinds of warnings, each given once for each agent of a run."""

Row = Literal["dead letters", "given up", "refused"]


class History:
    """The history of one agent, over all passes of a run, and all threads and calls that serve it.

    The bound `Agent` owns it, and nothing else keeps any of it. The lock guards the counts, the counted tasks, the
    warnings and the known tasks, so that two threads never see the same count. The two flags need none, since they only
    ever become True.
    `quiet` has a lock of its own, since it is used before each attempt.

    Attributes:
        quiet: Holds attempts back while a service that the agent calls is over its limits.
        known: Tasks that were held or failed, and are still in the stage.
        has_succeeded: True if an attempt ever succeeded.
        has_named_a_pathway: True if the agent ever named a pathway of its stage.
    """

    def __init__(self, timing: Timing | None = None, limits: Limits | None = None) -> None:
        self.quiet = Quiet(timing, limits)
        self.known: set[UUID] = set()
        self.has_succeeded = False
        self.has_named_a_pathway = False
        self._lock = threading.Lock()  # queue functions may serve one agent in several threads, without a window
        self._in_a_row: Counter[Row] = Counter()
        self._counted: defaultdict[Row, set[UUID]] = defaultdict(set)
        self._warned: set[str] = set()

    def succeed(self) -> None:
        """Record a successful attempt, before its result is written. It resets the counts of failed attempts."""
        with self._lock:
            self.has_succeeded = True
            self._in_a_row["dead letters"] = self._in_a_row["given up"] = 0

    def count(self, row: Row, uuid: UUID) -> int:
        """Count one more task in a row, unless an earlier pass has counted it, and return the count."""
        with self._lock:
            self._in_a_row[row] += uuid not in self._counted[row]
            self._counted[row].add(uuid)
            return self._in_a_row[row]

    def forget(self, uuid: UUID) -> None:
        """Note that a task did not fail, or has left: if it fails later, it counts again."""
        with self._lock:
            for counted in self._counted.values():
                counted.discard(uuid)

    def end(self, row: Row) -> None:
        """Reset the count of a row."""
        with self._lock:
            self._in_a_row[row] = 0

    @property
    def does_well(self) -> bool:
        """True if the agent is known to work, and has not dead-lettered the last task."""
        return self.has_named_a_pathway and not self._in_a_row["dead letters"]

    def remember(self, uuid: UUID) -> None:
        """Note a task that stays in its stage. In later passes, it comes after those that are new."""
        with self._lock:
            self.known.add(uuid)

    def has_warned_of(self, kind: str) -> bool:
        """Return True if a kind of warning was given."""
        # Without the lock: two threads that ask at once may both prepare a warning, which only one of them gives.
        return kind in self._warned

    def warns_first_of(self, kind: str) -> bool:
        """Return True the first time that a kind of warning is given."""
        with self._lock:
            is_first = kind not in self._warned  # in one step with the next line, or two threads would both be first
            self._warned.add(kind)
            return is_first
