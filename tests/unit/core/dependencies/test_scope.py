from __future__ import annotations

import asyncio
import contextvars
import decimal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import pytest

from encord_agents.core.dependencies import Depends, scope
from encord_agents.core.dependencies.build import build_plan
from encord_agents.core.dependencies.plan import Plan
from encord_agents.core.dependencies.scope import RunScope
from encord_agents.core.dependencies.solve import attempt, attempt_async
from encord_agents.tasks.engine.event_loop import EventLoop


class Client: ...


CLIENT = Client()


def plan(agent: Callable[..., Any]) -> Plan:
    return build_plan(agent, injectable=(), run_injectable=(Client,))


def test_made_once_for_all_plans_and_threads_and_torn_down_in_reverse() -> None:
    """The first attempt makes it, others wait for it, and closing tears down what needs before what is needed."""
    log: list[str] = []

    def pool(client: Client) -> Iterator[str]:
        assert client is CLIENT
        log.append("+pool")
        yield "pool"
        log.append("-pool")

    def model(p: str = Depends(pool, scope="run")) -> Iterator[str]:
        log.append("+model")
        yield f"model on {p}"
        log.append("-model")

    def agent(m: str = Depends(model, scope="run")) -> str:
        return m

    def other(p: str = Depends(pool, scope="run")) -> str:
        return p

    plans = [plan(agent), plan(other)] * 20
    run = RunScope({Client: CLIENT})
    with ThreadPoolExecutor(8) as threads:
        ended = list(threads.map(lambda p: attempt(p, {}, run), plans))
    assert {e.value for e in ended} == {"model on pool", "pool"}
    assert run.succeeded(model)
    assert log == ["+pool", "+model"]
    assert run.close() == []
    assert log == ["+pool", "+model", "-model", "-pool"]


def test_a_failure_is_not_kept() -> None:
    """The next attempt tries again; until then the dependency has not succeeded."""
    failures = [OSError("first")]

    def model() -> int:
        if failures:
            raise failures.pop()
        return 7

    def agent(m: int = Depends(model, scope="run")) -> int:
        return m

    run = RunScope()
    first = attempt(plan(agent), {}, run)
    assert (first.phase, first.faulty_dependency, first.run_scoped) == ("inject", model, True)
    assert not run.succeeded(model)
    assert attempt(plan(agent), {}, run).value == 7
    assert run.succeeded(model)


def test_one_bad_teardown_does_not_stop_the_rest() -> None:
    """`close` returns what was raised, and by whom; closing again tears nothing down twice."""
    log: list[str] = []

    def good() -> Iterator[int]:
        yield 1
        log.append("good")

    def bad(g: int = Depends(good, scope="run")) -> Iterator[int]:
        yield 1
        raise OSError("bad")

    def agent(b: int = Depends(bad, scope="run")) -> None: ...

    run = RunScope()
    attempt(plan(agent), {}, run)
    assert [(error.name.rpartition(".")[2], str(error.exception)) for error in run.close()] == [("bad", "bad")]
    assert (log, len(run.close())) == (["good"], 1)


def test_nothing_is_made_after_the_end() -> None:
    """An attempt after closing is a fault, not a leak."""

    def agent(m: int = Depends(int, scope="run")) -> None: ...

    def model() -> int:
        return 1

    def late(m: int = Depends(model, scope="run")) -> None: ...

    run = RunScope()
    run.close()
    ended = attempt(plan(late), {}, run)
    assert (ended.phase, "the run is over" in str(ended.exception)) == ("inject", True)


def async_model(log: list[str]) -> Callable[..., Any]:
    async def model() -> AsyncIterator[str]:
        log.append("+")
        task = asyncio.current_task()
        await asyncio.sleep(0)
        yield "model"
        log.append("- in the same task" if asyncio.current_task() is task else "- elsewhere")

    return model


def test_async_is_made_once_on_the_loop_and_torn_down_there() -> None:
    """Attempts that come meanwhile wait; set-up and teardown are in one task of its own."""
    log: list[str] = []
    model = async_model(log)

    async def agent(m: str = Depends(model, scope="run")) -> str:
        return m

    async def main() -> None:
        run = RunScope()
        ended = await asyncio.gather(*(attempt_async(plan(agent), {}, run) for _ in range(10)))
        assert [e.value for e in ended] == ["model"] * 10
        with pytest.raises(RuntimeError, match="aclose"):
            run.close()
        assert await run.aclose() == []

    asyncio.run(main())
    assert log == ["+", "- in the same task"]


def test_close_from_another_thread_tears_down_on_the_loop() -> None:
    """The engine's loop runs in a thread of its own; closing from outside waits for it."""
    log: list[str] = []
    model = async_model(log)

    async def agent(m: str = Depends(model, scope="run")) -> str:
        return m

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        run = RunScope()
        asyncio.run_coroutine_threadsafe(attempt_async(plan(agent), {}, run), loop).result(10)
        assert run.close() == []
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
    assert log == ["+", "- in the same task"]


def test_another_loop_is_refused() -> None:
    """What was made on one event loop does not work on another, and the fault says so."""

    async def model() -> int:
        return 1

    async def agent(m: int = Depends(model, scope="run")) -> int:
        return m

    run = RunScope()
    assert asyncio.run(attempt_async(plan(agent), {}, run)).value == 1
    assert "one event loop" in str(asyncio.run(attempt_async(plan(agent), {}, run)).exception)


def test_the_thread_that_makes_tears_down() -> None:
    """The scope's own thread in place; for all others one thread of the run's, which is there until the end."""
    where: list[threading.Thread] = []

    def model() -> Iterator[int]:
        where.append(threading.current_thread())
        yield 1
        where.append(threading.current_thread())

    def agent(m: int = Depends(model, scope="run")) -> int:
        return m

    run = RunScope()
    attempt(plan(agent), {}, run)
    run.close()
    assert where == [threading.current_thread()] * 2

    where.clear()
    run = RunScope()
    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(attempt, plan(agent), {}, run).result().value == 1
    assert attempt(plan(agent), {}, run).value == 1
    run.close()
    assert len(set(where)) == 1
    assert where[0].name == "encord-agents-run"
    where[0].join(30)
    assert not where[0].is_alive()


def test_another_home() -> None:
    """Who says that the scope is at home in another thread has that thread make things in place."""
    where: list[str] = []

    def model() -> int:
        where.append(threading.current_thread().name)
        return 1

    def agent(m: int = Depends(model, scope="run")) -> int:
        return m

    with ThreadPoolExecutor(1, thread_name_prefix="engine") as threads:
        run = threads.submit(RunScope, thread=threading.get_ident()).result()
        assert attempt(plan(agent), {}, run).value == 1
    assert where == [threading.current_thread().name]


@pytest.mark.parametrize("one_at_a_time", [True, False])
def test_the_synchronous_parts_of_async_attempts(one_at_a_time: bool) -> None:
    """They live on the run's own thread where attempts come one at a time, else each on a thread of its own."""
    where: dict[str, list[int]] = {"model": [], "agent": []}

    def model() -> Iterator[int]:
        where["model"].append(threading.get_ident())
        yield 1
        where["model"].append(threading.get_ident())

    async def nothing() -> None: ...

    def agent(m: int = Depends(model, scope="run"), n: None = Depends(nothing)) -> None:
        where["agent"].append(threading.get_ident())

    async def main() -> None:
        run = RunScope(one_at_a_time=one_at_a_time)
        for _ in range(3):
            await attempt_async(plan(agent), {}, run)
        assert await run.aclose() == []

    asyncio.run(main())
    (makes,) = set(where["model"])
    assert set(where["agent"]) == {makes} if one_at_a_time else makes not in where["agent"]


def test_a_decimal_context_goes_to_every_attempt() -> None:
    """As one of its own: the first one has it, too, and what an attempt changes in it, no other sees."""

    def precise() -> None:
        decimal.getcontext().prec = 40

    def agent(x: None = Depends(precise, scope="run")) -> int:
        decimal.getcontext().prec += 1
        return decimal.getcontext().prec

    with decimal.localcontext(prec=5):
        run = RunScope()
        assert [attempt(plan(agent), {}, run).value for _ in range(3)] == [41] * 3
        assert decimal.getcontext().prec == 5


def test_a_run_scoped_dependency_that_only_computes() -> None:
    """It leaves the decimal context of the attempt as an earlier dependency has set it."""

    def precise() -> None:
        decimal.getcontext().prec = 40

    def third(x: None = Depends(precise)) -> str:
        return "unused"

    def model() -> decimal.Decimal:
        return decimal.Decimal(1) / 3

    def agent(x: str = Depends(third), y: decimal.Decimal = Depends(model, scope="run")) -> int:
        return decimal.getcontext().prec

    assert attempt(plan(agent), {}, RunScope()).value == 40


def test_each_has_a_context_of_its_own() -> None:
    """Set up and torn down in it; what it sets, attempts and those made after it see; nobody else does."""
    variable = contextvars.ContextVar("variable", default="caller")

    def first() -> Iterator[None]:
        token = variable.set(variable.get() + " first")
        yield
        assert variable.get() == "caller first"
        variable.reset(token)
        assert variable.get() == "caller"

    async def second(f: None = Depends(first, scope="run")) -> AsyncIterator[None]:
        token = variable.set(variable.get() + " second")
        yield
        variable.reset(token)

    async def agent(s: None = Depends(second, scope="run")) -> str:
        seen = variable.get()
        variable.set("agent")
        return seen

    def other(f: None = Depends(first, scope="run")) -> str:
        return variable.get()

    async def main() -> None:
        run = RunScope()
        for _ in range(2):
            assert (await attempt_async(plan(agent), {}, run)).value == "caller first second"
        assert attempt(plan(other), {}, run).value == "caller first"
        assert variable.get() == "caller"
        assert await run.aclose() == []

    asyncio.run(main())


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("kind", ["thread", "loop"])
def test_an_interrupt_while_a_teardown_elsewhere_is_waited_for(
    kind: str, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one cancels an async teardown, and waits for that of a thread; a second one leaves it to itself. The
    others are torn down, and the interrupt is raised then."""
    log: list[str] = []
    begun, go_on = threading.Event(), threading.Event()

    def first() -> Iterator[None]:
        yield
        log.append("first")

    def thread(f: None = Depends(first, scope="run")) -> Iterator[None]:
        yield
        begun.set()
        go_on.wait(30)
        log.append("second")

    async def loop(f: None = Depends(first, scope="run")) -> AsyncIterator[None]:
        yield
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            log.append("second")

    def agent(x: None = Depends(thread, scope="run")) -> None: ...

    async def agent_async(x: None = Depends(loop, scope="run")) -> None: ...

    events = EventLoop()
    run = RunScope(loop=events)
    try:
        attempt(plan(lambda f=Depends(first, scope="run"): None), {}, run)
        if kind == "thread":
            with ThreadPoolExecutor(1) as threads:
                threads.submit(attempt, plan(agent), {}, run).result()
        else:
            events.submit(attempt_async(plan(agent_async), {}, run)).result()
        interrupts = iter(range(times))

        def interrupted(futures: list[Future[Any]], timeout: float | None = None) -> Any:
            assert begun.wait(30)
            if next(interrupts, None) is not None:
                raise KeyboardInterrupt
            go_on.set()
            return wait(futures, timeout)

        monkeypatch.setattr(scope, "wait", interrupted)
        result = scope.Pending.result

        def interrupted_result(pending: scope.Pending) -> Any:
            interrupted([])
            return result(pending)

        monkeypatch.setattr(scope.Pending, "result", interrupted_result)
        with pytest.raises(KeyboardInterrupt):
            run.close()
        assert log[-1] == "first"
        if times == 1:
            assert log == ["second", "first"]
        assert run.errors == []
    finally:
        go_on.set()
        events.close()
