"""The set-up and teardown of a single dependency.

A generator is torn down by resuming it at its ``yield``, where the exception that ended its use, if any, is raised.
Teardowns return their exception instead of raising it: one failing teardown must not stop the rest, and the caller
decides which of several exceptions counts.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from typing import Any

from encord_agents.core.dependencies.awaiting import Hidden, settled
from encord_agents.core.dependencies.children import ChildrenEnd
from encord_agents.core.dependencies.plan import Kind, Step
from encord_agents.core.dependencies.signature import readable_name
from encord_agents.core.interrupts import interrupt_in
from encord_agents.core.tracebacks import add_note, cause_of, described, is_a, tracebacks_kept

__all__ = ["Opened", "add_teardown_note", "set_up", "set_up_async", "tear_down", "tear_down_async"]

Opened = tuple[Step, Any]
"""A dependency that has a teardown: its step, and its generator."""


def set_up(step: Step, slots: list[object], opened: list[Opened]) -> object:
    """Make the value of a synchronous dependency.

    Args:
        opened: The list to which the dependency is added if it has a teardown.

    Returns:
        The value, wrapped in `Hidden` if it still has to be awaited.
    """
    made = step(slots)
    if step.hides(made):
        return Hidden(made)
    if step.kind is not Kind.VALUE and issubclass(type(made), Generator):
        # Added before it is started, so that an interrupt cannot come in between. Throwing into a generator that has
        # not started, or has ended, runs none of its code.
        opened.append((step, made))
        with ChildrenEnd():
            for value in made:
                return value
        raise RuntimeError(f"{step.name}() ended without a yield, so there is nothing to inject.")
    # A decorated generator function may return something else: with @contextmanager, a context manager to enter.
    return made


async def set_up_async(step: Step, slots: list[object], opened: list[Opened]) -> object:
    """Do the same as `set_up` for coroutine functions and async generators."""
    made = step(slots)
    if step.kind is not Kind.COROUTINE and issubclass(type(made), AsyncGenerator):
        opened.append((step, made))
        with ChildrenEnd():
            async for value in made:
                return value
        raise RuntimeError(f"{step.name}() ended without a yield, so there is nothing to inject.")
    if step.kind is Kind.COROUTINE:
        with ChildrenEnd():
            made = await made
    return await settled(step, made)


def tear_down(opened: Opened, exception: BaseException | None) -> BaseException | None:
    """Tear down a synchronous dependency.

    Args:
        exception: The exception that ended its use. It is raised in the generator; its traceback is not changed.

    Returns:
        The teardown's own exception, if any. Neither suppressing ``exception`` nor re-raising it counts as one.

    Raises:
        BaseException: An interrupt that left the dependency as it was: tear it down again.
    """
    step, made = opened
    with tracebacks_kept(exception):
        try:
            with ChildrenEnd():
                if exception is None:
                    next(made)
                else:
                    made.throw(exception)
                made.close()
        except StopIteration:
            return None
        except BaseException as raised:
            if _came_between(raised, made):
                raise
            return None if _is_same(raised, exception) else raised
    return _second_yield(step)


async def tear_down_async(opened: Opened, exception: BaseException | None) -> BaseException | None:
    """Do the same as `tear_down` for async generators."""
    step, made = opened
    with tracebacks_kept(exception):
        try:
            with ChildrenEnd():
                if exception is None:
                    await anext(made)
                else:
                    await made.athrow(exception)
                await made.aclose()
        except StopAsyncIteration:
            return None
        except BaseException as raised:  # noqa: BLE001  (returned)
            return None if _is_same(raised, exception) else raised
    return _second_yield(step)


def add_teardown_note(exception: BaseException, opened: Opened, raised: BaseException) -> None:
    """Add a note to ``exception`` that a teardown raised too."""
    add_note(exception, f"While {opened[0].name}() was torn down after this: {described(raised)}")


def _second_yield(step: Step) -> RuntimeError:
    return RuntimeError(
        f"{readable_name(step.function)}() has more than one yield: a dependency yields one value, once."
    )


def _came_between(raised: BaseException, made: Generator[Any, Any, Any]) -> bool:
    """Return True if ``raised`` interrupted a step of ours, before the generator was resumed or after it yielded again:
    what a generator raises ends it."""
    return getattr(made, "gi_suspended", False) and interrupt_in(raised) is not None


def _is_same(raised: BaseException, thrown: BaseException | None) -> bool:
    # A generator cannot raise these two: Python turns them into a RuntimeError (PEP 479).
    wrapped = is_a(thrown, (StopIteration, StopAsyncIteration)) and is_a(raised, RuntimeError)
    return thrown is not None and (raised is thrown or (wrapped and cause_of(raised) is thrown))
