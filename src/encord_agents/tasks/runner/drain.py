"""`QueueRunner.drain`: each agent's turn over the workers, for a caller that only waits and can be interrupted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol
from uuid import UUID

from encord_agents.tasks.engine.context import Agent
from encord_agents.tasks.engine.events import StageFinished, StageStarted, TaskRef
from encord_agents.tasks.runner.apart import Apart
from encord_agents.tasks.runner.executor_drain import ExecutorDrain
from encord_agents.tasks.runner.messages import WorkerDiedError, WorkerError
from encord_agents.tasks.runner.pool_drain import PoolDrain
from encord_agents.tasks.runner.processes import Processes
from encord_agents.tasks.runner.stage_drain import DrainRun, StageDrain
from encord_agents.tasks.runner.worker import Function
from encord_agents.tasks.runner.worker_main import Drives
from encord_agents.tasks.runner.workers import ExecutorWorkers

__all__ = ["DrainTurns", "Serves", "WorkerDiedError", "WorkerError"]


class Serves(Function, Drives, Protocol):
    """Serves a stage, in whatever kind of workers."""


class DrainTurns:
    """Each agent's turn in a pass.

    Args:
        functions: What serves each agent's stage in the workers.
    """

    def __init__(self, run: DrainRun, functions: Mapping[UUID, Serves], workers: Processes | ExecutorWorkers) -> None:
        self._run = run
        self._functions = functions
        self._workers = workers

    @property
    def unwritten(self) -> list[TaskRef]:
        return self._run.unwritten

    @property
    def unconfirmed(self) -> set[UUID]:
        return self._run.unconfirmed

    @property
    def halted(self) -> str | None:
        return self._run.halted

    def take(self, agent: Agent) -> None:
        """Have everything that waits in a stage worked on.

        Raises:
            KeyboardInterrupt: When what was being worked on is finished and written; at once if it comes twice.
            SetUpError, NoRoomError, OutageError: What ended it.
        """
        run, stage = self._run, agent.stage
        run.events.emit(StageStarted(stage.uuid, stage.title, agent.plan.name))
        started = run.gate.clock()
        try:
            self._take(self._drain_of(agent))
        finally:
            run.events.emit(StageFinished(stage.uuid, stage.title, run.gate.clock() - started))

    def _drain_of(self, agent: Agent) -> StageDrain:
        function, workers = self._functions[agent.stage.uuid], self._workers
        if isinstance(workers, Processes):
            return PoolDrain(self._run, agent, function, workers)
        return ExecutorDrain(self._run, agent, function, workers)

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
                    self._run.stop.request("interrupt")
                    turn.call_off()
                    self._workers.stop()
                if interrupts > 1:
                    self._run.stop.leave()
                    self._workers.leave()
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
        stop, clock = self._run.stop, self._run.gate.clock
        since: float | None = None
        while not turn.wait():
            if not (stop.leaving or (stop.requested and drain.only_reads)):
                since = None
            elif (since := since or clock()) + self._run.gate.timing.grace <= clock():
                return
