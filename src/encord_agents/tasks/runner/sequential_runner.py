"""`SequentialRunner`, known as `Runner`: one process, stage after stage, once or polling."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar
from uuid import UUID

from encord.project import Project
from encord.user_client import EncordUserClient

from encord_agents.core.data_model import LabelRowInitialiseLabelsArgs, LabelRowMetadataIncludeArgs
from encord_agents.core.dependencies.awaiting import refuse_coroutine
from encord_agents.core.room import check_directory, temporary_directory
from encord_agents.exceptions import PrintableError
from encord_agents.tasks.engine.context import Agent
from encord_agents.tasks.engine.report import RunReport
from encord_agents.tasks.engine.stage import find_stage
from encord_agents.tasks.engine.stop import Leaving, Stop
from encord_agents.tasks.engine.timing import Limits
from encord_agents.tasks.models import AgentFunction
from encord_agents.tasks.models import DecoratedCallable as DecoratedCallable  # existing code imports these from here
from encord_agents.tasks.models import TaskAgentReturnStruct as TaskAgentReturnStruct
from encord_agents.tasks.models import TaskAgentReturnType as TaskAgentReturnType
from encord_agents.tasks.runner.base import RegisteredAgent as RunnerAgent  # noqa: F401 - for existing code
from encord_agents.tasks.runner.base import RunnerBase, check_stage, checked_hash, make_agent
from encord_agents.tasks.runner.connection import Connection, tear_down
from encord_agents.tasks.runner.in_process import InProcessRuns
from encord_agents.tasks.runner.opening import open_project
from encord_agents.tasks.runner.passes import Passes, reported, stopped_before
from encord_agents.tasks.runner.run_options import Progress, RunnerOptions, check_number

if TYPE_CHECKING:
    from encord_agents.tasks.runner.trying import Trial, Wanted

__all__ = ["MAX_LABEL_ROW_BATCH_SIZE", "Runner", "SequentialRunner"]

MAX_LABEL_ROW_BATCH_SIZE = Limits().at_once
"""The maximum number of label rows in one request."""

Function = TypeVar("Function", bound=AgentFunction)


class SequentialRunner(RunnerBase):
    """Runs agents over the tasks in their stages, one stage after the other.

    ::

        runner = Runner(project_hash="...")

        @runner.stage("Pre-label")
        def pre_label(label_row: LabelRowV2) -> TaskAgentReturnStruct:
            ...
            return TaskAgentReturnStruct(pathway="review", label_row=label_row)

        if __name__ == "__main__":
            runner.run()      # a command line; runner() is the same as a function call

    Args:
        project_hash: The project. With it, credentials, the project and the stage names are checked at once; without
            it, when the runner is called with one.
        pre_execution_callback: Called with the runner once per call, after everything is checked and before any task.
            Its exceptions pass unchanged.
        user_client: The client to use, for everything. Default: one made from the environment.
        asset_cache: A directory in which the tasks' files are kept between runs, for all processes of this machine.
            Default: that of the environment variable ``ENCORD_AGENTS_CACHE``; without it, files are not kept.
        asset_cache_size: The maximum size of that directory, in bytes or as text, ``"50 GB"``; the least recently used
            files are removed first. Default: ``ENCORD_AGENTS_CACHE_SIZE``, or 20 GB.

    Raises:
        CredentialsError: There is no key, or it cannot be used.
        ProjectError: The hash is not a uuid, the project has no workflow, or its workflow has no agent stage.
        encord.exceptions.EncordException: The platform refuses; a note says what to do.

    Attributes:
        agents: The registered agents, in order of definition.
        dependency_overrides: For tests: functions to use in place of others as dependencies.
        timing, limits: For tests: the numbers that the engine goes by.
        report: The last call's report, even if the call raised.
        observers: Called with each event of a run, see `encord_agents.tasks.engine.report`.
        was_called_from_cli: True from a call of `run` on, for callbacks and agents.
    """

    def __init__(
        self,
        project_hash: str | UUID | None = None,
        *,
        pre_execution_callback: Callable[[SequentialRunner], None] | None = None,
        user_client: EncordUserClient | None = None,
        asset_cache: str | Path | None = None,
        asset_cache_size: int | str | None = None,
    ) -> None:
        super().__init__(
            project_hash, user_client=user_client, asset_cache=asset_cache, asset_cache_size=asset_cache_size
        )
        self.pre_execution_callback = pre_execution_callback
        self.was_called_from_cli = False

    @property
    def project(self) -> Project | None:
        """The project: the runner's own, or the last call's; ``None`` before there is one."""
        return self._project

    @project.setter
    def project(self, project: Project | None) -> None:
        """Make the runner serve a project from now on, as if it had been made for it."""
        self._project_hash = None if project is None else checked_hash(project.project_hash)
        # Opened again: the engine does the retries, which the project's own client may do, too.
        self._project = None if self._project_hash is None else open_project(self._sender, self._project_hash)

    def stage(
        self,
        stage: str | UUID,
        *,
        label_row_metadata_include_args: LabelRowMetadataIncludeArgs | None = None,
        label_row_initialise_labels_args: LabelRowInitialiseLabelsArgs | None = None,
        overwrite: bool = False,
        will_set_priority: bool = False,
        give_up_on: tuple[type[Exception], ...] = (),
        failure_pathway: str | UUID | None = None,
        restore_labels: bool = False,
    ) -> Callable[[Function], Function]:
        """Register a function for a stage. The function is returned unchanged.

        It may return a pathway's name or uuid, a `TaskAgentReturnStruct`, or ``None`` to leave the task in its stage.

        Args:
            stage: The stage's title or uuid.
            label_row_metadata_include_args: The fields of label rows to list. A ``branch_name`` wins over the task's.
            label_row_initialise_labels_args: The parts of their labels to fetch.
            overwrite: Replace the function that serves the stage already, in its place. Not needed in a notebook, where
                a cell that defines the same function again replaces it.
            will_set_priority: No longer needed: priorities can always be set. Kept for existing code.
            give_up_on: Exceptions that are never retried.
            failure_pathway: The pathway of tasks that finally failed in their dependencies, agent, teardown or pathway:
                they are moved, without labels or priority, and still count as failed. Not for trouble of the platform,
                nor before the stage's first success in a run. After 20 such failures in a row the run stops.
            restore_labels: Begin every attempt with the label row as it was loaded: objects, classifications, answers.
                Default: changes that a failed attempt made to it stay.

        Raises:
            DependencyError: A parameter asks for something that nothing can supply.
            MissingExtraError: A dependency needs packages that are not installed.
            StageAlreadyAssignedError: Another function serves the stage.
            UnknownStageError, UnknownPathwayError: The project does not have it (checked now if there is a project).
        """

        check_stage(stage)

        def register(function: Function) -> Function:
            agent = make_agent(
                function,
                stage,
                label_row_metadata_include_args=label_row_metadata_include_args,
                label_row_initialise_labels_args=label_row_initialise_labels_args,
                will_set_priority=will_set_priority,
                give_up_on=give_up_on,
                failure_pathway=failure_pathway,
                restore_labels=restore_labels,
            )
            self._register(agent, overwrite=overwrite)
            return function

        return register

    def __call__(
        self,
        refresh_every: int | None = None,
        num_retries: int = 3,
        task_batch_size: int = 300,
        project_hash: str | UUID | None = None,
        max_tasks_per_stage: int | None = None,
        *,
        progress: Progress = "auto",
        max_workers: int = 1,
        max_outage: float = 300.0,
        retry_delay: float = 0.0,
        max_consecutive_failures: int | None = None,
        dry_run: bool = False,
        bundle_saves: bool = False,
        report: str | Path | None = None,
        stop: Stop | None = None,
    ) -> RunReport:
        """Run every agent over the tasks in its stage.

        Args:
            refresh_every: Seconds from the start of one pass over the stages to that of the next; ``None``: one pass.
            num_retries: Attempts of a task after its first.
            task_batch_size: How many tasks may have their labels in memory at once. With 1 there are no threads, and
                each task is written before the next is loaded.
            project_hash: The project, where the runner was made without one.
            max_tasks_per_stage: How many tasks to give to each agent in a pass; ``None``: all.
            progress: ``"rich"`` on a terminal, ``"plain"`` lines, ``"none"``; ``"auto"`` chooses between the first two.
            max_workers: Attempts at once: in threads, or on one event loop for async agents. Up to `task_batch_size`.
            max_outage: Seconds to wait for a platform that does not answer.
            retry_delay: Seconds before the second attempt of a task; doubles with each, jittered, at most 60. In any
                case, a service that an agent calls and that says when to come back is obeyed.
            max_consecutive_failures: End the run after this many tasks of a stage have finally failed in a row, for any
                reason but the platform's trouble. ``None``: never.
            dry_run: Run the agents and write nothing; report for each task the writes that were left out.
            bundle_saves: Let `label_row.save()` and `label_row.set_priority()` of a task's own row, called by its
                agent or dependencies, return at once, and send them with the others, before the task moves.
            report: A file to write one JSON line per task to, during the run.
            stop: Ends the run from outside, and several runs that share it; see `encord_agents.tasks.stop_on_signals`.

        Returns:
            The report, which is truthy. Failed tasks do not raise, see `RunReport.raise_for_failures`.

        Raises:
            PrintableError: A number is out of range, or the set-up is wrong.
            OutageError: The platform did not answer for `max_outage` seconds.
            NoRoomError: This machine has no room for the tasks' files, even when no other file of the run is there.
            KeyboardInterrupt: After the finished results are written.
        """
        options = RunnerOptions(
            refresh_every=refresh_every,
            num_retries=num_retries,
            task_batch_size=task_batch_size,
            max_tasks_per_stage=max_tasks_per_stage,
            progress=progress,
            max_workers=max_workers,
            max_outage=max_outage,
            retry_delay=retry_delay,
            max_consecutive_failures=max_consecutive_failures,
            dry_run=dry_run,
            bundle_saves=bundle_saves,
            report=report,
        )
        stop = Stop(stop)
        try:
            project = self._project_for(project_hash, stop=stop, max_outage=max_outage)
        except Leaving:
            return stopped_before(self, stop)
        self._check_has_agents()
        agents = self._bind_all(project, num_retries=num_retries, retry_delay=retry_delay)
        return self._run(project, agents, options, stop)

    def run_stage(
        self,
        stage: str | UUID,
        *,
        project_hash: str | UUID | None = None,
        num_retries: int = 3,
        task_batch_size: int = 300,
        max_tasks: int | None = None,
        bundle_saves: bool = False,
        stop: Stop | None = None,
    ) -> RunReport:
        """Run the agent of one stage, once: for web handlers and jobs.

        Only that agent is checked, so a `Runner()` without a project may hold the agents of several. The other
        arguments are those of calling the runner.

        Args:
            stage: The stage's title or uuid; a function must have been registered for it.
            max_tasks: How many tasks to give to the agent; ``None``: all.

        Raises:
            UnknownStageError: The project has no such agent stage.
            PrintableError: A number is out of range, or no function serves the stage.
        """
        check_number("max_tasks", max_tasks, optional=True)
        options = RunnerOptions(
            num_retries=num_retries,
            task_batch_size=task_batch_size,
            max_tasks_per_stage=max_tasks,
            bundle_saves=bundle_saves,
        )
        stop = Stop(stop)
        try:
            project = self._project_for(project_hash, stop=stop)
        except Leaving:
            return stopped_before(self, stop)
        wanted = find_stage(project.workflow.stages, stage)
        agents = self._bind_all(project, only=wanted, num_retries=num_retries)
        if not agents:
            served = ", ".join(repr(str(agent.identity)) for agent in self.agents) or "none"
            raise PrintableError(f"No function serves stage {wanted.title!r}. Stages that are served: {served}.")
        return self._run(project, agents, options, stop)

    def try_on(self, task: Wanted = None, *, project_hash: str | UUID | None = None) -> Trial:
        """Try an agent on one task, once, and write nothing: to develop it, best in a notebook, which shows the labels.

        The agent's own saves, through its label row, are not sent either. A task that fails is shown with
        its traceback.

        Args:
            task: A task or a label row of the SDK; the title of a data unit; the uuid of a task or of a data unit.
                Default: the first task there is.
            project_hash: The project, where the runner was made without one.

        Raises:
            PrintableError: No stage that the runner serves has such a task, or the set-up is wrong.
        """
        from encord_agents.tasks.runner.trying import try_on

        return try_on(self, task, project_hash)

    def run(self) -> NoReturn:
        """Run as a command line: `python agents.py --help` lists its options. Exits with its exit code.

        Raises:
            PrintableError: This is a notebook or a test runner, which owns the arguments and the process: call the
                runner.
        """
        from encord_agents.cli.runner import run_as_command

        self.was_called_from_cli = True
        sys.exit(run_as_command(self))

    def check(self, project_hash: str | UUID | None = None) -> list[tuple[str, str, str, list[str]]]:
        """Validate everything and run nothing.

        Returns:
            For each agent: its stage's title and uuid, the function's name, and the types that it needs.

        Raises:
            PrintableError: The set-up is wrong, or agents need files and this machine has no place for them.
        """
        project = self._project_for(project_hash)
        self._check_has_agents()
        agents = self._bind_all(project)
        if any(agent.needs_asset for agent in agents):
            check_directory()
        return [
            (
                agent.stage.title,
                str(agent.stage.uuid),
                agent.plan.name,
                sorted(needed.__name__ for needed in agent.plan.needs | agent.plan.run_needs),
            )
            for agent in agents
        ]

    def _run(self, project: Project, agents: Sequence[Agent], options: RunnerOptions, stop: Stop) -> RunReport:
        def run(passes: Passes) -> None:
            if self.pre_execution_callback is not None:
                with stop.interruptible():
                    refuse_coroutine(self.pre_execution_callback(self))
            # Not an `ExitStack`: an interrupt between two of its exits would skip the rest.
            connection: Connection | None = None
            try:
                connection = Connection(
                    self,
                    project,
                    max_outage=options.max_outage,
                    stop=stop,
                    bundle_saves=options.bundle_saves,
                    one_at_a_time=min(options.max_workers, options.task_batch_size) == 1,
                )
                self._run_on(connection, passes, agents, options, stop)
            finally:
                if connection is not None:
                    connection.loop.close()

        return reported(self, stop, options, run)

    def _run_on(
        self, connection: Connection, passes: Passes, agents: Sequence[Agent], options: RunnerOptions, stop: Stop
    ) -> None:
        with contextlib.ExitStack() as stack:
            files = None
            if any(agent.needs_asset for agent in agents):
                files = stack.enter_context(temporary_directory())
            runs = InProcessRuns(connection, options, connection.gate(stop), passes.events, files)
            try:
                passes.run(runs, agents, project_hash=connection.project.project_hash)
            finally:
                # After an interrupt, the teardowns that are left are still run; a second one ends them.
                interrupt: BaseException | None = None
                while True:
                    try:
                        with stop.interruptible(although_interrupted=True):
                            tear_down(connection.scope, self.report)
                        break
                    except BaseException as error:
                        if interrupt is not None:
                            raise
                        interrupt = error
                if interrupt is not None:
                    raise interrupt


Runner = SequentialRunner
