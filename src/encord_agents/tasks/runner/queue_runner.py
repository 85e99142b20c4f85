"""`QueueRunner`: the same agents as callables, JSON in and JSON out, for an engine that people already run."""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import logging
import os
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn, TypeAlias
from uuid import UUID

from encord.exceptions import EncordException
from encord.project import Project
from encord.user_client import EncordUserClient
from encord.workflow.stages.agent import AgentStage, AgentTask

from encord_agents.core.data_model import LabelRowInitialiseLabelsArgs, LabelRowMetadataIncludeArgs
from encord_agents.core.dependencies.scope import RunScope
from encord_agents.core.room import check_directory, temporary_directory
from encord_agents.core.tracebacks import described, formatted, is_a, notes, shown
from encord_agents.exceptions import (
    EncordAgentsError,
    NoRoomError,
    OutageError,
    PrintableError,
    ProjectError,
    TasksFailedError,
    UnknownPathwayError,
)
from encord_agents.redaction import without_secrets
from encord_agents.tasks.engine.backlog import Backlog
from encord_agents.tasks.engine.context import Agent
from encord_agents.tasks.engine.event_loop import EventLoop
from encord_agents.tasks.engine.execute import Executor
from encord_agents.tasks.engine.gate import Gate, SetUpError, Slots, is_nobodys_fault, is_platform_trouble
from encord_agents.tasks.engine.observers import LogObserver
from encord_agents.tasks.engine.outcome import Failed, Fault, Phase
from encord_agents.tasks.engine.own_saves import OwnSaves
from encord_agents.tasks.engine.pipeline import StageRun, Turn, at_once, run_chunk
from encord_agents.tasks.engine.poll import AT_ONCE, StageReader
from encord_agents.tasks.engine.report import (
    ChunkLoaded,
    ChunkWritten,
    Event,
    Events,
    Observer,
    RunReport,
    StageWarning,
    TaskFinished,
    TaskRecord,
)
from encord_agents.tasks.engine.retry import retryable
from encord_agents.tasks.engine.stage import as_uuid
from encord_agents.tasks.engine.stop import Leaving, Stop
from encord_agents.tasks.engine.write import MAX_AT_ONCE, Writer
from encord_agents.tasks.models import NO_TASK, TaskCompletionResult, TaskResult
from encord_agents.tasks.runner.base import (
    RegisteredAgent,
    RunnerBase,
    check_stage,
    checked_hash,
    make_agent,
)
from encord_agents.tasks.runner.drain import DrainTurns
from encord_agents.tasks.runner.opening import with_advice
from encord_agents.tasks.runner.passes import (
    STOPPED_BY,
    Passes,
    Progress,
    check_common_numbers,
    check_number,
    stopped_before,
)
from encord_agents.tasks.runner.teardown import tear_down
from encord_agents.tasks.runner.worker import Answer, Function
from encord_agents.tasks.runner.workers import Workers, check_workers, workers_for

__all__ = ["QueueFunction", "QueueRunner", "TaskSpec"]

TaskSpec: TypeAlias = str | AgentTask | dict[str, Any]
"""A task: ``task.model_dump_json()``, the same as a dict, or the task itself."""

logger = logging.getLogger(__name__)

IN_FLIGHT = 8
"""Platform requests of one process at once, over all the threads that call its queue functions."""

NO_PROJECT = """\
A QueueRunner needs its project from the start, because the processes that run its agents only import it:
  QueueRunner(project_hash="12345678-...")"""

WAYS_TO_RUN = """\
A QueueRunner is not run by calling it: an engine calls its functions. There are three ways.

1. On this machine, over several processes:
       runner.drain(workers=4)

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
        self._connection: _Connection | None = None
        self._connecting: _Connection | None = None
        self._closing: list[_Connection] = []
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
        bundle_saves: bool = False,
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
            bundle_saves: Send what agents save by their own hand with the others' of their batch, whatever the runner
                was made with.
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
        check_number("batch_size", batch_size, 1, "tasks that go to a worker together", whole=True)
        if not self.agents:
            raise PrintableError(
                'The runner has no agent. Decorate a function with @runner.stage("...") before calling drain().'
            )
        functions = self.functions
        check_workers(executor, functions, overrides=bool(self.dependency_overrides))
        serving: list[Function] = [Bundling(function) for function in functions] if bundle_saves else [*functions]
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
        pool = workers_for(executor, workers)
        report = self.report = RunReport()
        # An interrupt comes at a call or at a jump backwards: none comes before a `try`, or between it and `finally`.
        try:
            try:
                with stop.at_work(), Passes(report, self.observers, stop, progress=progress) as passes:
                    turns = DrainTurns(
                        {agent.stage.uuid: function for agent, function in zip(agents, serving, strict=True)},
                        pool,
                        self._gate(stop, grace=0.0),  # only reads
                        stop,
                        passes.events,
                        writer=functools.partial(
                            Writer,
                            project=project,
                            client=self._sender,
                            gate=self._gate(stop, grace=self.timing.time_to_write),
                        ),
                        batch_size=batch_size,
                        num_retries=num_retries,
                        retry_delay=retry_delay,
                        max_failures=max_consecutive_failures,
                        max_tasks=max_tasks_per_stage,
                    )
                    passes.run(turns, agents, project_hash=self.project_hash, refresh_every=refresh_every)
            finally:
                interrupted = False
                while True:
                    try:
                        self._end_drain(pool, stop, report if not was_connected else None)
                        break
                    except KeyboardInterrupt:
                        if interrupted or stop.requested:
                            stop.leave()
                        interrupted = True
                if interrupted:
                    raise KeyboardInterrupt
        except KeyboardInterrupt:
            report.stopped = report.stopped or STOPPED_BY["interrupt"]  # it came before or after what says so
            raise
        return report

    def _end_drain(self, pool: Workers, stop: Stop, report: RunReport | None) -> None:
        """End the workers and, with a ``report``, what this process has made for the run.

        It can be interrupted and called again: an interrupt waits until workers have torn down what they hold; a second
        one does not.
        """
        with stop.at_work():
            pool.close(at_once=stop.leaving)
            if report is not None and not stop.leaving:
                with stop.interruptible(although_interrupted=True):
                    self._close(report)

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

    def _gate(self, stop: Stop, **options: Any) -> Gate:
        return Gate(stop, max_outage=self._max_outage, timing=self.timing, limits=self.limits, **options)

    def _connect(self, stop: Stop | None = None) -> _Connection:
        if (connection := self._connection) is not None:
            return connection
        with self._lock:
            if self._connecting is not None:  # this thread's callback uses the runner
                return self._connecting
            if self._connection is None:
                project = self._project_for(self._project_hash, stop=stop, max_outage=self._max_outage)
                fixed = self._fixed(project, stop=None, max_outage=self._max_outage)
                connection = _Connection(self, project, fixed)
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
    def _in_use(self, stop: Stop | None = None) -> Iterator[_Connection]:
        """The connection, kept from being torn down meanwhile."""
        while not (connection := self._connect(stop)).enter():  # another thread has just closed it
            pass
        try:
            yield connection
        finally:
            connection.leave()


@dataclass(eq=False)
class _Connection:
    """What a process needs to run agents, made at the first use."""

    runner: QueueRunner
    project: Project
    fixed: dict[type, object]
    agents: dict[int, Agent] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.slots = Slots(IN_FLIGHT)
        self.log = LogObserver()
        self.loop = EventLoop()
        # Threads of engines come and go; the main one is there from the beginning to the end.
        self.scope = RunScope(self.fixed, self.loop, thread=threading.main_thread().ident)
        self._lock = threading.Lock()
        self._calls = 0
        self._closed = False
        self._overrides = dict(self.runner.dependency_overrides)

    def enter(self) -> bool:
        """A call begins. Whether it may."""
        self.loop.revive()
        with self._lock:
            self._calls += not self._closed
            return not self._closed

    def leave(self) -> None:
        """A call is over."""
        with self._lock:
            self._calls -= 1
            last = self._closed and not self._calls
        if last:
            try:
                self._tear_down()
            except Exception:
                logger.exception("What lives as long as the process could not be torn down.")

    def bundle_saves(self) -> None:
        """From now on, the client that is handed out is the one whose requests are heard of."""
        if self.fixed[EncordUserClient] is not self.runner._sender:
            self.fixed = {**self.fixed, EncordUserClient: self.runner._sender}
            self.scope.values = self.fixed

    def agent(self, registered: RegisteredAgent) -> Agent:
        """An agent bound to its stage, once per process."""
        with self._lock:
            if id(registered) not in self.agents:  # it was decorated after the connection was made
                self.agents[id(registered)] = self.runner._bind(registered, self.project, num_retries=0)
            if self._overrides != self.runner.dependency_overrides:
                self._overrides = dict(self.runner.dependency_overrides)
                for one in self.runner.agents:
                    if (bound := self.agents.get(id(one))) is not None:
                        self.agents[id(one)] = replace(bound, plan=self.runner._plan_with_overrides(one))
            return self.agents[id(registered)]

    def close(self, report: RunReport | None = None) -> None:
        """Tear down, at the end of the last call."""
        with self._lock:
            self._closed = True
            in_use = self._calls
        if not in_use:
            self._tear_down(report)

    def _tear_down(self, report: RunReport | None = None) -> None:
        """Twice is harmless."""
        try:
            tear_down(self.scope, report)
        finally:
            self.loop.close()


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
        given, many = _read(spec)
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
        gate = self.runner._gate(Stop(), slots=connection.slots)
        agent = connection.agent(self._registered)
        backlog = Backlog(agent.row_of)
        reader = StageReader(agent.stage, gate, backlog)
        while backlog.reading or backlog.must_be_read:
            reader.read(AT_ONCE)
            while taken := backlog.take(AT_ONCE):
                for waiting in taken:
                    backlog.release(waiting.task.uuid)
                    yield waiting.task.model_dump_json()

    def answer(self, specs: Sequence[str], *, stop: Stop, turn: Turn = at_once, bundle_saves: bool = False) -> Answer:
        """The same for `QueueRunner.drain`: it does not log what the other side will, leaves what failed where it is,
        and raises nothing of a task."""
        given, _ = _read(specs)
        try:
            call = self._call(given, final=False, stop=stop, turn=turn, quiet=True, bundle_saves=bundle_saves)
        except Leaving:  # while it connected: nothing was begun
            return Answer()
        return call.answer(given)

    def _call(
        self,
        given: Sequence[_Given],
        *,
        final: bool,
        stop: Stop | None = None,
        turn: Turn = at_once,
        quiet: bool = False,
        bundle_saves: bool = False,
    ) -> _Call:
        bundle_saves = bundle_saves or self.runner.bundle_saves
        with self.runner._in_use(stop) as connection:
            agent = connection.agent(self._registered)
            if bundle_saves:
                connection.bundle_saves()
            with _directory(agent) as files:
                call = _Call(connection, agent, final, files, stop or Stop(), turn, quiet, bundle_saves)
                call.run(given)
        return call


class Bundling:
    """A queue function that holds what agents save by their own hand, in whatever process it answers."""

    def __init__(self, function: QueueFunction) -> None:
        self.function = function
        self.__module__, self.__qualname__ = function.__module__, function.__qualname__

    def __reduce__(self) -> tuple[type[Bundling], tuple[QueueFunction]]:
        return Bundling, (self.function,)

    @property
    def runner(self) -> QueueRunner:
        return self.function.runner

    def answer(self, specs: Sequence[str], *, stop: Stop, turn: Turn = at_once) -> Answer:
        return self.function.answer(specs, stop=stop, turn=turn, bundle_saves=True)


class _Call:
    """One call of a queue function."""

    def __init__(
        self,
        connection: _Connection,
        agent: Agent,
        final: bool,
        files: Path | None,
        stop: Stop,
        turn: Turn,
        quiet: bool,
        bundle_saves: bool,
    ) -> None:
        self._connection = connection
        self._agent = agent
        self._stop = stop
        self._turn = turn
        runner = connection.runner
        self._gate = runner._gate(stop, slots=connection.slots, grace=runner.timing.time_to_write)
        self._run = StageRun(
            agent,
            connection.project,
            connection.runner._sender,
            self._gate,
            stop,
            Events([] if quiet else [connection.log], record=self._note),
            Executor(
                *(connection.scope, connection.fixed, self._gate, stop, OwnSaves(self._gate, bundle_saves)),
                contained=quiet,
            ),
            strict=False,
            final=final,
            dead_letters=not quiet,
            files=files,
        )
        self._results: dict[UUID, TaskResult] = {}
        self._gone: set[UUID] = set()
        self._suspects: dict[UUID, Fault] = {}
        self._blameless: set[UUID] = set()
        self._limited: set[UUID] = set()
        self._chunks: list[ChunkLoaded | ChunkWritten] = []
        self._warnings: list[StageWarning] = []
        self._trouble: OutageError | Leaving | Exception | None = None

    @property
    def stage_uuid(self) -> UUID:
        return self._agent.stage.uuid

    def run(self, given: Sequence[_Given]) -> None:
        wanted = list({one.uuid: one for one in given if one.error is None}.values())
        try:
            for start in range(0, len(wanted), MAX_AT_ONCE):
                if self._stop.requested:
                    break
                self._run_chunk(wanted[start : start + MAX_AT_ONCE])
        except SetUpError as trouble:
            self._trouble = trouble.error
            if isinstance(trouble.error, EncordException):
                with_advice(trouble.error, self._connection.runner.project_hash, doing="run agents in")
        except (Leaving, Exception) as trouble:  # noqa: BLE001 - it is told
            # The platform's, or what cut the call off from outside, such as a time limit: what is done stays done, and
            # is told.
            self._trouble = trouble
        finally:
            self._run.send_rest()

    def _run_chunk(self, wanted: Sequence[_Given]) -> None:
        agent = self._agent
        polled_at = self._gate.clock()
        there: dict[UUID, AgentTask] = {}
        for part, reply in self._run.in_stage.each(agent.stage, wanted):
            if reply.value is not None:
                there |= reply.value
                self._gone |= {one.uuid for one in part} - reply.value.keys()
            if reply.error is not None:
                self._results |= {one.uuid: _not_done(one, reply.error, phase="load") for one in part}
        tasks = [there[one.uuid] for one in wanted if one.uuid in there]
        loop = self._connection.loop if agent.plan.has_async else None
        while tasks and not self._stop.requested:
            # Two tasks of one label row must not be at work together: the second is loaded after the first is written.
            first = list({(task.data_hash, agent.branch_of(task)): task for task in reversed(tasks)}.values())[::-1]
            run_chunk(self._run, first, polled_at=polled_at, loop=loop, turn=self._turn)
            done = {task.uuid for task in first}
            tasks = [task for task in tasks if task.uuid not in done]

    def _note(self, event: Event) -> None:
        if isinstance(event, ChunkLoaded | ChunkWritten):
            self._chunks.append(event)
        if isinstance(event, StageWarning):
            self._warnings.append(event)
        if not isinstance(event, TaskFinished):
            return
        outcome = event.outcome
        again = (
            isinstance(outcome, Failed) and outcome.moved_to is None and retryable(self._agent.policy, outcome.fault)
        )
        if isinstance(outcome, Failed) and (outcome.fault.run_scoped or _names_no_pathway(outcome.fault)):
            self._suspects[event.task.uuid] = outcome.fault
        if isinstance(outcome, Failed) and (outcome.fault.platform or is_nobodys_fault(outcome.fault.exception)):
            self._blameless.add(event.task.uuid)
        # A suspect may end the run, whose caller is to see where it was raised.
        record = TaskRecord.of(event, keep_traceback=event.task.uuid in self._suspects).to_dict()
        self._results[event.task.uuid] = TaskResult(
            task_uuid=event.task.uuid,
            data_title=event.task.data_title,
            outcome=record["outcome"],
            pathway=record.get("pathway_uuid"),
            confirmed=record.get("confirmed", True),
            phase=record.get("phase"),
            error=record.get("error") or record.get("reason"),
            traceback=record.get("traceback"),
            retryable=again,
            seconds=record["seconds"],
            own_saves=event.own_saves,
        )
        if isinstance(outcome, Failed) and outcome.fault.rate_limited:
            self._limited.add(event.task.uuid)

    def answer(self, given: Sequence[_Given]) -> Answer:
        """What became of the tasks, and what ends a run."""
        trouble = self._trouble
        # What was not begun, because the run stops, is still in its stage: it has no outcome.
        told = [one for one in given if one.error or one.uuid in self._gone or one.uuid in self._results]
        return Answer(
            results=[self.result(one) for one in (given if trouble is None and not self._stop.requested else told)],
            unwritten=[ref.uuid for ref in self._run.unwritten],
            unconfirmed=frozenset(self._run.unconfirmed),
            error=trouble if isinstance(trouble, Exception) else None,
            named_a_pathway=self._agent.has_named_a_pathway,
            suspects=self._suspects,
            blameless=frozenset(self._blameless),
            chunks=self._chunks,
            warnings=self._warnings,
        )

    def result(self, given: _Given) -> TaskResult:
        """What became of a task."""
        if given.error is not None:
            return TaskResult(task_uuid=given.uuid, outcome="failed", phase="spec", error=given.error)
        if (result := self._results.get(given.uuid)) is not None:
            if given.uuid in self._limited:
                result.retry_after = self._agent.quiet.left(self._gate.clock())
            return result
        if (trouble := self._trouble) is not None:
            if given.uuid in self._run.unconfirmed:
                return _not_done(given, trouble, phase="move")
            unwritten = given.uuid in {ref.uuid for ref in self._run.unwritten}
            return _not_done(given, trouble, phase="save" if unwritten else "load")
        if given.uuid not in self._gone:
            error = "It is not known what became of the task: it was in its stage, and has no outcome."
            return TaskResult(task_uuid=given.uuid, outcome="failed", phase=Phase.AGENT, error=error, retryable=True)
        stage = self._agent.stage.title
        error = f"The task is not in stage {stage!r}: it has been moved, or it never was there. Nothing was done."
        return TaskResult(task_uuid=given.uuid, outcome="skipped", error=error)


def _names_no_pathway(fault: Fault) -> bool:
    return fault.phase is Phase.PATHWAY and is_a(fault.exception, UnknownPathwayError)


@dataclass(frozen=True, slots=True)
class _Given:
    """A task as it was given: what to ask the platform for, or why that cannot be told."""

    uuid: UUID
    data_hash: UUID
    error: str | None = None


def _not_done(given: _Given, trouble: BaseException, *, phase: str) -> TaskResult:
    """The result of a task that has no outcome of its own: because of the platform's trouble, of the set-up, or of what
    cut the call off from outside."""
    says_no = isinstance(trouble, EncordException | EncordAgentsError) and not isinstance(
        trouble, NoRoomError | OutageError
    )
    error = "\n".join([described(trouble), *notes(trouble)])
    if phase == "move":
        error += "\nIts move is unconfirmed: it was sent, and whether the task has left its stage is not known."
    return TaskResult(
        task_uuid=given.uuid,
        outcome="failed",
        phase=phase,
        error=error,
        traceback=None if isinstance(trouble, EncordException | EncordAgentsError | Leaving) else formatted(trouble),
        retryable=is_platform_trouble(trouble) or not says_no,
    )


@contextlib.contextmanager
def _directory(agent: Agent) -> Iterator[Path | None]:
    """Where a call's files go, if its agent wants any."""
    if not agent.needs_asset:
        yield None
        return
    with temporary_directory() as directory:
        yield directory


def _read(spec: object) -> tuple[list[_Given], bool]:
    """The tasks that were given, and whether they came as a list."""
    if isinstance(spec, str | bytes):
        try:
            spec = json.loads(spec)
        except (ValueError, RecursionError) as error:
            return [_malformed(spec, f"it is not JSON ({error})")], False
    if isinstance(spec, list | tuple):
        return [_read_one(one) for one in spec], True
    return [_read_one(spec)], False


def _read_one(spec: object) -> _Given:
    if isinstance(spec, AgentTask):
        return _Given(spec.uuid, spec.data_hash)
    if isinstance(spec, str | bytes):
        try:
            spec = json.loads(spec)
        except (ValueError, RecursionError) as error:
            return _malformed(spec, f"it is not JSON ({error})")
    if not isinstance(spec, dict):
        return _malformed(spec, f"it is of type {type(spec).__name__}")
    # The SDK writes snake case, the platform's own messages camel case.
    uuid = as_uuid(spec.get("uuid"))
    data_hash = as_uuid(spec.get("data_hash", spec.get("dataHash")))
    if uuid is None:
        return _malformed(spec, "it has no valid 'uuid'")
    if data_hash is None:
        return _malformed(spec, "it has no valid 'data_hash'", uuid)
    return _Given(uuid, data_hash)


def _malformed(spec: object, why: str, uuid: UUID = NO_TASK) -> _Given:
    text = without_secrets(spec if isinstance(spec, str) else shown(spec, 200))
    return _Given(
        uuid,
        NO_TASK,
        f"This is no task: {why}. A task is given as task.model_dump_json(), or as a list of these. "
        f"Given was: {text[:200]}",
    )


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
