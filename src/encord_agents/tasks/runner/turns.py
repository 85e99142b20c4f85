"""Each agent's turn in a run of one process."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from encord.project import Project
from encord.user_client import EncordUserClient

from encord_agents.core.dependencies.scope import RunScope
from encord_agents.tasks.engine.context import Agent
from encord_agents.tasks.engine.event_loop import EventLoop
from encord_agents.tasks.engine.events import Events, StageFinished, StageStarted, TaskRef
from encord_agents.tasks.engine.execute import Executor
from encord_agents.tasks.engine.gate import Gate
from encord_agents.tasks.engine.one_by_one import run_one_by_one
from encord_agents.tasks.engine.overlap import Pipeline
from encord_agents.tasks.engine.own_saves import OwnSaves
from encord_agents.tasks.engine.stage_run import StageRun
from encord_agents.tasks.engine.stop import Stop
from encord_agents.tasks.engine.timing import Limits, Timing
from encord_agents.tasks.runner.passes import (
    Progress,
)

__all__ = ["Options", "RunTurns"]


@dataclass(frozen=True, slots=True)
class Options:
    """Checked options of a run."""

    window: int
    max_tasks: int | None
    refresh_every: float | None = None
    max_workers: int = 1
    max_outage: float = 300.0
    max_failures: int | None = None
    dry_run: bool = False
    bundle_saves: bool = False
    progress: Progress = "none"
    report_file: str | Path | None = None
    timing: Timing = field(default_factory=Timing)
    limits: Limits = field(default_factory=Limits)


class RunTurns:
    """Each agent's turn in a pass, and what is kept from one turn to the next."""

    def __init__(
        self,
        project: Project,
        client: EncordUserClient,
        options: Options,
        stop: Stop,
        events: Events,
        scope: RunScope,
        fixed: dict[type, object],
        loop: EventLoop,
        files: Path | None,
    ) -> None:
        self._project = project
        self._client = client
        self._options = options
        self._events = events
        self._loop = loop
        self._files = files
        self._gate = Gate(stop, max_outage=options.max_outage, timing=options.timing, limits=options.limits)
        own_saves = OwnSaves(self._gate, options.bundle_saves, options.dry_run)
        self._executor = Executor(scope, fixed, self._gate, own_saves)
        self.unwritten: list[TaskRef] = []
        self.unconfirmed: set[UUID] = set()
        self.halted: str | None = None

    def take(self, agent: Agent) -> None:
        """Run an agent over what waits in its stage."""
        options = self._options
        run = StageRun(
            agent,
            self._project,
            self._client,
            self._gate,
            self._events,
            self._executor,
            max_tasks=options.max_tasks,
            dry_run=options.dry_run,
            max_failures=options.max_failures,
            files=self._files,
            unwritten=self.unwritten,
            unconfirmed=self.unconfirmed,
        )
        self._events.emit(StageStarted(agent.stage.uuid, agent.stage.title, agent.plan.name))
        started = self._gate.clock()
        try:
            if options.window == 1 and not agent.plan.has_async:
                run_one_by_one(run)
            else:
                loop = self._loop if agent.plan.has_async else None
                Pipeline(run, options.window, options.max_workers, loop).drive()
        finally:
            self.halted = self.halted or run.halted
            run.send_rest()
            self._events.emit(StageFinished(agent.stage.uuid, agent.stage.title, self._gate.clock() - started))
