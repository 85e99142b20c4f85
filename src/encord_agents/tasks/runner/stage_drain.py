"""One stage's turn in a drain, whoever works on its tasks: what is read, and what becomes of a task in the end."""

from __future__ import annotations

import contextlib
import sys
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from encord.exceptions import EncordException
from encord.workflow.stages.agent import AgentTask

from encord_agents.exceptions import NoRoomError, OutageError
from encord_agents.tasks.engine.backlog import Backlog
from encord_agents.tasks.engine.context import Agent, Context, Result
from encord_agents.tasks.engine.dead_letter import DeadLetters
from encord_agents.tasks.engine.dry_run import dry_summary
from encord_agents.tasks.engine.events import Events, TaskFinished, TaskRef, TaskWouldWrite
from encord_agents.tasks.engine.gate import Gate, SetUpError
from encord_agents.tasks.engine.outcome import Failed, Fault, Held, Outcome, Pathway, Phase
from encord_agents.tasks.engine.poll import StageReader
from encord_agents.tasks.engine.stop import Leaving, Stop
from encord_agents.tasks.engine.write import Writer

__all__ = ["LEFT_OR_MOVED", "DrainRun", "StageDrain"]

READ_AHEAD = 100
"""Tasks read from the pages between two looks at the workers."""

LEFT_OR_MOVED = "the task had left the stage, unless the worker that died had moved it"


@dataclass(eq=False)
class DrainRun:
    """State that the turns of a drain share.

    Attributes:
        writer: Makes what moves tasks down an agent's failure pathway.
        batch_size: How many tasks go to a worker together.
        retry_delay: Seconds before a task's second attempt.
        max_failures: Final failures in a row that end the run; ``None``: any number is endured.
        max_tasks: How many tasks to give to an agent in its turn; ``None``: all.
        halted: Why an agent has ended the run, if one has.
        proven: Whether a worker has ever been ready.
    """

    gate: Gate
    stop: Stop
    events: Events
    writer: Callable[[Agent], Writer]
    batch_size: int = 10
    num_retries: int = 3
    retry_delay: float = 0.0
    max_failures: int | None = None
    max_tasks: int | None = None
    dry_run: bool = False
    bundle_saves: bool = False
    max_outage: float | None = None
    unwritten: list[TaskRef] = field(default_factory=list)
    unconfirmed: set[UUID] = field(default_factory=set)
    halted: str | None = None
    proven: bool = False


class StageDrain(ABC):
    """One agent's turn: reads the stage, keeps the workers busy, and takes what they say."""

    def __init__(self, run: DrainRun, agent: Agent) -> None:
        self._run = run
        self._agent = agent
        self._history = agent.history
        self._backlog = Backlog(agent.row_of, known=self._history.known, budget=run.max_tasks)
        self._reader = StageReader(agent.stage, run.gate, self._backlog, run.events)
        # Workers leave what failed where it is: only here it is known how all of them fare.
        self._dead_letters = DeadLetters(agent, run.stop, most=run.max_failures)
        self._letters: list[Result] = []
        self._seconds: Counter[UUID] = Counter()  # of tasks that have no outcome yet: in attempts
        self._own_saves: Counter[UUID] = Counter()  # and, of these, in saves by the agents' own hand
        self._writer = run.writer(agent)
        self._error: BaseException | None = None
        self._asking = False

    @property
    def only_reads(self) -> bool:
        """True if nothing is going on but a request for the stage's next page. Other threads may ask."""
        return self._asking and not self._is_out

    def run(self) -> None:
        """Work until every task has its outcome, or the run is to end.

        Raises:
            SetUpError, NoRoomError, OutageError: What ended it; what was being worked on by then is finished.
        """
        try:
            with contextlib.suppress(Leaving):  # the stop came while the platform was waited for
                self._drain()
        finally:
            self._wind_up()
            self._run.halted = self._run.halted or self._dead_letters.halted
        if isinstance(self._error, Exception) and not isinstance(self._error, NoRoomError | OutageError):
            raise SetUpError(self._error)
        if self._error is not None:
            raise self._error

    # What depends on who works

    @property
    @abstractmethod
    def _is_out(self) -> bool:
        """True if workers have anything to answer."""

    @property
    @abstractmethod
    def _waits(self) -> bool:
        """True if something of what workers had is to be sent again, now or later."""

    @abstractmethod
    def _held_back(self) -> float:
        """Return the seconds for which there is something to send that has to wait."""

    @abstractmethod
    def _send(self) -> None:
        """Send what there is room for."""

    @abstractmethod
    def _collect(self, timeout: float) -> None:
        """Take what workers say, waiting so long for the first word."""

    @abstractmethod
    def _wind_up(self) -> None:
        """Send nothing more; take what there is still to be said."""

    # The turn

    @property
    def _closing(self) -> bool:
        return self._run.stop.requested or self._error is not None

    def _drain(self) -> None:
        first, tick = True, self._run.gate.timing.tick
        while not self._closing and not (self._backlog.exhausted and self._is_idle):
            self._read(min(READ_AHEAD, self._run.gate.limits.read_ahead) if first else sys.maxsize)
            first = first and self._backlog.reading
            if first or not self._reading:  # what is asked for again is read to its end before any of it moves
                self._send()
            if self._is_out:
                self._collect(0.0 if self._reading else tick)
            elif not self._reading and (wait := self._held_back()) > 0:
                self._run.stop.wait(min(wait, tick))

    @property
    def _reading(self) -> bool:
        return self._backlog.reading and self._backlog.wants_more

    @property
    def _is_idle(self) -> bool:
        return not (self._is_out or self._waits or self._backlog.available)

    def _read(self, number: int) -> None:
        """Read on in the stage's pages; or again, when nothing is out and tasks may have been passed over."""
        if not (self._reading or (self._backlog.must_be_read and self._is_idle)):
            return
        self._asking = True
        try:
            self._reader.read(number)
        finally:
            self._asking = False

    # What becomes of tasks

    def _finish(self, task: AgentTask, outcome: Outcome, attempts: int, *, unused: bool = False) -> None:
        self._dead_letters.finished(task.uuid, outcome)
        self._backlog.release(task.uuid, unused=unused)
        if isinstance(outcome, Held) or (isinstance(outcome, Failed) and outcome.moved_to is None):
            self._history.remember(task.uuid)
        seconds, own_saves = (float(one.pop(task.uuid, 0.0)) for one in (self._seconds, self._own_saves))
        self._run.events.emit(TaskFinished(self._agent.ref(task), outcome, attempts, seconds, own_saves))

    def _fail_task(self, task: AgentTask, fault: Fault, sent_at: float) -> None:
        """Finish a task that failed for good, or have it go down the failure pathway, with `_send_down`."""
        if fault.phase not in (Phase.SAVE, Phase.MOVE):
            self._dead_letters.gave_up(task.uuid, fault)
        if not self._dead_letters.take(fault):
            self._finish(task, Failed(fault), fault.attempt)
            return
        context = Context(self._agent, task, sent_at, attempts=fault.attempt)
        self._letters.append(Result(context, self._agent.failure_pathway, fault=fault))

    def _send_down(self) -> None:
        """Move what is to go down the failure pathway: neither labels nor priority, as everywhere."""
        letters, self._letters = self._letters, []

        def settle(result: Result, outcome: Outcome) -> None:
            letters.remove(result)
            self._finish(result.context.task, outcome, result.context.attempts)

        if self._run.dry_run:
            for result in tuple(letters):
                assert result.fault is not None
                self._run.events.emit(TaskWouldWrite(result.context.ref, dry_summary(result)))
                settle(result, Failed(result.fault))
            return
        try:
            self._writer.write(tuple(letters), settle)
        except (SetUpError, OutageError, Leaving) as trouble:
            self._run.unwritten += [result.context.ref for result in letters]
            self._run.unconfirmed |= {result.context.task.uuid for result in letters if result.move_unclear}
            if not isinstance(trouble, Leaving):
                self._fail(trouble.error if isinstance(trouble, SetUpError) else trouble)

    def _arrived(self, gone: Sequence[AgentTask]) -> dict[UUID, Pathway]:
        """Return where tasks are that are not in the stage any more, if a worker that died has moved them."""
        try:
            return self._writer.arrived(gone)
        except (EncordException, OutageError, Leaving):
            return {}  # they are skipped, with both possible reasons

    def _fail(self, error: BaseException) -> None:
        self._error = error if self._error is None else self._error
