"""Who goes down a failure pathway: tasks that failed for good, as long as it is they who are to blame."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from encord_agents.core.tracebacks import is_a
from encord_agents.exceptions import AssetDownloadError
from encord_agents.tasks.engine.context import Agent
from encord_agents.tasks.engine.gate import is_platform_trouble
from encord_agents.tasks.engine.outcome import Fault, Phase
from encord_agents.tasks.engine.stop import Stop

__all__ = ["FAILURES_IN_A_ROW", "DeadLetters"]

FAILURES_IN_A_ROW = 20
"""Dead-lettered tasks in a row after which the agent, not the tasks, is to blame."""

_counting = threading.Lock()
"""Several calls of a process may serve one agent."""


@dataclass(eq=False)
class DeadLetters:
    """Decides it for one agent, whose counts it keeps.

    Attributes:
        strict: Whether an agent that is to blame ends the run, and one that has not succeeded yet is not believed.
        halted: Why it has ended the run, if it has.
    """

    agent: Agent
    stop: Stop
    strict: bool = True
    halted: str | None = None

    def succeeded(self) -> None:
        """An attempt was good, whatever becomes of its result."""
        with _counting:
            self.agent.has_succeeded = True
            self.agent.failures_in_a_row = 0

    def take(self, fault: Fault) -> bool:
        """A task failed for good. Whether it goes down the failure pathway."""
        agent = self.agent
        if agent.failure_pathway is None or fault.phase in (Phase.LOAD, Phase.SAVE, Phase.MOVE):
            return False
        if fault.platform or is_platform_trouble(fault.exception) or is_a(fault.exception, AssetDownloadError):
            return False
        with _counting:
            agent.failures_in_a_row += 1
            too_many = agent.failures_in_a_row >= FAILURES_IN_A_ROW
        if too_many:
            if self.halted is None and self.strict:
                self.halted = (
                    f"{FAILURES_IN_A_ROW} tasks of stage {agent.stage.title!r} failed in a row, which says more "
                    "about the agent than about the tasks"
                )
                self.stop.request()
            return False
        return not (self.strict and (not agent.has_succeeded or self.halted))
