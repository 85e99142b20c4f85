"""One attempt: fresh dependencies, one call, teardown in reverse.

Every exception of a dependency, the agent or a teardown becomes a value, together with its phase; so do `SystemExit`
and other exceptions that are not an `Exception`. An interrupt (`KeyboardInterrupt`, `Interrupt`, any other
exception of a signal handler that is not an `Exception`, the cancellation of an async attempt) tears down the
dependencies that were set up, and propagates.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal

from encord_agents.core.dependencies.awaiting import Hidden, own_copy, settled, task_of, wait_for
from encord_agents.core.dependencies.lifetime import (
    Opened,
    add_teardown_note,
    set_up,
    set_up_async,
    tear_down,
    tear_down_async,
)
from encord_agents.core.dependencies.plan import Input, Plan, Step
from encord_agents.core.dependencies.scope import RunScope
from encord_agents.core.dependencies.threads import WorkerThread
from encord_agents.core.interrupts import interrupt_in
from encord_agents.core.tracebacks import is_a, set_traceback, shown, traceback_of
from encord_agents.exceptions import DependencyError

__all__ = ["Attempt", "Phase", "attempt", "attempt_async"]

Phase = Literal["inject", "agent", "teardown"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """The outcome of an attempt.

    Attributes:
        value: The agent's return value; ``None`` if the attempt failed.
        phase: The phase in which it failed; ``None`` if it did not.
        exception: The exception raised there. Its traceback starts in the user's code; its notes mention teardowns
            that raised as well.
        faulty_dependency: The dependency that raised it, in phase ``teardown``, and in ``inject`` unless a value was
            missing.
        run_scoped: True if that dependency is made once per run.
    """

    value: object = None
    phase: Phase | None = None
    exception: BaseException | None = None
    faulty_dependency: Callable[..., Any] | None = None
    run_scoped: bool = False

    def __repr__(self) -> str:  # a task's repr includes its result's, which may raise
        ended = shown(self.value) if self.phase is None else f"{self.phase}: {shown(self.exception)}"
        return f"<Attempt {ended}>"


def attempt(
    plan: Plan, values: Mapping[type, object], run: RunScope, context: contextvars.Context | None = None
) -> Attempt:
    """Set up, call and tear down, all on the calling thread and in a copy of a context.

    An awaitable from a function not declared async is awaited on the run's event loop, while this thread blocks.

    Args:
        values: The task's values, by type; see ``plan.needs``. A missing value and ``None`` mean the same.
        run: The dependencies that outlive the attempt.
        context: The context variables, of which the attempt gets a copy. Default: the caller's.

    Raises:
        TypeError: Something in the plan is async: use `attempt_async`.
        BaseException: An interrupt, after the teardown.
    """
    if plan.has_async:
        raise TypeError(f"{plan.name}() or one of its dependencies is async: it takes attempt_async().")
    own = own_copy(context)
    opened: list[Opened] = []
    try:
        return own.run(_attempt, plan, values, run, opened)
    except BaseException as interrupt:
        # It may have come between any two teardowns: run those that are left.
        own.run(_tear_down_all, opened, interrupt)
        raise


def _attempt(plan: Plan, values: Mapping[type, object], run: RunScope, opened: list[Opened]) -> Attempt:
    slots: list[object] = []
    step: Step | None = None
    phase: Phase = "inject"
    try:
        slots += [_supply(wanted, values, run) for wanted in plan.inputs]
        for step in plan.steps:
            slots.append(_set_up_here(step, slots, opened, run))
        phase = "agent"
        value = plan.call(slots)
        if plan.call.hides(value):
            value = wait_for(plan.call, value, run.loop)
    except BaseException as exception:  # noqa: BLE001  (an interrupt passes, after the teardown)
        return _failed(_tear_down_all(opened, exception)[0], phase, step)
    finally:
        slots.clear()  # otherwise the frames of a traceback would keep the task's images alive
    exception_, culprit = _tear_down_all(opened, None)
    return Attempt(value) if exception_ is None else _failed(exception_, "teardown", culprit)


def _set_up_here(step: Step, slots: list[object], opened: list[Opened], run: RunScope) -> object:
    if step.scope == "run":
        return run.get(step, slots)
    value = set_up(step, slots, opened)
    return wait_for(step, value.awaitable, run.loop) if type(value) is Hidden else value


async def attempt_async(
    plan: Plan, values: Mapping[type, object], run: RunScope, context: contextvars.Context | None = None
) -> Attempt:
    """Do the same as `attempt` on the running event loop, in a task of its own.

    Async parts are awaited there. The others, including a synchronous agent, run on one thread: the thread of the run's
    synchronous dependencies if attempts come one at a time, otherwise a thread of the attempt's own. All parts share
    the same context variables. A cancellation waits for the thread to finish.

    Raises:
        BaseException: An interrupt, after the teardown; `asyncio.CancelledError` only if the calling task is being
            cancelled. A `CancelledError` that the agent itself raises is the agent's failure.
    """
    own = own_copy(context)
    solving = task_of(_carried(plan, values, run, own), asyncio.get_running_loop(), own)
    ended = await solving
    if isinstance(ended, _Interrupted):
        raise ended.interrupt
    return ended


@dataclass(frozen=True, slots=True, repr=False)
class _Interrupted:
    interrupt: BaseException


async def _carried(
    plan: Plan, values: Mapping[type, object], run: RunScope, own: contextvars.Context
) -> Attempt | _Interrupted:
    """Run `_attempt_async`, and return an interrupt as a value: some would make asyncio stop the event loop."""
    worker = _Worker(run, own)
    try:
        return await _attempt_async(plan, values, run, worker)
    except asyncio.CancelledError:
        raise
    except BaseException as interrupt:  # noqa: BLE001  (raised again in the calling task)
        return _Interrupted(interrupt)
    finally:
        worker.stop()


async def _attempt_async(plan: Plan, values: Mapping[type, object], run: RunScope, worker: _Worker) -> Attempt:
    slots: list[object] = []
    opened: list[Opened] = []
    step: Step | None = None
    phase: Phase = "inject"
    try:
        slots += [_supply(wanted, values, run) for wanted in plan.inputs]
        for step in plan.steps:
            slots.append(await _set_up_anywhere(step, slots, opened, run, worker))
        phase = "agent"
        made = plan.call(slots) if plan.is_async else await worker.run(plan.call, slots)
        value = await settled(plan.call, made)
    except BaseException as exception:  # noqa: BLE001  (an interrupt passes, after the teardown)
        return _failed((await _tear_down_all_async(opened, exception, worker))[0], phase, step)
    finally:
        slots.clear()
    exception_, culprit = await _tear_down_all_async(opened, None, worker)
    return Attempt(value) if exception_ is None else _failed(exception_, "teardown", culprit)


def _supply(wanted: Input, values: Mapping[type, object], run: RunScope) -> object:
    if wanted.type is None:
        return wanted.default
    value = (run.values if wanted.scope == "run" else values).get(wanted.type)
    if value is not None:
        return value
    if not wanted.required:
        return wanted.default
    name = wanted.type.__name__
    raise DependencyError(
        f"There is no {name} here, and {wanted.function}() asks for one.\n"
        f"Write {wanted.parameter}: {name} | None in its signature, to get None if there is none.",
        function=wanted.function,
        parameter=wanted.parameter,
    )


async def _set_up_anywhere(
    step: Step, slots: list[object], opened: list[Opened], run: RunScope, worker: _Worker
) -> object:
    if step.kind.is_async:
        return await (run.get_async(step, slots) if step.scope == "run" else set_up_async(step, slots, opened))
    if step.scope == "attempt":
        value = await worker.run(set_up, step, slots, opened)
        return await settled(step, value.awaitable) if type(value) is Hidden else value
    if run.succeeded(step.function):
        return run.get(step, slots)  # only a look-up, which needs no thread
    return await worker.run(run.get, step, slots)


def _tear_down_all(opened: list[Opened], end: BaseException | None) -> tuple[BaseException | None, Step | None]:
    """Tear down in reverse, each with the exception that came before, as nested ``with`` blocks would.

    Returns:
        The attempt's final exception, if any, and the step whose teardown raised it, if one did.
    """
    culprit: Step | None = None
    while opened:
        one = opened[-1]  # removed only afterwards: an interrupt may come between any two steps
        end, culprit = _weigh(end, culprit, one, tear_down(one, end))
        opened.pop()
    return end, culprit


async def _tear_down_all_async(
    opened: list[Opened], end: BaseException | None, worker: _Worker
) -> tuple[BaseException | None, Step | None]:
    culprit: Step | None = None
    while opened:
        one = opened.pop()
        try:
            raised = await (tear_down_async(one, end) if one[0].kind.is_async else worker.run(tear_down, one, end))
        except asyncio.CancelledError as cancelled:
            # It was cancelled while waiting for the thread: this teardown is done, the others are not.
            raised = cancelled
        end, culprit = _weigh(end, culprit, one, raised)
    return end, culprit


def _weigh(
    end: BaseException | None, culprit: Step | None, one: Opened, raised: BaseException | None
) -> tuple[BaseException | None, Step | None]:
    """Decide which exception counts: the first one, unless a later one is an interrupt, or explains why the attempt was
    cancelled, as the exception of a timeout or task group around the ``yield`` of a dependency does."""
    if raised is None:
        return end, culprit
    if end is None or (_is_interrupt(raised) and not _is_interrupt(end)):
        return raised, one[0]
    if is_a(end, asyncio.CancelledError) and not _is_interrupt(end):
        return raised, culprit
    add_teardown_note(end, one, raised)
    return end, culprit


def _is_interrupt(exception: BaseException) -> bool:
    if is_a(exception, asyncio.CancelledError):
        # The agent may raise the CancelledError of a future of its own, which is no reason to stop everything.
        task = _current_task()
        return task is not None and task.cancelling() > 0
    return interrupt_in(exception) is not None


def _current_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # no event loop
        return None


def _failed(exception: BaseException | None, phase: Phase, step: Step | None) -> Attempt:
    assert exception is not None
    if _is_interrupt(exception):
        raise exception
    set_traceback(exception, _from_user_code(traceback_of(exception)))
    if step is None or phase == "agent":
        return Attempt(None, phase, exception)
    return Attempt(None, phase, exception, step.function, step.scope == "run")


def _from_user_code(traceback: TracebackType | None) -> TracebackType | None:
    """Return the traceback without the frames of this package that lead to the user's function.

    They do not help the reader, and would keep the task's objects alive as long as the exception.
    """
    rest = traceback
    while rest is not None and rest.tb_frame.f_globals.get("__package__") == __package__:
        rest = rest.tb_next
    return rest or traceback


class _Worker:
    """The thread for the synchronous parts of an async attempt, started on first use."""

    def __init__(self, run: RunScope, context: contextvars.Context) -> None:
        self._run = run
        self._context = context
        self._thread: WorkerThread | None = None

    async def run(self, function: Callable[..., Any], *arguments: object) -> Any:
        """Call a function on the thread. Even a cancellation waits for its end, since its result must be torn down."""
        if self._thread is None:
            self._thread = self._run.thread_for_attempt()
        return await self._thread.run(lambda: function(*arguments), self._context)

    def stop(self) -> None:
        if self._thread is not None:
            self._run.give_back(self._thread)
