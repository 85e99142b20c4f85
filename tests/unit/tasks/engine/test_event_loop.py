"""One event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, wait

import pytest

from encord_agents.tasks.engine.event_loop import EventLoop


@pytest.fixture
def loop() -> Iterator[EventLoop]:
    loop = EventLoop()
    yield loop
    loop.close()
    assert not any(thread.name == "encord-agents-loop" for thread in threading.enumerate())


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
