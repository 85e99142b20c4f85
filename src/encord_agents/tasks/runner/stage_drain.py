"""One stage's turn in a drain, over workers of either kind: reading the stage, and the outcomes of its tasks."""

from __future__ import annotations

import contextlib
import sys
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from encord.exceptions import EncordException
from encord.workflow.stages.agent import AgentTask

from encord_agents.exceptions import NoRoomError, OutageError
from encord_agents.tasks.engine.backlog import Backlog
from encord_agents.tasks.engine.context import Agent, Context, Result
from encord_agents.tasks.engine.dead_letter import DeadLetters
from encord_agents.tasks.engine.dry_run import dry_summary
from encord_agents.tasks.engine.events import Events, StageWarning, TaskFinished, TaskRef, TaskWouldWrite
from encord_agents.tasks.engine.gate import Gate, SetUpError
from encord_agents.tasks.engine.outcome import Failed, Fault, Held, Moved, Outcome, Phase, Skipped
from encord_agents.tasks.engine.poll import StageReader
from encord_agents.tasks.engine.stop import Leaving, Stop
from encord_agents.tasks.engine.write import Writer
from encord_agents.tasks.runner import messages
from encord_agents.tasks.runner.run_options import DrainOptions

__all__ = ["DrainRun", "Hand", "Sent", "StageDrain"]

READ_AHEAD = 100
"""Tasks read from the pages between two looks at the workers."""

LEFT_OR_MOVED = "the task had left the stage, unless the worker that died had moved it"


@dataclass(eq=False)
class DrainRun:
    """State that the turns of a drain share.

    Attributes:
        writer: Makes the writer that moves tasks down an agent's failure pathway.
        options: Those of the run.
        halted: The reason for which an agent has ended the run, if one has.
        proven: True if a worker has ever been ready.
    """

    gate: Gate
    stop: Stop
    events: Events
    writer: Callable[[Agent], Writer]
    options: DrainOptions
    unwritten: list[TaskRef] = field(default_factory=list)
    unconfirmed: set[UUID] = field(default_factory=set)
    halted: str | None = None
    proven: bool = False


@dataclass(eq=False, slots=True)
class Sent:
    """A task that workers have, or had.

    Attributes:
        seen_at: The time at which its stage showed it, on the gate's clock.
        deaths: The number of workers that have died of it, as far as is known.
        lost: True if a worker was lost with it: the task may have moved.
        seconds: The seconds of its attempts.
        own_saves: Those of them that were spent on saves by the agent's own hand.
    """

    task: AgentTask
    seen_at: float
    deaths: int = 0
    lost: bool = False
    seconds: float = 0.0
    own_saves: float = 0.0

    def on_its_way(self, now: float) -> messages.OnItsWay:
        """Return the task as a worker is sent it."""
        # A lost worker may have moved it: the next one asks for it, as for a task that was seen long ago.
        age = float("inf") if self.lost else now - self.seen_at
        return messages.OnItsWay(self.task.model_dump_json(), age)


@dataclass(eq=False, slots=True)
class Hand:
    """The tasks that one worker has of this stage.

    Attributes:
        running: Tasks whose attempt has begun and not ended.
        alone: True if it is given nothing else until what it has is done.
    """

    tasks: dict[UUID, Sent] = field(default_factory=dict)
    running: set[UUID] = field(default_factory=set)
    alone: bool = False


class StageDrain(ABC):
    """One agent's turn: reads the stage, keeps the workers busy, and takes their messages.

    Args:
        most_busy: Workers, or batches of an executor, that may have tasks at a time. Fewer, once there was no room for
            the files of so many.
    """

    def __init__(self, run: DrainRun, agent: Agent, most_busy: int) -> None:
        self._run = run
        self._agent = agent
        self._history = agent.history
        self._options = run.options
        self._most_busy = most_busy
        self._backlog = Backlog(agent.row_of, known=self._history.known, budget=run.options.max_tasks_per_stage)
        self._reader = StageReader(agent.stage, run.gate, self._backlog, run.events)
        self._again: deque[Sent] = deque()
        # Workers leave what failed where it is: only here it is known how all of them fare.
        self._dead_letters = DeadLetters(agent, run.stop, most=run.options.max_consecutive_failures)
        self._letters: dict[Result, Sent] = {}
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
            SetUpError, NoRoomError, OutageError: It was ended by this; tasks at work by then are finished.
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

    # Each kind of workers has its own

    @property
    @abstractmethod
    def _all_hands(self) -> Collection[Hand]:
        """The tasks of each worker."""

    @property
    @abstractmethod
    def _is_out(self) -> bool:
        """True if workers have anything to answer."""

    @property
    def _waits(self) -> bool:
        """True if tasks that workers had are to be sent again."""
        return bool(self._again)

    def _held_back(self) -> float:
        """Return the seconds for which there is something to send that has to wait."""
        return 0.0

    @abstractmethod
    def _send(self) -> None:
        """Send tasks, as far as there is room for them."""

    @abstractmethod
    def _collect(self, timeout: float) -> None:
        """Take messages, waiting so long for the first one."""

    @abstractmethod
    def _wind_up(self) -> None:
        """Send nothing more, and take the last messages."""

    # The turn

    @property
    def _closing(self) -> bool:
        return self._run.stop.requested or self._error is not None

    def _drain(self) -> None:
        first, tick = True, self._run.gate.timing.tick
        while not self._closing and not (self._backlog.exhausted and self._is_idle):
            self._read(min(READ_AHEAD, self._run.gate.limits.read_ahead) if first else sys.maxsize)
            first = first and self._backlog.reading
            if first or not self._reading:  # another reading goes to its end before any task moves
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

    # Workers' tasks and messages

    @property
    def _busy(self) -> int:
        """The number of workers that have tasks."""
        return sum(bool(hand.tasks) for hand in self._all_hands)

    def _next(self, number: int) -> list[Sent]:
        """Take the tasks to be sent next: first those that a worker had before."""
        some = [self._again.popleft() for _ in range(min(number, len(self._again)))]
        return some + [Sent(one.task, one.seen_at) for one in self._backlog.take(number - len(some))]

    def _give(self, hand: Hand, some: Sequence[Sent]) -> list[messages.OnItsWay]:
        """Count tasks as a worker's, and return them as it is sent them."""
        now = self._run.gate.clock()
        for sent in some:
            hand.tasks[sent.task.uuid] = sent
            self._backlog.begin_move()  # it may move at any time, until the worker tells its outcome
        return [sent.on_its_way(now) for sent in some]

    def _take_back(self, hand: Hand, uuid: UUID) -> Sent | None:
        """Take a task from a worker, which has no more to do with it."""
        sent = hand.tasks.pop(uuid, None)
        hand.running.discard(uuid)
        if not hand.tasks:
            hand.alone = False
        if sent is not None:
            self._backlog.end_move()
        return sent

    def _hear(self, hand: Hand, message: object) -> None:
        """Take a message that workers of every kind send."""
        match message:
            case messages.Succeeded(named_a_pathway=named):
                self._history.has_named_a_pathway |= named
                self._history.succeed()
            case messages.Told(event=event):
                self._history.has_named_a_pathway |= message.named_a_pathway
                if isinstance(event, TaskFinished):
                    self._finished(hand, message, event)
                elif not isinstance(event, StageWarning) or self._history.warns_first_of(event.kind):
                    self._run.events.emit(event)  # but a warning that another worker has given
            case messages.Ended():
                self._ended(hand, message)

    def _finished(self, hand: Hand, told: messages.Told, event: TaskFinished) -> None:
        suspect, sent = told.suspect, self._take_back(hand, event.task.uuid)
        if sent is None:
            return
        outcome, unused = event.outcome, False
        sent.seconds, sent.own_saves = event.seconds, event.own_saves
        match outcome:
            case Failed(fault=fault) if fault.phase not in (Phase.SAVE, Phase.MOVE):
                own = None if suspect is None else replace(fault, exception=suspect.error)
                error = None if own is None else self._dead_letters.ends_run(own)
                if error is None:
                    self._fail_task(sent, fault, blameless=told.blameless)
                    return
                self._fail(error)
            case Skipped():
                unused = not (event.attempts or sent.lost)
                if sent.lost and not event.attempts:
                    outcome = self._of_the_gone(sent.task)
        self._finish(sent, outcome, event.attempts or int(sent.lost), unused=unused)

    def _of_the_gone(self, task: AgentTask) -> Outcome:
        """Return the outcome of a task that is gone, and that a worker which was lost may have moved."""
        with contextlib.suppress(EncordException, OutageError, Leaving):  # else it is skipped, with both reasons
            if (pathway := self._writer.arrived([task]).get(task.uuid)) is not None:
                return Moved(pathway, confirmed=False)
        return Skipped(LEFT_OR_MOVED)

    def _ended(self, hand: Hand, ended: messages.Ended) -> None:
        """Take leave of a worker in which the stage has ended: because it was told so, or because of its trouble."""
        self._run.unwritten += ended.unwritten
        self._run.unconfirmed |= ended.unconfirmed
        left = [sent for uuid in tuple(hand.tasks) if (sent := self._take_back(hand, uuid)) is not None]
        if ended.error is None:
            return
        error = ended.error.error
        busy = self._busy
        others = busy or (left and self._most_busy > 1)  # of two that had no room, the second sees nobody busy
        if isinstance(error, NoRoomError) and error.may_pass and not self._closing and others:
            # Others' files may be removed: what it had is done when others are. It is no attempt.
            self._most_busy = max(1, min(self._most_busy, busy))
            unwritten = {ref.uuid for ref in ended.unwritten}
            self._again += [sent for sent in left if sent.task.uuid not in unwritten]
        else:
            self._fail(error)

    # Outcomes

    def _finish(self, sent: Sent, outcome: Outcome, attempts: int, *, unused: bool = False) -> None:
        task = sent.task
        self._dead_letters.finished(task.uuid, outcome)
        self._backlog.release(task.uuid, unused=unused)
        if isinstance(outcome, Held) or (isinstance(outcome, Failed) and outcome.moved_to is None):
            self._history.remember(task.uuid)
        self._run.events.emit(TaskFinished(self._agent.ref(task), outcome, attempts, sent.seconds, sent.own_saves))

    def _fail_task(self, sent: Sent, fault: Fault, *, blameless: bool = False) -> None:
        """Finish a task that failed for good, or have it go down the failure pathway, with `_send_down`."""
        if fault.phase not in (Phase.SAVE, Phase.MOVE):
            self._dead_letters.gave_up(sent.task.uuid, fault)
        if blameless or not self._dead_letters.take(fault):
            self._finish(sent, Failed(fault), fault.attempt)
            return
        context = Context(self._agent, sent.task, sent.seen_at, attempts=fault.attempt)
        self._letters[Result(context, self._agent.failure_pathway, fault=fault)] = sent

    def _send_down(self) -> None:
        """Move tasks down the failure pathway: neither labels nor priority, as everywhere."""
        letters, self._letters = self._letters, {}

        def settle(result: Result, outcome: Outcome) -> None:
            self._finish(letters.pop(result), outcome, result.context.attempts)

        if self._options.dry_run:
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

    def _fail(self, error: BaseException) -> None:
        self._error = error if self._error is None else self._error
