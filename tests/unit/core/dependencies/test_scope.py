from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from encord_agents.core.dependencies import Depends
from encord_agents.core.dependencies.plan import Plan, build_plan
from encord_agents.core.dependencies.scope import RunScope
from encord_agents.core.dependencies.solve import attempt, attempt_async


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
    with RunScope({Client: CLIENT}) as run, ThreadPoolExecutor(8) as threads:
        ended = list(threads.map(lambda p: attempt(p, {}, run), plans))
        assert {e.value for e in ended} == {"model on pool", "pool"}
        assert run.succeeded(model)
        assert log == ["+pool", "+model"]
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
    """`close` returns what was raised; a `with` block raises the first; closing again does nothing."""
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
    assert [str(error) for error in run.close()] == ["bad"]
    assert (log, run.close()) == (["good"], [])
    with pytest.raises(OSError, match="bad"), RunScope() as another:
        attempt(plan(agent), {}, another)
    own = KeyError("own")
    third = RunScope()
    attempt(plan(agent), {}, third)
    with pytest.raises(KeyError), third:
        raise own
    assert "OSError: bad" in own.__notes__[0]


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
