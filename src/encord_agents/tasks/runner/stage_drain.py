"""One stage run over a pool of workers: it reads the stage, sends tasks, receives messages, and assigns blame."""

from __future__ import annotations

import contextlib
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias
from uuid import UUID

from encord_agents.exceptions import NoRoomError, OutageError, PrintableError
from encord_agents.tasks.engine.backlog import Backlog
from encord_agents.tasks.engine.context import Agent
from encord_agents.tasks.engine.events import StageWarning, TaskFinished, TaskStarted
from encord_agents.tasks.engine.gate import SetUpError
from encord_agents.tasks.engine.outcome import Fault, Phase
from encord_agents.tasks.engine.poll import StageReader
from encord_agents.tasks.engine.stop import Leaving
from encord_agents.tasks.runner import messages
from encord_agents.tasks.runner.executor_pool import ExecutorPool, ExecutorWorker
from encord_agents.tasks.runner.messages import WorkerDiedError, WorkerError
from encord_agents.tasks.runner.outcomes import Drain, Outcomes, Sent
from encord_agents.tasks.runner.processes import Processes, Worker
from encord_agents.tasks.runner.queue_function import QueueFunction

__all__ = ["StageDrain"]

AnyWorker: TypeAlias = Worker | ExecutorWorker

READ_AHEAD = 100
"""Tasks read from the pages between two checks for workers' messages."""

CANNOT_START = """\
The worker processes ended before they were ready ({how}). What they printed says why. Usually it is one of two:
  - The script calls drain() when it is imported, as each worker does. Call it only when the script is run:
        if __name__ == "__main__":
            runner.drain()
  - {module}, where the agents are, cannot be imported in a new process."""

CANCELLED = "Its batch was cancelled twice, by somebody else. It is not known whether its tasks were worked on."

CANCELLED_FIRST = (
    "The executor cancelled the first call, which only tries whether its workers can work. Nothing was done."
)


@dataclass(eq=False, slots=True)
class Hand:
    """The tasks of this stage that one worker has.

    Attributes:
        running: Tasks whose attempt has begun and not ended.
        alone: True if it gets no other task until the one it has is done.
    """

    tasks: dict[UUID, Sent] = field(default_factory=dict)
    running: set[UUID] = field(default_factory=set)
    alone: bool = False


class StageDrain:
    """Runs one agent over its stage: reads the stage, keeps the workers busy, and processes their messages.

    Args:
        function: Serves the agent's stage in the workers.
    """

    def __init__(self, run: Drain, agent: Agent, function: QueueFunction, pool: Processes | ExecutorPool) -> None:
        self._run = run
        self._agent = agent
        self._history = agent.history
        self._options = run.options
        self._timing, self._limits = run.gate.timing, run.gate.limits
        self._pool = pool
        self._most_busy = pool.size  # lowered when there is no room for the files of so many workers
        self._module = function.__module__
        self._begin = messages.Begin(lambda: function, run.options)
        self._backlog = Backlog(agent.row_of, known=self._history.known, budget=run.options.max_tasks_per_stage)
        self._reader = StageReader(agent.stage, run.gate, self._backlog, run.events)
        self._outcomes = Outcomes(run, agent, self._backlog, may_repeat=pool.may_repeat)
        # Only workers in which this stage has begun and not ended.
        self._hands: dict[AnyWorker, Hand] = {}
        self._again: deque[Sent] = deque()
        self._alone: deque[Sent] = deque()
        self._average: float | None = None  # seconds that attempts take
        self._failed_starts = 0
        self._garbled = 0
        self._asking = False

    @property
    def only_reads(self) -> bool:
        """True if nothing is in flight but a request for the stage's next page. Other threads may ask."""
        return self._asking and not self._is_out

    def run(self) -> None:
        """Run until every task has its outcome, or the run is to end.

        Raises:
            SetUpError, NoRoomError, OutageError: The error that ended it; tasks in flight by then are finished.
        """
        try:
            with contextlib.suppress(Leaving):  # the stop came while the platform was waited for
                self._drain()
        finally:
            self._wind_up()
            self._run.halted = self._run.halted or self._outcomes.halted
        error = self._outcomes.error
        if isinstance(error, Exception) and not isinstance(error, NoRoomError | OutageError):
            raise SetUpError(error)
        if error is not None:
            raise error

    # The stage run

    def _drain(self) -> None:
        first, tick = True, self._timing.tick
        while not self._closing and not (self._backlog.exhausted and self._is_idle and not self._backlog.reopen()):
            self._read(min(READ_AHEAD, self._limits.read_ahead) if first else sys.maxsize)
            first = first and self._backlog.reading
            if first or not self._reading:  # a second reading must end before any task moves
                self._send()
            if self._is_out:
                self._collect(0.0 if self._reading else tick)
            elif not self._reading and (wait := self._held_back) > 0:
                self._run.stop.wait(min(wait, tick))

    def _wind_up(self) -> None:
        """Start no further task if the run is to end, and receive the workers' last messages."""
        if self._closing:
            self._pool.stop()
        for worker in self._hands:
            worker.say(messages.Order.CLOSE)
        while self._hands and not self._run.stop.leaving:
            if self._run.stop.requested:  # it may have come while the last messages were awaited
                self._pool.stop()
            self._collect(self._timing.tick)

    @property
    def _closing(self) -> bool:
        return self._run.stop.requested or self._outcomes.error is not None

    @property
    def _reading(self) -> bool:
        return self._backlog.reading and self._backlog.wants_more

    @property
    def _is_idle(self) -> bool:
        return not (self._is_out or self._waits or self._backlog.available)

    def _read(self, number: int) -> None:
        """Read the stage's next pages; or all again, if nothing is in flight and tasks may have been skipped."""
        if not (self._reading or (self._backlog.must_be_read and self._is_idle)):
            return
        self._asking = True
        try:
            self._reader.read(number)
        finally:
            self._asking = False

    # Sending

    @property
    def _busy(self) -> int:
        """The number of workers that have tasks."""
        return sum(bool(hand.tasks) for hand in tuple(self._hands.values()))

    @property
    def _starting(self) -> list[AnyWorker]:
        return [worker for worker in tuple(self._hands) if not worker.ready and not worker.dead]

    @property
    def _is_out(self) -> bool:
        """True if workers have tasks, or are starting."""
        return bool(self._busy or self._starting)

    @property
    def _waits(self) -> bool:
        """True if tasks that workers had before wait to be sent again."""
        return bool(self._again or self._alone)

    @property
    def _held_back(self) -> float:
        """The seconds for which nothing is sent, because of a rate limit of a service that the agent calls."""
        return self._history.quiet.wait(self._run.gate.clock()) if self._waits or self._backlog.available else 0.0

    def _room_of(self, worker: AnyWorker) -> int:
        """Return how many more tasks a worker can have: none unless a whole batch fits, so that they go together."""
        hand, size, limits = self._hands[worker], self._options.batch_size, self._limits
        if not worker.ready or worker.dead or hand.alone:
            return 0
        if not hand.tasks and self._busy >= self._most_busy:
            return 0
        slow = self._average is None or self._average * size > self._timing.slow_batch
        batches = min(limits.batches_if_slow if slow else limits.batches, self._pool.most_batches)
        room = batches * size - len(hand.tasks)
        return min(size, room) if room >= size or not hand.tasks else 0

    def _send(self) -> None:
        """Send tasks to workers as long as there is room."""
        for worker in self._pool.alive:
            if worker not in self._hands and worker.ready:
                self._begin_in(worker)
        while not self._closing and (self._waits or self._backlog.available) and not self._held_back:
            if self._pool.missing and self._wants_worker:
                try:
                    self._begin_in(self._pool.start())
                except Exception as error:  # noqa: BLE001 - such as: the system has no process for it
                    self._outcomes.end_run(error)
                continue
            if not self._send_some():
                return

    def _begin_in(self, worker: AnyWorker) -> None:
        self._hands[worker] = Hand()
        worker.say(self._begin)

    @property
    def _wants_worker(self) -> bool:
        """True if there is more to do than the workers have room for, including those that are starting. Work recovered
        from a dead worker must not queue behind another worker's."""
        if self._most_busy < self._pool.size:
            return not self._hands
        starting, size = len(self._starting), self._options.batch_size
        idle = any(worker.ready and not hand.tasks for worker, hand in self._hands.items())
        if self._waits and not (idle or starting):
            return True
        room = sum(self._room_of(worker) for worker in self._hands) + starting * size
        return len(self._again) + len(self._alone) * size + self._backlog.available > room

    def _send_some(self) -> bool:
        """Send some tasks to the worker that has the fewest. Return False if no worker has room."""
        there = [worker for worker in self._hands if self._room_of(worker)]
        if self._alone:
            there = [worker for worker in there if not self._hands[worker].tasks]
        if not there:
            return False
        worker = min(there, key=lambda one: len(self._hands[one].tasks))
        hand, room = self._hands[worker], self._room_of(worker)
        if self._alone:
            some, hand.alone = [self._alone.popleft()], True
        else:
            some = self._next(room)
        if not some:
            return False
        worker.say(messages.Tasks(self._give(hand, some)))
        return True

    def _next(self, number: int) -> list[Sent]:
        """Take the tasks to send next, beginning with those that a worker had before."""
        some = [self._again.popleft() for _ in range(min(number, len(self._again)))]
        return some + [Sent(one.task, one.seen_at) for one in self._backlog.take(number - len(some))]

    def _give(self, hand: Hand, some: Sequence[Sent]) -> list[messages.OnItsWay]:
        """Assign tasks to a worker, and return them as they are sent to it."""
        for sent in some:
            hand.tasks[sent.task.uuid] = sent
            self._backlog.begin_move()  # it may move at any time, until the worker reports its outcome
        return [sent.on_its_way(self._run.gate) for sent in some]

    def _take_back(self, hand: Hand, uuid: UUID) -> Sent | None:
        """Take a task back from a worker that is done with it."""
        sent = hand.tasks.pop(uuid, None)
        hand.running.discard(uuid)
        if not hand.tasks:
            hand.alone = False
        if sent is not None:
            self._backlog.end_move()
        return sent

    def _take_all_back(self, hand: Hand) -> list[Sent]:
        return [sent for uuid in tuple(hand.tasks) if (sent := self._take_back(hand, uuid)) is not None]

    # Messages of workers

    def _collect(self, timeout: float) -> None:
        """Process the workers' messages, waiting up to ``timeout`` seconds for the first one."""
        said = self._pool.next(timeout)
        while said is not None:
            worker, message = said
            if (hand := self._hands.get(worker)) is not None:  # otherwise the worker is idle, or has died idle
                self._take(worker, hand, message)
            said = self._pool.next(0.0)
        self._outcomes.send_down()

    def _take(self, worker: AnyWorker, hand: Hand, message: object) -> None:
        history = self._history
        match message:
            case messages.Ready(error=None):
                self._run.proven, self._failed_starts = True, 0
            case messages.Ready(error=messages.Carried(error=error)):
                del self._hands[worker]
                self._outcomes.end_run(error)
            case messages.AttemptEnded(uuid=uuid):
                hand.running.discard(uuid)
            case messages.WillSucceed(named_a_pathway=named):
                history.has_succeeded = True
                history.has_named_a_pathway |= named
            case messages.Succeeded(named_a_pathway=named):
                history.has_named_a_pathway |= named
                history.succeed()
            case messages.Told():
                self._hear(worker, hand, message)
            case messages.Ended():
                del self._hands[worker]
                self._ended(hand, message)
            case messages.Cancelled():
                del self._hands[worker]
                self._cancelled(hand)
            case messages.Died():
                del self._hands[worker]
                self._lost(hand, message)

    def _hear(self, worker: AnyWorker, hand: Hand, told: messages.Told) -> None:
        """Process an event that a worker reports."""
        self._history.has_named_a_pathway |= told.named_a_pathway
        if told.hold_back > 0:
            for other in self._hands:
                if other is not worker and other.ready:
                    other.say(messages.HoldBack(told.hold_back))
        match told.event:
            case TaskFinished(attempts=attempts, seconds=seconds) as event:
                self._garbled = 0
                if attempts:
                    average = seconds / attempts if self._average is None else self._average
                    self._average = average + (seconds / attempts - average) / self._limits.last_ends
                if (sent := self._take_back(hand, event.task.uuid)) is not None:
                    self._outcomes.take(sent, told, event)
                return
            case TaskStarted(task=task):
                hand.running.add(task.uuid)
            case StageWarning(kind=kind) if not self._history.warns_first_of(kind):
                return  # another worker has sent it already
        self._run.events.emit(told.event)

    def _ended(self, hand: Hand, ended: messages.Ended) -> None:
        """Process the end of the stage in a worker: it was told to end it, or an error did."""
        self._run.unwritten += ended.unwritten
        self._run.unconfirmed |= ended.unconfirmed
        if ended.hold_back > 0:
            self._history.quiet.hold_back(ended.hold_back, self._run.gate.clock())
        left = self._take_all_back(hand)  # they stay in their stage
        if ended.error is None:
            return
        error = ended.error.error
        busy = self._busy
        others = busy or (left and self._most_busy > 1)  # of two that had no room, the second finds no other busy
        if isinstance(error, NoRoomError) and error.may_pass and not self._closing and others:
            # Other workers' files will be removed, so its tasks are sent again after theirs. This counts as no attempt.
            self._most_busy = max(1, min(self._most_busy, busy))
            unwritten = {ref.uuid for ref in ended.unwritten}
            self._again += [sent for sent in left if sent.task.uuid not in unwritten]
        else:
            self._outcomes.end_run(error)

    # Trouble

    def _cancelled(self, hand: Hand) -> None:
        """Send a batch again, once, that was cancelled from outside the run."""
        left = self._take_all_back(hand)
        if self._closing:
            return
        if not left:
            self._outcomes.end_run(PrintableError(CANCELLED_FIRST))
        for sent in left:
            if not sent.lost:  # its first time. Its tasks may have moved all the same
                sent.lost = True
                self._again.append(sent)
            else:
                self._outcomes.fail(sent, Fault(Phase.LOAD, WorkerError(CANCELLED), 1))

    def _lost(self, hand: Hand, died: messages.Died) -> None:
        """Retry or fail the tasks of a worker that has died. Those with an attempt in progress are the suspects; if
        there were none, all of them are."""
        self._failed_starts += not died.ready
        nobody_works = not (self._run.proven or self._starting)
        if not died.ready and (nobody_works or self._failed_starts >= self._limits.failed_starts) and not self._closing:
            self._outcomes.end_run(PrintableError(CANNOT_START.format(how=died.how, module=self._module)))
        self._garbled += died.garbled
        if self._garbled >= self._limits.garbled_in_a_row:
            self._outcomes.end_run(
                PrintableError(f"{self._garbled} workers in a row were lost. Of the last one: {died.how}.")
            )
        suspects = set(hand.running or hand.tasks)
        again = []
        for sent in self._take_all_back(hand):
            is_suspect = sent.task.uuid in suspects
            sent.lost = True
            sent.deaths += is_suspect
            if not is_suspect or sent.deaths < self._limits.deaths - 1:
                again.append(sent)
            elif sent.deaths < self._limits.deaths:
                self._alone.append(sent)
            else:
                error = WorkerDiedError(f"The worker process died while it ran this task and no other: {died.how}.")
                self._outcomes.fail(sent, Fault(Phase.AGENT, error, 1))
        self._again.extendleft(reversed(again))
        self._outcomes.send_down()
