"""A stage's turn over an executor that was given: its queue function, mapped over batches of tasks.

What it cannot promise: nobody knows who has what, nor whether a worker dies, so no task is blamed for that; attempts
are told when their batch is answered; and one worker does one batch at a time.
"""

from __future__ import annotations

import heapq
import itertools
import json
import random
import sys
from collections import deque
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, replace
from uuid import UUID

from encord.workflow.stages.agent import AgentTask

from encord_agents.exceptions import NoRoomError, PrintableError
from encord_agents.tasks.engine.context import Agent
from encord_agents.tasks.engine.events import AttemptFailed
from encord_agents.tasks.engine.outcome import Failed, Fault, Held, Moved, Outcome, Pathway, Phase, Skipped
from encord_agents.tasks.engine.rate_limit import RateLimit
from encord_agents.tasks.engine.retry import RetryPolicy
from encord_agents.tasks.models import TaskResult
from encord_agents.tasks.runner.messages import WorkerError
from encord_agents.tasks.runner.stage_drain import LEFT_OR_MOVED, DrainRun, StageDrain
from encord_agents.tasks.runner.worker import Answer, Function
from encord_agents.tasks.runner.workers import ExecutorWorkers

__all__ = ["ExecutorDrain"]

CANCELLED = "The batch was cancelled twice, by somebody else. It is not known whether its tasks were worked on."

CANCELLED_FIRST = (
    "The executor cancelled the first call, which only tries whether its workers can work. Nothing was done."
)


@dataclass(eq=False, slots=True)
class Batch:
    """Tasks that go to a worker together; none, to see whether it can work.

    Attributes:
        attempt: Which attempt of each of them it is, counted from 1.
        due: When it may be sent, on the gate's clock.
        ticket: See `Quiet`.
        cancelled: Whether somebody has cancelled it: its tasks may have moved all the same.
        sent_at: When it was sent.
    """

    tasks: list[AgentTask]
    attempt: int = 1
    due: float = 0.0
    ticket: int | None = None
    cancelled: bool = False
    sent_at: float = 0.0


class ExecutorDrain(StageDrain):
    """One agent's turn over an executor.

    Args:
        function: Serves the agent's stage in the workers.
    """

    def __init__(self, run: DrainRun, agent: Agent, function: Function, workers: ExecutorWorkers) -> None:
        super().__init__(run, agent)
        self._function = function
        self._workers = workers
        self._out: dict[Future[Answer | None], Batch] = {}
        self._again: deque[Batch] = deque()
        self._delayed: list[tuple[float, int, Batch]] = []
        self._ties = itertools.count()
        self._shows_running = False
        self._first_errors: dict[UUID, str | None] = {}
        self._most_out = sys.maxsize  # batches at once, since there was no room for the files of more

    # Sending

    @property
    def _is_out(self) -> bool:
        return bool(self._out)

    @property
    def _waits(self) -> bool:
        return bool(self._again or self._delayed)

    @property
    def _has_work(self) -> bool:
        return bool(self._again or self._backlog.available)

    def _held_back(self) -> float:
        now = self._run.gate.clock()
        if self._has_work:
            return self._history.quiet.wait(now)
        return max(self._delayed[0][0] - now, self._history.quiet.wait(now)) if self._delayed else 0.0

    def _send(self) -> None:
        now = self._run.gate.clock()
        while self._delayed and self._delayed[0][0] <= now:  # what has waited comes before what is new
            self._again.appendleft(heapq.heappop(self._delayed)[2])
        while not self._closing and self._has_work and self._batches_out < self._most_out:
            if self._history.quiet.wait(self._run.gate.clock()) > 0:
                return
            if self._workers.is_untried:
                self._start(Batch([]))
            elif self._workers.room:
                batch = self._again.popleft() if self._again else self._next()
                if batch is None or not self._start(batch):
                    return
            else:
                return

    @property
    def _batches_out(self) -> int:
        return sum(bool(batch.tasks) for batch in self._out.values())

    def _next(self) -> Batch | None:
        taken = self._backlog.take(self._run.batch_size)
        return Batch([waiting.task for waiting in taken]) if taken else None

    def _start(self, batch: Batch) -> bool:
        """Send a batch. Return whether that worked."""
        # What a queue function reads of a task, and no more.
        specs = [json.dumps({"uuid": str(task.uuid), "data_hash": str(task.data_hash)}) for task in batch.tasks]
        batch.sent_at = self._run.gate.clock()
        batch.ticket = self._history.quiet.begin(batch.sent_at) if batch.tasks else None
        try:
            self._out[self._workers.submit(self._function, specs)] = batch
        except Exception as error:  # noqa: BLE001 - an executor that takes nothing ends the run
            self._history.quiet.end(batch.ticket)
            self._fail(error)
            return False
        if batch.tasks:
            self._backlog.begin_move()  # its tasks may move at any time, until there is an answer
        return True

    # Taking answers

    def _collect(self, timeout: float) -> None:
        done, running = wait(self._out, timeout, FIRST_COMPLETED)
        self._shows_running = self._shows_running or any(future.running() for future in running)
        for future in [future for future in self._out if future in done]:
            batch = self._out.pop(future)
            if batch.tasks:
                self._backlog.end_move()
                if future.cancelled() or future.exception() is not None:
                    self._history.quiet.end(batch.ticket)
            if future.cancelled():
                self._cancelled(batch)
            elif (error := future.exception()) is None:
                self._answered(batch, future.result())
            else:
                self._fail(error)

    def _answered(self, batch: Batch, answer: Answer | None) -> None:
        if batch.tasks:
            self._listen(batch, () if answer is None else answer.results)
        if answer is None:
            return
        for event in (*answer.events, *(one for one in answer.warnings if self._history.warns_first_of(one.kind))):
            self._run.events.emit(event)
        tasks = {task.uuid: task for task in batch.tasks}
        self._run.unwritten += [self._agent.ref(tasks[uuid]) for uuid in answer.unwritten]
        self._run.unconfirmed |= answer.unconfirmed
        self._history.has_named_a_pathway |= answer.named_a_pathway
        # What one task of the batch shows is known before another one is blamed for what all would fail with.
        self._history.has_succeeded |= any(_agent_succeeded(result) for result in answer.results)
        makes_room = isinstance(answer.error, NoRoomError) and self._may_make_room(batch, answer.error, answer)
        if answer.error is not None and not makes_room:
            self._fail(answer.error)
        results = [(tasks[result.task_uuid], result) for result in answer.results]
        arrived = self._gone(results) if batch.cancelled else {}
        wait = RetryPolicy(delay=self._run.retry_delay).backoff(batch.attempt, jitter=random.random)
        wait = max([wait, *(result.retry_after or 0.0 for _, result in results if result.retryable)])
        again = []
        for task, result in results:
            if (pathway := arrived.get(task.uuid)) is not None:
                self._finish(task, Moved(pathway, confirmed=False), batch.attempt)
            elif self._goes_on(task, result, batch, answer, wait):
                again.append(task)
        self._send_down()
        if makes_room:
            self._await_room(batch, answer)
        if again:
            due = self._run.gate.clock() + wait
            batch = replace(batch, tasks=again, attempt=batch.attempt + 1, due=due, cancelled=False)
            if wait > 0:
                heapq.heappush(self._delayed, (due, next(self._ties), batch))
            else:
                self._again.appendleft(batch)

    def _listen(self, batch: Batch, results: Sequence[TaskResult]) -> None:
        """Send nothing for a while if a service that the agent calls wants that."""
        waits = [result.retry_after for result in results if result.retry_after]
        if waits:
            self._history.quiet.refuse(batch.ticket, RateLimit(max(waits)), self._run.gate.clock())
        else:
            self._history.quiet.end(batch.ticket, well=any(_agent_succeeded(result) for result in results))

    def _goes_on(self, task: AgentTask, result: TaskResult, batch: Batch, answer: Answer, wait: float) -> bool:
        """Take a task's result. Return whether the task is to be tried again."""
        self._seconds[task.uuid] += result.seconds  # type: ignore[assignment]
        self._own_saves[task.uuid] += result.own_saves  # type: ignore[assignment]
        if result.outcome == "failed":
            return self._failed(task, result, batch, answer, wait)
        attempts, unused = batch.attempt, False
        pathway = None if result.pathway is None else self._agent.pathways.find(result.pathway)
        outcome: Outcome
        if result.outcome == "skipped":
            outcome = Skipped(LEFT_OR_MOVED) if batch.cancelled else Skipped()
            if result.data_title is None:  # it was not there to be given to the agent
                attempts -= 1
                unused = attempts == 0 and not batch.cancelled
        else:
            self._history.succeed()
            outcome = Held() if pathway is None else Moved(pathway, confirmed=result.confirmed)
        self._finish(task, outcome, attempts, unused=unused)
        return False

    def _failed(self, task: AgentTask, result: TaskResult, batch: Batch, answer: Answer, wait: float) -> bool:
        first = self._first_errors.setdefault(task.uuid, result.error)
        fault = Fault(
            Phase(result.phase or Phase.AGENT),
            WorkerError(result.error or "it is not known why", result.traceback),
            batch.attempt,
            platform=task.uuid in answer.blameless,
            first=first if first != result.error else None,
            rate_limited=result.retry_after is not None,
        )
        again = result.retryable and batch.attempt <= self._run.num_retries
        if _agent_succeeded(result):
            self._history.succeed()
        else:
            self._run.events.emit(AttemptFailed(self._agent.ref(task), fault, wait if again else None))
        if again:
            return True
        suspect = None if self._error is not None else answer.suspects.get(task.uuid)
        error = None if suspect is None else self._dead_letters.ends_run(replace(suspect, attempt=batch.attempt))
        if error is None:
            self._fail_task(task, fault, batch.sent_at)
            return False
        self._fail(error)
        pathway = None if result.pathway is None else self._agent.pathways.find(result.pathway)
        self._finish(task, Failed(fault, pathway), batch.attempt)
        return False

    def _gone(self, results: Sequence[tuple[AgentTask, TaskResult]]) -> dict[UUID, Pathway]:
        return self._arrived([task for task, one in results if one.outcome == "skipped" and one.data_title is None])

    # Trouble

    def _may_make_room(self, batch: Batch, error: NoRoomError, answer: Answer) -> bool:
        """Return whether a batch for whose files a worker had no room may find some when others are done."""
        if not batch.tasks or not error.may_pass:
            return False
        return bool(self._batches_out or answer.results) or self._most_out > 1

    def _await_room(self, batch: Batch, answer: Answer) -> None:
        """Have what is left of a batch done when others are: it is no attempt. From now on, fewer are out at once."""
        self._most_out = max(1, min(self._most_out, self._batches_out))
        told = {*(result.task_uuid for result in answer.results), *answer.unwritten}
        if left := [task for task in batch.tasks if task.uuid not in told]:
            self._again.appendleft(replace(batch, tasks=left))

    def _cancelled(self, batch: Batch) -> None:
        """Send a batch once more that somebody else has cancelled."""
        if self._closing:
            return
        if not batch.tasks:
            self._fail(PrintableError(CANCELLED_FIRST))
        elif not batch.cancelled:
            self._again.appendleft(replace(batch, cancelled=True))
        else:
            for task in batch.tasks:
                fault = Fault(Phase.LOAD, WorkerError(CANCELLED), batch.attempt)
                self._run.events.emit(AttemptFailed(self._agent.ref(task), fault, None))
                self._finish(task, Failed(fault), batch.attempt)

    def _wind_up(self) -> None:
        """Call back the batches that wait; of those that are worked on, what is finished counts."""
        if self._out:
            self._workers.stop()
            # There are executors whose batches never seem to run: there, what is called back may be at work.
            if self._shows_running or any(future.running() for future in self._out):
                self._out = {future: batch for future, batch in self._out.items() if not future.cancel()}
        while self._out and not self._run.stop.leaving:
            self._collect(self._run.gate.timing.tick)


def _agent_succeeded(result: TaskResult) -> bool:
    """Return whether the agent did well, whatever became of what it returned."""
    return result.success or result.phase in (Phase.SAVE, Phase.MOVE)
