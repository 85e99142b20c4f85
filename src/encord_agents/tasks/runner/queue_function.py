"""A stage's agent as an engine calls it: tasks in, what became of them out."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeAlias

from encord.workflow.stages.agent import AgentTask

from encord_agents.exceptions import (
    TasksFailedError,
)
from encord_agents.tasks.engine.backlog import Backlog
from encord_agents.tasks.engine.poll import StageReader
from encord_agents.tasks.engine.stop import Leaving, Stop
from encord_agents.tasks.models import TaskCompletionResult
from encord_agents.tasks.runner import messages
from encord_agents.tasks.runner.base import (
    RegisteredAgent,
)
from encord_agents.tasks.runner.call import Call, directory_for
from encord_agents.tasks.runner.driven import drive
from encord_agents.tasks.runner.specs import Spec, read_specs
from encord_agents.tasks.runner.worker import Answer, CallOptions

if TYPE_CHECKING:
    from encord_agents.tasks.runner.queue_runner import QueueRunner

__all__ = ["QueueFunction", "TaskSpec"]

TaskSpec: TypeAlias = str | AgentTask | dict[str, Any]
"""A task: ``task.model_dump_json()``, the same as a dict, or the task itself."""


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
        number = gate.limits.read_together
        while backlog.reading or backlog.must_be_read:
            reader.read(number)
            while taken := backlog.take(number):
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
