"""Each agent's turn in a run of one process."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

from encord.project import Project
from encord.user_client import EncordUserClient

from encord_agents.core.dependencies.scope import RunScope
from encord_agents.tasks.engine.context import Agent
from encord_agents.tasks.engine.event_loop import EventLoop
from encord_agents.tasks.engine.events import Events, TaskRef
from encord_agents.tasks.engine.execute import Executor
from encord_agents.tasks.engine.gate import Gate
from encord_agents.tasks.engine.one_by_one import run_one_by_one
from encord_agents.tasks.engine.overlap import Pipeline
from encord_agents.tasks.engine.own_saves import OwnSaves
from encord_agents.tasks.engine.stage_run import StageRun
from encord_agents.tasks.runner.run_options import RunnerOptions

__all__ = ["RunTurns"]


class RunTurns:
    """Each agent's turn in a pass, and the state that is kept from one turn to the next."""

    def __init__(
        self,
        project: Project,
        client: EncordUserClient,
        options: RunnerOptions,
        gate: Gate,
        events: Events,
        scope: RunScope,
        loop: EventLoop,
        files: Path | None,
    ) -> None:
        self._project = project
        self._client = client
        self._options = options
        self._gate = gate
        self._events = events
        self._loop = loop
        self._files = files
        own_saves = OwnSaves(gate, options.bundle_saves, options.dry_run)
        self._executor = Executor(scope, own_saves)
        self.unwritten: list[TaskRef] = []
        self.unconfirmed: set[UUID] = set()
        self.halted: str | None = None

    def take(self, agent: Agent) -> None:
        """Run an agent over the tasks in its stage."""
        options = self._options
        run = StageRun(
            agent,
            self._project,
            self._client,
            self._gate,
            self._events,
            self._executor,
            max_tasks=options.max_tasks_per_stage,
            dry_run=options.dry_run,
            max_failures=options.max_consecutive_failures,
            files=self._files,
            unwritten=self.unwritten,
            unconfirmed=self.unconfirmed,
        )
        try:
            if options.task_batch_size == 1 and not agent.plan.has_async:
                run_one_by_one(run)
            else:
                loop = self._loop if agent.plan.has_async else None
                Pipeline(run, options.task_batch_size, options.max_workers, loop).drive()
        finally:
            self.halted = self.halted or run.halted
            run.send_rest()
