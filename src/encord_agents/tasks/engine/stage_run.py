"""The run of one stage by its agent: the steps that all drivers take. Start reading here.

`one_by_one` takes the steps one after the other, in the caller's thread. `overlap` overlaps them: while the agent runs,
threads load the next tasks and write finished ones, never more than the window at once.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from uuid import UUID

from encord.project import Project
from encord.user_client import EncordUserClient
from encord.workflow.stages.agent import AgentTask

from encord_agents.core.dependencies.solve import Attempt
from encord_agents.core.legible import on_a_line
from encord_agents.core.logs import get_logger
from encord_agents.core.tracebacks import described, is_a, reason, tracebacks_kept
from encord_agents.exceptions import AssetDownloadError, CertificateError, NoRoomError, OutageError
from encord_agents.tasks.engine.advice import advise
from encord_agents.tasks.engine.backlog import Backlog
from encord_agents.tasks.engine.context import Agent, Context, Result
from encord_agents.tasks.engine.dead_letter import DeadLetters
from encord_agents.tasks.engine.dry_run import dry_summary
from encord_agents.tasks.engine.events import (
    AttemptFailed,
    ChunkLoaded,
    ChunkWritten,
    Events,
    StageWarning,
    TaskFinished,
    TaskRef,
    TaskStarted,
    TaskWouldWrite,
)
from encord_agents.tasks.engine.execute import Executor
from encord_agents.tasks.engine.gate import Gate, SetUpError
from encord_agents.tasks.engine.history import CHANGED_ROW, HELD_BACK, ODD_LABELS
from encord_agents.tasks.engine.load import Loader
from encord_agents.tasks.engine.outcome import Failed, Fault, Held, Moved, Outcome, Skipped
from encord_agents.tasks.engine.poll import still_in
from encord_agents.tasks.engine.rate_limit import rate_limit_of
from encord_agents.tasks.engine.retry import decide, retryable
from encord_agents.tasks.engine.stop import Leaving
from encord_agents.tasks.engine.write import RunBoth, Writer, sequentially

__all__ = ["StageRun"]

logger = get_logger(__name__)

CHANGED = (
    "this attempt begins with a label row that a failed attempt has changed: what that one drew is still there, what "
    "it removed is not. With @runner.stage({stage!r}, restore_labels=True) every attempt begins with the row as loaded."
)
HELD = (
    "its attempt was refused by a service that {agent}() calls. The stage's tasks are held back while the service has "
    "too many calls, now for {seconds:.0f} s: {error}"
)
ODD = "{oddity}. The labels are saved as they are."


@dataclass(eq=False)
class StageRun:
    """The run of one stage: the steps and the state that all drivers share.

    Attributes:
        strict: True if an error that every task of the stage would hit ends the run. Otherwise it only fails its task,
            as in queue functions.
        final: True if a task that fails now will not be tried again by the caller.
        dead_letters: True if tasks that failed for good go down the failure pathway; False leaves that to the caller.
        max_failures: The number of final failures in a row that ends the run; ``None``: no limit.
        moves: The number of tasks that this run has moved so far.
        departures: The number of tasks that turned out to have been moved by somebody else.
        on_success: Called after each successful attempt, before its result is written.
        run_both: Saves labels and sets priorities, concurrently or one after the other.
    """

    agent: Agent
    project: Project
    client: EncordUserClient
    gate: Gate
    events: Events
    executor: Executor
    max_tasks: int | None = None
    dry_run: bool = False
    strict: bool = True
    final: bool = True
    dead_letters: bool = True
    max_failures: int | None = None
    files: Path | None = None
    jitter: Callable[[], float] = random.random
    unwritten: list[TaskRef] = field(default_factory=list)
    unconfirmed: set[UUID] = field(default_factory=set)
    moves: int = 0
    departures: int = 0
    on_success: Callable[[Context], None] | None = None
    run_both: RunBoth = sequentially

    def __post_init__(self) -> None:
        self.stop = self.gate.stop
        self._dead_letters = DeadLetters(self.agent, self.stop, self.strict, self.max_failures)
        self.history = self.agent.history
        self.quiet = self.history.quiet
        self.loader = Loader(self.agent, self.project, self.client, self.gate, self.files)
        self.own_saves = self.executor.own_saves

    @property
    def halted(self) -> str | None:
        """The reason why the agent has ended the run, if it has."""
        return self._dead_letters.halted

    def load(self, tasks: Sequence[AgentTask], polled_at: float) -> tuple[list[Context], list[AgentTask]]:
        """Return contexts for tasks, and the tasks that have left the stage since they were polled.

        The platform is asked only about tasks polled a while ago: a third of the time that makes a task stale before an
        attempt, since loaded tasks may still have to wait.
        """
        started = self.gate.clock()
        left: list[AgentTask] = []
        unknown: list[Context] = []  # the platform refused to say whether they are there
        if self.gate.age(polled_at) >= self.gate.timing.stale_after / 3:
            there, refused = still_in(self.agent.stage, tasks, self.gate)
            left = [task for task in tasks if task.uuid not in there and task.uuid not in refused]
            unknown = [Context(self.agent, task, polled_at) for task in tasks if task.uuid in refused]
            for context in unknown:
                self.loader.mark([context], refused[context.task.uuid])
            tasks = [there[task.uuid] for task in tasks if task.uuid in there]
            polled_at = started
        contexts = self.loader.load(tasks, seen_at=polled_at) + unknown
        stage = self.agent.stage
        self.events.emit(ChunkLoaded(stage.uuid, stage.title, len(contexts), self.gate.clock() - started))
        return contexts, left

    @cached_property
    def backlog(self) -> Backlog:
        """The stage's backlog, which is empty until the stage is read."""
        return Backlog(self.agent.row_of, known=self.history.known, budget=self.max_tasks)

    # Before an attempt

    def is_stale(self, context: Context) -> bool:
        """Return True if the task was seen in its stage so long ago that the platform must be asked again."""
        return self.gate.age(context.seen_at) >= self.gate.timing.stale_after

    def is_fresh(self, contexts: Sequence[Context]) -> bool:
        """Ask the platform about the stale ones among some tasks, together, before an attempt of the first.

        Tasks that are still in the stage are loaded again; the others are marked as gone.

        Returns:
            False if the first task must not be attempted: it is gone, or the run is stopping and the platform does not
            answer.
        """
        if self.is_stale(contexts[0]):
            try:
                with self.gate.optional(), self.stop.interruptible():
                    self._refresh([context for context in contexts if self.is_stale(context)])
            except Leaving:
                if self.stop.leaving or not self.stop.requested:
                    raise
                return False
        return not contexts[0].gone

    def _refresh(self, contexts: Sequence[Context]) -> None:
        self.own_saves.send(contexts)  # before the rows that they belong to are replaced
        now = self.gate.clock()
        there, refused = still_in(self.agent.stage, [context.task for context in contexts], self.gate)
        here = []
        for context in contexts:
            uuid = context.task.uuid
            if (task := there.get(uuid)) is not None:
                context.task, context.seen_at = task, now
                here.append(context)
            elif (error := refused.get(uuid)) is not None:
                self.loader.mark([context], error)  # still stale, so it is checked again before the next attempt
            else:
                context.gone = True
        self.loader.refresh(here)

    # After an attempt

    def listen(self, context: Context, ended: Attempt | Fault | None) -> None:
        """Count an attempt as ended, and hold others back from now on if a service that it called is over its limit."""
        if ended is not None and context.heard == context.attempts:  # the worker has counted it, before `judge` does
            return
        context.heard, context.limited = context.attempts, None
        error = ended.exception if isinstance(ended, Attempt) else None
        others = (OutageError, AssetDownloadError, *self.agent.policy.give_up_on)
        limit = None if error is None or reason(error, others) is not None else rate_limit_of(error)
        if limit is None:
            self.quiet.end(context.ticket, well=isinstance(ended, Attempt) and error is None)
            return
        is_news = not self.quiet.is_void(context.ticket)
        context.limited = self.quiet.refuse(context.ticket, limit, self.gate.clock())
        if is_news:
            logger.info(
                "%r: a service that %s() calls has too many calls (%s). Attempts are held back for %.1f s.",
                *(self.agent.stage.title, self.agent.plan.name, on_a_line(described(error)), context.limited),  # type: ignore[arg-type]
            )

    def reload(self, context: Context) -> bool:
        """Prepare another attempt, see `Loader.reload`. Warn once about a row that a failed attempt has changed."""
        if context.trouble is not None:  # the row, to which the held saves belong, is loaded again
            self.own_saves.send([context])
        if not self.loader.reload(context):
            return False
        loaded, row = context.loaded, context.row
        if loaded is None or row is None or self.agent.restore_labels or self.history.has_warned_of(CHANGED_ROW):
            return True
        if loaded.differ_from(row):
            self._warn(context, CHANGED_ROW, CHANGED.format(stage=self.agent.stage.title))
        return True

    def _warn(self, context: Context, kind: str, message: str) -> None:
        if self.history.warns_first_of(kind):
            self.events.emit(StageWarning(context.ref, kind, message))

    def start(self, context: Context) -> None:
        if self.events.wants_starts:
            self.events.emit(TaskStarted(context.ref, context.attempts + 1))

    def judge(self, context: Context, attempted: Attempt | Fault) -> Result | Fault | float:
        """Return the meaning of an attempt: a result to write, the final fault, or the seconds until the next attempt.

        Raises:
            SetUpError: No task of this stage can succeed.
            OutageError: The platform, or the host of its files, did not answer for too long.
            NoRoomError: This machine had no room for a file. The attempt does not count, and may be made again.
        """
        agent = self.agent
        self.listen(context, attempted)
        ended = self.own_saves.see_to(context, self.executor.judge(context, attempted))
        if isinstance(ended, Result):
            self.history.succeed()
            if self.on_success is not None:
                self.on_success(context)
            if ended.oddity is not None:
                self._warn(context, ODD_LABELS, ODD.format(oddity=ended.oddity))
            return ended
        if is_a(ended.exception, NoRoomError):
            context.attempts -= 1  # the machine is to blame, so the task keeps its number of attempts
            context.heard, context.postponed = context.attempts, True
            raise ended.exception
        fault = ended if context.limited is None else replace(ended, rate_limited=True)
        if context.limited is not None and self.quiet.lasts > self.gate.timing.long_wait:
            said = on_a_line(described(fault.exception))
            self._warn(context, HELD_BACK, HELD.format(agent=agent.plan.name, seconds=context.limited, error=said))
        advise(fault.exception)
        context.first_error = context.first_error or described(fault.exception)
        if (outage := reason(fault.exception, OutageError)) is not None:  # it concerns every task
            raise outage
        if (untrusted := reason(fault.exception, CertificateError)) is not None:  # so does a host that gives no file
            raise SetUpError(untrusted)
        delay = decide(agent.policy, fault, jitter=self.jitter, at_least=context.limited or 0.0)
        if delay:
            self.own_saves.send([context])
            if (refused := self.own_saves.refusal(context)) is not None:
                fault, delay = refused, None
        self.events.emit(AttemptFailed(context.ref, fault, delay))
        if delay is not None:
            context.close_file()  # the next attempt fetches it again, and until then it would take up room
            return delay
        if (error := self._dead_letters.ends_run(fault)) is not None:
            with tracebacks_kept(fault.exception):  # the caller sees the exception with its traceback
                self.finish(context, Failed(fault))
            raise SetUpError(error)
        self._dead_letters.gave_up(context.task.uuid, fault)
        return self.own_saves.finally_failed(context, self._dead_letter(context, fault))

    def _dead_letter(self, context: Context, fault: Fault) -> Result | Fault:
        tried_again = not self.final and retryable(self.agent.policy, fault)
        if not self.dead_letters or tried_again or not self._dead_letters.take(context.task.uuid, fault):
            return fault
        return Result(context, self.agent.failure_pathway, fault=fault, finished_at=self.gate.clock())

    def finish(self, context: Context, outcome: Outcome) -> None:
        """Record the outcome of a task."""
        context.close()
        self.own_saves.finished(context)
        if isinstance(outcome, Failed) and context.first_error not in (None, described(outcome.fault.exception)):
            outcome = replace(outcome, fault=replace(outcome.fault, first=context.first_error))
        self._dead_letters.finished(context.task.uuid, outcome)
        has_moved = isinstance(outcome, Moved) or (isinstance(outcome, Failed) and outcome.moved_to is not None)
        self.moves += has_moved
        self.departures += context.gone
        # Not for queue functions: they have no order of their own, and their processes live long.
        if self.strict and not has_moved and not isinstance(outcome, Skipped):
            self.history.remember(context.task.uuid)
        own_saves = context.held.seconds if context.held is not None else 0.0
        self.events.emit(TaskFinished(context.ref, outcome, context.attempts, context.seconds, own_saves))

    def skip(self, task: AgentTask) -> None:
        """Record as skipped a task that left the stage before it was loaded."""
        self.departures += 1
        self.events.emit(TaskFinished(self.agent.ref(task), Skipped(), 0, 0.0))

    def write(
        self,
        results: list[Result],
        settle: Callable[[Result, Outcome], None],
        writer: Writer,
        may_move: Callable[[], bool] = lambda: True,
    ) -> None:
        """Write results, and remove each from the list once it is settled. An exception leaves the others in the list.

        Args:
            may_move: See `Writer.write`.
        """
        if not results:
            return
        started, before = self.gate.clock(), len(results)

        def settle_once(result: Result, outcome: Outcome) -> None:
            settle(result, outcome)
            results.remove(result)  # last: an interrupt in between lists it twice, rather than not at all

        try:
            if self.strict and any(result.fault is not None and result.pathway is not None for result in results):
                self.stop.wait(self.gate.timing.tick)  # its signal may have reached the agent's programs first
            if self.dry_run:
                self._pretend(tuple(results), settle_once, writer)
            else:
                writer.write(tuple(results), settle_once, may_move)
        finally:
            stage = self.agent.stage
            seconds = self.gate.clock() - started
            self.events.emit(ChunkWritten(stage.uuid, stage.title, before - len(results), seconds))

    def _pretend(self, results: Sequence[Result], settle: Callable[[Result, Outcome], None], writer: Writer) -> None:
        refused = writer.rehearse(results)
        for result in results:
            if (fault := refused.get(id(result))) is not None:
                settle(result, Failed(fault))
                continue
            self.events.emit(TaskWouldWrite(result.context.ref, dry_summary(result)))
            if result.fault is not None:
                settle(result, Failed(result.fault, moved_to=None if self.stop.requested else result.pathway))
            else:
                settle(result, Moved(result.pathway) if result.pathway else Held())

    def leave(self, results: Iterable[Result]) -> None:
        """Record results that will not be written any more, and which of their tasks may have moved nevertheless."""
        for result in results:
            if result.context.ref not in self.unwritten:
                self.unwritten.append(result.context.ref)
            if result.move_unclear or result.moved:
                self.unconfirmed.add(result.context.task.uuid)

    def send_rest(self) -> None:
        """Send agents' own saves of attempts that have no result, at the end of the stage run, however it ends."""
        if self.stop.requested:
            self.limit_writing()
        self.own_saves.send_rest(self.unwritten)

    def writer(self, run_both: RunBoth | None = None) -> Writer:
        run_both = run_both or self.run_both
        return Writer(
            self.agent, self.project, self.client, self.gate, run_both, may_dead_letter=lambda: not self.stop.requested
        )

    def limit_writing(self) -> None:
        """Start the time limit for writing finished results. Only the first call counts."""
        self.gate.give_up_at(self.gate.clock() + self.gate.timing.time_to_write)
