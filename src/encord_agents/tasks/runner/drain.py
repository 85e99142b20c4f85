"""`QueueRunner.drain`: a stage's tasks, in batches, over the workers of an executor."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import json
import random
import sys
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from dataclasses import dataclass, replace
from uuid import UUID

from encord.exceptions import EncordException
from encord.workflow.stages.agent import AgentTask

from encord_agents.core.tracebacks import described, set_cause
from encord_agents.exceptions import DependencyError, EncordAgentsError, NoRoomError, OutageError, PrintableError
from encord_agents.tasks.engine.backlog import Backlog
from encord_agents.tasks.engine.context import Agent, Context, Result
from encord_agents.tasks.engine.dead_letter import DeadLetters
from encord_agents.tasks.engine.gate import Gate, SetUpError
from encord_agents.tasks.engine.outcome import Failed, Fault, Held, Moved, Outcome, Pathway, Phase, Skipped
from encord_agents.tasks.engine.poll import StageReader
from encord_agents.tasks.engine.rate_limit import RateLimit
from encord_agents.tasks.engine.report import (
    AttemptFailed,
    Events,
    StageFinished,
    StageStarted,
    TaskFinished,
    TaskRef,
)
from encord_agents.tasks.engine.retry import backoff
from encord_agents.tasks.engine.stop import Leaving, Stop
from encord_agents.tasks.engine.write import Writer
from encord_agents.tasks.models import TaskResult
from encord_agents.tasks.runner.apart import Apart
from encord_agents.tasks.runner.processes import WorkerDied
from encord_agents.tasks.runner.worker import Answer, Function
from encord_agents.tasks.runner.workers import Workers

__all__ = ["DrainTurns", "WorkerDiedError", "WorkerError"]


READ_AHEAD = 100
"""Tasks read from the pages between two looks at the workers."""

FAILED_STARTS = 3
"""Workers that die in a row before they are ready, with nothing done in between, for the run to end."""

GARBLED_IN_A_ROW = 4
"""Workers in a row that say what cannot be read, with nothing done in between, for the run to end. A task that has its
workers do so makes it three: twice with its batch, once alone."""

LEFT_OR_MOVED = "the task had left the stage, unless the worker that died had moved it"

NEVER_MADE = """\
A run-scoped dependency of {}() could not be made, in {} attempts: {}
Every task needs it, so the run ends here. What was finished is written."""

CANCELLED = "The batch was cancelled twice, by somebody else. It is not known whether its tasks were worked on."

CANCELLED_FIRST = (
    "The executor cancelled the first call, which only tries whether its workers can work. Nothing was done."
)

CANNOT_START = """\
The worker processes ended before they were ready ({how}). What they printed says why. Usually it is one of two:
  - The script calls drain() when it is imported, as each worker does. Call it only when the script is run:
        if __name__ == "__main__":
            runner.drain()
  - {module}, where the agents are, cannot be imported in a new process."""


class WorkerError(EncordAgentsError):
    """What a task failed with in a worker: its type and message. The worker's traceback is its cause."""


class WorkerDiedError(WorkerError):
    """The worker process died while it ran this task and no other."""


class WorkerTraceback(Exception):  # noqa: N818 - it is shown as the cause of another
    """A traceback as text."""

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


@dataclass(eq=False, slots=True)
class Batch:
    """Tasks that go to a worker together.

    Attributes:
        attempt: Which attempt of each of them it is, counted from 1.
        deaths: How often workers have died while they had it.
        alone: Whether it is one task of a batch that workers have died with.
        due: When it may be sent, on the gate's clock.
        ticket: See `Quiet`.
        lost: Whether an answer to it was lost: its tasks may have moved.
        cancelled: Whether somebody has cancelled it.
        sent_at: When it was sent.
    """

    tasks: list[AgentTask]
    attempt: int = 1
    deaths: int = 0
    alone: bool = False
    due: float = 0.0
    ticket: int | None = None
    lost: bool = False
    cancelled: bool = False
    sent_at: float = 0.0


class DrainTurns:
    """Each agent's turn in a pass.

    Args:
        functions: What serves each agent's stage in the workers.
        writer: Makes what moves tasks down an agent's failure pathway.
        batch_size: How many tasks go to a worker together.
        retry_delay: Seconds before a task's second attempt.
        max_failures: Final failures in a row that end the run; ``None``: any number is endured.
        max_tasks: How many tasks to give to an agent in its turn; ``None``: all.
    """

    def __init__(
        self,
        functions: Mapping[UUID, Function],
        workers: Workers,
        gate: Gate,
        stop: Stop,
        events: Events,
        *,
        writer: Callable[[Agent], Writer],
        batch_size: int,
        num_retries: int,
        max_tasks: int | None,
        retry_delay: float = 0.0,
        max_failures: int | None = None,
    ) -> None:
        self.functions = functions
        self.workers = workers
        self.gate = gate
        self.stop = stop
        self.events = events
        self.writer = writer
        self.batch_size = batch_size
        self.num_retries = num_retries
        self.retry_delay = retry_delay
        self.max_failures = max_failures
        self.max_tasks = max_tasks
        self.unwritten: list[TaskRef] = []
        self.unconfirmed: set[UUID] = set()
        self.halted: str | None = None
        self.proven = False  # a worker has been ready

    def take(self, agent: Agent) -> None:
        """Have everything that waits in a stage worked on.

        Raises:
            KeyboardInterrupt: When what was being worked on is finished and written; at once if it comes twice.
            SetUpError, NoRoomError, OutageError: What ended it.
        """
        self.events.emit(StageStarted(agent.stage.uuid, agent.stage.title, agent.plan.name))
        started = self.gate.clock()
        try:
            self._take(StageDrain(self, agent))
        finally:
            self.events.emit(StageFinished(agent.stage.uuid, agent.stage.title, self.gate.clock() - started))

    def _take(self, drain: StageDrain) -> None:
        """The caller's thread only waits: an interrupt may come between any two of its steps, and must find the stop
        requested before anything is waited for."""
        turn = Apart(drain.run)
        interrupts = 0
        while True:
            try:
                if not interrupts:
                    turn.start()
                else:
                    self.stop.request("interrupt")
                    turn.call_off()
                    self.workers.stop()
                if interrupts > 1:
                    self.stop.leave()
                    self.workers.leave()
                self._see_end(turn, drain)
                break
            except KeyboardInterrupt:
                interrupts += 1
        if interrupts:
            raise KeyboardInterrupt
        if turn.error is not None:
            raise turn.error

    def _see_end(self, turn: Apart, drain: StageDrain) -> None:
        """Wait for a turn to be over, or to have nothing left but what may be left behind: a read, or anything at all
        if it is time to leave."""
        since: float | None = None
        while not turn.wait():
            if not (self.stop.leaving or (self.stop.requested and drain.only_reads)):
                since = None
            elif (since := since or self.gate.clock()) + self.gate.timing.grace <= self.gate.clock():
                return


class StageDrain:
    """One agent's turn: reads the stage, keeps the workers busy, and takes their answers."""

    def __init__(self, turns: DrainTurns, agent: Agent) -> None:
        self._turns = turns
        self._agent = agent
        self._function = turns.functions[agent.stage.uuid]
        self._workers = turns.workers
        self._backlog = Backlog(agent.row_of, known=agent.known, budget=turns.max_tasks)
        self._reader = StageReader(agent.stage, turns.gate, self._backlog, turns.events)
        # On their way.
        self._failed_starts = 0
        self._garbled = 0
        self._out: dict[Future[Answer | None], Batch] = {}
        self._again: deque[Batch] = deque()
        self._alone: deque[Batch] = deque()
        self._delayed: list[tuple[float, int, Batch]] = []
        self._ties = itertools.count()
        self._shows_running = self._workers.own
        # Workers leave what failed where it is: only here it is known how all of them fare.
        self._dead_letters = DeadLetters(agent, turns.stop, most=turns.max_failures)
        self._letters: list[Result] = []
        self._writer = turns.writer(agent)
        self._seconds: Counter[UUID] = Counter()
        self._own_saves: Counter[UUID] = Counter()
        self._first_errors: dict[UUID, str | None] = {}
        self._most_out = sys.maxsize  # batches at once, since there was no room for the files of more
        self._error: BaseException | None = None
        self._asking = False

    @property
    def only_reads(self) -> bool:
        """Whether nothing is going on but a request for the stage's next page. Other threads may ask."""
        return self._asking and not self._out

    def run(self) -> None:
        """Until every task has its outcome, or the run is to end.

        Raises:
            SetUpError, NoRoomError, OutageError: What ended it; what was being worked on by then is finished.
        """
        try:
            with contextlib.suppress(Leaving):  # the stop came while the platform was waited for
                self._drain()
        finally:
            self._wind_up()
            self._turns.halted = self._turns.halted or self._dead_letters.halted
        if isinstance(self._error, Exception) and not isinstance(self._error, NoRoomError | OutageError):
            raise SetUpError(self._error)
        if self._error is not None:
            raise self._error

    @property
    def _closing(self) -> bool:
        return self._turns.stop.requested or self._error is not None

    def _drain(self) -> None:
        first = True
        while not self._closing and not (
            self._backlog.exhausted and not (self._out or self._has_work or self._delayed)
        ):
            self._read(self._turns.gate.limits.read_ahead if first else sys.maxsize)
            first = first and self._backlog.reading
            if first or not self._reading:  # what is asked for again is read to its end before any of it moves
                self._send()
            if self._out:
                self._collect(0.0 if self._reading else self._turns.gate.timing.tick)
            elif not self._reading and (wait := self._held_back()) > 0:
                self._turns.stop.wait(min(wait, self._turns.gate.timing.tick))

    # Reading

    @property
    def _reading(self) -> bool:
        return self._backlog.reading and self._backlog.wants_more

    @property
    def _is_idle(self) -> bool:
        return not (self._out or self._has_work or self._delayed)

    def _read(self, number: int) -> None:
        """Read on in the stage's pages; or again, when nothing is out and tasks may have been passed over."""
        if not (self._reading or (self._backlog.must_be_read and self._is_idle)):
            return
        self._asking = True
        try:
            self._reader.read(number)
        finally:
            self._asking = False

    # Sending

    def _held_back(self) -> float:
        """Seconds for which there is something to send that has to wait."""
        now = self._turns.gate.clock()
        if self._has_work:
            return self._agent.quiet.wait(now)
        return max(self._delayed[0][0] - now, self._agent.quiet.wait(now)) if self._delayed else 0.0

    def _take_due(self) -> None:
        """What has waited for its next attempt comes before what is new."""
        now = self._turns.gate.clock()
        while self._delayed and self._delayed[0][0] <= now:
            self._put_back(heapq.heappop(self._delayed)[2])

    @property
    def _has_work(self) -> bool:
        return bool(self._alone or self._again or self._backlog.available)

    def _send(self) -> None:
        """Keep as many batches out as there is room for."""
        self._take_due()
        while not self._closing and self._has_work and self._batches_out < self._most_out:
            if self._agent.quiet.wait(self._turns.gate.clock()) > 0:
                return
            if self._workers.missing and self._wants_worker:
                self._start_worker()
                continue
            if not self._workers.room or (self._alone and not self._workers.has_idle):
                return
            if (batch := self._next()) is None or not self._start(batch):
                return

    @property
    def _wants_worker(self) -> bool:
        """Whether there is more to do than those who are there, or are coming, have room for. What a dead worker had is
        not to wait behind what another one has."""
        workers = self._workers
        waits = bool(self._alone or self._again) and not (workers.has_idle or workers.starting)
        return waits or self._batches > workers.room + workers.starting

    @property
    def _batches_out(self) -> int:
        """How many batches of tasks workers have."""
        return sum(bool(batch.tasks) for batch in self._out.values())

    @property
    def _batches(self) -> int:
        """How many batches there are to send, about."""
        return len(self._alone) + len(self._again) + -(-self._backlog.available // self._turns.batch_size)

    def _start_worker(self) -> None:
        """Have a worker start, import the agents and connect, before a task is at stake."""
        try:
            self._out[self._workers.start(self._function)] = Batch([])
        except Exception as error:  # noqa: BLE001 - an executor that takes nothing ends the run, and so does a system
            self._fail(error)

    def _next(self) -> Batch | None:
        if self._alone:
            return self._alone.popleft()
        if self._again:
            return self._again.popleft()
        taken = self._backlog.take(self._turns.batch_size)
        return Batch([waiting.task for waiting in taken]) if taken else None

    def _start(self, batch: Batch) -> bool:
        """Send a batch. Whether that worked."""
        # What a queue function reads of a task, and no more: the pipes to the workers are narrow.
        specs = [json.dumps({"uuid": str(task.uuid), "data_hash": str(task.data_hash)}) for task in batch.tasks]
        batch.sent_at = self._turns.gate.clock()
        batch.ticket = self._agent.quiet.begin(batch.sent_at)
        try:
            self._out[self._workers.submit(self._function, specs, alone=batch.alone)] = batch
            self._backlog.begin_move()  # its tasks may move at any time, until there is an answer
        except Exception as error:  # noqa: BLE001 - an executor that takes nothing ends the run
            self._agent.quiet.end(batch.ticket)
            if self._workers.own and isinstance(error, BrokenExecutor):
                self._put_back(batch)
            else:
                self._fail(error)
            return False
        return True

    def _put_back(self, batch: Batch) -> None:
        if batch.tasks:
            (self._alone if batch.alone else self._again).appendleft(batch)

    # Taking answers

    def _collect(self, timeout: float) -> None:
        """Take the answers that are there, waiting for the first."""
        done, running = wait(self._out, timeout, FIRST_COMPLETED)
        self._shows_running = self._shows_running or any(future.running() for future in running)
        for future in [future for future in self._out if future in done]:
            batch = self._out.pop(future)
            if batch.tasks:
                self._backlog.end_move()
                if future.cancelled() or future.exception() is not None:
                    self._agent.quiet.end(batch.ticket)
            if future.cancelled():
                self._cancelled(batch)
            elif (error := future.exception()) is None:
                self._answered(batch, future.result())
            elif isinstance(error, WorkerDied):
                self._lost(batch, error)
            else:
                self._fail(error)

    def _answered(self, batch: Batch, answer: Answer | None) -> None:
        if batch.tasks:
            self._listen(batch, () if answer is None else answer.results)
        if answer is None:
            return
        no_room = answer.error if isinstance(answer.error, NoRoomError) else None
        if no_room is not None and not self._may_make_room(batch, no_room, answer):
            self._fail(no_room)
        elif no_room is None and answer.error is not None:
            self._fail(answer.error)
        else:
            self._turns.proven, self._failed_starts = True, 0
            self._garbled = 0 if answer.results else self._garbled
        for chunk in answer.chunks:
            self._turns.events.emit(chunk)
        for warning in answer.warnings:
            if self._agent.warns_first_of(warning.kind):  # each worker says it once
                self._turns.events.emit(warning)
        tasks = {task.uuid: task for task in batch.tasks}
        self._turns.unwritten += [self._agent.ref(tasks[uuid]) for uuid in answer.unwritten]
        self._turns.unconfirmed |= answer.unconfirmed
        results = [(tasks[result.task_uuid], result) for result in answer.results]
        self._agent.has_named_a_pathway |= answer.named_a_pathway
        # What one task of the batch shows is known before another one is blamed for what all would fail with.
        works = self._agent.has_succeeded or any(_agent_succeeded(result) for _, result in results)
        arrived = self._arrived(results) if batch.lost else {}
        blame = {} if self._error is not None else answer.suspects
        wait = backoff(self._turns.retry_delay, batch.attempt, jitter=random.random)
        wait = max([wait, *(result.retry_after or 0.0 for _, result in results if result.retryable)])
        again = [
            task
            for task, result in results
            if task.uuid not in arrived
            and self._goes_on(
                task,
                result,
                batch,
                blame.get(task.uuid),
                works=works,
                blameless=task.uuid in answer.blameless,
                retry_in=wait,
            )
        ]
        for task, _ in results:
            if (pathway := arrived.get(task.uuid)) is not None:
                self._finish(task, Moved(pathway, confirmed=False), batch.attempt)
        self._send_down()
        if no_room is not None:
            self._await_room(batch, answer)
        if again:
            due = self._turns.gate.clock() + wait
            batch = replace(batch, tasks=again, attempt=batch.attempt + 1, due=due, lost=False, cancelled=False)
            if wait > 0:
                heapq.heappush(self._delayed, (due, next(self._ties), batch))
            else:
                self._put_back(batch)

    def _listen(self, batch: Batch, results: Sequence[TaskResult]) -> None:
        """Send nothing for a while if a service that the agent calls wants that."""
        waits = [result.retry_after for result in results if result.retry_after]
        if waits:
            self._agent.quiet.refuse(batch.ticket, RateLimit(max(waits)), self._turns.gate.clock())
        else:
            self._agent.quiet.end(batch.ticket, well=any(_agent_succeeded(result) for result in results))

    def _goes_on(
        self,
        task: AgentTask,
        result: TaskResult,
        batch: Batch,
        suspect: Fault | None,
        *,
        works: bool,
        blameless: bool,
        retry_in: float,
    ) -> bool:
        """Take a task's result. Whether it is to be tried again."""
        if _agent_succeeded(result):
            self._dead_letters.succeeded()
        self._seconds[task.uuid] += result.seconds  # type: ignore[assignment]
        self._own_saves[task.uuid] += result.own_saves  # type: ignore[assignment]
        pathway = None if result.pathway is None else self._agent.pathways.find(result.pathway)
        attempts, unused = batch.attempt, False
        outcome: Outcome
        if result.outcome == "failed":
            first = self._first_errors.setdefault(task.uuid, result.error)
            phase = Phase(result.phase or Phase.AGENT)
            fault = Fault(
                *(phase, _remote(result), batch.attempt),
                platform=blameless,
                first=first if first != result.error else None,
                rate_limited=result.retry_after is not None,
            )
            again = result.retryable and batch.attempt <= self._turns.num_retries
            if fault.phase not in (Phase.SAVE, Phase.MOVE):
                self._turns.events.emit(AttemptFailed(self._agent.ref(task), fault, retry_in if again else None))
            if again:
                return True
            if suspect is None or not self._blame(suspect, batch.attempt, works=works):
                self._fail_task(task, fault, batch)
                return False
            outcome = Failed(fault, pathway)
        elif result.outcome == "skipped":
            outcome = Skipped(LEFT_OR_MOVED) if batch.lost else Skipped()
            if result.data_title is None:  # it was not there to be given to the agent
                attempts -= 1
                unused = attempts == 0 and not batch.lost
        elif pathway is not None:
            outcome = Moved(pathway, confirmed=result.confirmed)
        else:
            outcome = Held()
        self._finish(task, outcome, attempts, unused=unused)
        return False

    def _arrived(self, results: Sequence[tuple[AgentTask, TaskResult]]) -> dict[UUID, Pathway]:
        """Tasks that are not in the stage any more, because the worker that died had moved them."""
        gone = [task for task, result in results if result.outcome == "skipped" and result.data_title is None]
        try:
            return self._writer.arrived(gone)
        except (EncordException, OutageError, Leaving):
            return {}  # they are skipped, with both possible reasons

    def _finish(self, task: AgentTask, outcome: Outcome, attempts: int, *, unused: bool = False) -> None:
        self._dead_letters.finished(task.uuid, outcome)
        self._backlog.release(task.uuid, unused=unused)
        if isinstance(outcome, Held) or (isinstance(outcome, Failed) and outcome.moved_to is None):
            self._agent.known.add(task.uuid)
        seconds, own_saves = (float(one.pop(task.uuid, 0.0)) for one in (self._seconds, self._own_saves))
        self._first_errors.pop(task.uuid, None)
        self._turns.events.emit(TaskFinished(self._agent.ref(task), outcome, attempts, seconds, own_saves))

    def _fail_task(self, task: AgentTask, fault: Fault, batch: Batch) -> None:
        """A task failed for good, and maybe it is to go down the failure pathway."""
        if fault.phase not in (Phase.SAVE, Phase.MOVE):
            self._dead_letters.gave_up(task.uuid, fault)
        if not self._dead_letters.take(fault):
            self._finish(task, Failed(fault), batch.attempt)
            return
        context = Context(self._agent, task, batch.sent_at, attempts=batch.attempt)
        self._letters.append(Result(context, self._agent.failure_pathway, fault=fault))

    def _send_down(self) -> None:
        """Move what is to go down the failure pathway: neither labels nor priority, as everywhere."""
        letters, self._letters = self._letters, []

        def settle(result: Result, outcome: Outcome) -> None:
            letters.remove(result)
            self._finish(result.context.task, outcome, result.context.attempts)

        try:
            self._writer.write(tuple(letters), settle)
        except (SetUpError, OutageError, Leaving) as trouble:
            self._turns.unwritten += [result.context.ref for result in letters]
            self._turns.unconfirmed |= {result.context.task.uuid for result in letters if result.move_unclear}
            if not isinstance(trouble, Leaving):
                self._fail(trouble.error if isinstance(trouble, SetUpError) else trouble)

    # Trouble

    def _blame(self, fault: Fault, attempts: int, *, works: bool) -> bool:
        """A task failed for good with what every task of the stage would fail with, if none has done better yet.
        Whether that ends the run."""
        if self._turns.stop.requested:
            return False
        if fault.run_scoped and not works:
            name = self._agent.plan.name
            error = DependencyError(NEVER_MADE.format(name, attempts, described(fault.exception)), function=name)
            set_cause(error, fault.exception)
            self._fail(error)
        elif fault.phase is Phase.PATHWAY and not self._agent.has_named_a_pathway:
            self._fail(fault.exception)
        else:
            return False
        return True

    def _may_make_room(self, batch: Batch, error: NoRoomError, answer: Answer) -> bool:
        """Whether a batch for whose files a worker had no room may find some when others are done."""
        if not batch.tasks or not error.may_pass:
            return False
        return bool(self._batches_out or answer.results) or self._most_out > 1

    def _await_room(self, batch: Batch, answer: Answer) -> None:
        """Have what is left of a batch done when others are: it is no attempt. From now on, fewer are out at once."""
        self._most_out = max(1, min(self._most_out, self._batches_out))
        told = {*(result.task_uuid for result in answer.results), *answer.unwritten}
        if left := [task for task in batch.tasks if task.uuid not in told]:
            self._put_back(replace(batch, tasks=left))

    def _cancelled(self, batch: Batch) -> None:
        """Somebody else has cancelled a batch: it is sent once more."""
        if self._closing:
            return
        if not batch.tasks:
            self._fail(PrintableError(CANCELLED_FIRST))
        elif not batch.cancelled:
            self._put_back(replace(batch, lost=True, cancelled=True))
        else:
            for task in batch.tasks:
                fault = Fault(Phase.LOAD, WorkerError(CANCELLED), batch.attempt)
                self._turns.events.emit(AttemptFailed(self._agent.ref(task), fault, None))
                self._finish(task, Failed(fault), batch.attempt)

    def _fail(self, error: BaseException) -> None:
        self._error = error if self._error is None else self._error

    def _lost(self, batch: Batch, death: WorkerDied) -> None:
        """A worker of our own has died, and what it had goes to another one. The batch that it may have died of gets
        another try, and the second time each of its tasks alone, so that it is certain which one it was, if it was
        one."""
        self._failed_starts += not death.ready
        nobody_works = not (self._turns.proven or self._workers.starting)
        if not death.ready and (nobody_works or self._failed_starts >= FAILED_STARTS) and not self._closing:
            self._fail(PrintableError(CANNOT_START.format(how=death.how, module=self._function.__module__)))
        self._garbled += death.garbled
        if self._garbled >= GARBLED_IN_A_ROW:
            self._fail(PrintableError(f"{self._garbled} workers in a row were lost. Of the last one: {death.how}."))
        batch.lost = batch.lost or death.begun
        batch.deaths += death.suspected
        if not death.suspected or batch.deaths == 1:
            self._put_back(batch)
        elif not batch.alone:
            self._alone += [replace(batch, tasks=[task], alone=True) for task in batch.tasks]
        else:
            (task,) = batch.tasks
            error = WorkerDiedError(f"The worker process died while it ran this task and no other: {death.how}.")
            fault = Fault(Phase.AGENT, error, batch.attempt, first=self._first_errors.get(task.uuid))
            self._turns.events.emit(AttemptFailed(self._agent.ref(task), fault, None))
            self._fail_task(task, fault, batch)
            self._send_down()

    def _wind_up(self) -> None:
        """No new batch: those that wait are called back, and of those that are worked on what is finished counts."""
        if self._out:
            self._workers.stop()
            # There are executors whose batches never seem to run: there, what is called back may be at work.
            if self._shows_running or any(future.running() for future in self._out):
                self._out = {future: batch for future, batch in self._out.items() if not future.cancel()}
        while self._out and not self._turns.stop.leaving:
            self._collect(self._turns.gate.timing.tick)


def _agent_succeeded(result: TaskResult) -> bool:
    """Whether the agent did well, whatever became of what it returned."""
    return result.success or result.phase in (Phase.SAVE, Phase.MOVE)


def _remote(result: TaskResult) -> WorkerError:
    """What a task failed with, as an exception of this process."""
    error = WorkerError(result.error or "it is not known why")
    if result.traceback is not None:
        error.__cause__ = WorkerTraceback(result.traceback)
    return error
