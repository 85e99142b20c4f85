"""The outcomes of a stage's tasks in a drain, decided in the parent, which alone sees all workers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace

from encord.exceptions import EncordException
from encord.workflow.stages.agent import AgentTask

from encord_agents.exceptions import OutageError
from encord_agents.tasks.engine.backlog import Backlog
from encord_agents.tasks.engine.context import Agent, Context, Result
from encord_agents.tasks.engine.dead_letter import DeadLetters
from encord_agents.tasks.engine.dry_run import dry_summary
from encord_agents.tasks.engine.events import AttemptFailed, Events, TaskFinished, TaskWouldWrite
from encord_agents.tasks.engine.gate import Gate, SetUpError
from encord_agents.tasks.engine.outcome import Failed, Fault, Held, Moved, Outcome, Phase, Skipped
from encord_agents.tasks.engine.stop import Leaving, Stop
from encord_agents.tasks.engine.write import Writer
from encord_agents.tasks.runner import messages
from encord_agents.tasks.runner.passes import StageRuns
from encord_agents.tasks.runner.run_options import DrainOptions

__all__ = ["Drain", "Outcomes", "Sent"]

LEFT_OR_MOVED = "the task had left the stage, unless a worker that died had moved it"


@dataclass(eq=False)
class Drain(StageRuns):
    """The state that the stage runs of a drain share.

    Attributes:
        writer: Makes the writer that moves tasks down an agent's failure pathway.
        options: The run's options.
        proven: True if a worker has ever been ready.
    """

    gate: Gate
    stop: Stop
    events: Events
    writer: Callable[[Agent], Writer]
    options: DrainOptions
    proven: bool = False


@dataclass(eq=False, slots=True)
class Sent:
    """A task that a worker has, or had.

    Attributes:
        seen_at: The time at which it was seen in its stage, on the gate's clock.
        deaths: The number of workers that died while it was a suspect.
        lost: True if a worker was lost with it: the task may have moved.
        seconds: The seconds of its attempts.
        own_saves: The part of them spent on the agent's own saves.
    """

    task: AgentTask
    seen_at: float
    deaths: int = 0
    lost: bool = False
    seconds: float = 0.0
    own_saves: float = 0.0

    def on_its_way(self, gate: Gate) -> messages.OnItsWay:
        """Return the task as it is sent to a worker."""
        # A lost worker may have moved it: this age makes the next one ask whether it is still in its stage.
        age = float("inf") if self.lost else gate.age(self.seen_at)
        return messages.OnItsWay(self.task.model_dump_json(), age)


class Outcomes:
    """Decides the outcomes of one stage's tasks.

    Workers leave failed tasks in their stage. Here, failures are counted over all workers, and failed tasks are moved
    down the agent's failure pathway.

    Args:
        may_repeat: True if tasks that a lost worker had may be sent again unnoticed.

    Attributes:
        error: The first error that ends the run, if there is one.
    """

    # No lock is needed: only the thread that receives the workers' messages calls these methods.

    def __init__(self, run: Drain, agent: Agent, backlog: Backlog, *, may_repeat: bool = False) -> None:
        self.error: BaseException | None = None
        self._may_repeat = may_repeat
        self._run = run
        self._agent = agent
        self._backlog = backlog
        self._dead_letters = DeadLetters(agent, run.stop, most=run.options.max_consecutive_failures)
        self._writer = run.writer(agent)
        self._letters: dict[Result, Sent] = {}

    @property
    def halted(self) -> str | None:
        """The reason why the agent has ended the run, if it has."""
        return self._dead_letters.halted

    def end_run(self, error: BaseException) -> None:
        """End the run with an error, unless another one has ended it already."""
        self.error = error if self.error is None else self.error

    def take(self, sent: Sent, told: messages.Told, event: TaskFinished) -> None:
        """Record the outcome that a worker reports for its task."""
        outcome, unused = event.outcome, False
        sent.seconds, sent.own_saves = event.seconds, event.own_saves
        match outcome:
            case Failed(fault=fault) if fault.phase not in (Phase.SAVE, Phase.MOVE):
                # A failure of set-up would fail every task alike, so it ends the run; whether it is one can only be
                # decided here, since another worker may have succeeded with the same agent.
                own = None if told.suspect is None else replace(fault, exception=told.suspect.error)
                error = None if own is None else self._dead_letters.ends_run(own)
                if error is None:
                    self._give_up(sent, fault, blameless=told.blameless)
                    return
                self.end_run(error)
            case Skipped():
                sent.lost = sent.lost or self._may_repeat
                unused = not (event.attempts or sent.lost)
                if sent.lost and not event.attempts:
                    outcome = self._of_the_gone(sent.task)
        self._finish(sent, outcome, event.attempts or int(sent.lost), unused=unused)

    def fail(self, sent: Sent, fault: Fault) -> None:
        """Fail a task whose outcome no worker can report."""
        self._run.events.emit(AttemptFailed(self._agent.ref(sent.task), fault, None))
        self._give_up(sent, fault)

    def send_down(self) -> None:
        """Move the tasks that failed for good down the failure pathway, without labels or priority, as in every run."""
        # Taken out first: a letter that cannot be written is listed as unwritten, and must not be sent a second time.
        letters, self._letters = self._letters, {}

        def settle(result: Result, outcome: Outcome) -> None:
            self._finish(letters.pop(result), outcome, result.context.attempts, left=result.context.gone)

        # The signal of a stop may have reached the agent's programs first: their end is no fault of the task.
        halts = self._dead_letters.halted is not None  # a stop of its own: these tasks failed before it
        if letters and not halts and self._run.stop.wait(self._run.gate.timing.tick):
            for result in tuple(letters):
                assert result.fault is not None
                settle(result, Failed(result.fault))
            return
        if self._run.options.dry_run:
            for result in tuple(letters):
                assert result.fault is not None
                self._run.events.emit(TaskWouldWrite(result.context.ref, dry_summary(result)))
                settle(result, Failed(result.fault, moved_to=result.pathway))
            return
        try:
            self._writer.write(tuple(letters), settle)
        except (SetUpError, OutageError, Leaving) as trouble:
            self._run.unwritten += [result.context.ref for result in letters]
            self._run.unconfirmed |= {result.context.task.uuid for result in letters if result.move_unclear}
            if not isinstance(trouble, Leaving):
                self.end_run(trouble.error if isinstance(trouble, SetUpError) else trouble)

    def _of_the_gone(self, task: AgentTask) -> Outcome:
        """Return the outcome of a task that has left its stage, perhaps because a lost worker moved it."""
        with contextlib.suppress(EncordException, OutageError, Leaving):  # otherwise it is skipped, with both reasons
            if (pathway := self._writer.arrived([task]).get(task.uuid)) is not None:
                return Moved(pathway, confirmed=False)
        return Skipped(LEFT_OR_MOVED)

    def _give_up(self, sent: Sent, fault: Fault, *, blameless: bool = False) -> None:
        """Finish a task that failed for good, or keep it for `send_down` to move down the failure pathway."""
        self._dead_letters.gave_up(sent.task.uuid, fault)
        if blameless or not self._dead_letters.take(sent.task.uuid, fault):
            self._finish(sent, Failed(fault), fault.attempt)
            return
        context = Context(self._agent, sent.task, sent.seen_at, attempts=fault.attempt)
        self._letters[Result(context, self._agent.failure_pathway, fault=fault)] = sent

    def _finish(self, sent: Sent, outcome: Outcome, attempts: int, *, left: bool = False, unused: bool = False) -> None:
        task = sent.task
        self._dead_letters.finished(task.uuid, outcome)
        self._backlog.release(task.uuid, left=left or isinstance(outcome, Skipped), unused=unused)
        if isinstance(outcome, Held) or (isinstance(outcome, Failed) and outcome.moved_to is None):
            self._agent.history.remember(task.uuid)
        self._run.events.emit(TaskFinished(self._agent.ref(task), outcome, attempts, sent.seconds, sent.own_saves))
