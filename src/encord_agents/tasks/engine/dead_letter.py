"""Final failures in a row: when they end the run, and who goes down a failure pathway."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from uuid import UUID

from encord_agents.core.tracebacks import described, is_a, set_cause
from encord_agents.exceptions import AssetDownloadError, DependencyError, UnknownPathwayError
from encord_agents.tasks.engine.context import Agent
from encord_agents.tasks.engine.outcome import Failed, Fault, Held, Moved, Outcome, Phase
from encord_agents.tasks.engine.stop import Stop
from encord_agents.tasks.engine.verdict import is_nobodys_fault, is_platform_trouble

__all__ = ["FAILURES_IN_A_ROW", "DeadLetters"]

FAILURES_IN_A_ROW = 20
"""Dead-lettered tasks in a row after which the agent, not the tasks, is to blame."""

NEVER_MADE = """\
A run-scoped dependency of {}() could not be made, in {} attempts: {}
Every task needs it, so the run ends here. What was finished is written."""

_counting = threading.Lock()
"""Several calls of a process may serve one agent."""


@dataclass(eq=False)
class DeadLetters:
    """Decides it for one agent, whose counts it keeps.

    Attributes:
        strict: Whether an agent that is to blame ends the run, and one that has not succeeded yet is not believed.
        most: Final failures in a row, of whatever phase, that end the run; ``None``: any number is endured.
        halted: Why it has ended the run, if it has.
    """

    agent: Agent
    stop: Stop
    strict: bool = True
    most: int | None = None
    halted: str | None = None

    def succeeded(self) -> None:
        """An attempt was good, whatever becomes of its result."""
        with _counting:
            self.agent.has_succeeded = True
            self.agent.failures_in_a_row = self.agent.given_up_in_a_row = 0

    def gave_up(self, uuid: UUID, fault: Fault) -> None:
        """Count a task whose attempts are over, all of them failed."""
        if not self._counts(uuid, fault):
            return
        with _counting:
            self.agent.given_up_in_a_row += 1
            number = self.agent.given_up_in_a_row
        self._check(number)

    def finished(self, uuid: UUID, outcome: Outcome) -> None:
        """Count an outcome: in a row are also those whose labels, or moves, were refused."""
        if isinstance(outcome, Moved | Held):
            with _counting:
                self.agent.refused_in_a_row = 0
        elif isinstance(outcome, Failed) and outcome.fault.phase in (Phase.SAVE, Phase.MOVE):
            if not self._counts(uuid, outcome.fault):
                return
            with _counting:
                self.agent.refused_in_a_row += 1
                number = self.agent.refused_in_a_row
            self._check(number)

    def _counts(self, uuid: UUID, fault: Fault) -> bool:
        """Not what the platform's trouble is; and a task that fails in each pass anew does so once."""
        if self.most is None or uuid in self.agent.known:
            return False
        return not (fault.platform or is_platform_trouble(fault.exception))

    def _check(self, number: int) -> None:
        if self.most is not None and number >= self.most:
            self._halt(self.most, f" (max_consecutive_failures={self.most})")

    def _halt(self, number: int, why: str) -> None:
        if self.halted is None and self.strict:
            tasks = "1 task" if number == 1 else f"{number} tasks"
            row = "" if number == 1 else " in a row"
            self.halted = f"{tasks} of stage {self.agent.stage.title!r} failed{row}{why}"
            self.stop.request()

    def ends_run(self, fault: Fault) -> Exception | None:
        """Return the error that a final failure ends the run with: where every task of the stage would fail alike."""
        if not self.strict or self.stop.requested:
            return None
        if fault.run_scoped and not self.agent.has_succeeded:
            name = self.agent.plan.name
            error = DependencyError(NEVER_MADE.format(name, fault.attempt, described(fault.exception)), function=name)
            set_cause(error, fault.exception)
            return error
        is_unknown = fault.phase is Phase.PATHWAY and is_a(fault.exception, UnknownPathwayError)
        return fault.exception if is_unknown and not self.agent.has_named_a_pathway else None  # type: ignore[return-value]

    def take(self, fault: Fault) -> bool:
        """A task failed for good. Whether it goes down the failure pathway."""
        agent = self.agent
        if agent.failure_pathway is None or fault.phase in (Phase.LOAD, Phase.SAVE, Phase.MOVE):
            return False
        if fault.platform or is_nobodys_fault(fault.exception) or is_a(fault.exception, AssetDownloadError):
            return False
        with _counting:
            agent.failures_in_a_row += 1
            too_many = agent.failures_in_a_row >= FAILURES_IN_A_ROW
        if too_many:
            self._halt(FAILURES_IN_A_ROW, ", which says more about the agent than about the tasks")
            return False
        if fault.rate_limited:  # another time it may well succeed: no person needs to look at it
            return False
        return not (self.strict and (not agent.has_succeeded or self.halted))
