"""Stage runs in this process, each with the driver that suits it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from encord_agents.tasks.engine.context import Agent
from encord_agents.tasks.engine.events import Events
from encord_agents.tasks.engine.gate import Gate
from encord_agents.tasks.engine.one_by_one import run_one_by_one
from encord_agents.tasks.engine.overlap import Pipeline
from encord_agents.tasks.engine.stage_run import StageRun
from encord_agents.tasks.runner.connection import Connection
from encord_agents.tasks.runner.passes import StageRuns
from encord_agents.tasks.runner.run_options import RunnerOptions

__all__ = ["InProcessRuns"]


@dataclass(eq=False)
class InProcessRuns(StageRuns):
    """Runs each agent over its stage, in this process.

    Attributes:
        files: A directory for files, if agents ask for any.
    """

    connection: Connection
    options: RunnerOptions
    gate: Gate
    events: Events
    files: Path | None

    def run(self, agent: Agent) -> None:
        options = self.options
        run = self.connection.stage_run(
            agent,
            self.gate,
            self.events,
            bundle_saves=options.bundle_saves,
            dry_run=options.dry_run,
            max_tasks=options.max_tasks_per_stage,
            max_failures=options.max_consecutive_failures,
            files=self.files,
            unwritten=self.unwritten,
            unconfirmed=self.unconfirmed,
        )
        try:
            self._drive(run)
            # A task that somebody else moved while pages were read may have hidden another: reading again finds it.
            while not run.stop.requested and run.backlog.reopen():
                self._drive(run)
        finally:
            self.halted = self.halted or run.halted
            run.send_rest()  # whatever happened: failed attempts' own saves are sent too

    def _drive(self, run: StageRun) -> None:
        options, is_async = self.options, run.agent.plan.has_async
        # Async agents run on an event loop, which only the pipeline drives.
        if options.task_batch_size == 1 and not is_async:
            run_one_by_one(run)
        else:
            loop = self.connection.loop if is_async else None
            Pipeline(run, options.task_batch_size, options.max_workers, loop).drive()
