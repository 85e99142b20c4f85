"""Turns on label rows: one at a time, in order, and none is lost when somebody gives up."""

from __future__ import annotations

import asyncio
import threading

import pytest

from encord_agents import FrameData
from encord_agents.editor.turns import Turns
from encord_agents.exceptions import EditorRequestError


def frame(number: int = 1) -> FrameData:
    hashes = {"projectHash": f"{1:032x}", "dataHash": f"{number:032x}"}
    return FrameData.model_validate({**hashes, "frame": 0})


def test_rows_do_not_wait_for_each_other() -> None:
    """There are turns on several rows at a time, and nothing is kept of rows without one."""
    turns = Turns()
    with turns.on(frame(1)), turns.on(frame(2)):
        assert len(turns) == 2
    assert len(turns) == 0


def test_who_waits_too_long_is_told_to_try_again() -> None:
    """The wait ends with a 409, and whoever asks afterwards gets a turn."""
    turns = Turns(longest_wait=0)
    with turns.on(frame()), pytest.raises(EditorRequestError, match="Try again") as caught, turns.on(frame()):
        pytest.fail("two turns at a time")
    assert caught.value.status == 409
    with turns.on(frame()):
        pass
    assert len(turns) == 0


def test_the_order_is_that_of_asking() -> None:
    """Whoever asked first has the next turn, with a thread or without; those that were cancelled are passed over."""
    turns = Turns()
    order: list[str] = []

    async def take(name: str) -> None:
        async with turns.on_async(frame()):
            order.append(name)

    async def all_of_them() -> None:
        async with turns.on_async(frame()):
            tasks = []
            for name in ("first", "cancelled", "second"):
                tasks.append(asyncio.create_task(take(name)))
                await asyncio.sleep(0)
            tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(all_of_them())
    assert order == ["first", "second"]
    assert len(turns) == 0


def test_async_waits_end_too() -> None:
    """Without a thread, a wait that is too long ends in the same way."""
    turns = Turns(longest_wait=0.01)

    async def both() -> None:
        async with turns.on_async(frame()):
            with pytest.raises(EditorRequestError, match="Try again"):
                async with turns.on_async(frame()):
                    pytest.fail("two turns at a time")

    asyncio.run(both())
    assert len(turns) == 0


def test_a_failure_ends_the_turn() -> None:
    """An exception of whoever has the turn passes, and the next one gets it, also in another thread."""
    turns = Turns()
    reached = threading.Event()

    def wait() -> None:
        with turns.on(frame()):
            reached.set()

    thread = threading.Thread(target=wait)

    def fail() -> None:
        with turns.on(frame()):
            thread.start()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert reached.wait(60)
    thread.join()
    assert len(turns) == 0
