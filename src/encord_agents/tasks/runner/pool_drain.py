"""A stage's turn over worker processes of our own: their tasks, and the blame when one of them dies."""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Collection

from encord_agents.exceptions import PrintableError
from encord_agents.tasks.engine.context import Agent
from encord_agents.tasks.engine.events import AttemptFailed, TaskFinished, TaskStarted
from encord_agents.tasks.engine.outcome import Fault, Phase
from encord_agents.tasks.runner import messages
from encord_agents.tasks.runner.messages import WorkerDiedError
from encord_agents.tasks.runner.processes import Processes, Worker
from encord_agents.tasks.runner.queue_function import QueueFunction
from encord_agents.tasks.runner.stage_drain import DrainRun, Hand, Sent, StageDrain

__all__ = ["PoolDrain"]

CANNOT_START = """\
The worker processes ended before they were ready ({how}). What they printed says why. Usually it is one of two:
  - The script calls drain() when it is imported, as each worker does. Call it only when the script is run:
        if __name__ == "__main__":
            runner.drain()
  - {module}, where the agents are, cannot be imported in a new process."""


class PoolDrain(StageDrain):
    """One agent's turn over worker processes.

    Args:
        function: Serves the agent's stage in the workers.
    """

    def __init__(self, run: DrainRun, agent: Agent, function: QueueFunction, pool: Processes) -> None:
        super().__init__(run, agent, pool.size)
        self._pool = pool
        self._module = function.__module__
        self._timing, self._limits = run.gate.timing, run.gate.limits
        self._begin = messages.Begin(pickle.dumps(function), run.options)
        self._hands: dict[Worker, Hand] = {}  # of the workers for which this stage has begun, and not ended
        self._alone: deque[Sent] = deque()
        self._average: float | None = None  # seconds that attempts take
        self._failed_starts = 0
        self._garbled = 0

    # Sending

    @property
    def _all_hands(self) -> Collection[Hand]:
        return self._hands.values()

    @property
    def _is_out(self) -> bool:
        return bool(self._busy or self._starting)

    @property
    def _waits(self) -> bool:
        return bool(self._again or self._alone)

    @property
    def _starting(self) -> list[Worker]:
        return [worker for worker in self._hands if not worker.ready and not worker.dead]

    def _room_of(self, worker: Worker) -> int:
        """Return how many more tasks a worker can have: only where a whole batch fits, so that they go together."""
        hand, size, limits = self._hands[worker], self._options.batch_size, self._limits
        if not worker.ready or worker.dead or hand.alone:
            return 0
        if not hand.tasks and self._busy >= self._most_busy:
            return 0
        slow = self._average is None or self._average * size > self._timing.slow_batch
        room = (limits.batches_if_slow if slow else limits.batches) * size - len(hand.tasks)
        return min(size, room) if room >= size or not hand.tasks else 0

    def _send(self) -> None:
        for worker in self._pool.alive:
            if worker not in self._hands and worker.ready:
                self._begin_in(worker)
        while not self._closing and (self._waits or self._backlog.available):
            if self._pool.missing and self._wants_worker:
                try:
                    self._begin_in(self._pool.start())
                except Exception as error:  # noqa: BLE001 - such as: the system has no process for it
                    self._fail(error)
                continue
            if not self._send_some():
                return

    def _begin_in(self, worker: Worker) -> None:
        self._hands[worker] = Hand()
        worker.say(self._begin)

    @property
    def _wants_worker(self) -> bool:
        """True if there is more to do than workers have room for, those that are starting included. Work recovered from
        a dead worker must not queue behind another worker's."""
        if self._most_busy < self._pool.size:
            return not self._hands
        starting, size = len(self._starting), self._options.batch_size
        idle = any(worker.ready and not hand.tasks for worker, hand in self._hands.items())
        if self._waits and not (idle or starting):
            return True
        room = sum(self._room_of(worker) for worker in self._hands) + starting * size
        return len(self._again) + len(self._alone) * size + self._backlog.available > room

    def _send_some(self) -> bool:
        """Send some tasks to the worker that has the fewest. Return False if none has room."""
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

    # Messages of workers

    def _collect(self, timeout: float) -> None:
        said = self._pool.next(timeout)
        while said is not None:
            self._take(*said)
            said = self._pool.next(0.0)
        self._send_down()

    def _take(self, worker: Worker, message: object) -> None:
        hand = self._hands.get(worker)
        if hand is None:  # it idles, or has died idle: nothing of this stage is concerned
            return
        match message:
            case messages.Ready(error=None):
                self._run.proven, self._failed_starts = True, 0
            case messages.Ready(error=messages.Carried(error=error)):
                del self._hands[worker]
                self._fail(error)
            case messages.AttemptEnded(uuid=uuid):
                hand.running.discard(uuid)
            case messages.Died():
                self._lost(worker, hand, message)
            case messages.Told():
                self._learn_from(worker, hand, message)
                self._hear(hand, message)
            case messages.Ended():
                del self._hands[worker]
                self._hear(hand, message)
            case _:
                self._hear(hand, message)

    def _learn_from(self, worker: Worker, hand: Hand, told: messages.Told) -> None:
        """Note what an event says of its worker, and of the work."""
        if told.hold_back > 0:
            for other in self._hands:
                if other is not worker and other.ready:
                    other.say(messages.HoldBack(told.hold_back))
        match told.event:
            case TaskStarted(task=task):
                hand.running.add(task.uuid)
            case TaskFinished(attempts=attempts, seconds=seconds):
                self._garbled = 0
                if attempts:
                    average = seconds / attempts if self._average is None else self._average
                    self._average = average + (seconds / attempts - average) / self._limits.last_ends

    # Trouble

    def _lost(self, worker: Worker, hand: Hand, died: messages.Died) -> None:
        """See to the tasks of a worker that has died. To blame is the one whose attempt had begun and not ended; if no
        attempt went on, it may be any of them."""
        del self._hands[worker]
        self._failed_starts += not died.ready
        nobody_works = not (self._run.proven or self._starting)
        if not died.ready and (nobody_works or self._failed_starts >= self._limits.failed_starts) and not self._closing:
            self._fail(PrintableError(CANNOT_START.format(how=died.how, module=self._module)))
        self._garbled += died.garbled
        if self._garbled >= self._limits.garbled_in_a_row:
            self._fail(PrintableError(f"{self._garbled} workers in a row were lost. Of the last one: {died.how}."))
        suspects = hand.running or set(hand.tasks)
        again = []
        for uuid, sent in tuple(hand.tasks.items()):
            is_suspect = uuid in suspects
            self._take_back(hand, uuid)
            sent.lost = True
            sent.deaths += is_suspect
            if not is_suspect or sent.deaths < self._limits.deaths - 1:
                again.append(sent)
            elif sent.deaths < self._limits.deaths:
                self._alone.append(sent)
            else:
                self._died_of(sent, died)
        self._again.extendleft(reversed(again))
        self._send_down()

    def _died_of(self, sent: Sent, died: messages.Died) -> None:
        error = WorkerDiedError(f"The worker process died while it ran this task and no other: {died.how}.")
        fault = Fault(Phase.AGENT, error, 1)
        self._run.events.emit(AttemptFailed(self._agent.ref(sent.task), fault, None))
        self._fail_task(sent, fault)

    def _wind_up(self) -> None:
        """Have no task begin that has not begun, if the run is to end; and take the workers' last messages."""
        if self._closing:
            self._pool.stop()
        for worker in self._hands:
            worker.say(messages.Order.CLOSE)
        while self._hands and not self._run.stop.leaving:
            if self._run.stop.requested:
                self._pool.stop()
            self._collect(self._run.gate.timing.tick)
