"""What comes as an awaitable is awaited, whoever hides it, in synchronous and in async attempts."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import threading
import traceback
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from typing import Any

import pytest

from encord_agents.core.dependencies import Depends
from encord_agents.core.dependencies.build import build_plan
from encord_agents.core.dependencies.plan import Plan
from encord_agents.core.dependencies.scope import RunScope
from encord_agents.core.dependencies.solve import Attempt, attempt, attempt_async
from encord_agents.tasks.engine.event_loop import EventLoop

Scope = Any


def plan(agent: Callable[..., Any]) -> Plan:
    return build_plan(agent, injectable=(), run_injectable=())


@pytest.fixture
def loop() -> Iterator[EventLoop]:
    loop = EventLoop()
    yield loop
    loop.close()


@pytest.fixture(params=["sync", "async"])
def solve(request: pytest.FixtureRequest, loop: EventLoop) -> Callable[[Callable[..., Any]], Attempt]:
    """Both ways to carry out a plan in which nothing says that it is async."""

    def run(agent: Callable[..., Any], scope: RunScope | None = None) -> Attempt:
        made = plan(agent)
        assert not made.has_async
        scope = scope or RunScope(loop=loop)
        if request.param == "sync":
            return attempt(made, {}, scope)
        ended: Attempt = loop.submit(attempt_async(made, {}, scope)).result()
        return ended

    return run


async def seven() -> int:
    await asyncio.sleep(0)
    return 7


@types.coroutine
def old_seven() -> Generator[Any, Any, int]:
    return (yield from seven().__await__())


class Sevens:
    """An object that is awaited."""

    def __await__(self) -> Generator[Any, Any, int]:
        return seven().__await__()


class Calls:
    """A callable object that wraps an async function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self.function = function

    def __call__(self) -> Any:
        return self.function()


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper() -> Any:
        return function()

    return wrapper


def unnamed(function: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(text: str = "") -> Any:
        return function()

    return wrapper


def forgetful(function: Callable[..., Any]) -> Any:
    async def wrapper() -> Any:
        return function()

    return lambda: wrapper()


HIDDEN: dict[str, Callable[[], Any]] = {
    "wraps": wrapped(seven),
    "a wrapper": unnamed(seven),
    "wrapped twice": unnamed(wrapped(seven)),
    "an object": Calls(seven),
    "a partial": functools.partial(unnamed(seven), "x"),
    "a lambda": lambda: seven(),
    "a cache": functools.lru_cache(lambda: seven()),
    "an awaitable object": lambda: Sevens(),
    "a wrapper that does not await": forgetful(seven),
    "a coroutine that is a generator": unnamed(old_seven),
}


@pytest.mark.parametrize("name", HIDDEN)
def test_an_agents_awaitable_is_awaited(solve: Callable[..., Attempt], name: str) -> None:
    """The agent's value is what comes of it."""
    if name == "a cache":
        HIDDEN[name].cache_clear()  # type: ignore[attr-defined]
    assert solve(HIDDEN[name]).value == 7


@pytest.mark.parametrize("scope", ["attempt", "run"])
@pytest.mark.parametrize("name", HIDDEN)
def test_a_dependencys_awaitable_is_awaited(solve: Callable[..., Attempt], name: str, scope: Scope) -> None:
    """The agent is given what comes of it."""
    if name == "a cache":
        HIDDEN[name].cache_clear()  # type: ignore[attr-defined]

    def agent(value: Any = Depends(HIDDEN[name], scope=scope)) -> Any:
        return value + 1

    assert solve(agent).value == 8


def test_a_dependency_of_types_coroutine(solve: Callable[..., Attempt]) -> None:
    """It is awaited, although it is a generator function: the first thing that it yields is none of its values."""

    def agent(value: Any = Depends(old_seven)) -> Any:
        return value

    assert solve(agent).value == 7


def test_what_says_that_it_is_async_needs_no_discovery() -> None:
    """Coroutine functions, callable objects with an async ``__call__`` and partials of either are known beforehand."""

    class Agent:
        async def __call__(self) -> int:
            return 7

    for function in (seven, Agent(), functools.partial(seven), functools.partial(Agent())):
        made = plan(function)
        assert made.is_async
        assert asyncio.run(attempt_async(made, {}, RunScope())).value == 7


def test_values_that_can_be_awaited_are_values_where_the_code_says_so(solve: Callable[..., Attempt]) -> None:
    """What a generator yields, an instance of the class that is called or announced, and what is iterated."""

    def yielded() -> Iterator[Sevens]:
        yield Sevens()

    def announced() -> Sevens:
        return Sevens()

    def not_quite() -> Awaitable[int]:
        return Sevens()

    def stream() -> AsyncIterator[int]:
        async def numbers() -> AsyncIterator[int]:
            yield 1

        return numbers()

    def agent(
        a: Any = Depends(yielded),
        b: Any = Depends(announced),
        c: Any = Depends(Sevens),
        d: Any = Depends(not_quite),
        e: Any = Depends(stream),
    ) -> list[str]:
        return [type(value).__name__ for value in (a, b, c, d, e)]

    assert solve(agent).value == ["Sevens", "Sevens", "Sevens", "int", "async_generator"]


@pytest.mark.parametrize("scope", ["attempt", "run"])
def test_what_it_raises_is_the_fault_of_who_returned_it(solve: Callable[..., Attempt], scope: Scope) -> None:
    """Of the dependency, or of the agent, with a traceback that begins in the user's code."""

    async def fails() -> None:
        await asyncio.sleep(0)
        raise LookupError("x")

    def load() -> Any:
        return fails()

    def agent(value: Any = Depends(load, scope=scope)) -> None: ...

    ended = solve(agent)
    assert (ended.phase, type(ended.exception), ended.faulty_dependency) == ("inject", LookupError, load)
    assert [frame.name for frame in traceback.extract_tb(ended.exception and ended.exception.__traceback__)] == [
        "fails"
    ]
    assert (solve(load).phase, type(solve(load).exception)) == ("agent", LookupError)


@pytest.mark.parametrize("error", [SystemExit(3), StopIteration("x"), GeneratorExit(), asyncio.CancelledError()])
def test_whatever_it_raises(solve: Callable[..., Attempt], error: BaseException) -> None:
    """It ends this attempt, and neither the event loop nor the run."""

    class Raises:
        def __await__(self) -> Generator[Any, Any, None]:
            yield from asyncio.sleep(0).__await__()
            raise error

    def agent() -> Any:
        return Raises()

    ended = solve(agent)
    assert ended.phase == "agent"
    assert error in (ended.exception, ended.exception and ended.exception.__cause__)
    assert solve(wrapped(seven)).value == 7


@pytest.mark.parametrize("which", ["agent", "dependency"])
def test_a_cached_coroutine_says_what_it_is(solve: Callable[..., Attempt], which: str) -> None:
    """It can be awaited once. The second time there is a reason, and a way out."""

    @functools.cache
    def load() -> Any:
        return seven()

    def agent(value: int = Depends(load)) -> int:
        return value

    function = load if which == "agent" else agent
    assert solve(function).value == 7
    again = solve(function)
    assert again.phase == ("agent" if which == "agent" else "inject")
    assert "a cache keeps the coroutine" in str(again.exception)
    assert 'Depends(function, scope="run")' in str(again.exception)


def test_a_task_that_an_async_function_starts_is_its_value() -> None:
    """It said that it is async, and that is what came of it. An agent that returns a task has it awaited."""

    async def start() -> asyncio.Task[int]:
        return asyncio.create_task(seven())

    async def agent(task: asyncio.Task[int] = Depends(start)) -> asyncio.Task[int]:
        assert isinstance(task, asyncio.Task)
        return task

    assert asyncio.run(attempt_async(plan(agent), {}, RunScope())).value == 7


def test_a_future_is_awaited_on_its_own_event_loop(loop: EventLoop) -> None:
    """Whether somebody runs that loop, in another thread, or nobody does yet."""
    other, idle = EventLoop(), asyncio.new_event_loop()

    async def future() -> asyncio.Task[int]:
        return asyncio.create_task(seven())

    def running() -> Any:
        return other.submit(future()).result()

    def idling() -> Any:
        return idle.create_task(seven())

    try:
        assert attempt(plan(running), {}, RunScope(loop=loop)).value == 7
        assert attempt(plan(idling), {}, RunScope(loop=loop)).value == 7
        assert loop.submit(attempt_async(plan(running), {}, RunScope(loop=loop))).result().value == 7
    finally:
        other.close()
        idle.close()


def test_under_a_running_event_loop(loop: EventLoop) -> None:
    """As in a notebook: the loop that is running in the caller's thread is not in the way."""

    async def notebook() -> Attempt:
        return attempt(plan(wrapped(seven)), {}, RunScope(loop=loop))

    assert asyncio.run(notebook()).value == 7


def test_context_variables_go_both_ways(solve: Callable[..., Attempt]) -> None:
    """The awaitable sees what was set before; what it sets is seen afterwards, and not by the caller."""
    variable = contextvars.ContextVar("variable", default="")

    def first() -> None:
        variable.set("a")

    async def add() -> None:
        variable.set(variable.get() + "b")

    def second(x: None = Depends(first)) -> Any:
        return add()

    def agent(x: None = Depends(second)) -> str:
        return variable.get()

    assert solve(agent).value == "ab"
    assert variable.get() == ""


def test_an_interrupt_of_the_waiting_thread(loop: EventLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    """It cancels what is awaited, waits for its clean-up, tears down, and passes."""
    log: list[str] = []
    begun = threading.Event()

    async def slow() -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            log.append("cleaned up")

    def other() -> Iterator[None]:
        try:
            yield
        finally:
            log.append("torn down")

    def agent(a: None = Depends(other)) -> Any:
        return slow()

    submit = loop.submit

    def interrupted(work: Any) -> Any:
        going = submit(work)
        monkeypatch.setattr(going, "result", raising)
        return going

    def raising(*_: Any) -> Any:
        assert begun.wait(30)
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "submit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        attempt(plan(agent), {}, RunScope(loop=loop))
    assert log == ["cleaned up", "torn down"]


def test_without_an_event_loop(recwarn: pytest.WarningsRecorder) -> None:
    """Nobody could await it: the fault says so, and nothing is left to warn of."""
    ended = attempt(plan(wrapped(seven)), {}, RunScope())
    assert ended.phase == "agent"
    assert "no event loop for it" in str(ended.exception)
    assert not recwarn.list


def test_threads_wait_side_by_side(loop: EventLoop) -> None:
    """Several attempts at once have their coroutines at once, on the one event loop."""
    together = asyncio.Barrier(4)

    async def meet() -> int:
        await together.wait()
        return 1

    ended: list[object] = []
    threads = [
        threading.Thread(target=lambda: ended.append(attempt(plan(wrapped(meet)), {}, RunScope(loop=loop)).value))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert ended == [1] * 4
