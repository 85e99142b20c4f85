"""Final failures in a row: when they end the run, and which tasks go down a failure pathway."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from encord_agents.core.room import ran_out
from encord_agents.core.tracebacks import described, is_a, set_cause
from encord_agents.exceptions import AssetDownloadError, DependencyError, UnknownPathwayError
from encord_agents.tasks.engine.context import Agent
from encord_agents.tasks.engine.history import Row
from encord_agents.tasks.engine.outcome import Failed, Fault, Held, Moved, Outcome, Phase
from encord_agents.tasks.engine.rate_limit import quota_is_used_up
from encord_agents.tasks.engine.stop import Stop
from encord_agents.tasks.engine.verdict import is_platform_trouble

__all__ = ["FAILURES_IN_A_ROW", "DeadLetters", "is_blameless"]

FAILURES_IN_A_ROW = 20
"""Dead-lettered tasks in a row after which the agent, not the tasks, is to blame: a promise, see docs/runner.md."""

NEVER_MADE = """\
A run-scoped dependency of {}() could not be made, in {} attempts: {}
Every task needs it, so the run ends here. What was finished is written."""


def is_blameless(fault: Fault) -> bool:
    """Return True if neither the task nor its agent caused a fault: no person needs to look at the task."""
    error = fault.exception
    if fault.platform or is_platform_trouble(error) or is_a(error, AssetDownloadError) or quota_is_used_up(error):
        return True
    return is_a(error, OSError) and ran_out(error) is not None  # of room, handles or memory


@dataclass(eq=False)
class DeadLetters:
    """Decides about the final failures of one agent. The counts are in the agent's history.

    Attributes:
        strict: True if an agent that is to blame ends the run, and one that has never succeeded dead-letters no task.
        most: The number of final failures in a row, of any phase, that ends the run; ``None``: no limit.
        halted: The reason why the agent has ended the run, if it has.
    """

    agent: Agent
    stop: Stop
    strict: bool = True
    most: int | None = None
    halted: str | None = None

    def gave_up(self, uuid: UUID, fault: Fault) -> None:
        """Count a task whose attempts are over, all of them failed."""
        self._count("given up", uuid, fault)

    def finished(self, uuid: UUID, outcome: Outcome) -> None:
        """Count an outcome: refused labels and moves have a count of their own, since their attempts succeeded."""
        if isinstance(outcome, Moved | Held):
            self.agent.history.end("refused")
        if not isinstance(outcome, Failed) or outcome.moved_to is not None:
            self.agent.history.forget(uuid)
        fault = outcome.fault if isinstance(outcome, Failed) else None
        if fault is not None and fault.phase in (Phase.SAVE, Phase.MOVE):
            self._count("refused", uuid, fault)

    def _count(self, row: Row, uuid: UUID, fault: Fault) -> None:
        """Count a final failure, unless it is the platform's trouble."""
        if self.most is None or fault.platform or is_platform_trouble(fault.exception):
            return
        if self.agent.history.count(row, uuid) >= self.most:
            self._halt(self.most, f" (max_consecutive_failures={self.most})")

    def _halt(self, number: int, why: str) -> None:
        if self.halted is None and self.strict:
            tasks = "1 task" if number == 1 else f"{number} tasks"
            row = "" if number == 1 else " in a row"
            self.halted = f"{tasks} of stage {self.agent.stage.title!r} failed{row}{why}"
            self.stop.request()

    def ends_run(self, fault: Fault) -> Exception | None:
        """Return the error with which a final failure ends the run, if every task of the stage would fail alike."""
        if not self.strict or self.stop.requested:
            return None
        history = self.agent.history
        if fault.run_scoped and not history.has_succeeded:
            name = self.agent.plan.name
            error = DependencyError(NEVER_MADE.format(name, fault.attempt, described(fault.exception)), function=name)
            set_cause(error, fault.exception)
            return error
        is_unknown = fault.phase is Phase.PATHWAY and is_a(fault.exception, UnknownPathwayError)
        return fault.exception if is_unknown and not history.has_named_a_pathway else None  # type: ignore[return-value]

    def take(self, uuid: UUID, fault: Fault) -> bool:
        """Return True if a task that failed for good goes down the failure pathway."""
        if self.agent.failure_pathway is None or fault.phase in (Phase.LOAD, Phase.SAVE, Phase.MOVE):
            return False
        # A stop may reach the programs that the agent has started, too: their end is no fault of the task.
        if is_blameless(fault) or self.stop.requested:
            return False
        if self.agent.history.count("dead letters", uuid) >= FAILURES_IN_A_ROW:
            self._halt(FAILURES_IN_A_ROW, ", which says more about the agent than about the tasks")
            return False
        if fault.rate_limited:  # it may well succeed another time: no person needs to look at it
            return False
        return not (self.strict and (not self.agent.history.has_succeeded or self.halted))
