from __future__ import annotations

import asyncio
import contextvars
import threading

import pytest

from encord_agents.core.dependencies.threads import WorkerThread


@pytest.fixture
def thread() -> WorkerThread:
    return WorkerThread("a worker")


def test_calls_are_made_in_one_thread_in_order(thread: WorkerThread) -> None:
    """It has the name that was given, and never keeps a process from ending."""
    order: list[int] = []
    futures = [thread.begin(lambda i=i: order.append(i)) for i in range(100)]  # type: ignore[misc]
    where = thread.wait(threading.current_thread)
    assert order == list(range(100))
    assert [future.result() for future in futures] == [(None, None)] * 100
    assert (where.name, where.daemon, where is thread.wait(threading.current_thread)) == ("a worker", True, True)
    assert (thread.wait(lambda: thread.is_current), thread.is_current) == (True, False)
    thread.stop()
    where.join(30)
    assert not where.is_alive()


@pytest.mark.parametrize("error", [ValueError("x"), StopIteration("x"), SystemExit(1), GeneratorExit()])
def test_what_a_call_raises_is_raised_where_it_is_waited_for(thread: WorkerThread, error: BaseException) -> None:
    """Whatever it is; and the thread goes on."""

    def fails() -> None:
        raise error

    with pytest.raises(type(error)):
        thread.wait(fails)
    assert thread.wait(lambda: 1) == 1


def test_a_task_and_its_thread_share_a_context(thread: WorkerThread) -> None:
    """Each sees what the other has set, and a token of the one is good in the other."""
    variable = contextvars.ContextVar("variable", default="")

    def add() -> contextvars.Token[str]:
        return variable.set(variable.get() + "b")

    async def work(context: contextvars.Context) -> list[str]:
        variable.set("a")
        seen = []
        for _ in range(100):
            token = await thread.run(add, context)
            seen.append(variable.get())
            variable.reset(token)
        return seen

    async def main() -> list[str]:
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().create_task(work(context), context=context)

    assert asyncio.run(main()) == ["ab"] * 100


def test_a_cancellation_waits_for_the_call(thread: WorkerThread) -> None:
    """However often it comes, also before the call has begun: what was called must be over before anybody goes on."""
    log: list[str] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        going, go_on = asyncio.Event(), threading.Event()

        def slow() -> None:
            loop.call_soon_threadsafe(going.set)
            go_on.wait(30)
            log.append("over")

        async def work(context: contextvars.Context) -> None:
            try:
                await thread.run(slow, context)
            finally:
                log.append("on")

        for early in (True, False):
            go_on.clear(), going.clear()
            context = contextvars.copy_context()
            task = loop.create_task(work(context), context=context)
            await (asyncio.sleep(0) if early else going.wait())
            for _ in range(3):
                task.cancel()
                await asyncio.sleep(0)
            assert not task.done()
            go_on.set()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    assert log == ["over", "on"] * 2
