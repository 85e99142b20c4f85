"""The backlog of a stage: which tasks wait, in which order they are taken, and when the stage must be read again.

Agents start with the first page, not after the last, so tasks move while pages are still being read. But where page
tokens are offsets, such a move makes later pages start too far on, and tasks are silently skipped. So a stage that had
moves while it was read is read again, until a reading had none: that one is exact. While a stage is read again, labels
are saved as soon as they are finished, and moves wait, for a bounded time. Others move tasks too, without this run's
knowledge: if a task turns out to have left since the last reading began, the stage is read again.

There are no threads, requests or clocks in here: drivers that have threads call it under their lock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass
from uuid import UUID

from encord.workflow.stages.agent import AgentTask

__all__ = ["Backlog", "Waiting"]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A task that waits, and the time at which its stage showed it, on the gate's clock."""

    task: AgentTask
    seen_at: float


class Backlog:
    """The tasks of one stage that wait for their agent, during one pass.

    Tasks are taken in the order in which the stage shows them. Tasks that this run has held or failed before come
    after those it has not seen. A task whose label row is taken waits for the other task of that row.

    Args:
        row_of: The label row that a task is about.
        known: Tasks that come last.
        budget: The number of tasks that may be given to the agent; ``None``: all.

    Attributes:
        taken: A live view of the tasks that are taken and not released.
    """

    def __init__(
        self,
        row_of: Callable[[AgentTask], Hashable],
        *,
        known: Collection[UUID] = frozenset(),
        budget: int | None = None,
    ) -> None:
        self._row_of = row_of
        self._known = known
        self._budget = budget
        self._unseen: deque[Waiting] = deque()
        self._seen_before: deque[Waiting] = deque()
        self._parked: dict[Hashable, deque[Waiting]] = {}
        self._taken: dict[UUID, Hashable] = {}
        self.taken = self._taken.keys()
        self._rows: set[Hashable] = set()
        self._shown: set[UUID] = set()
        self._reading = False
        self._readings = 0
        self._exact = False  # none of this run's tasks moved during the last reading
        self._has_left = False  # since the last reading began, a task turned out to have left
        self._moves = 0  # in flight

    # Reading

    @property
    def shown(self) -> int:
        """The number of tasks that the stage has shown."""
        return len(self._shown)

    @property
    def reading(self) -> bool:
        """True while pages are read: more tasks may come at any moment."""
        return self._reading

    @property
    def reading_again(self) -> bool:
        """True while pages are read for the second time, or a later one."""
        return self._reading and self._readings > 1

    @property
    def must_be_read(self) -> bool:
        """True if the stage may hold tasks that no reading has shown, and there is a use for them."""
        return not self._exact and not self._reading and self._budget != 0

    @property
    def wants_more(self) -> bool:
        """False if more tasks wait than may be taken: to read on would only cost requests and memory."""
        return self._budget is None or len(self._unseen) < self._budget

    @property
    def moving(self) -> bool:
        """True while moves are in flight. A reading that begins now cannot be exact."""
        return self._moves > 0

    def begin_reading(self) -> None:
        """Begin a reading: the first page of the stage is about to be requested."""
        self._reading = True
        self._readings += 1
        self._exact, self._has_left = not self._moves, False

    def add(self, task: AgentTask, seen_at: float) -> bool:
        """Add a task that a page shows. Return False if an earlier page, or an earlier reading, has shown it."""
        if task.uuid in self._shown:
            return False
        self._shown.add(task.uuid)
        (self._seen_before if task.uuid in self._known else self._unseen).append(Waiting(task, seen_at))
        return True

    def end_reading(self) -> None:
        """End a reading: the last page has come."""
        self._reading = False

    def close(self) -> None:
        """Record that no more tasks will come. Called by a feed that replaces the reader."""
        self._reading, self._exact = False, True

    def reopen(self) -> bool:
        """Request another reading if a task that somebody else moved may have hidden others from the last one.

        Returns:
            True if the stage must be read again. This terminates: each repetition is for a task that has left.
        """
        if self._has_left and self._readings:  # otherwise it is fed, and has no pages
            self._exact = False
        return self.must_be_read

    def begin_move(self) -> None:
        """Record that tasks of the stage are about to be moved."""
        self._moves += 1
        if self._reading:
            self._exact = False

    def end_move(self) -> None:
        """End a move: its answer is known."""
        self._moves -= 1

    # Taking

    @property
    def available(self) -> int:
        """The number of tasks that can be taken now, or a few more: some may turn out to share their label row."""
        number = len(self._unseen) + (len(self._seen_before) if self._all_shown else 0)
        return number if self._budget is None else min(number, self._budget)

    @property
    def exhausted(self) -> bool:
        """True if nothing waits and nothing more will come."""
        return self._budget == 0 or (self._all_shown and not (self._unseen or self._seen_before or self._parked))

    @property
    def _all_shown(self) -> bool:
        return self._exact and not self._reading

    def take(self, number: int) -> list[Waiting]:
        """Take up to ``number`` tasks, the next in order. They count towards the budget."""
        if self._budget is not None:
            number = min(number, self._budget)
        taken: list[Waiting] = []
        while len(taken) < number and (queue := self._unseen or (self._seen_before if self._all_shown else None)):
            waiting = queue.popleft()
            row = self._row_of(waiting.task)
            if row in self._rows:
                self._parked.setdefault(row, deque()).append(waiting)
                continue
            self._rows.add(row)
            self._taken[waiting.task.uuid] = row
            taken.append(waiting)
        if self._budget is not None:
            self._budget -= len(taken)
        return taken

    def release(self, uuid: UUID, *, left: bool = False, unused: bool = False) -> None:
        """Release the label row of a task that has its outcome, for the next task of that row.

        Args:
            left: True if somebody else has moved the task.
            unused: True if the task was not given to the agent, since it had left: it does not count.
        """
        self._has_left |= left
        row = self._taken.pop(uuid)
        self._rows.discard(row)
        if unused and self._budget is not None:
            self._budget += 1
        if (parked := self._parked.get(row)) is not None:
            self._unseen.appendleft(parked.popleft())
            if not parked:
                del self._parked[row]
