"""Attempts: one whole call of an agent, and the interpretation of its return value."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from encord.objects import LabelRowV2

from encord_agents.core.cache import use_cache
from encord_agents.core.dependencies.scope import RunScope
from encord_agents.core.dependencies.solve import Attempt, attempt, attempt_async
from encord_agents.core.interrupts import interrupt_in
from encord_agents.core.room import no_room
from encord_agents.core.sdk.bundle import packed
from encord_agents.core.sdk.entrusted import in_part_of
from encord_agents.core.sdk.once import hear_of_others
from encord_agents.core.tracebacks import is_a, set_cause, shown, type_name
from encord_agents.exceptions import AssetDownloadError, UnknownPathwayError
from encord_agents.tasks.engine.context import Context, Result
from encord_agents.tasks.engine.event_loop import current_place
from encord_agents.tasks.engine.label_check import PartialLabelRowError, find_oddity, make_plain, refuse_partial
from encord_agents.tasks.engine.outcome import Fault, Phase
from encord_agents.tasks.engine.own_saves import OwnSaves
from encord_agents.tasks.engine.stop import Leaving
from encord_agents.tasks.engine.verdict import is_lost_file
from encord_agents.tasks.models import TaskAgentReturnStruct

__all__ = ["Executor", "PartialLabelRowError", "WrongLabelRowError", "was_cancelled"]

_CODE = SystemExit.__dict__["code"]


class WrongLabelRowError(ValueError):
    """An agent returned a label row that is not its task's own."""


class Executor:
    """Makes attempts. Retries, threads and order are up to the drivers.

    Each attempt has its own copy of the context variables of the executor's creator, in every thread.

    Args:
        run: The run-scoped dependencies, and the values that are the same for all tasks.
        own_saves: Handles agents' own saves.
        contained: Let an agent that raises a `KeyboardInterrupt`, or that a signal handler's exception hits, only fail
            its task. In a process where no person or program would receive it, it must not take other tasks' results
            with it.
    """

    def __init__(self, run: RunScope, own_saves: OwnSaves, *, contained: bool = False) -> None:
        self.own_saves = own_saves
        self._run = run
        self._fixed = run.values
        self._clock = own_saves.gate.clock
        self._stop = own_saves.gate.stop
        self._caller = contextvars.copy_context()
        self._contained = contained

    def attempt(self, context: Context) -> Attempt | Fault:
        """Make an attempt in the calling thread. A failed prefetch is this attempt's fault: the agent is not called."""
        if (fault := self._fault_before(context)) is not None:
            return fault
        try:
            with self._begin(context) as variables, self._stop.interruptible():
                return attempt(context.agent.plan, context.values(self._fixed), self._run, variables)
        except BaseException as error:  # noqa: BLE001 - told apart below
            return self._contain(context, error)

    async def attempt_async(self, context: Context) -> Attempt | Fault:
        """Make an attempt on the running event loop."""
        if (fault := self._fault_before(context)) is not None:
            return fault
        try:
            with self._begin(context) as variables:
                return await attempt_async(context.agent.plan, context.values(self._fixed), self._run, variables)
        except BaseException as error:  # noqa: BLE001 - told apart below
            return self._contain(context, error)

    def _fault_before(self, context: Context) -> Fault | None:
        """Count an attempt, and return its fault if the agent must not be called."""
        context.attempts += 1
        return context.trouble or self.own_saves.refusal(context)

    def _contain(self, context: Context, error: BaseException) -> Fault:
        """Return the fault for an exception that escapes an attempt; raise it if it ends the run or the coroutine."""
        if is_a(error, (Leaving, asyncio.CancelledError)):
            raise error
        if not self._contained and (interrupt := interrupt_in(error)) is not None:
            raise interrupt
        return Fault(Phase.AGENT, error, context.attempts)

    @contextmanager
    def _begin(self, context: Context) -> Iterator[contextvars.Context]:
        """Time an attempt, and yield a copy of the caller's context variables for it. With these, the agent's own
        requests are noticed and sent after its held saves, and its dependencies use the runner's cache."""
        started, held = self._clock(), self.own_saves.begin(context)
        here, over = current_place(), False

        def hear() -> bool:
            if over:
                return False
            held.send()
            context.used_client = True  # afterwards: until now, only somebody else can have saved the labels
            return current_place() == here  # elsewhere, as in a worker of the agent's, another attempt may ask

        variables = self._caller.copy()
        variables.run(hear_of_others, hear)
        variables.run(use_cache, context.agent.cache)
        try:
            yield variables
        finally:
            over = True
            held.end()
            context.used_client |= held.sent
            context.seconds += self._clock() - started

    @staticmethod
    def looks_done(context: Context, ended: object) -> bool:
        """Return True if a task seems to need no other attempt: a quick check without side effects, before `judge`."""
        if not isinstance(ended, Attempt) or ended.phase is not None:
            return False
        value = ended.value
        given = value.pathway if is_a(value, TaskAgentReturnStruct) else value
        if given is None:
            return True
        try:
            return is_a(given, (str, UUID)) and context.agent.pathways.find(given) is not None  # type: ignore[arg-type]
        except BaseException as error:  # it is unknown, or cannot be inspected
            if interrupt_in(error) is not None:
                raise
            return False

    def judge(self, context: Context, ended: Attempt | Fault) -> Result | Fault:
        """Return the result of an attempt, or its fault."""
        if isinstance(ended, Fault):
            return ended
        if ended.phase is not None:
            assert ended.exception is not None
            if is_a(ended.exception, SystemExit):
                return _wished_to_exit(context, Phase(ended.phase), ended.exception)
            if context.held is not None and context.held.has_refused(ended.exception):
                return Fault(Phase.SAVE, ended.exception, context.attempts)
            if (lack := no_room(ended.exception)) is not None:
                return Fault(Phase.LOAD, lack, context.attempts)
            own_file = ended.phase == "inject" or (ended.phase == "agent" and context.asset is not None)
            if own_file and is_a(ended.exception, AssetDownloadError):
                # Not the fault of the dependency that needs the file: it cannot be fetched, by prefetch or now.
                return Fault(Phase.LOAD, ended.exception, context.attempts, platform=is_lost_file(ended.exception))
            never_made = ended.run_scoped and not self._run.succeeded(ended.faulty_dependency)  # type: ignore[arg-type]
            return Fault(Phase(ended.phase), ended.exception, context.attempts, run_scoped=never_made)
        result = interpret(context, ended.value, self._clock())
        if isinstance(result, Result):
            context.loaded = None  # there will be no other attempt
        return result


def _wished_to_exit(context: Context, phase: Phase, wish: BaseException) -> Fault:
    """Return the fault of an agent that calls ``sys.exit()`` or the like: it fails its own task, not the run."""
    error = RuntimeError(f"{context.agent.plan.name}() wanted the process to exit, with {shown(_CODE.__get__(wish))}")
    set_cause(error, wish)
    return Fault(phase, error, context.attempts)


def was_cancelled(context: Context) -> Fault:
    """Return the fault of a coroutine that was cancelled, by its own agent or another one, while the run goes on."""
    error = RuntimeError(f"{context.agent.plan.name}() was cancelled by what runs on its event loop, not by the run")
    return Fault(Phase.AGENT, error, context.attempts)


def interpret(context: Context, value: object, now: float) -> Result | Fault:
    """Return the result that an agent's return value asks for. An invalid value is a fault of its own task only."""
    try:
        return _interpret(context, value, now)
    except BaseException as error:  # raised by a value that cannot even be inspected
        if interrupt_in(error) is not None:
            raise
        return Fault(Phase.PATHWAY, error, context.attempts)


def _interpret(context: Context, value: object, now: float) -> Result | Fault:
    agent = context.agent
    struct = value if is_a(value, TaskAgentReturnStruct) else TaskAgentReturnStruct()
    given = struct.pathway if struct is value else value
    # Made again, and thereby validated: the agent may have assigned anything to its object's attributes.
    priority = TaskAgentReturnStruct(label_row_priority=struct.label_row_priority).label_row_priority
    result = Result(context, None, struct.label_row, priority=priority, finished_at=now)
    if given is not None and not is_a(given, (str, UUID)):
        returned = f"{type_name(given)} ({shown(given)})"
        if struct is value:
            returned = f"a TaskAgentReturnStruct whose pathway is of type {type_name(given)} ({shown(given)})"
        return _unwanted(context, returned)
    if given is not None:
        try:
            result.pathway = agent.pathways.find(given)  # type: ignore[arg-type]
        except UnknownPathwayError as unknown:
            return Fault(Phase.PATHWAY, unknown, context.attempts)
        agent.history.has_named_a_pathway = True
    row: object = struct.label_row
    if row is not None and not isinstance(row, LabelRowV2):
        return _unwanted(context, f"a TaskAgentReturnStruct whose label_row is of type {type_name(row)} ({shown(row)})")
    if row is not None:
        try:
            _prepare(context, result, row)
        except BaseException as error:  # refused by the SDK; the platform is not asked
            if interrupt_in(error) is not None:
                raise
            return Fault(Phase.SAVE, error, context.attempts)
    return result


def _prepare(context: Context, result: Result, row: LabelRowV2) -> None:
    """Serialise the labels right after the attempt, so that a row that cannot be saved affects no other.

    Raises:
        WrongLabelRowError, PartialLabelRowError: The row must not be saved.
        LabelValueError: A value in it cannot be sent.
        Exception: The SDK refuses it.
    """
    name = context.agent.plan.name
    if (row.data_hash, row.branch_name) != (str(context.task.data_hash), context.branch):
        raise WrongLabelRowError(
            f"{name}() returned the label row of data unit {row.data_hash} (branch {row.branch_name!r}), "
            f"but its task is of data unit {context.task.data_hash} (branch {context.branch!r}). "
            "Nothing of it was saved."
        )
    own = context.row
    if own is not None and own.label_hash and row.label_hash and row.label_hash != own.label_hash:
        raise WrongLabelRowError(
            f"{name}() returned the label row {row.label_hash}, but its task's is {own.label_hash}: it is the "
            "same data unit's in another project, as dep_twin_label_row gives. Nothing of it was saved."
        )
    in_part = in_part_of(row)
    if in_part is None and row is own:
        in_part = context.in_part
    refuse_partial(row, in_part, f"{name}() returned")
    result.labels = packed(row.save)
    for label in result.labels.payload.payload:
        make_plain(label)
        result.oddity = result.oddity or find_oddity(label)


def _unwanted(context: Context, returned: str) -> Fault:
    error = TypeError(
        f"{context.agent.plan.name}() returned {returned}. An agent may return a pathway's name or uuid, "
        "a TaskAgentReturnStruct, or None to leave the task in its stage"
    )
    return Fault(Phase.PATHWAY, error, context.attempts)
