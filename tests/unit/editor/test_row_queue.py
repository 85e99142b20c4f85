"""Locks on label rows: one holder at a time, in order, and no lock is lost when a waiter gives up."""

from __future__ import annotations

import asyncio
import threading

import pytest

from encord_agents import FrameData
from encord_agents.editor.row_queue import RowQueue
from encord_agents.exceptions import EditorRequestError


def frame(number: int = 1) -> FrameData:
    hashes = {"projectHash": f"{1:032x}", "dataHash": f"{number:032x}"}
    return FrameData.model_validate({**hashes, "frame": 0})


def test_rows_do_not_wait_for_each_other() -> None:
    """Several rows can be locked at a time, and nothing is kept of rows that are not."""
    rows = RowQueue()
    with rows.locked(frame(1)), rows.locked(frame(2)):
        assert len(rows) == 2
    assert len(rows) == 0


def test_a_wait_that_is_too_long() -> None:
    """It ends with a 409, and later requests get the lock."""
    rows = RowQueue(longest_wait=0)
    with rows.locked(frame()), pytest.raises(EditorRequestError, match="Try again") as caught, rows.locked(frame()):
        pytest.fail("two holders at a time")
    assert caught.value.status == 409
    with rows.locked(frame()):
        pass
    assert len(rows) == 0


def test_the_order_is_that_of_asking() -> None:
    """The first waiter gets the lock next, with a thread or without; cancelled ones are passed over."""
    rows = RowQueue()
    order: list[str] = []

    async def take(name: str) -> None:
        async with rows.locked_async(frame()):
            order.append(name)

    async def all_of_them() -> None:
        async with rows.locked_async(frame()):
            tasks = []
            for name in ("first", "cancelled", "second"):
                tasks.append(asyncio.create_task(take(name)))
                await asyncio.sleep(0)
            tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(all_of_them())
    assert order == ["first", "second"]
    assert len(rows) == 0


def test_async_waits_end_too() -> None:
    """Without a thread, a wait that is too long ends in the same way."""
    rows = RowQueue(longest_wait=0.01)

    async def both() -> None:
        async with rows.locked_async(frame()):
            with pytest.raises(EditorRequestError, match="Try again"):
                async with rows.locked_async(frame()):
                    pytest.fail("two holders at a time")

    asyncio.run(both())
    assert len(rows) == 0


def test_a_failure_releases_the_lock() -> None:
    """The holder's exception passes, and the next waiter gets the lock, also in another thread."""
    rows = RowQueue()
    reached = threading.Event()

    def wait() -> None:
        with rows.locked(frame()):
            reached.set()

    thread = threading.Thread(target=wait)

    def fail() -> None:
        with rows.locked(frame()):
            thread.start()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert reached.wait(60)
    thread.join()
    assert len(rows) == 0
