"""`QueueRunner`: the same agents as callables, JSON in and JSON out, for an engine that people already run."""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
import os
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NoReturn, TypeAlias
from uuid import UUID

from encord.project import Project
from encord.user_client import EncordUserClient
from encord.workflow.stages.agent import AgentStage, AgentTask

from encord_agents.core.data_model import LabelRowInitialiseLabelsArgs, LabelRowMetadataIncludeArgs
from encord_agents.core.room import check_directory
from encord_agents.exceptions import (
    PrintableError,
    ProjectError,
    TasksFailedError,
)
from encord_agents.tasks.engine.backlog import Backlog
from encord_agents.tasks.engine.gate import Gate
from encord_agents.tasks.engine.poll import AT_ONCE, StageReader
from encord_agents.tasks.engine.report import (
    Observer,
    RunReport,
)
from encord_agents.tasks.engine.stop import Leaving, Stop
from encord_agents.tasks.engine.write import Writer
from encord_agents.tasks.models import TaskCompletionResult
from encord_agents.tasks.runner import messages
from encord_agents.tasks.runner.base import (
    RegisteredAgent,
    RunnerBase,
    check_stage,
    checked_hash,
    make_agent,
)
from encord_agents.tasks.runner.call import Call, directory_for
from encord_agents.tasks.runner.connection import Connection
from encord_agents.tasks.runner.drain import DrainTurns
from encord_agents.tasks.runner.driven import drive
from encord_agents.tasks.runner.passes import (
    STOPPED_BY,
    Passes,
    Progress,
    check_common_numbers,
    check_number,
    stopped_before,
)
from encord_agents.tasks.runner.processes import Processes
from encord_agents.tasks.runner.specs import Spec, read_specs
from encord_agents.tasks.runner.stage_drain import DrainRun
from encord_agents.tasks.runner.worker import Answer, CallOptions
from encord_agents.tasks.runner.workers import Given, check_workers, workers_for

__all__ = ["QueueFunction", "QueueRunner", "TaskSpec"]

TaskSpec: TypeAlias = str | AgentTask | dict[str, Any]
"""A task: ``task.model_dump_json()``, the same as a dict, or the task itself."""

logger = logging.getLogger(__name__)

NO_PROJECT = """\
A QueueRunner needs its project from the start, because the processes that run its agents only import it:
  QueueRunner(project_hash="12345678-...")"""

WAYS_TO_RUN = """\
A QueueRunner is not run by calling it: an engine calls its functions. There are three ways.

1. On this machine, over several processes:
       runner.drain(workers=4)      # or, as a command line: runner.run()

2. On Celery, over several machines:
       from encord_agents.integrations.celery import register
       app = register(runner, Celery("agents", broker="redis://..."))

3. On an engine of your own: hand out the tasks, and have a worker call the function of their stage.
       for stage in runner.get_agent_stages():
           for task in stage.get_tasks():
               queue.put(task.model_dump_json())     # a worker calls the stage's function with it

To run everything in this process, one task after the other, use Runner in place of QueueRunner."""


class QueueRunner(RunnerBase):
    """Turns agents into functions that an engine can call anywhere: a task as JSON in, what became of it as JSON out.

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
            checked. What it raises passes unchanged, and the next use tries again.
        user_client: The client to use, for everything. Default: one made from the environment, in each process.
        max_outage: Seconds a call waits for a platform that does not answer. After that its tasks fail, retryable.
        bundle_saves: Have `label_row.save()` and `label_row.set_priority()` of a task's own row, called by its agent or
            dependencies, return at once, and send them with the others' of the call, before the task moves.

    Raises:
        ProjectError: There is no project hash, or it is none.

    Attributes:
        agents: The registered agents, in order of definition.
        dependency_overrides: For tests: functions to use in place of others as dependencies.
        timing, limits: For tests: the numbers that the engine goes by.
        report: The last `drain`'s report, also when it raised.
        observers: Called with each event of a `drain`, see `encord_agents.tasks.engine.report`.
        bundle_saves: As given.
    """

    def __init__(
        self,
        project_hash: str | UUID | None = None,
        *,
        user_client: EncordUserClient | None = None,
        pre_execution_callback: Callable[[QueueRunner], None] | None = None,
        max_outage: float = 300.0,
        bundle_saves: bool = False,
    ) -> None:
        if project_hash is None:
            raise ProjectError(NO_PROJECT)
        super().__init__(user_client=user_client)
        self._project_hash: UUID = checked_hash(project_hash)
        self.pre_execution_callback = pre_execution_callback
        self.bundle_saves = bundle_saves
        self._max_outage = max_outage
        self.observers: list[Observer] = []
        self.report: RunReport | None = None
        self._given_client = user_client
        self._functions: dict[int, QueueFunction] = {}
        self._connection: Connection | None = None
        self._connecting: Connection | None = None
        self._closing: list[Connection] = []
        self._lock = threading.RLock()
        _forget_after_fork(self)

    @property
    def project_hash(self) -> str:
        """The project's hash. Makes no request."""
        return str(self._project_hash)

    @property
    def functions(self) -> list[QueueFunction]:
        """The queue functions, one for each registered stage, in order of definition. Makes no request."""
        return [self._functions[id(registered)] for registered in self.agents]

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
    ) -> Callable[[Callable[..., Any]], QueueFunction]:
        """Have a function serve a stage, and replace it by a `QueueFunction`.

        The function may ask for, and return, what it may with `Runner`.

        Args:
            stage: The stage's title or uuid. Checked when the runner connects.
            label_row_metadata_include_args: What to list of label rows. A ``branch_name`` wins over the task's own.
            label_row_initialise_labels_args: What to fetch of their labels.
            overwrite: Replace the function that serves the stage already, in its place.
            will_set_priority: Not needed any more: priorities can always be set. Kept for code that says it.
            give_up_on: Exceptions that another attempt would only raise again: failures that are not ``retryable``.
            failure_pathway: Where a task goes that failed in its dependencies, agent, teardown or pathway, for good:
                in a call with ``final=True``, or with one of ``give_up_on``. It is moved, without labels or priority,
                and still counts as failed. After 20 such failures in a row no more tasks of the process go there,
                until one succeeds.
            restore_labels: Changes nothing: a queue function loads the label row anew for each attempt. Taken so that
                agents can be decorated alike in both runners.
            raise_on_failure: Raise `TasksFailedError` when a task failed, after the others are written, so that an
                engine's own retry fires. The tasks that were done are not done again then: they have left the stage.

        Raises:
            DependencyError: A parameter asks for something that nothing can supply.
            MissingExtraError: A dependency needs packages that are not installed.
            StageAlreadyAssignedError: Another function serves the stage.
        """

        check_stage(stage)

        def register(function: Callable[..., Any]) -> QueueFunction:
            if isinstance(function, QueueFunction):
                function = function.agent
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
            served = self._functions[id(agent)] = QueueFunction(self, agent, raise_on_failure=raise_on_failure)
            return served

        return register

    def get_agent_stages(self) -> Iterator[AgentStage]:
        """The stage of each registered agent, once, in order of definition. Connects, at the call.

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
        """Run every agent over what waits in its stage, over several processes of this machine, or on an executor.

        ::

            if __name__ == "__main__":      # each worker process imports the script
                runner.drain(workers=4)

        Stages have their turns in order of definition: a task that one moves to the next is seen there in the same
        pass. A worker that dies costs its batch another try in another process, then each of its tasks one alone: one
        that kills its worker every time is found, and fails. At the end worker processes tear down
        their run-scoped dependencies; those of this process, where an executor runs threads, are torn down too,
        unless the runner had connected before.

        Args:
            workers: How many processes; default: one for each processor. With an executor: how many workers it has,
                where it does not say so itself.
            executor: Where to run instead of in processes of the runner's own: a `ThreadPoolExecutor`, loky's, a Dask
                client's ``get_executor()``, ... It is not shut down. A process that it starts must be able to import
                the agents.
            batch_size: How many tasks go to a worker, are loaded, and are written together. A process of our own has up
                to four batches at a time: the agents of one run, others are loaded and written.
            num_retries: Attempts of a task after its first. Only what failed is tried again.
            retry_delay: Seconds before the second attempt of a task; doubles with each, jittered, at most 60. Whatever
                it is, a service that an agent calls and that says when to come back is believed.
            max_consecutive_failures: End the run after so many tasks of a stage that finally failed in a row, for
                whatever reason but the platform's trouble. ``None``: never.
            refresh_every: Seconds from the start of one pass over the stages to that of the next; ``None``: one pass.
            max_tasks_per_stage: How many tasks to give to each agent in a pass; ``None``: all.
            progress: ``"rich"`` on a terminal, ``"plain"`` lines, ``"none"``; ``"auto"`` chooses between the first two.
            max_outage: Seconds to wait for a platform that does not answer; ``None``: as the runner was made with.
            dry_run: Run the agents and write nothing; say for each task what would have been written.
            bundle_saves: Send what agents save by their own hand with the others' of their batch, whatever the runner
                was made with.
            report: A file to write one JSON line per task to, as it goes.
            stop: Ends the run from outside, and several runs that share it; see `encord_agents.tasks.stop_on_signals`.

        Returns:
            What happened; truthy. Failed tasks do not raise, see `RunReport.raise_for_failures`. What a task failed
            with in a worker is a `WorkerError` that says its type and message, with the worker's traceback.

        Raises:
            PrintableError: A number is out of range, the set-up is wrong, or other processes cannot import an agent.
            encord.exceptions.EncordException: The platform refuses; a note says what to do.
            OutageError: The platform did not answer for `max_outage` seconds.
            NoRoomError: There is no room for the tasks' files, also when no other batch is at work.
            BrokenExecutor: The given executor broke.
            KeyboardInterrupt: After the tasks that were being worked on are finished, and written within 30 s; at
                once, when it comes twice.
        """
        check_common_numbers(refresh_every, num_retries, max_tasks_per_stage, retry_delay, max_consecutive_failures)
        check_number("workers", workers, 1, "processes; leave it out for one per processor", whole=True, optional=True)
        check_number("max_outage", max_outage, 0, "seconds to wait for a platform that does not answer", optional=True)
        if dry_run and refresh_every is not None:
            raise PrintableError("A dry run moves no task, so every pass would be the same: leave out refresh_every.")
        check_number("batch_size", batch_size, 1, "tasks that go to a worker together", whole=True)
        if not self.agents:
            raise PrintableError(
                'The runner has no agent. Decorate a function with @runner.stage("...") before calling drain().'
            )
        functions = self.functions
        check_workers(executor, functions, overrides=bool(self.dependency_overrides))
        was_connected = self._connection is not None
        stop = Stop(stop)
        try:
            project = self._connect(stop).project
        except Leaving:
            self.report = stopped_before(stop)
            return self.report
        agents = self._bind_all(project)
        if executor is None and any(agent.needs_asset for agent in agents):
            check_directory()
        pool = workers_for(executor, workers, CallOptions(bundle_saves, dry_run, max_outage))
        told = self.report = RunReport()
        # An interrupt comes at a call or at a jump backwards: none comes before a `try`, or between it and `finally`.
        try:
            try:
                with (
                    stop.at_work(),
                    Passes(told, self.observers, stop, progress=progress, report_file=report) as passes,
                ):
                    run = DrainRun(
                        self._gate(stop, max_outage, grace=0.0),  # only reads
                        stop,
                        passes.events,
                        writer=functools.partial(
                            Writer,
                            project=project,
                            client=self._sender,
                            gate=self._gate(stop, max_outage, grace=self.timing.time_to_write),
                        ),
                        batch_size=batch_size,
                        num_retries=num_retries,
                        retry_delay=retry_delay,
                        max_failures=max_consecutive_failures,
                        max_tasks=max_tasks_per_stage,
                        dry_run=dry_run,
                        bundle_saves=bundle_saves,
                        max_outage=max_outage,
                    )
                    served = {agent.stage.uuid: function for agent, function in zip(agents, functions, strict=True)}
                    turns = DrainTurns(run, served, pool)
                    passes.run(turns, agents, project_hash=self.project_hash, refresh_every=refresh_every)
            finally:
                interrupted = False
                while True:
                    try:
                        self._end_drain(pool, stop, told if not was_connected else None)
                        break
                    except KeyboardInterrupt:
                        if interrupted or stop.requested:
                            stop.leave()
                        interrupted = True
                if interrupted:
                    raise KeyboardInterrupt
        except KeyboardInterrupt:
            told.stopped = told.stopped or STOPPED_BY["interrupt"]  # it came before or after what says so
            raise
        return told

    def _end_drain(self, pool: Processes | Given, stop: Stop, report: RunReport | None) -> None:
        """End the workers and, with a ``report``, what this process has made for the run.

        It can be interrupted and called again: an interrupt waits until workers have torn down what they hold; a second
        one does not.
        """
        with stop.at_work():
            pool.close(at_once=stop.leaving)
            if report is not None and not stop.leaving:
                with stop.interruptible(although_interrupted=True):
                    self._close(report)

    def run(self) -> NoReturn:
        """The command line: `python agents.py --help` lists its options, which are those of `drain`. Ends the process
        with its exit code.

        Raises:
            PrintableError: In a notebook or a test runner, whose arguments and process these are: call `drain`.
        """
        from encord_agents.cli.drain import drain_as_command

        drain_as_command(self)

    def __call__(self, *args: object, **kwargs: object) -> NoReturn:
        """Not this way.

        Raises:
            NotImplementedError: Always; it shows the ways there are.
        """
        raise NotImplementedError(WAYS_TO_RUN)

    def close(self) -> None:
        """Tear down what lives as long as the process: run-scoped dependencies, and the event loop of async agents.

        Engines call this when a worker process, or a thread of one, ends. Calls that other threads are in the middle of
        keep what they use: it is torn down when the last of them ends. The next use connects anew; twice is harmless.
        What a teardown raises is told in the log.

        Raises:
            KeyboardInterrupt: It was interrupted; everything is torn down all the same.
        """
        self._close()

    def _close(self, report: RunReport | None = None) -> None:
        with self._lock:
            if self._connection is not None:
                self._closing.append(self._connection)
            self._connection = self._project = None
        while self._closing:  # until they are closed, for an interrupt may come, and this be called again
            connection = self._closing[-1]
            connection.close(report)
            with contextlib.suppress(ValueError):  # another thread has done the same
                self._closing.remove(connection)

    def _gate(self, stop: Stop, max_outage: float | None, *, grace: float) -> Gate:
        patience = self._max_outage if max_outage is None else max_outage
        return Gate(stop, max_outage=patience, grace=grace, timing=self.timing, limits=self.limits)

    def _connect(self, stop: Stop | None = None) -> Connection:
        if (connection := self._connection) is not None:
            return connection
        with self._lock:
            if self._connecting is not None:  # this thread's callback uses the runner
                return self._connecting
            if self._connection is None:
                project = self._project_for(self._project_hash, stop=stop, max_outage=self._max_outage)
                fixed = self._fixed(project, stop=None, max_outage=self._max_outage)
                connection = Connection(self, project, self._sender, fixed, self._max_outage)
                for registered, agent in zip(self.agents, self._bind_all(project, num_retries=0), strict=True):
                    connection.agents[id(registered)] = agent
                if self.pre_execution_callback is not None:
                    self._connecting = connection
                    try:
                        self.pre_execution_callback(self)
                    except BaseException:
                        connection.close()
                        raise
                    finally:
                        self._connecting = None
                self._connection = connection
            return self._connection

    @contextlib.contextmanager
    def _in_use(self, stop: Stop | None = None) -> Iterator[Connection]:
        """The connection, kept from being torn down meanwhile."""
        while not (connection := self._connect(stop)).enter():  # another thread has just closed it
            pass
        try:
            yield connection
        finally:
            connection.leave()


class QueueFunction:
    """A stage's agent as an engine calls it: tasks in, what became of them out.

    It pickles by its name, so that it can be sent to other processes: define it at a module's top level.

    Attributes:
        agent: The user's own function, for tests. Also ``__wrapped__``.
        runner: The `QueueRunner` it belongs to.
        stage: The stage's title or uuid, as written.
    """

    __name__: str
    __qualname__: str

    def __init__(self, runner: QueueRunner, registered: RegisteredAgent, *, raise_on_failure: bool = False) -> None:
        # Not the annotations: engines that look at them should see how this is called, not how the agent is.
        functools.update_wrapper(
            self, registered.callable, assigned=("__module__", "__name__", "__qualname__", "__doc__")
        )
        self.runner = runner
        self.agent: Callable[..., Any] = registered.callable
        self.stage = registered.identity
        self._registered = registered
        self._raise_on_failure = raise_on_failure

        def call(spec: TaskSpec | Sequence[TaskSpec], *, final: bool = True) -> str:
            return self(spec, final=final)

        # Celery reads the parameters of `function.__call__`. It would count the `self` of a method among them, and
        # refuse each message for want of an argument; a plain function has none.
        self.__dict__["__call__"] = call
        self.__signature__ = inspect.signature(call)

    def __repr__(self) -> str:
        return f"<queue function {self.__qualname__} of stage {str(self.stage)!r}>"

    def __reduce__(self) -> str:
        return self.__qualname__

    def __call__(self, spec: TaskSpec | Sequence[TaskSpec], *, final: bool = True) -> str:
        """Give tasks to the agent, one attempt each; write what it returned; move them.

        Args:
            spec: A task as JSON text (``task.model_dump_json()``), an `AgentTask`, a dict, or a list of these, also as
                JSON text. Of a specification only ``uuid`` and ``data_hash`` are used; everything else is asked for.
            final: Whether a task that fails now will not be tried again: only then it goes down the failure pathway.

        Returns:
            A `TaskCompletionResult` as JSON text. A task's trouble, whatever it is, is told there.

        Raises:
            PrintableError, encord.exceptions.EncordException: The process could not connect, or the set-up is wrong:
                it has no temporary directory for files that the agent asks for.
            NoRoomError: It has one, but no room in it. Where there is no room for a single file, the tasks of the call
                that have no outcome are told as failed, ``retryable``.
            TasksFailedError: A task failed and the stage was decorated with ``raise_on_failure=True``.
        """
        given, many = read_specs(spec)
        call = self._call(given, final=final)
        result = TaskCompletionResult.of([call.result(one) for one in given], call.stage_uuid, many=many)
        if self._raise_on_failure and (failed := result.failures):
            details = [f"{one.data_title or one.task_uuid} ({one.phase}): {one.error}" for one in failed]
            raise TasksFailedError(len(failed), len(given), details, result)
        return result.model_dump_json()

    @property
    def branch_name(self) -> str | None:
        """The branch whose labels its tasks are given; ``None``: each task's own. Makes no request."""
        return self._registered.include_args.branch_name

    def waiting(self) -> Iterator[str]:
        """The tasks that wait in the stage, each as the JSON text that this function takes. Connects, at the first.

        Pages are read as they are needed, and outages are waited out. Tasks that move while pages are read may have
        others passed over: read to the end before handing out, or read again later.

        Raises:
            PrintableError, encord.exceptions.EncordException: As `QueueRunner.project`; or the platform refuses, or
                did not answer for ``max_outage`` seconds.
        """
        connection = self.runner._connect()
        gate = connection.gate(Stop())
        agent = connection.agent(self._registered)
        backlog = Backlog(agent.row_of)
        reader = StageReader(agent.stage, gate, backlog)
        while backlog.reading or backlog.must_be_read:
            reader.read(AT_ONCE)
            while taken := backlog.take(AT_ONCE):
                for waiting in taken:
                    backlog.release(waiting.task.uuid)
                    yield waiting.task.model_dump_json()

    def answer(self, specs: Sequence[str], *, stop: Stop, options: CallOptions) -> Answer:
        """The same for `QueueRunner.drain`: it does not log what the other side will, leaves what failed where it is,
        and raises nothing of a task."""
        given, _ = read_specs(specs)
        try:
            call = self._call(given, final=False, stop=stop, options=options)
        except Leaving:  # while it connected: nothing was begun
            return Answer()
        return call.answer(given)

    def connect(self, stop: Stop) -> None:
        """Be ready, in a worker process: open the project, check the stages."""
        self.runner._connect(stop)

    def drive(
        self,
        feed: SimpleQueue[messages.Tasks | messages.HoldBack | None],
        options: messages.Options,
        *,
        stop: Stop,
        say: Callable[[Any], None],
    ) -> messages.Ended:
        """Run the agent over tasks as they come, in a worker process: see `Drives`."""
        bundle_saves = options.bundle_saves or self.runner.bundle_saves
        with self.runner._in_use(stop) as connection:
            agent = connection.agent(self._registered)
            if bundle_saves:
                connection.bundle_saves()
            policy = replace(agent.policy, num_retries=options.num_retries, delay=options.retry_delay)
            agent, options = replace(agent, policy=policy), replace(options, bundle_saves=bundle_saves)
            with directory_for(agent) as files:
                return drive(connection, agent, files, feed, options, stop=stop, say=say)

    def _call(
        self,
        given: Sequence[Spec],
        *,
        final: bool,
        stop: Stop | None = None,
        options: CallOptions | None = None,
    ) -> Call:
        bundle_saves = self.runner.bundle_saves or (options is not None and options.bundle_saves)
        with self.runner._in_use(stop) as connection:
            agent = connection.agent(self._registered)
            if bundle_saves:
                connection.bundle_saves()
            with directory_for(agent) as files:
                call = Call(connection, agent, final, files, stop or Stop(), bundle_saves, options)
                call.run(given)
        return call


_inherited: list[object] = []
"""What forked processes must not give up: the garbage collector would end the parent's run-scoped generators here."""


def _forget_after_fork(runner: QueueRunner) -> None:
    """Have a forked process connect for itself: it inherits no connection, no event loop, and no lock that is held."""
    if not hasattr(os, "register_at_fork"):
        return
    reference = weakref.ref(runner)

    def forget() -> None:
        if (there := reference()) is not None:
            there._lock = threading.RLock()
            _inherited.extend((there._connection, there._connecting, there._closing))
            there._connection = there._connecting = None
            there._closing = []
            there._project = None
            there._client, there._sending_client = there._given_client, None

    os.register_at_fork(after_in_child=forget)
