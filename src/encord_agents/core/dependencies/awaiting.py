"""Awaitables from functions not declared async: a plain wrapper of an async function, a cache, a lambda, a callable
object.

Only the return value shows that it has to be awaited. An async attempt awaits it directly. A synchronous attempt
submits it to the run's event loop, and its thread blocks meanwhile; changes to context variables are then applied to
the attempt's own context.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import decimal
import inspect
from collections.abc import Coroutine
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from types import CoroutineType
from typing import Any, NamedTuple, Protocol, TypeVar

from encord_agents.core.dependencies.children import ChildrenEnd
from encord_agents.core.dependencies.plan import Call
from encord_agents.core.tracebacks import is_a

__all__ = [
    "Changes",
    "Hidden",
    "Loop",
    "apply",
    "changes_since",
    "own_copy",
    "refuse_coroutine",
    "settled",
    "task_of",
    "wait_for",
]

T = TypeVar("T")

Changes = list[tuple[contextvars.ContextVar[Any], Any]]
"""Context variables and their new values."""


class Hidden(NamedTuple):
    """The awaitable that a call returned in place of its value."""

    awaitable: Any


class Loop(Protocol):
    """An event loop that runs in a thread of its own."""

    def submit(self, work: Coroutine[Any, Any, Any], /) -> Future[Any]:
        """Run a coroutine. Cancelling the future cancels the coroutine; the future is done when the coroutine is."""


@dataclass(frozen=True, slots=True, repr=False)  # a task's repr includes its result's, which may raise
class _Ended:
    value: Any
    raised: BaseException | None
    changes: Changes


async def settled(call: Call, value: Any) -> Any:
    """Return the value of a call, awaiting it as often as necessary.

    Raises:
        BaseException: Any exception of the awaitable.
    """
    while call.hides(value):
        if is_a(value, CoroutineType) and inspect.getcoroutinestate(value) != inspect.CORO_CREATED:
            raise RuntimeError(
                f"{call.name}() returned a coroutine for the second time, and it can be awaited only once: a cache "
                "keeps the coroutine of an async function, not its value.\n"
                'For a value that is made once, leave out the cache and write Depends(function, scope="run").'
            )
        with ChildrenEnd():
            value = await _from_its_loop(value)
    return value


def wait_for(call: Call, value: Any, loop: Loop | None) -> Any:
    """Do the same as `settled` in a thread without an event loop of its own, which blocks meanwhile.

    An interrupt of the thread cancels the awaitable, waits until it has ended, and propagates.

    Args:
        loop: The run's event loop.
    """
    if is_a(value, asyncio.Future) and not value.get_loop().is_running():
        return _run_until_complete(value)
    if loop is None:
        raise _nobody_awaits(call, value)
    going: Future[_Ended] | None = None
    try:
        going = loop.submit(_carried(call, value))
        ended = going.result()
    except BaseException:
        # An interrupt of this thread does not reach the event loop's thread. A coroutine that went on there could write
        # to a row that another task owns by then, so cancel it and wait for it.
        if going is not None and not going.done():
            going.cancel()
            with contextlib.suppress(CancelledError):
                going.exception()
        _discard(value)
        raise
    # The coroutine ran in another thread and context, and the variables it set belong to this attempt's context.
    apply(ended.changes)
    if ended.raised is not None:
        raise ended.raised
    return ended.value


def task_of(
    coroutine: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop, context: contextvars.Context
) -> asyncio.Task[T]:
    """Return a new task of an event loop that runs in this context."""
    # Not `create_task`: the program's task factory may not accept a context.
    return asyncio.Task(coroutine, loop=loop, context=context)


def refuse_coroutine(value: object) -> None:
    """Raise an exception if a function that was called where nothing can be awaited turns out to be async.

    Args:
        value: Its return value.

    Raises:
        TypeError: It is a coroutine.
    """
    if is_a(value, CoroutineType):
        _discard(value)
        raise TypeError("it is async, and is called where nothing can be awaited. Write def in place of async def.")


def changes_since(before: contextvars.Context, now: contextvars.Context) -> Changes:
    """Return the variables that were set between two copies of a context. Resets are not included."""
    return [(variable, value) for variable, value in now.items() if not _is_same(before.get(variable, _UNSET), value)]


def apply(changes: Changes) -> None:
    """Set context variables in the current context."""
    for variable, value in changes:
        variable.set(value.copy() if type(value) is decimal.Context else value)


def own_copy(context: contextvars.Context | None = None) -> contextvars.Context:
    """Return a copy of a context, with a decimal context of its own: copies share that one, and it is mutable.

    Args:
        context: Default: the current one.
    """
    own = contextvars.copy_context() if context is None else context.copy()
    own.run(lambda: decimal.setcontext(decimal.getcontext().copy()))
    return own


def _is_same(before: object, now: object) -> bool:
    if not (type(before) is type(now) is decimal.Context):
        return before is now
    return _settings(before) == _settings(now)


def _settings(context: decimal.Context) -> tuple[object, ...]:
    """Return what user code sets in a decimal context, without the flags that operations set."""
    numbers = context.prec, context.Emin, context.Emax, context.capitals, context.clamp
    return *numbers, context.rounding, context.traps


_UNSET = object()


async def _carried(call: Call, value: Any) -> _Ended:
    """Run `settled`, and return its exception as a value: some exceptions would make asyncio stop the event loop."""
    before = contextvars.copy_context()
    result, raised = None, None
    try:
        result = await settled(call, value)
    except BaseException as exception:
        # A cancellation from outside must propagate. Otherwise, even a CancelledError is the agent's own exception.
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raised = exception
    return _Ended(result, raised, changes_since(before, contextvars.copy_context()))


async def _from_its_loop(value: Any) -> Any:
    """Await a value, even if it belongs to another running event loop."""
    if is_a(value, asyncio.Future):
        its = value.get_loop()
        if its is not asyncio.get_running_loop() and its.is_running():
            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_await(value), its))
    return await value


async def _await(value: Any) -> Any:
    return await value


def _run_until_complete(future: asyncio.Future[Any]) -> Any:
    """Run the event loop that a future belongs to, which is not running anywhere, until the future is done."""
    try:
        return future.get_loop().run_until_complete(future)
    except BaseException:
        future.cancel()
        raise


def _nobody_awaits(call: Call, value: Any) -> TypeError:
    _discard(value)
    return TypeError(
        f"{call.name}() returned an awaitable but is not a coroutine function, and there is no event loop for it.\n"
        "If a decorator hides that it is async def, make the function inside the decorator async def too."
    )


def _discard(value: Any) -> None:
    """Close a coroutine that will not be awaited, so that Python does not warn about it."""
    if is_a(value, CoroutineType) and inspect.getcoroutinestate(value) == inspect.CORO_CREATED:
        value.close()
