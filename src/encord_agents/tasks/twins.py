"""Label rows of the same data in another project, fetched for all tasks that were loaded together."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final
from weakref import WeakKeyDictionary

from encord.constants.enums import DataType
from encord.exceptions import EncordException
from encord.objects import LabelRowV2
from encord.project import Project

from encord_agents.core.loaded_together import with_it

__all__ = ["TwinRows"]

FRESH_FOR: Final = 60.0
"""Seconds after which a row is fetched again, like the rows of tasks themselves."""

VIDEOS_AT_ONCE: Final = 20
MAIN: Final = "main"

UNREADABLE: Final = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError)
"""The exceptions of code that reads damaged labels. A time limit's exception is none of them, and ends the attempt."""


class TwinRows:
    """The twins of label rows in one other project.

    A request for one row's twin also fetches the twins of the rows that were loaded with it. Each twin is handed out
    once, so that every attempt gets an unmodified row of its own.

    Args:
        project: The other project.
        init_labels: Load the twins' labels.
        clock: Monotonic seconds.
    """

    def __init__(
        self, project: Project, *, init_labels: bool = True, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.project = project
        self._init_labels = init_labels
        self._clock = clock
        self._lock = threading.Lock()
        self._fetched: WeakKeyDictionary[LabelRowV2, tuple[float, LabelRowV2 | None]] = WeakKeyDictionary()
        self._asked: WeakKeyDictionary[LabelRowV2, bool] = WeakKeyDictionary()

    def of(self, row: LabelRowV2) -> LabelRowV2 | None:
        """Return a row's twin, or ``None`` if the data is not in the project.

        Raises:
            encord.exceptions.EncordException: The platform refuses the request.
            Exception: The twin's labels cannot be read.
        """
        # Held during the request: attempts of rows that were loaded together wait for it, and send none of their own.
        with self._lock:
            known = self._fetched.pop(row, None)
            if known is not None and self._clock() - known[0] < FRESH_FOR:
                return known[1]
            others = [] if row in self._asked else self._with(row)
            try:
                found = self._fetch([row, *others])
            except (EncordException, *UNREADABLE):
                if not others:
                    raise
                found = self._fetch([row])  # it may concern another row
            now = self._clock()
            for one, twin in found.items():
                self._asked[one] = True
                self._fetched[one] = now, twin
            return self._fetched.pop(row)[1]

    def _with(self, row: LabelRowV2) -> list[LabelRowV2]:
        seen = {str(row.data_hash)}
        others = []
        for other in with_it(row):
            if other not in self._asked and str(other.data_hash) not in seen:
                seen.add(str(other.data_hash))
                others.append(other)
        return others[: VIDEOS_AT_ONCE - 1] if row.data_type == DataType.VIDEO else others

    def _fetch(self, rows: Sequence[LabelRowV2]) -> dict[LabelRowV2, LabelRowV2 | None]:
        found: dict[LabelRowV2, LabelRowV2 | None] = dict.fromkeys(rows)
        for branch in dict.fromkeys([*(row.branch_name for row in rows if row.branch_name != MAIN), MAIN]):
            wanted = [row for row in rows if found[row] is None and branch in (row.branch_name, MAIN)]
            if not wanted:
                continue
            hashes = [str(row.data_hash) for row in wanted]
            listed = self.project.list_label_rows_v2(data_hashes=hashes, branch_name=branch)
            by_hash: dict[str, LabelRowV2] = {}
            for twin in listed:
                if twin.branch_name == branch:
                    by_hash.setdefault(str(twin.data_hash), twin)
            found.update({row: by_hash.get(str(row.data_hash)) for row in wanted})
        if self._init_labels:
            self._initialise([twin for twin in found.values() if twin is not None])
        return found

    def _initialise(self, twins: Sequence[LabelRowV2]) -> None:
        for branch in dict.fromkeys(twin.branch_name for twin in twins):  # all rows of a bundle must be on one branch
            same = [twin for twin in twins if twin.branch_name == branch]
            if len(same) == 1:
                same[0].initialise_labels()
                continue
            with self.project.create_bundle(bundle_size=len(same)) as bundle:
                for twin in same:
                    twin.initialise_labels(bundle=bundle)
