"""`QueueRunner`: the same agents as callables, JSON in and JSON out, for a task engine that you already run."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import NoReturn
from uuid import UUID

from encord.project import Project
from encord.user_client import EncordUserClient
from encord.workflow.stages.agent import AgentStage

from encord_agents.core.data_model import LabelRowInitialiseLabelsArgs, LabelRowMetadataIncludeArgs
from encord_agents.core.dependencies.awaiting import refuse_coroutine
from encord_agents.core.room import check_directory
from encord_agents.exceptions import PrintableError as PrintableError  # existing code imports it from here
from encord_agents.exceptions import ProjectError, StageAlreadyAssignedError
from encord_agents.tasks.engine.report import RunReport
from encord_agents.tasks.engine.stop import Leaving, Stop
from encord_agents.tasks.engine.write import Writer
from encord_agents.tasks.models import AgentFunction
from encord_agents.tasks.models import AgentTaskConfig as AgentTaskConfig  # and these three
from encord_agents.tasks.models import TaskAgentReturnStruct as TaskAgentReturnStruct
from encord_agents.tasks.models import TaskAgentReturnType as TaskAgentReturnType
from encord_agents.tasks.models import TaskCompletionResult as TaskCompletionResult
from encord_agents.tasks.runner.base import RegisteredAgent, RunnerBase, check_stage, checked_hash, make_agent
from encord_agents.tasks.runner.connection import Connection
from encord_agents.tasks.runner.drain import DrainRuns
from encord_agents.tasks.runner.executor_pool import ExecutorPool, check_workers
from encord_agents.tasks.runner.forks import forget_after_fork
from encord_agents.tasks.runner.passes import Passes, reported, stopped_before
from encord_agents.tasks.runner.processes import Processes
from encord_agents.tasks.runner.queue_function import QueueFunction, TaskSpec
from encord_agents.tasks.runner.run_options import DrainOptions, Progress, check_number
from encord_agents.tasks.runner.ways_to_run import NO_PROJECT, WAYS_TO_RUN, warn_of_second

__all__ = ["QueueFunction", "QueueRunner", "TaskSpec"]


class QueueRunner(RunnerBase):
    """Turns agents into functions that an engine can call anywhere: a task as JSON in, its outcome as JSON out.

    ::

        runner = QueueRunner(project_hash="...")

        @runner.stage("Pre-label")
        def pre_label(label_row: LabelRowV2) -> str:
            ...
            return "review"

        answer = pre_label(task.model_dump_json())       # TaskCompletionResult.model_validate_json(answer)

    Importing and decorating make no request. The first use of `project`, `get_agent_stages`, or a decorated function
    connects, once per process, and checks every registered stage.

    Args:
        project_hash: The project.
        pre_execution_callback: Called with the runner once per process, when it has connected and everything is
            checked. Its exceptions pass unchanged, and the next use tries again.
        user_client: The client to use, for everything. Default: one made from the environment, in each process.
        asset_cache, asset_cache_size: Where the tasks' files are kept from run to run; see `SequentialRunner`.
        max_outage: Seconds a call waits for a platform that does not answer. After that its tasks fail, ``retryable``.
        bundle_saves: Let `label_row.save()` and `label_row.set_priority()` of a task's own row, called by its agent or
            dependencies, return at once, and send them with the others of the call, before the task moves.

    Raises:
        ProjectError: There is no project hash, or it is not a uuid.
        PrintableError: `max_outage` is out of range.

    Attributes: those of `RunnerBase`, and
        bundle_saves: As given.
        wake: Called with a project and a stage when a notification says that tasks wait there, to fill an engine's
            queue; see `encord_agents.fastapi.serve_runner`.
    """

    def __init__(
        self,
        project_hash: str | UUID | None = None,
        *,
        user_client: EncordUserClient | None = None,
        pre_execution_callback: Callable[[QueueRunner], None] | None = None,
        max_outage: float = 300.0,
        bundle_saves: bool = False,
        asset_cache: str | Path | None = None,
        asset_cache_size: int | str | None = None,
    ) -> None:
        if not project_hash:
            raise ProjectError(NO_PROJECT)
        check_number("max_outage", max_outage)
        super().__init__(user_client=user_client, asset_cache=asset_cache, asset_cache_size=asset_cache_size)
        self._project_hash: UUID = checked_hash(project_hash)
        self.pre_execution_callback = pre_execution_callback
        self.bundle_saves = bundle_saves
        self._max_outage = max_outage
        self.wake: Callable[[UUID, UUID], object] | None = None
        self._functions: dict[RegisteredAgent, QueueFunction] = {}
        self._connection: Connection | None = None
        self._connecting: Connection | None = None
        self._closing: list[Connection] = []
        self._lock = threading.RLock()
        forget_after_fork(self)

    @property
    def project_hash(self) -> str:
        """The project's hash. Makes no request."""
        return str(self._project_hash)

    @property
    def functions(self) -> list[QueueFunction]:
        """The queue functions, one for each registered stage, in order of definition. Makes no request."""
        return [self._functions[registered] for registered in self.agents]

    @property
    def project(self) -> Project:
        """The project. Connects.

        Raises:
            PrintableError: The set-up is wrong: credentials, project, stages.
            encord.exceptions.EncordException: The platform refuses; a note says what to do.
        """
        return self._connect().project

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
        raise_on_failure: bool = False,
    ) -> Callable[[AgentFunction], QueueFunction]:
        """Register a function for a stage, and replace it by a `QueueFunction`.

        The function may ask for, and return, the same as with `Runner`. The arguments are those of
        `SequentialRunner.stage`, with these differences:

        Args:
            stage: The stage's title or uuid. Checked when the runner connects. With a second function for a stage there
                is a `UserWarning`: both can be called, and the first is the one that `drain` and Celery use.
            give_up_on: Exceptions that another attempt would only raise again: failures that are not ``retryable``.
            failure_pathway: The pathway of tasks that failed in dependencies, agent, teardown or pathway, for good: in
                a call with ``final=True``, or with one of ``give_up_on``. They are moved, without labels or priority,
                and still count as failed. After 20 such failures in a row no more tasks of the process go there, until
                one succeeds.
            restore_labels: Changes nothing: a queue function loads the label row again for each attempt anyway.
            raise_on_failure: Raise `TasksFailedError` when a task failed, after the others are written, so that an
                engine's own retry fires. That retry skips the tasks that were done: they have left the stage.

        Raises:
            DependencyError: A parameter asks for something that nothing can supply.
            MissingExtraError: A dependency needs packages that are not installed.
        """
        check_stage(stage)

        def register(function: AgentFunction) -> QueueFunction:
            agent = make_agent(
                function.agent if isinstance(function, QueueFunction) else function,
                stage,
                label_row_metadata_include_args=label_row_metadata_include_args,
                label_row_initialise_labels_args=label_row_initialise_labels_args,
                will_set_priority=will_set_priority,
                give_up_on=give_up_on,
                failure_pathway=failure_pathway,
                restore_labels=restore_labels,
            )
            try:
                self._register(agent, overwrite=overwrite)
            except StageAlreadyAssignedError as error:
                warn_of_second(error, agent.name)
            served = self._functions[agent] = QueueFunction(self, agent, raise_on_failure=raise_on_failure)
            return served

        return register

    def get_agent_stages(self) -> Iterator[AgentStage]:
        """Return the stage of each registered agent, once, in order of definition. Connects when called.

        Raises:
            PrintableError: The set-up is wrong: credentials, project, stages.
            encord.exceptions.EncordException: The platform refuses; a note says what to do.
        """
        connection = self._connect()
        return iter([connection.agent(registered).stage for registered in self.agents])

    def drain(
        self,
        *,
        workers: int | None = None,
        executor: futures.Executor | None = None,
        batch_size: int = 10,
        num_retries: int = 3,
        retry_delay: float = 0.0,
        max_consecutive_failures: int | None = None,
        refresh_every: int | None = None,
        max_tasks_per_stage: int | None = None,
        progress: Progress = "auto",
        max_outage: float | None = None,
        dry_run: bool = False,
        bundle_saves: bool = False,
        report: str | Path | None = None,
        stop: Stop | None = None,
    ) -> RunReport:
        """Run every agent over the tasks in its stage, in several processes on this machine, or on an executor.

        ::

            if __name__ == "__main__":      # each worker process imports the script
                runner.drain(workers=4)

        Stages are run in order of definition: a task that an agent moves to the next stage is seen there in the same
        pass. If a worker dies, its batch is retried in another process, and then each of its tasks alone: one that
        kills its worker every time is found, and fails. At the end, worker processes tear down their run-scoped
        dependencies. Those of this process, where an executor runs threads, are torn down too, unless the runner had
        connected before.

        The arguments are those of calling a `Runner`, with these differences:

        Args:
            workers: The number of processes; default: one per processor. With an executor: how many workers it
                has, if it does not say so itself.
            executor: An executor to run on, in place of the runner's own processes: a `ThreadPoolExecutor`, loky's, a
                Dask client's ``get_executor()``, ... It is not shut down. A process that it starts must be able to
                import the agents. A worker has one batch at a time, and waits through the delays of its retries;
                events arrive with the result of their batch.
            batch_size: The number of tasks that are sent to a worker, loaded, and written together. A worker process
                has up to four batches at a time: agents run on one while others are loaded and written.
            max_outage: Seconds to wait for a platform that does not answer; ``None``: the runner's own.
            bundle_saves: Send agents' own saves with the others, even if the runner was made without it.

        Returns:
            The report, which is truthy. Failed tasks do not raise, see `RunReport.raise_for_failures`. The exception of
            a task in a worker is a `WorkerError` with its type and message, and the worker's traceback.

        Raises:
            PrintableError: A number is out of range, the set-up is wrong, or other processes cannot import an agent.
            encord.exceptions.EncordException: The platform refuses; a note says what to do.
            OutageError: The platform did not answer for `max_outage` seconds.
            NoRoomError, BrokenExecutor: No room for files, even without other batches in flight; the executor broke.
            KeyboardInterrupt: Once tasks in flight are written, within 30 s; at once on a second Ctrl-C.
        """
        options = DrainOptions(
            workers=workers,
            batch_size=batch_size,
            num_retries=num_retries,
            retry_delay=retry_delay,
            max_consecutive_failures=max_consecutive_failures,
            refresh_every=refresh_every,
            max_tasks_per_stage=max_tasks_per_stage,
            progress=progress,
            max_outage=max_outage,
            dry_run=dry_run,
            bundle_saves=bundle_saves,
            report=report,
        )
        self._check_has_agents("drain()")
        check_workers(executor, self.functions, overrides=bool(self.dependency_overrides))
        was_connected = self._connection is not None
        stop = Stop(stop)
        try:
            connection = self._connect(stop)
        except Leaving:
            return stopped_before(self, stop)
        project = connection.project
        agents = self._bind_all(project)
        if executor is None and any(agent.needs_asset for agent in agents):
            check_directory()
        served = {agent.stage.uuid: function for agent, function in zip(agents, self.functions, strict=True)}
        pool = (
            Processes(workers or os.cpu_count() or 1, self.timing, self.limits)
            if executor is None
            else ExecutorPool(executor, options, stop)
        )

        def run(passes: Passes) -> None:
            gate = connection.gate(stop, max_outage=max_outage, grace=self.timing.time_to_write)
            writer = functools.partial(Writer, project=project, client=connection.sender, gate=gate)
            # Once a stop is requested, writes get time to finish; reads get none.
            reads = connection.gate(stop, max_outage=max_outage, grace=0.0)
            runs = DrainRuns(reads, stop, passes.events, writer, options, functions=served, workers=pool)
            passes.run(runs, agents, project_hash=self.project_hash)

        def end() -> None:
            # An interrupt must not leave workers behind: it is raised after the teardown.
            interrupt: BaseException | None = None
            while True:
                try:
                    self._end_drain(pool, stop, None if was_connected else self.report)
                    break
                except BaseException as error:
                    if stop.leaving and isinstance(error, Exception):
                        raise
                    if interrupt is not None or stop.requested:
                        stop.leave()
                    interrupt = interrupt or error
            if interrupt is not None:
                raise interrupt

        return reported(self, stop, options, run, end)

    def _end_drain(self, pool: Processes | ExecutorPool, stop: Stop, report: RunReport | None) -> None:
        """End the workers and, with a ``report``, the connection that this process has made for the run.

        It can be interrupted and called again: after one interrupt, workers may still tear down their dependencies;
        after a second, they are killed.
        """
        with stop.at_work():
            pool.close(at_once=stop.leaving)
            if report is not None and not stop.leaving:
                with stop.interruptible(although_interrupted=True):
                    self._close(report)

    def run(self) -> NoReturn:
        """Run as a command line: `python agents.py --help` lists its options, which are those of `drain`. Exits
        with its exit code.

        Raises:
            PrintableError: This is a notebook or a test runner, which owns the arguments and the process: call `drain`.
        """
        from encord_agents.cli.runner import drain_as_command

        sys.exit(drain_as_command(self))

    def __call__(self, *args: object, **kwargs: object) -> NoReturn:
        """Refuse to be called, and list the ways to run it.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError(WAYS_TO_RUN)

    def close(self) -> None:
        """Tear down run-scoped dependencies, which live as long as the process, and the event loop of async agents.

        Engines call this when a worker process, or a thread of one, ends. Calls in progress in other threads keep their
        dependencies, which are torn down when the last of these calls ends. The next use connects again. A second call
        is harmless. Exceptions of teardowns are logged.

        Raises:
            KeyboardInterrupt: It was interrupted; everything is torn down all the same.
        """
        self._close()

    def _close(self, report: RunReport | None = None) -> None:
        with self._lock:
            if self._connection is not None:
                self._closing.append(self._connection)
            self._connection = self._project = None
        # Torn down outside the lock, since that may take long.
        while self._closing:  # each stays listed until it is closed: after an interrupt, this is called again
            connection = self._closing[-1]
            connection.close(report)
            with contextlib.suppress(ValueError):  # another thread has removed it
                self._closing.remove(connection)

    def _connect(self, stop: Stop | None = None) -> Connection:
        if (connection := self._connection) is not None:  # without the lock: it is set once it is ready for use
            return connection
        with self._lock:
            if self._connecting is not None:  # the callback, in this thread, uses the runner: the lock is reentrant
                return self._connecting
            if self._connection is None:
                project = self._project_for(self._project_hash, stop=stop, max_outage=self._max_outage)
                # An engine's threads come and go; the main thread lives as long as the process.
                main = threading.main_thread().ident
                connection = Connection(self, project, max_outage=self._max_outage, thread=main)
                connection.agents.update(zip(self.agents, self._bind_all(project, num_retries=0), strict=True))
                if self.pre_execution_callback is not None:
                    self._connecting = connection
                    try:
                        refuse_coroutine(self.pre_execution_callback(self))
                    except BaseException:
                        connection.close()
                        raise
                    finally:
                        self._connecting = None
                self._connection = connection  # last: from now on, other threads use it without the lock
            return self._connection

    @contextlib.contextmanager
    def _in_use(self, stop: Stop | None = None) -> Iterator[Connection]:
        """Yield the connection, and keep it from being torn down meanwhile."""
        while not (connection := self._connect(stop)).enter():  # another thread has just closed it
            pass
        try:
            yield connection
        finally:
            connection.leave()
