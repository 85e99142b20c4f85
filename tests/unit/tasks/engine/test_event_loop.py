"""One event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import CancelledError, wait
from typing import Any

import pytest

from encord_agents.tasks.engine.event_loop import EventLoop, LoopEndedError


@pytest.fixture
def loop() -> Iterator[EventLoop]:
    before = set(threading.enumerate())  # another test's loop may be ending
    loop = EventLoop()
    yield loop
    loop.close()
    assert not any(thread.name == "encord-agents-loop" for thread in set(threading.enumerate()) - before)


def test_no_thread_before_there_is_work() -> None:
    """Making and closing a loop that nobody used starts nothing."""
    before = set(threading.enumerate())
    loop = EventLoop()
    assert set(threading.enumerate()) == before
    loop.close()


def test_values_and_exceptions(loop: EventLoop) -> None:
    """What a coroutine returns or raises is what waiting for it brings; all are on one loop."""

    async def running() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    async def bad() -> None:
        raise LookupError("no")

    assert loop.submit(running()).result(10) is loop.submit(running()).result(10)
    with pytest.raises(LookupError, match="no"):
        loop.submit(bad()).result(10)


def test_cancelled_means_torn_down(loop: EventLoop) -> None:
    """It is done when the coroutine has cleaned up, not when it was asked to end; and it is asked once."""
    events: list[str] = []
    begun, may_end = threading.Event(), threading.Event()

    async def work() -> None:
        try:
            begun.set()
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            events.append("asked")
            await asyncio.to_thread(may_end.wait, 10)
            events.append("torn down")
            raise

    one = loop.submit(work())
    begun.wait(10)
    one.cancel()
    assert wait([one], 0.05).not_done
    may_end.set()
    with pytest.raises(CancelledError):
        one.result(10)
    assert events == ["asked", "torn down"]


def test_closing_cancels_what_is_going() -> None:
    """And waits for its teardown."""
    loop, begun, events = EventLoop(), threading.Event(), []

    async def work() -> None:
        try:
            begun.set()
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)
            events.append("torn down")

    loop.submit(work())
    begun.wait(10)
    loop.close()
    loop.close()
    assert events == ["torn down"]


# When it cannot be


async def nothing() -> str:
    return "done"


def ended(work: Callable[[], Any]) -> Any:
    """What it returns or raises, and that it does so: in a thread, so that a test cannot hang."""
    found: list[Any] = []

    def go() -> None:
        try:
            found.append(work())
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=go, daemon=True)
    thread.start()
    thread.join(20)
    assert found, "it hangs"
    return found[0]


def submit(loop: EventLoop, work: Coroutine[Any, Any, Any] | None = None) -> Any:
    return ended(lambda: loop.submit(work or nothing()).result(20))


def test_without_a_file_descriptor(monkeypatch: pytest.MonkeyPatch, collect_garbage: Callable[[], int]) -> None:
    """Whoever submits gets the error, however far the loop came; closing returns."""
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)  # asyncio cannot close its own half-made loops
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    results = []
    while str not in results and len(results) < 64:  # others in this process may hold some of the next handles
        loop, more = EventLoop(), len(results)
        free = os.dup(0)
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free + more, hard))
        try:
            results.append(type(submit(loop)))
            ended(loop.close)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    del loop
    collect_garbage()
    assert results[0] is OSError
    assert results[-1] is str


def test_without_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever submits gets the error, and later, when there are threads again, the loop."""
    loop = EventLoop()

    def no_more(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_more)
        for _ in range(2):
            with pytest.raises(RuntimeError, match="can't start new thread"):
                loop.submit(nothing())
    assert submit(loop) == "done"
    ended(loop.close)


class StopsTheLoop:
    """Ways for code on the loop to end it."""

    @staticmethod
    async def stop() -> None:
        asyncio.get_running_loop().stop()
        await asyncio.sleep(60)

    @staticmethod
    async def exit() -> None:
        async def background() -> None:
            raise SystemExit(3)

        task = asyncio.create_task(background())
        await asyncio.sleep(60)
        await task


@pytest.mark.parametrize("how", [StopsTheLoop.stop, StopsTheLoop.exit], ids=["stop", "exit"])
def test_a_loop_that_is_ended_under_its_work(how: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """All that is going fails, having torn down; what is submitted later fails at once; closing it returns."""
    loop, begun, events = EventLoop(), threading.Event(), []

    async def work() -> None:
        try:
            begun.set()
            await asyncio.sleep(60)
        finally:
            events.append("torn down")

    going = loop.submit(work())
    begun.wait(10)
    assert isinstance(submit(loop, how()), LoopEndedError)
    assert isinstance(ended(lambda: going.result(20)), LoopEndedError)
    assert events == ["torn down"]
    assert isinstance(submit(loop), LoopEndedError)
    assert loop.over
    ended(going.cancel)
    loop.revive()
    assert submit(loop) == "done"
    ended(loop.close)
    loop.revive()
    assert isinstance(submit(loop), LoopEndedError)
    gc.collect()  # asyncio logs the exception of the lost task now, and not in the middle of another test


def test_revived_while_it_ends() -> None:
    """Who is told that the loop has ended may submit at once, though the loop's thread is still at work."""
    loop, may_end = EventLoop(), threading.Event()

    async def stop() -> None:
        asyncio.get_running_loop().stop()
        await asyncio.sleep(60)

    going = loop.submit(stop())
    going.add_done_callback(lambda _: may_end.wait(0.5))  # run in the loop's thread, after the waiting ones are told
    assert isinstance(ended(lambda: going.result(20)), LoopEndedError)
    loop.revive()
    assert submit(loop) == "done"
    loop.close()


def test_an_interrupt_that_a_coroutine_raises() -> None:
    """It is that for all who wait, and no error of the loop."""
    loop, begun = EventLoop(), threading.Event()

    async def work() -> None:
        begun.set()
        await asyncio.sleep(60)

    async def interrupt() -> None:
        raise KeyboardInterrupt

    going = loop.submit(work())
    begun.wait(10)
    assert isinstance(submit(loop, interrupt()), KeyboardInterrupt)
    assert isinstance(ended(lambda: going.result(20)), KeyboardInterrupt)
    ended(loop.close)


def test_a_closed_loop() -> None:
    """It takes nothing any more."""
    loop = EventLoop()
    assert submit(loop) == "done"
    loop.close()
    assert isinstance(submit(loop), LoopEndedError)
