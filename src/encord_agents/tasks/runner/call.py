"""One call of a queue function: its tasks are loaded together, attempted once each, and written together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from uuid import UUID

from encord.exceptions import EncordException

from encord_agents.core.tracebacks import described, formatted, notes
from encord_agents.exceptions import EncordAgentsError, NoRoomError, OutageError
from encord_agents.tasks.engine.context import Agent
from encord_agents.tasks.engine.events import Event, Events, TaskFinished
from encord_agents.tasks.engine.gate import SetUpError
from encord_agents.tasks.engine.one_by_one import run_chunk
from encord_agents.tasks.engine.outcome import Failed, Phase
from encord_agents.tasks.engine.poll import still_in
from encord_agents.tasks.engine.record import TaskRecord
from encord_agents.tasks.engine.retry import retryable
from encord_agents.tasks.engine.stop import Leaving, Stop
from encord_agents.tasks.engine.verdict import is_platform_trouble
from encord_agents.tasks.engine.write import sequentially
from encord_agents.tasks.models import TaskResult
from encord_agents.tasks.runner.apart import Apart
from encord_agents.tasks.runner.connection import Connection
from encord_agents.tasks.runner.opening import with_advice
from encord_agents.tasks.runner.specs import Spec

__all__ = ["Call"]


class Call:
    """One call of a queue function.

    Args:
        files: A directory for the call's files.
        final: True if a task that fails now will not be tried again.
        bundle_saves: Hold agents' own saves, and send them together with the others.
    """

    def __init__(
        self, connection: Connection, agent: Agent, files: Path | None, *, final: bool, bundle_saves: bool
    ) -> None:
        self._connection = connection
        self._agent = agent
        self._gate = connection.gate(Stop(), grace=connection.runner.timing.time_to_write)
        self._run = connection.stage_run(
            agent,
            self._gate,
            Events([connection.log], record=self._note),
            bundle_saves=bundle_saves,
            strict=False,
            final=final,
            files=files,
            run_both=self._concurrently,
        )
        self._results: dict[UUID, TaskResult] = {}
        self._gone: set[UUID] = set()
        self._limited: set[UUID] = set()
        self._trouble: BaseException | None = None

    @property
    def stage_uuid(self) -> UUID:
        return self._agent.stage.uuid

    def run(self, given: Sequence[Spec]) -> None:
        wanted = list({one.uuid: one for one in given if one.error is None}.values())
        at_once = self._gate.limits.at_once
        try:
            for start in range(0, len(wanted), at_once):
                self._run_chunk(wanted[start : start + at_once])
        except SetUpError as trouble:
            self._trouble = trouble.error
            if isinstance(trouble.error, EncordException):
                with_advice(trouble.error, self._connection.project.project_hash, doing="run agents in")
        except (Leaving, Exception) as trouble:  # noqa: BLE001 - the results report it
            # The platform is in trouble, or something outside has cut the call off, such as a time limit. Tasks that
            # are done stay done, and their results are returned.
            self._trouble = trouble
        finally:
            self._run.send_rest()

    def _run_chunk(self, wanted: Sequence[Spec]) -> None:
        agent = self._agent
        polled_at = self._gate.clock()
        there, refused = still_in(agent.stage, wanted, self._gate)
        for one in wanted:
            if one.uuid in refused:
                self._results[one.uuid] = not_done(one, refused[one.uuid], phase="load")
            elif one.uuid not in there:
                self._gone.add(one.uuid)
        tasks = [there[one.uuid] for one in wanted if one.uuid in there]
        loop = self._connection.loop if agent.plan.has_async else None
        while tasks:
            # Two tasks of one label row must not be in flight at once: the second is loaded after the first is written.
            first = list({(task.data_hash, agent.branch_of(task)): task for task in reversed(tasks)}.values())[::-1]
            run_chunk(self._run, first, polled_at=polled_at, loop=loop)
            done = {task.uuid for task in first}
            tasks = [task for task in tasks if task.uuid not in done]

    def _concurrently(self, save: Callable[[], None], prioritise: Callable[[], None]) -> None:
        """Save labels while another thread sets priorities."""
        other = Apart(prioritise)
        try:
            other.start()
        except RuntimeError:  # the system has no more threads
            sequentially(save, prioritise)
            return
        error: BaseException | None = None
        try:
            save()
        except BaseException as raised:  # noqa: BLE001 - raised at the end
            error = raised
            other.call_off()
        finally:
            # After an error too: nothing may still be sent once this call has returned.
            while True:
                try:
                    if error is not None:  # whatever cut this off leaves no time to wait out an outage
                        self._run.limit_writing()
                    while not other.wait():
                        pass
                    break
                except BaseException as raised:
                    if error is not None:
                        raise
                    error = raised
        if (error := other.error if error is None else error) is not None:
            raise error

    def _note(self, event: Event) -> None:
        if not isinstance(event, TaskFinished):
            return
        outcome = event.outcome
        fault = outcome.fault if isinstance(outcome, Failed) else None
        is_left = isinstance(outcome, Failed) and outcome.moved_to is None
        record = TaskRecord.of(event).to_dict()
        self._results[event.task.uuid] = TaskResult(
            task_uuid=event.task.uuid,
            data_title=event.task.data_title,
            outcome=record["outcome"],
            pathway=record.get("pathway_uuid"),
            confirmed=record.get("confirmed", True),
            phase=record.get("phase"),
            error=record.get("error") or record.get("reason"),
            traceback=record.get("traceback"),
            retryable=fault is not None and is_left and retryable(self._agent.policy, fault),
            seconds=record["seconds"],
            own_saves=event.own_saves,
        )
        if fault is not None and fault.rate_limited:
            self._limited.add(event.task.uuid)

    def result(self, given: Spec) -> TaskResult:
        """Return the outcome of a task."""
        if given.error is not None:
            return TaskResult(task_uuid=given.uuid, outcome="failed", phase="spec", error=given.error)
        if (result := self._results.get(given.uuid)) is not None:
            if given.uuid in self._limited:
                result.retry_after = self._agent.history.quiet.left(self._gate.clock())
            return result
        if given.uuid in self._gone:  # whatever befell the call afterwards
            stage = self._agent.stage.title
            error = f"The task is not in stage {stage!r}: it has been moved, or it never was there. Nothing was done."
            return TaskResult(task_uuid=given.uuid, outcome="skipped", error=error)
        if (trouble := self._trouble) is not None:
            if given.uuid in self._run.unconfirmed:
                return not_done(given, trouble, phase="move")
            unwritten = given.uuid in {ref.uuid for ref in self._run.unwritten}
            return not_done(given, trouble, phase="save" if unwritten else "load")
        error = "It is not known what became of the task: it was in its stage, and has no outcome."
        return TaskResult(task_uuid=given.uuid, outcome="failed", phase=Phase.AGENT, error=error, retryable=True)


def not_done(given: Spec, trouble: BaseException, *, phase: str) -> TaskResult:
    """Return the result of a task without an outcome of its own: the platform was in trouble, the set-up is wrong, or
    something outside cut the call off."""
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
