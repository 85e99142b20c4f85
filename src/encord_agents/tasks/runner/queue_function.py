"""A stage's agent as an engine calls it: tasks in, their outcomes out."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from encord.workflow.stages.agent import AgentTask

from encord_agents.core.dependencies.signature import readable_name
from encord_agents.core.dependencies.wrappers import bare
from encord_agents.core.room import temporary_directory
from encord_agents.exceptions import TasksFailedError
from encord_agents.tasks.engine.backlog import Backlog
from encord_agents.tasks.engine.context import Agent
from encord_agents.tasks.engine.poll import StageReader
from encord_agents.tasks.engine.stop import Stop
from encord_agents.tasks.models import TaskCompletionResult
from encord_agents.tasks.runner import messages
from encord_agents.tasks.runner.base import RegisteredAgent
from encord_agents.tasks.runner.call import Call
from encord_agents.tasks.runner.connection import Connection
from encord_agents.tasks.runner.driven import Feed, drive
from encord_agents.tasks.runner.run_options import DrainOptions
from encord_agents.tasks.runner.specs import read_specs

if TYPE_CHECKING:
    from encord_agents.tasks.runner.queue_runner import QueueRunner

__all__ = ["QueueFunction", "TaskSpec"]

TaskSpec: TypeAlias = str | AgentTask | dict[str, Any]
"""A task: ``task.model_dump_json()``, the same as a dict, or the task itself."""


class QueueFunction:
    """A stage's agent as an engine calls it: tasks in, their outcomes out.

    It pickles by its name, so that it can be sent to other processes: define it at a module's top level.

    Attributes:
        agent: The user's own function, for tests. Also ``__wrapped__``.
        runner: The `QueueRunner` it belongs to.
        stage: The stage's title or uuid, as written.
    """

    __name__: str
    __qualname__: str

    def __init__(self, runner: QueueRunner, registered: RegisteredAgent, *, raise_on_failure: bool = False) -> None:
        function = registered.callable
        # Not the annotations: engines that look at them should see how this is called, not how the agent is.
        assigned = ("__module__", "__name__", "__qualname__", "__doc__")
        for one in (bare(function), function):  # a partial's own module and documentation are those of `functools`
            functools.update_wrapper(self, one, () if isinstance(one, functools.partial) else assigned)
        for name in ("__name__", "__qualname__"):  # which a callable object lacks
            self.__dict__.setdefault(name, readable_name(function))
        for name in [one for one in self.__dict__ if not one.startswith("__") and hasattr(type(self), one)]:
            del self.__dict__[name]  # an attribute of the agent's that would hide a method
        self.runner = runner
        self.agent: Callable[..., Any] = function
        self.stage = registered.identity
        self._registered = registered
        self._raise_on_failure = raise_on_failure

        def call(json_strs: TaskSpec | Sequence[TaskSpec], *, final: bool = True) -> str:
            return self(json_strs, final=final)

        # Celery reads the parameters of `function.__call__`. It would count the `self` of a method among them, and
        # refuse each message for a missing argument; a plain function has none.
        self.__dict__["__call__"] = call
        self.__signature__ = inspect.signature(call)

    def __repr__(self) -> str:
        return f"<queue function {self.__qualname__} of stage {str(self.stage)!r}>"

    def __reduce__(self) -> str:
        return self.__qualname__

    def __call__(self, json_strs: TaskSpec | Sequence[TaskSpec], *, final: bool = True) -> str:
        """Give tasks to the agent, one attempt each; write its results; move the tasks.

        Args:
            json_strs: A task as JSON text (``task.model_dump_json()``), an `AgentTask`, a dict, or a list of these,
                also as JSON text. Only ``uuid`` and ``data_hash`` are used; the rest is fetched from the platform.
            final: True if a task that fails now will not be tried again. Only then does it go down the failure pathway.

        Returns:
            A `TaskCompletionResult` as JSON text. Any trouble with a task is reported there.

        Raises:
            PrintableError, encord.exceptions.EncordException: The process could not connect, or the set-up is wrong:
                it has no temporary directory for files that the agent asks for.
            NoRoomError: It has one, but no room in it. If there is no room for a single file, the tasks of the call
                that have no outcome are reported as failed, ``retryable``.
            TasksFailedError: A task failed and the stage was decorated with ``raise_on_failure=True``.
        """
        given = read_specs(json_strs)
        bundle_saves = self.runner.bundle_saves
        with self._in_use(None, bundle_saves) as (connection, agent, files):
            call = Call(connection, agent, files, final=final, bundle_saves=bundle_saves)
            call.run(given)
        result = TaskCompletionResult.of([call.result(one) for one in given], call.stage_uuid)
        if self._raise_on_failure and (failed := result.failures):
            details = [f"{one.data_title or one.task_uuid} ({one.phase}): {one.error}" for one in failed]
            raise TasksFailedError(len(failed), len(given), details, result)
        return result.model_dump_json()

    @property
    def branch_name(self) -> str | None:
        """The branch whose labels its tasks are given; ``None``: each task's own. Makes no request."""
        return self._registered.label_row_metadata_include_args.branch_name

    def waiting(self, *, moves: Callable[[], object] = lambda: None) -> Iterator[str]:
        """Yield the tasks of the stage, each as the JSON text that this function takes. The first one connects.

        Pages are read as they are needed, and outages are waited out. Tasks that move while pages are read may cause
        others to be skipped: read to the end before handing any out, or read again later.

        Args:
            moves: Returns something that changes when a task moves, such as a count. The stage is read again, for tasks
                that were skipped, until nothing moved while it was read, or a reading shows nothing new.

        Raises:
            PrintableError, encord.exceptions.EncordException: As `QueueRunner.project`; or the platform refuses, or
                did not answer for ``max_outage`` seconds.
        """
        connection = self.runner._connect()
        gate = connection.gate(Stop())
        agent = connection.agent(self._registered)
        backlog = Backlog(agent.row_of)
        reader = StageReader(agent.stage, gate, backlog)
        number = gate.limits.read_together
        while True:
            before, known = moves(), backlog.shown
            is_reading = True
            while is_reading:
                reader.read(number)
                is_reading = backlog.reading
                while taken := backlog.take(number):
                    for waiting in taken:
                        # Released at once: the caller decides what happens to the task, and never reports back.
                        backlog.release(waiting.task.uuid)
                        yield waiting.task.model_dump_json()
            if moves() == before or backlog.shown == known:
                return

    def connect(self, stop: Stop) -> None:
        """Connect, in a worker process: open the project, check the stages."""
        self.runner._connect(stop)

    def drive(self, feed: Feed, options: DrainOptions, *, stop: Stop, say: Callable[[Any], None]) -> messages.Ended:
        """Run the agent over tasks as they arrive, in a worker of a drain: see `drive`."""
        options = replace(options, bundle_saves=options.bundle_saves or self.runner.bundle_saves)
        with self._in_use(stop, options.bundle_saves) as (connection, agent, files):
            policy = replace(agent.policy, num_retries=options.num_retries, delay=options.retry_delay)
            return drive(connection, replace(agent, policy=policy), files, feed, options, stop=stop, say=say)

    @contextlib.contextmanager
    def _in_use(self, stop: Stop | None, bundle_saves: bool) -> Iterator[tuple[Connection, Agent, Path | None]]:
        """Yield the process's connection, this function's agent, and a directory if the agent asks for files."""
        with contextlib.ExitStack() as stack:
            connection = stack.enter_context(self.runner._in_use(stop))
            agent = connection.agent(self._registered)
            if bundle_saves:
                connection.bundle_saves()
            yield connection, agent, stack.enter_context(temporary_directory()) if agent.needs_asset else None
