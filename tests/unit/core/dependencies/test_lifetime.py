"""The set-up and teardown of one dependency."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from encord_agents.core.dependencies.awaiting import Hidden
from encord_agents.core.dependencies.build import kind_of
from encord_agents.core.dependencies.lifetime import (
    Opened,
    add_teardown_note,
    set_up,
    set_up_async,
    tear_down,
    tear_down_async,
)
from encord_agents.core.dependencies.plan import Step
from encord_agents.core.tracebacks import traceback_of


def step(function: Callable[..., Any]) -> Step:
    """A dependency without parameters."""
    return Step(function, (), (), kind_of(function), "attempt")


def used(function: Callable[..., Any], end: BaseException | None) -> tuple[Opened, BaseException | None]:
    """Set up a dependency and tear it down; return it, and the outcome of the teardown."""
    of = step(function)
    opened: list[Opened] = []

    async def whole() -> BaseException | None:
        await set_up_async(of, [], opened)
        return await tear_down_async(opened[0], end)

    if of.kind.is_async:
        raised = asyncio.run(whole())
    else:
        set_up(of, [], opened)
        raised = tear_down(opened[0], end)
    return opened[0], raised


def generator() -> Iterator[int]:
    yield 1


async def async_generator() -> AsyncIterator[int]:
    yield 1


@contextlib.contextmanager
def to_enter() -> Iterator[int]:
    yield 1


@pytest.mark.parametrize(("function", "kind"), [(generator, Iterator), (async_generator, AsyncIterator)])
def test_a_generator_has_a_teardown(function: Callable[..., Any], kind: type) -> None:
    """A generator's value is its first one, and it is kept for the teardown."""
    opened: list[Opened] = []
    if function is generator:
        assert set_up(step(function), [], opened) == 1
    else:
        assert asyncio.run(set_up_async(step(function), [], opened)) == 1
    ((of, made),) = opened
    assert of == step(function)
    assert isinstance(made, kind)


@pytest.mark.parametrize("function", [lambda: 1, lambda: generator(), to_enter])
def test_a_value_has_none(function: Callable[..., Any]) -> None:
    """A plain function's value has no teardown, even if it is a generator or something to enter."""
    opened: list[Opened] = []
    made = set_up(step(function), [], opened)
    assert made == 1 or type(made) is type(function())
    assert opened == []


def test_an_awaitable_is_still_to_be_awaited() -> None:
    """A synchronous set-up hands out an awaitable as `Hidden`, an asynchronous one awaits it."""

    async def later() -> int:
        return 1

    made = set_up(step(lambda: later()), [], [])
    assert isinstance(made, Hidden)
    made.awaitable.close()
    assert asyncio.run(set_up_async(step(lambda: later()), [], [])) == 1
    assert asyncio.run(set_up_async(step(later), [], [])) == 1


def without_yield() -> Iterator[int]:
    yield from ()


async def async_without_yield() -> AsyncIterator[int]:
    if not asyncio.current_task():
        yield 1


def test_a_generator_that_yields_nothing() -> None:
    """A generator without a value is refused by its name."""
    with pytest.raises(RuntimeError, match=r"^without_yield\(\) ended without a yield"):
        set_up(step(without_yield), [], [])
    with pytest.raises(RuntimeError, match=r"^async_without_yield\(\) ended without a yield"):
        asyncio.run(set_up_async(step(async_without_yield), [], []))


def test_a_generator_is_kept_before_it_runs() -> None:
    """A set-up that is cut off half-way leaves the generator for the teardown, which is nothing then."""

    def cut_off() -> Iterator[int]:
        raise KeyboardInterrupt
        yield 1

    opened: list[Opened] = []
    with pytest.raises(KeyboardInterrupt):
        set_up(step(cut_off), [], opened)
    (one,) = opened
    assert tear_down(one, None) is None


def passes() -> Iterator[int]:
    try:
        yield 1
    finally:
        pass


def swallows() -> Iterator[int]:
    with contextlib.suppress(BaseException):
        yield 1


def replaces() -> Iterator[int]:
    try:
        yield 1
    finally:
        raise OSError("disk")


def goes_on() -> Iterator[int]:
    with contextlib.suppress(BaseException):
        yield 1
    yield 2


async def async_passes() -> AsyncIterator[int]:
    try:
        yield 1
    finally:
        pass


async def async_swallows() -> AsyncIterator[int]:
    with contextlib.suppress(BaseException):
        yield 1


async def async_replaces() -> AsyncIterator[int]:
    try:
        yield 1
    finally:
        raise OSError("disk")


async def async_goes_on() -> AsyncIterator[int]:
    with contextlib.suppress(BaseException):
        yield 1
    yield 2


ENDS = [None, ValueError("end"), StopIteration("end"), StopAsyncIteration("end"), KeyboardInterrupt()]


@pytest.mark.parametrize("end", ENDS, ids=lambda end: type(end).__name__)
@pytest.mark.parametrize(
    ("function", "wrong"),
    [
        (passes, None),
        (swallows, None),
        (replaces, "disk"),
        (goes_on, "goes_on() has more than one yield: a dependency yields one value, once."),
        (async_passes, None),
        (async_swallows, None),
        (async_replaces, "disk"),
        (async_goes_on, "async_goes_on() has more than one yield: a dependency yields one value, once."),
    ],
)
def test_an_end_that_is_passed_on_or_swallowed_is_no_fault(
    function: Callable[..., Any], wrong: str | None, end: BaseException | None
) -> None:
    """Only an exception of the teardown's own, or a second yield, is wrong."""
    _, raised = used(function, end)
    assert (None if raised is None else str(raised)) == wrong


@pytest.mark.parametrize("function", [passes, swallows, async_passes])
def test_a_teardown_leaves_no_trace(function: Callable[..., Any]) -> None:
    """The traceback of the exception that ended the use is afterwards as it was."""
    try:
        raise ValueError("end")
    except ValueError as error:
        end = error
    before = traceback_of(end)
    assert used(function, end)[1] is None
    assert traceback_of(end) is before


def test_a_note_of_a_second_exception() -> None:
    """The exception that counts says which teardown raised another after it, and which one."""
    end = ValueError("end")
    add_teardown_note(end, used(passes, None)[0], OSError("disk"))
    assert end.__notes__ == ["While passes() was torn down after this: OSError: disk"]


def test_a_second_yield_is_closed_too() -> None:
    """A generator with one yield too many is ended at once: resources that it holds there are released."""
    log: list[str] = []

    def twice() -> Iterator[int]:
        yield 1
        try:
            yield 2
        finally:
            log.append("released")

    async def async_twice() -> AsyncIterator[int]:
        for value in twice():
            yield value

    kept, _ = used(twice, None)
    assert kept[1].gi_frame is None
    assert log == ["released"]

    opened: list[Opened] = []

    async def whole() -> None:
        await set_up_async(step(async_twice), [], opened)
        await tear_down_async(opened[0], None)
        assert opened[0][1].ag_frame is None

    asyncio.run(whole())
