"""`QueueRunner.drain`: stage runs over the workers, in a thread, while the caller only waits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from encord_agents.tasks.engine.context import Agent
from encord_agents.tasks.runner.apart import Apart
from encord_agents.tasks.runner.executor_pool import ExecutorPool
from encord_agents.tasks.runner.messages import WorkerDiedError, WorkerError
from encord_agents.tasks.runner.outcomes import Drain
from encord_agents.tasks.runner.processes import Processes
from encord_agents.tasks.runner.queue_function import QueueFunction
from encord_agents.tasks.runner.stage_drain import StageDrain

__all__ = ["DrainRuns", "WorkerDiedError", "WorkerError"]


@dataclass(eq=False, kw_only=True)
class DrainRuns(Drain):
    """Runs each agent over its stage, in the workers.

    Attributes:
        functions: The function that serves each agent's stage in the workers.
    """

    functions: Mapping[UUID, QueueFunction]
    workers: Processes | ExecutorPool

    def run(self, agent: Agent) -> None:
        """Process all tasks of a stage.

        Raises:
            BaseException: An exception that came from outside, such as a `KeyboardInterrupt`: after the tasks in flight
                are finished and written; at once on a second one.
            SetUpError, NoRoomError, OutageError: The error that ended it.
        """
        drain = StageDrain(self, agent, self.functions[agent.stage.uuid], self.workers)
        # The caller's thread only waits, since an interrupt may come between any two of its steps. The stop is
        # requested before anything else is waited for.
        apart = Apart(drain.run)
        interrupts: list[BaseException] = []
        while True:
            try:
                if not interrupts:
                    apart.start()
                else:
                    self.stop.interrupt(interrupts[0])
                    apart.call_off()  # in case the interrupt came before the thread began
                    self.workers.stop()
                if len(interrupts) > 1:
                    self.stop.leave()
                self._see_end(apart, drain)
                break
            except BaseException as error:  # handled at the top of the loop, where another one may come as well
                if self.stop.leaving and isinstance(error, Exception):
                    raise
                interrupts.append(error)
        if interrupts:
            raise interrupts[0]
        if apart.error is not None:
            raise apart.error

    def _see_end(self, apart: Apart, drain: StageDrain) -> None:
        """Wait until the stage run is over. Once a stop is requested, a pending read is abandoned after a grace period;
        once it is time to leave, anything is."""
        stop, clock = self.stop, self.gate.clock
        since: float | None = None
        while not apart.wait():
            if not (stop.leaving or (stop.requested and drain.only_reads)):
                since = None
            elif (since := since or clock()) + self.gate.timing.grace <= clock():
                return
