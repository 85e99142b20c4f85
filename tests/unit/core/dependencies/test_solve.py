from __future__ import annotations

import asyncio
import contextlib
import contextvars
import decimal
import functools
import threading
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, NoReturn

import pytest
from tests.interrupts import Interrupter, Place, exiting_on_sigterm, interrupt
from tests.misbehaving import EXCEPTIONS

from encord_agents.core.dependencies import Depends
from encord_agents.core.dependencies import solve as solving
from encord_agents.core.dependencies.build import build_plan
from encord_agents.core.dependencies.plan import Plan
from encord_agents.core.dependencies.scope import RunScope
from encord_agents.core.dependencies.solve import Attempt, attempt, attempt_async
from encord_agents.core.interrupts import Interrupt
from encord_agents.exceptions import DependencyError


class Row: ...


ROW = Row()


def plan(agent: Callable[..., Any]) -> Plan:
    return build_plan(agent, injectable=(Row,), run_injectable=())


def solve(agent: Callable[..., Any]) -> Attempt:
    return attempt(plan(agent), {Row: ROW}, RunScope())


def solve_async(agent: Callable[..., Any]) -> Attempt:
    return asyncio.run(attempt_async(plan(agent), {Row: ROW}, RunScope()))


both = pytest.mark.parametrize("run", [solve, solve_async])
KINDS = EXCEPTIONS | {"SystemExit": SystemExit, "GeneratorExit": GeneratorExit}
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def recorder(log: list[str], name: str) -> Callable[[], Iterator[str]]:
    def make() -> Iterator[str]:
        log.append(f"+{name}")
        try:
            yield name
        except BaseException as error:
            log.append(f"!{type(error).__name__}")
            raise
        finally:
            log.append(f"-{name}")

    return make


@both
def test_values_reach_their_parameters(run: Callable[..., Attempt]) -> None:
    """Types, marks, positional-only parameters and defaults each get what they asked for."""

    def double(row: Row) -> tuple[Row, int]:
        return row, 2

    def agent(first: int = 1, row: Row = Depends(double), /, other: Row | None = None, *rest: int, n: int = 3) -> Any:
        return first, row, other, rest, n

    assert run(agent).value == (1, (ROW, 2), ROW, (), 3)


@both
def test_all_sorts_of_callables(run: Callable[..., Attempt]) -> None:
    """Lambdas, partials, classes, bound and static methods, callable objects, context managers work as dependencies."""

    class Holder:
        def __init__(self, row: Row) -> None:
            self.row = row

        def method(self) -> str:
            return "method"

        @staticmethod
        def static() -> str:
            return "static"

        def __call__(self) -> Iterator[str]:
            yield "called"

    def add(a: int, b: int, row: Row) -> int:
        return a + b

    holder = Holder(ROW)

    def agent(
        h: Holder = Depends(Holder),
        values: Any = Depends(lambda: "lambda"),
        m: str = Depends(holder.method),
        s: str = Depends(Holder.static),
        c: str = Depends(holder),
        p: int = Depends(functools.partial(add, 1, b=2)),
    ) -> Any:
        return h.row is ROW, values, m, s, c, p

    assert run(agent).value == (True, "lambda", "method", "static", "called", 3)


@both
def test_a_context_manager_is_the_agents_to_enter(run: Callable[..., Attempt]) -> None:
    """What ``@contextmanager`` makes is handed on as it is; a decorator that returns the generator changes nothing."""
    log: list[str] = []

    @contextlib.contextmanager
    def managed() -> Iterator[str]:
        log.append("+")
        yield "managed"
        log.append("-")

    def decorated(function: Callable[[], Iterator[str]]) -> Callable[[], Iterator[str]]:
        @functools.wraps(function)
        def wrapper() -> Iterator[str]:
            return function()

        return wrapper

    @decorated
    def generate() -> Iterator[str]:
        yield "generated"
        log.append("torn down")

    def agent(manager: Any = Depends(managed), generated: str = Depends(generate)) -> Any:
        assert log == []
        with manager as value:
            return value, generated

    assert run(agent).value == ("managed", "generated")
    assert log == ["+", "-", "torn down"]


def test_an_async_context_manager_is_the_agents_to_enter() -> None:
    """So is what ``@asynccontextmanager`` makes."""

    @contextlib.asynccontextmanager
    async def managed() -> AsyncIterator[str]:
        yield "managed"

    async def agent(manager: Any = Depends(managed)) -> Any:
        async with manager as value:
            return value

    assert solve_async(agent).value == "managed"


@both
def test_the_agents_exception_is_raised_in_generators(run: Callable[..., Attempt]) -> None:
    """Each generator sees it, in reverse order; its traceback starts in the user's code."""
    log: list[str] = []

    def agent(a: str = Depends(recorder(log, "a")), b: str = Depends(recorder(log, "b"))) -> None:
        raise LookupError("x")

    ended = run(agent)
    assert (ended.phase, type(ended.exception), ended.faulty_dependency) == ("agent", LookupError, None)
    assert log == ["+a", "+b", "!LookupError", "-b", "!LookupError", "-a"]
    assert [frame.name for frame in traceback.extract_tb(ended.exception and ended.exception.__traceback__)] == [
        "agent"
    ]


@both
@pytest.mark.parametrize("error", [ValueError("own"), StopIteration("own"), StopAsyncIteration("own")])
def test_swallowing_or_replacing_it_changes_nothing(run: Callable[..., Attempt], error: Exception) -> None:
    """A generator that swallows the agent's exception makes no success; one that replaces it adds a note."""

    def swallow() -> Iterator[int]:
        with contextlib.suppress(Exception):
            yield 1

    def replace() -> Iterator[int]:
        try:
            yield 1
        except Exception:
            raise KeyError("other") from None

    def agent(a: int = Depends(swallow), b: int = Depends(replace), c: int = Depends(swallow)) -> None:
        raise error

    ended = run(agent)
    assert ended.phase == "agent"
    assert ended.exception is not None
    # No coroutine can let a StopIteration out: Python makes a RuntimeError of it.
    assert error in (ended.exception, ended.exception.__cause__)
    assert ["KeyError: 'other'" in note for note in ended.exception.__notes__] == [True]


@both
def test_a_teardown_that_raises_is_a_fault(run: Callable[..., Attempt]) -> None:
    """After a good call too; all others are torn down, and see the exception as nested with blocks would."""
    log: list[str] = []

    def bad() -> Iterator[int]:
        yield 1
        raise OSError("disk")

    def agent(a: str = Depends(recorder(log, "a")), b: int = Depends(bad), c: str = Depends(recorder(log, "c"))) -> str:
        return "done"

    ended = run(agent)
    assert (ended.value, ended.phase, ended.faulty_dependency) == (None, "teardown", bad)
    assert isinstance(ended.exception, OSError)
    assert log == ["+a", "+c", "-c", "!OSError", "-a"]


@both
def test_a_dependency_that_raises_ends_the_attempt(run: Callable[..., Attempt]) -> None:
    """What was set up before is torn down, what comes after is not set up, the agent is not called."""
    log: list[str] = []

    def bad() -> Iterator[int]:
        log.append("bad")
        raise OSError("disk")
        yield 1

    def agent(
        a: str = Depends(recorder(log, "a")), b: int = Depends(bad), c: str = Depends(recorder(log, "c"))
    ) -> None:
        log.append("agent")

    ended = run(agent)
    assert (ended.phase, ended.faulty_dependency, ended.run_scoped) == ("inject", bad, False)
    assert log == ["+a", "bad", "!OSError", "-a"]


@both
def test_wrong_numbers_of_yields(run: Callable[..., Attempt]) -> None:
    """Two yields are a fault of the teardown, none is a fault of injection."""

    def twice() -> Iterator[int]:
        yield 1
        yield 2

    def never() -> Iterator[int]:
        yield from ()

    def first(x: int = Depends(twice)) -> None: ...

    def second(x: int = Depends(never)) -> None: ...

    assert (run(first).phase, str(run(first).exception).split(":")[0]) == (
        "teardown",
        "twice() has more than one yield",
    )
    assert (run(second).phase, "without a yield" in str(run(second).exception)) == ("inject", True)


@both
def test_generators_are_fresh_at_the_next_attempt(run: Callable[..., Attempt]) -> None:
    """An attempt never sees an iterator that another one has read."""

    def numbers() -> Iterator[Iterator[int]]:
        yield iter([1, 2, 3])

    def agent(n: Iterator[int] = Depends(numbers)) -> list[int]:
        return list(n)

    assert [run(agent).value, run(agent).value] == [[1, 2, 3], [1, 2, 3]]


@both
@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, Interrupt])
def test_an_interrupt_tears_down_and_passes(run: Callable[..., Attempt], interrupt: type[BaseException]) -> None:
    """Ctrl-C in the agent, or in a dependency, is no fault of the task; nor is what the caller says is none."""
    log: list[str] = []

    def agent(a: str = Depends(recorder(log, "a"))) -> None:
        raise interrupt

    with pytest.raises(interrupt):
        run(agent)
    assert log == ["+a", f"!{interrupt.__name__}", "-a"]


@both
@every_kind
@pytest.mark.parametrize("place", ["inject", "agent", "teardown"])
def test_exceptions_of_every_kind(run: Callable[..., Attempt], kind: type[BaseException], place: str) -> None:
    """Whatever is raised is the attempt's fault in the phase it was raised in, and every teardown has its turn."""
    log: list[str] = []
    error = kind()

    def dependency(a: str = Depends(recorder(log, "a"))) -> Iterator[str]:
        if place == "inject":
            raise error
        yield a
        if place == "teardown":
            raise error

    def agent(a: str = Depends(dependency)) -> None:
        if place == "agent":
            raise error

    ended = run(agent)
    assert ended.phase == place
    assert ended.exception is error
    assert log[0] == "+a"
    assert log[-1] == "-a"


@every_kind
@pytest.mark.parametrize("place", ["inject", "agent", "teardown"])
@pytest.mark.parametrize("scope", ["attempt", "run"])
def test_exceptions_of_every_kind_where_all_is_async(kind: type[BaseException], place: str, scope: Any) -> None:
    """The same on an event loop, which is none the worse for it."""
    log: list[str] = []
    error = kind()

    async def dependency(a: str = Depends(recorder(log, "a"), scope=scope)) -> AsyncIterator[str]:
        if place == "inject":
            raise error
        yield a
        if place == "teardown":
            raise error

    async def agent(a: str = Depends(dependency, scope=scope)) -> str:
        if place == "agent":
            raise error
        return a

    raised: list[BaseException] = []

    async def whole_run() -> Attempt:
        run = RunScope()
        ended = await attempt_async(plan(agent), {}, run)
        raised.extend(bad.exception for bad in await run.aclose())
        return ended

    ended = asyncio.run(whole_run())
    if (place, scope) == ("teardown", "run"):
        assert ended.phase is None
        assert [one is error for one in raised] == [True]
    else:
        assert ended.phase == place
        assert ended.exception is error
        assert raised == []
    assert log[0] == "+a"
    assert log[-1] == "-a"


@both
def test_noted_where_both_refuse(run: Callable[..., Attempt]) -> None:
    """A teardown that raises after the agent did is told in a note, even if neither exception has a message."""

    def dependency() -> Iterator[None]:
        try:
            yield
        finally:
            raise EXCEPTIONS["Mute"]

    def agent(a: None = Depends(dependency)) -> None:
        raise EXCEPTIONS["Mute"]

    ended = run(agent)
    assert ended.phase == "agent"
    (note,) = ended.exception.__notes__  # type: ignore[union-attr]
    assert "dependency() was torn down after this: Mute: (its message" in note


def test_missing_values() -> None:
    """None where `X | None` is asked for, the default where there is one, else a fault of injection."""

    def agent(row: Row | None) -> Any:
        return row

    def strict(row: Row) -> None: ...

    assert attempt(plan(agent), {}, RunScope()) == Attempt(None)
    for values in ({}, {Row: None}):
        ended = attempt(plan(strict), values, RunScope())
        assert (ended.phase, type(ended.exception)) == ("inject", DependencyError)
        assert "There is no Row here, and strict() asks for one" in str(ended.exception)


@both
def test_an_attempt_has_context_variables_of_its_own(run: Callable[..., Attempt]) -> None:
    """A copy of the caller's: what is set in it stays in it."""
    variable = contextvars.ContextVar("variable", default="")

    def first() -> Iterator[None]:
        token = variable.set(variable.get() + " first")
        yield
        variable.reset(token)

    def agent(x: None = Depends(first)) -> str:
        variable.set(variable.get() + " agent")
        return variable.get()

    token = variable.set("caller")
    try:
        assert [run(agent).value, run(agent).value] == ["caller first agent"] * 2
        assert variable.get() == "caller"
    finally:
        variable.reset(token)


@both
def test_an_attempt_has_a_decimal_context_of_its_own(run: Callable[..., Attempt]) -> None:
    """A copy of the caller's: Python shares that object among copies of a context, and it is changed in place."""

    def agent() -> str:
        decimal.getcontext().prec += 1
        return str(decimal.Decimal(1) / 3)

    with decimal.localcontext(prec=5):
        assert [run(agent).value, run(agent).value] == ["0.333333"] * 2
        assert decimal.getcontext().prec == 5


def test_an_attempt_in_a_given_context() -> None:
    """It has a copy of that one, however many attempts have copies at the same time."""
    variable = contextvars.ContextVar("variable", default="")
    given = contextvars.copy_context()
    given.run(variable.set, "given")

    def agent() -> str:
        return variable.get()

    async def agent_async() -> str:
        await asyncio.sleep(0)
        return variable.get()

    async def main() -> list[object]:
        attempts = (attempt_async(plan(agent_async), {}, RunScope(), given) for _ in range(3))
        return [ended.value for ended in await asyncio.gather(*attempts)]

    assert given.run(attempt, plan(agent), {}, RunScope(), given).value == "given"
    assert given.run(attempt, plan(agent), {}, RunScope(), contextvars.Context()).value == ""  # an empty one counts
    assert asyncio.run(main()) == ["given"] * 3


def test_an_interrupt_between_two_teardowns(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may come in code of ours: what is not torn down yet has its turn all the same."""
    log: list[str] = []

    def agent(a: str = Depends(recorder(log, "a")), b: str = Depends(recorder(log, "b"))) -> None: ...

    def interrupted(*_: Any) -> Any:
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(solving, "_weigh", interrupted)
    with pytest.raises(KeyboardInterrupt):
        solve(agent)
    assert log == ["+a", "+b", "-b", "!KeyboardInterrupt", "-a"]


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("source", ["ctrl-c", "own-handler"])
def test_an_interrupt_at_any_point(source: str, fails: bool) -> None:
    """Each dependency that was set up is torn down once, be it made for the attempt or for the run."""
    with contextlib.ExitStack() as stack:
        handler = interrupt if source == "ctrl-c" else stack.enter_context(exiting_on_sigterm())
        places = list(interrupted(None, fails, handler).places)
        assert len(places) > 50
        missed = [place for place in places if not interrupted(place, fails, handler).where]
    assert len(missed) < 0.1 * len(places), missed


def interrupted(at: Place | None, fails: bool, handler: Callable[..., NoReturn]) -> Interrupter:
    """Make an attempt that is interrupted there, close its run, and check its dependencies."""
    log: list[str] = []

    def agent(
        model: str = Depends(recorder(log, "model"), scope="run"),
        first: str = Depends(recorder(log, "first")),
        second: str = Depends(recorder(log, "second")),
    ) -> None:
        if fails:
            raise ValueError

    made, run = plan(agent), RunScope()
    with Interrupter(at, handler) as interrupter:
        for step in (lambda: attempt(made, {}, run), run.close, run.close):  # after an interrupt, closing goes on
            with contextlib.suppress(KeyboardInterrupt, SystemExit):
                step()
    for name in ("model", "first", "second"):
        assert log.count(f"-{name}") == log.count(f"+{name}"), f"{at} {interrupter.where}: {log}"
    return interrupter


def test_async_needs_attempt_async() -> None:
    """A synchronous attempt refuses a plan with something to await."""

    async def agent() -> None: ...

    with pytest.raises(TypeError, match="attempt_async"):
        solve(agent)


def test_async_parts_are_awaited_on_the_loop_and_the_rest_in_one_thread() -> None:
    """Set-up and teardown of synchronous dependencies share a thread, and all share the attempt's context variables."""
    where: list[int] = []
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="")

    def sync() -> Iterator[str]:
        where.append(threading.get_ident())
        token = variable.set(variable.get() + "b")
        yield variable.get()
        variable.reset(token)
        where.append(threading.get_ident())

    async def stream(s: str = Depends(sync)) -> AsyncIterator[str]:
        yield s + "c"

    async def fetch(s: str = Depends(stream)) -> str:
        return s + "d"

    async def agent(s: str = Depends(fetch), row: Row | None = None) -> tuple[str, int]:
        await asyncio.sleep(0)
        return s + variable.get(), threading.get_ident()

    async def main() -> Attempt:
        variable.set("a")
        return await attempt_async(plan(agent), {Row: ROW}, RunScope())

    assert asyncio.run(main()).value == ("abcdab", threading.get_ident())
    assert len(set(where)) == 1
    assert where[0] != threading.get_ident()


def test_a_cancelled_attempt_is_torn_down() -> None:
    """Cancellation reaches the dependencies, and passes."""
    log: list[str] = []

    async def stream() -> AsyncIterator[int]:
        try:
            yield 1
        except asyncio.CancelledError:
            log.append("cancelled")
            raise

    async def main() -> None:
        started = asyncio.Event()

        async def agent(x: int = Depends(stream), a: str = Depends(recorder(log, "a"))) -> None:
            started.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(attempt_async(plan(agent), {}, RunScope()))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert log == ["+a", "!CancelledError", "-a", "cancelled"]


def test_a_cancelled_thread_is_waited_for() -> None:
    """What a thread was making when the attempt was cancelled is torn down too."""
    log: list[str] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        going, go_on = asyncio.Event(), threading.Event()

        def slow() -> Iterator[int]:
            loop.call_soon_threadsafe(going.set)
            go_on.wait(10)
            log.append("+slow")
            try:
                yield 1
            finally:
                log.append("-slow")

        async def agent(x: int = Depends(slow)) -> None: ...

        task = asyncio.create_task(attempt_async(plan(agent), {}, RunScope()))
        await going.wait()
        task.cancel()
        await asyncio.sleep(0)
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert log == ["+slow", "-slow"]


def test_a_cancelled_future_that_the_agent_lets_out_is_its_own_trouble() -> None:
    """Nobody cancelled the attempt, so the run goes on."""

    async def agent() -> None:
        raise asyncio.CancelledError

    assert solve_async(agent).phase == "agent"
