"""A stage's turn over worker processes of our own: who has which task, and who is to blame when one of them dies."""

from __future__ import annotations

import pickle
from collections import deque
from dataclasses import dataclass, field, replace
from uuid import UUID

from encord.workflow.stages.agent import AgentTask

from encord_agents.exceptions import NoRoomError, PrintableError
from encord_agents.tasks.engine.context import Agent
from encord_agents.tasks.engine.events import AttemptFailed, StageWarning, TaskFinished, TaskStarted
from encord_agents.tasks.engine.outcome import Failed, Fault, Moved, Outcome, Phase, Skipped
from encord_agents.tasks.runner import messages
from encord_agents.tasks.runner.messages import WorkerDiedError
from encord_agents.tasks.runner.processes import Processes, Worker
from encord_agents.tasks.runner.stage_drain import LEFT_OR_MOVED, DrainRun, StageDrain
from encord_agents.tasks.runner.worker_main import Drives

__all__ = ["PoolDrain"]

BATCHES = 4
"""Batches of tasks that a worker has at a time: one is attempted, and others are loaded and written."""
BATCHES_IF_SLOW = 2
"""The same where agents take their time: what one worker has ahead, another one that is idle cannot have."""
SLOW = 1.0
"""Seconds that the attempts of a batch take, from which on they take their time."""
LAST_ENDS = 20
"""Tasks, about, whose average says how long attempts take now."""
DEATHS = 3
"""Workers that a task takes down: the first two times it gets another try, the second of them in a worker that has
nothing else."""
FAILED_STARTS = 3
"""Workers that die in a row before they are ready, with nothing done in between, for the run to end."""
GARBLED_IN_A_ROW = 4
"""Workers in a row that say what cannot be read, with nothing done in between, for the run to end. A task that has its
workers do so makes it three."""

CANNOT_START = """\
The worker processes ended before they were ready ({how}). What they printed says why. Usually it is one of two:
  - The script calls drain() when it is imported, as each worker does. Call it only when the script is run:
        if __name__ == "__main__":
            runner.drain()
  - {module}, where the agents are, cannot be imported in a new process."""


@dataclass(eq=False, slots=True)
class _Sent:
    """A task that workers have, or had.

    Attributes:
        seen_at: When its stage showed it, on the gate's clock.
        deaths: How often a worker has died of it, as far as is known.
        lost: Whether a worker has died with it: the task may have moved.
    """

    task: AgentTask
    seen_at: float
    deaths: int = 0
    lost: bool = False


@dataclass(eq=False, slots=True)
class _Hand:
    """The tasks that one worker has of this stage.

    Attributes:
        running: Tasks whose attempt has begun and not ended.
        alone: Whether it is given nothing else until what it has is done.
    """

    tasks: dict[UUID, _Sent] = field(default_factory=dict)
    running: set[UUID] = field(default_factory=set)
    alone: bool = False


class PoolDrain(StageDrain):
    """One agent's turn over worker processes.

    Args:
        function: Serves the agent's stage in the workers.
    """

    def __init__(self, run: DrainRun, agent: Agent, function: Drives, pool: Processes) -> None:
        super().__init__(run, agent)
        self._pool = pool
        self._module = function.__module__
        self._begin = messages.Begin(
            pickle.dumps(function),
            messages.Options(
                window=BATCHES * run.batch_size,
                workers=run.batch_size,
                num_retries=run.num_retries,
                retry_delay=run.retry_delay,
                max_outage=run.max_outage,
                dry_run=run.dry_run,
                bundle_saves=run.bundle_saves,
            ),
        )
        self._hands: dict[Worker, _Hand] = {}  # of the workers for which this stage has begun, and not ended
        self._again: deque[_Sent] = deque()
        self._alone: deque[_Sent] = deque()
        self._most_busy: int | None = None  # workers at a time, since there was no room for the files of more
        self._average: float | None = None  # seconds that attempts take
        self._failed_starts = 0
        self._garbled = 0

    # Sending

    @property
    def _is_out(self) -> bool:
        return any(hand.tasks for hand in self._hands.values()) or bool(self._starting)

    @property
    def _waits(self) -> bool:
        return bool(self._again or self._alone)

    @property
    def _starting(self) -> list[Worker]:
        return [worker for worker in self._hands if not worker.ready and not worker.dead]

    def _held_back(self) -> float:
        return 0.0

    def _room_of(self, worker: Worker) -> int:
        """Return how many more tasks a worker can have: only where a whole batch fits, so that they go together."""
        hand, size = self._hands[worker], self._run.batch_size
        if not worker.ready or worker.dead or hand.alone:
            return 0
        busy = sum(bool(other.tasks) for other in self._hands.values())
        if self._most_busy is not None and not hand.tasks and busy >= self._most_busy:
            return 0
        slow = self._average is None or self._average * size > SLOW
        room = (BATCHES_IF_SLOW if slow else BATCHES) * size - len(hand.tasks)
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
        self._hands[worker] = _Hand()
        worker.say(self._begin)

    @property
    def _wants_worker(self) -> bool:
        """True if there is more to do than workers have room for, those that are starting included. Work recovered from
        a dead worker must not queue behind another worker's."""
        if self._most_busy is not None:
            return not self._hands
        starting, size = len(self._starting), self._run.batch_size
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
            some = [self._again.popleft() for _ in range(min(room, len(self._again)))]
            some += [_Sent(one.task, one.seen_at) for one in self._backlog.take(room - len(some))]
        if not some:
            return False
        now = self._run.gate.clock()
        for sent in some:
            hand.tasks[sent.task.uuid] = sent
            self._backlog.begin_move()  # it may move at any time, until the worker tells its outcome
        worker.say(messages.Tasks([_on_its_way(sent, now) for sent in some]))
        return True

    # Taking what workers say

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
            case messages.Ready(error=bytes(error)):
                del self._hands[worker]
                self._fail(messages.unpickled(error))
            case messages.AttemptEnded(uuid=uuid):
                hand.running.discard(uuid)
            case messages.Succeeded(named_a_pathway=named):
                self._history.has_named_a_pathway |= named
                self._history.succeed()
            case messages.Told():
                self._hear(worker, hand, message)
            case messages.Ended():
                self._ended(worker, hand, message)
            case messages.Died():
                self._lost(worker, hand, message)

    def _hear(self, worker: Worker, hand: _Hand, told: messages.Told) -> None:
        self._history.has_named_a_pathway |= told.named_a_pathway
        if told.hold_back > 0:
            for other in self._hands:
                if other is not worker and other.ready:
                    other.say(messages.HoldBack(told.hold_back))
        event = told.event
        if isinstance(event, TaskFinished):
            self._garbled = 0
            self._finished(hand, event, told.suspect)
            return
        if isinstance(event, StageWarning) and not self._history.warns_first_of(event.kind):
            return  # each worker says it once
        if isinstance(event, TaskStarted):
            hand.running.add(event.task.uuid)
        self._run.events.emit(event)

    def _finished(self, hand: _Hand, event: TaskFinished, suspect: bytes | None) -> None:
        sent = self._give_up(hand, event.task.uuid)
        if sent is None:
            return
        outcome, unused = event.outcome, False
        self._seconds[sent.task.uuid] += event.seconds  # type: ignore[assignment]
        self._own_saves[sent.task.uuid] += event.own_saves  # type: ignore[assignment]
        if event.attempts:
            seconds = event.seconds / event.attempts
            average = seconds if self._average is None else self._average
            self._average = average + (seconds - average) / LAST_ENDS
        match outcome:
            case Failed(fault=fault) if fault.phase not in (Phase.SAVE, Phase.MOVE):
                if suspect is None or not self._ends_run(fault, messages.unpickled(suspect)):
                    self._fail_task(sent.task, fault, sent.seen_at)
                    return
            case Skipped():
                unused = not (event.attempts or sent.lost)
                if sent.lost and not event.attempts:
                    outcome = self._of_the_gone(sent)
        self._finish(sent.task, outcome, event.attempts or int(sent.lost), unused=unused)

    def _of_the_gone(self, sent: _Sent) -> Outcome:
        """Return the outcome of a task that is gone, and that a worker which died may have moved."""
        pathway = self._arrived([sent.task]).get(sent.task.uuid)
        return Skipped(LEFT_OR_MOVED) if pathway is None else Moved(pathway, confirmed=False)

    def _ends_run(self, fault: Fault, exception: Exception) -> bool:
        error = self._dead_letters.ends_run(replace(fault, exception=exception))
        if error is not None:
            self._fail(error)
        return error is not None

    def _give_up(self, hand: _Hand, uuid: UUID) -> _Sent | None:
        """Take a task from a worker, which has no more to do with it."""
        sent = hand.tasks.pop(uuid, None)
        hand.running.discard(uuid)
        if not hand.tasks:
            hand.alone = False
        if sent is not None:
            self._backlog.end_move()
        return sent

    def _ended(self, worker: Worker, hand: _Hand, ended: messages.Ended) -> None:
        """Take leave of a worker in which the stage has ended: because it was told so, or because of its trouble."""
        del self._hands[worker]
        self._run.unwritten += ended.unwritten
        self._run.unconfirmed |= ended.unconfirmed
        left = [sent for uuid in tuple(hand.tasks) if (sent := self._give_up(hand, uuid)) is not None]
        error = None if ended.error is None else messages.unpickled(ended.error)
        if error is None:
            return
        told = {ref.uuid for ref in ended.unwritten}
        left = [sent for sent in left if sent.task.uuid not in told]
        busy = sum(bool(other.tasks) for other in self._hands.values())
        if isinstance(error, NoRoomError) and error.may_pass and busy and not self._closing:
            # Others' files may be removed: what it had is done when others are. It is no attempt.
            self._most_busy = busy
            self._again += left
        else:
            self._fail(error)

    # Trouble

    def _lost(self, worker: Worker, hand: _Hand, died: messages.Died) -> None:
        """See to what a worker had that has died. To blame is the task whose attempt had begun and not ended; where no
        attempt went on, it may be any of what it had."""
        del self._hands[worker]
        self._failed_starts += not died.ready
        nobody_works = not (self._run.proven or self._starting)
        if not died.ready and (nobody_works or self._failed_starts >= FAILED_STARTS) and not self._closing:
            self._fail(PrintableError(CANNOT_START.format(how=died.how, module=self._module)))
        self._garbled += died.garbled
        if self._garbled >= GARBLED_IN_A_ROW:
            self._fail(PrintableError(f"{self._garbled} workers in a row were lost. Of the last one: {died.how}."))
        suspects = hand.running or set(hand.tasks)
        again = []
        for uuid, sent in tuple(hand.tasks.items()):
            is_suspect = uuid in suspects
            self._give_up(hand, uuid)
            sent.lost = True
            sent.deaths += is_suspect
            if not is_suspect or sent.deaths < DEATHS - 1:
                again.append(sent)
            elif sent.deaths < DEATHS:
                self._alone.append(sent)
            else:
                self._died_of(sent, died)
        self._again.extendleft(reversed(again))
        self._send_down()

    def _died_of(self, sent: _Sent, died: messages.Died) -> None:
        error = WorkerDiedError(f"The worker process died while it ran this task and no other: {died.how}.")
        fault = Fault(Phase.AGENT, error, 1)
        self._run.events.emit(AttemptFailed(self._agent.ref(sent.task), fault, None))
        self._fail_task(sent.task, fault, sent.seen_at)

    def _wind_up(self) -> None:
        """Have no task begin that has not begun, if the run is to end; and hear what there is still to be said."""
        if self._closing:
            self._pool.stop()
        for worker in self._hands:
            worker.say(messages.Close())
        while self._hands and not self._run.stop.leaving:
            if self._run.stop.requested:
                self._pool.stop()
            self._collect(self._run.gate.timing.tick)


def _on_its_way(sent: _Sent, now: float) -> messages.OnItsWay:
    # What a dead worker had may have moved: whoever gets it now asks for it, as for what was seen long ago.
    age = float("inf") if sent.lost else now - sent.seen_at
    return messages.OnItsWay(sent.task.model_dump_json(), age)
