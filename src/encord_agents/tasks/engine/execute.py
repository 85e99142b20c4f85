"""Attempts: one call of an agent, whole, and what it returned made sense of."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from uuid import UUID

from encord_agents.core.dependencies.scope import RunScope
from encord_agents.core.dependencies.solve import Attempt, attempt, attempt_async
from encord_agents.exceptions import UnknownPathwayError
from encord_agents.tasks.engine.context import Context, Result
from encord_agents.tasks.engine.gate import Gate
from encord_agents.tasks.engine.outcome import Fault, Phase
from encord_agents.tasks.engine.stop import Leaving, Stop
from encord_agents.tasks.models import TaskAgentReturnStruct

__all__ = ["Executor", "WrongLabelRowError"]


class WrongLabelRowError(ValueError):
    """An agent returned a label row that is not its task's own."""


class Executor:
    """Makes attempts. What surrounds them (retries, threads, order) is the pipeline's business.

    Args:
        contained: Whether an agent that exits, or raises an interrupt, has only failed. Where no person and no program
            but ours is there to be told, it must not take the others' results along.
    """

    def __init__(
        self, run: RunScope, fixed: Mapping[type, object], gate: Gate, stop: Stop, *, contained: bool = False
    ) -> None:
        self._run = run
        self._fixed = fixed
        self._clock = gate.clock
        self._stop = stop
        self._passing: tuple[type[BaseException], ...] = (Leaving, asyncio.CancelledError, GeneratorExit)
        if not contained:
            self._passing = (BaseException,)

    def attempt(self, context: Context) -> Result | Fault:
        """One attempt in the calling thread. A failed load-ahead is this attempt's fault: nothing is called."""
        context.attempts += 1
        if context.trouble is not None:
            return context.trouble
        started = self._clock()
        try:
            with self._stop.interruptible():
                ended = attempt(context.agent.plan, context.values(self._fixed), self._run)
        except self._passing:
            raise
        except BaseException as error:  # noqa: BLE001 - contained
            return Fault(Phase.AGENT, error, context.attempts)
        finally:
            context.seconds += self._clock() - started
        return self._judge(context, ended)

    async def attempt_async(self, context: Context) -> Result | Fault:
        """The same on the running event loop."""
        context.attempts += 1
        if context.trouble is not None:
            return context.trouble
        started = self._clock()
        try:
            ended = await attempt_async(context.agent.plan, context.values(self._fixed), self._run)
        except self._passing:
            raise
        except BaseException as error:  # noqa: BLE001 - contained
            return Fault(Phase.AGENT, error, context.attempts)
        finally:
            context.seconds += self._clock() - started
        return self._judge(context, ended)

    def _judge(self, context: Context, ended: Attempt) -> Result | Fault:
        if ended.phase is not None:
            assert ended.exception is not None
            never_made = ended.run_scoped and not self._run.succeeded(ended.faulty_dependency)  # type: ignore[arg-type]
            return Fault(Phase(ended.phase), ended.exception, context.attempts, run_scoped=never_made)
        return interpret(context, ended.value, self._clock())


def interpret(context: Context, value: object, now: float) -> Result | Fault:
    """What an agent's return value asks for."""
    agent = context.agent
    struct = value if isinstance(value, TaskAgentReturnStruct) else TaskAgentReturnStruct()
    given = struct.pathway if isinstance(value, TaskAgentReturnStruct) else value
    result = Result(context, None, struct.label_row, struct.label_row_priority, finished_at=now)
    if given is not None and not isinstance(given, str | UUID):
        error = TypeError(
            f"{agent.plan.name}() returned {type(value).__name__} ({repr(value)[:80]}). An agent may return a "
            "pathway's name or uuid, a TaskAgentReturnStruct, or None to leave the task in its stage."
        )
        return Fault(Phase.PATHWAY, error, context.attempts)
    if given is not None:
        try:
            result.pathway = agent.pathways.find(given)
        except UnknownPathwayError as unknown:
            return Fault(Phase.PATHWAY, unknown, context.attempts)
        agent.has_named_a_pathway = True
    row = struct.label_row
    if row is not None and (row.data_hash, row.branch_name) != (str(context.task.data_hash), context.branch):
        wrong = WrongLabelRowError(
            f"{agent.plan.name}() returned the label row of data unit {row.data_hash} (branch {row.branch_name!r}), "
            f"but its task is of data unit {context.task.data_hash} (branch {context.branch!r}). "
            "Nothing of it was saved."
        )
        return Fault(Phase.SAVE, wrong, context.attempts)
    return result
