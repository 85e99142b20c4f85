"""What lives as long as the run: made once, by the first attempt that needs it, and torn down after the last write."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError
from types import TracebackType
from typing import Any, Self

from encord_agents.core.dependencies.lifetime import (
    Opened,
    add_teardown_note,
    set_up,
    set_up_async,
    tear_down,
    tear_down_async,
)
from encord_agents.core.dependencies.plan import Kind, Step, hashable
from encord_agents.core.tracebacks import add_note, described

__all__ = ["RunScope"]


class RunScope:
    """The run-scoped dependencies of a run, for any number of plans and threads.

    As a context manager it closes itself; the first teardown that raises is raised then, or noted on the exception that
    is on its way already.

    Args:
        values: What run-scoped dependencies may ask for, by type.
    """

    def __init__(self, values: Mapping[type, object] | None = None) -> None:
        self.values: Mapping[type, object] = dict(values or {})
        self._lock = threading.Lock()
        self._cells: dict[Callable[..., Any], _Cell] = {}
        self._lives: list[_Life | _AsyncLife] = []
        self._closed = False

    def succeeded(self, function: Callable[..., Any]) -> bool:
        """Whether ``function`` was ever made in this run."""
        with self._lock:
            cell = self._cells.get(hashable(function))
            return cell is not None and cell.made

    def get(self, step: Step, slots: list[object]) -> object:
        """The value of a synchronous step, made now if it was not yet; others wait meanwhile. A failure is not kept.

        Args:
            slots: Holds the step's arguments.
        """
        cell = self._cell(step)
        if cell.made:
            return cell.value
        with cell.lock:
            if cell.made:
                return cell.value
            opened: list[Opened] = []
            try:
                value = set_up(step, slots, opened)
                return self._keep(cell, value, _Life(opened[0]) if opened else None)
            except BaseException as exception:
                for one in opened:
                    tear_down(one, exception)
                raise

    async def get_async(self, step: Step, slots: list[object]) -> object:
        """`get` for coroutine functions and async generators. They belong to the event loop they were made on.

        Raises:
            RuntimeError: It was made on another event loop.
        """
        cell = self._cell(step)
        loop = asyncio.get_running_loop()
        with self._lock:
            if cell.loop is None or (cell.loop.is_closed() and not cell.made):
                cell.loop, cell.turn = loop, asyncio.Lock()
            elif cell.loop is not loop:
                raise RuntimeError(
                    f"{step.name}() is made once per run, and was made on another event loop. "
                    "Use one event loop for the whole run."
                )
        async with cell.turn:
            if cell.made:
                return cell.value
            if step.kind is Kind.COROUTINE:
                return self._keep(cell, await set_up_async(step, slots, []), None)
            life = _AsyncLife(step)
            value = await life.begin(slots)
            try:
                return self._keep(cell, value, life)
            except RuntimeError:
                await life.finish()
                raise

    def close(self) -> list[BaseException]:
        """Tear everything down, in the reverse order of making. Nothing can be made afterwards; twice is harmless.

        What was made on an event loop is torn down on it; `aclose` is for callers who are on that loop.

        Returns:
            What the teardowns raised; one bad teardown does not stop the rest.

        Raises:
            RuntimeError: It was called on the event loop that it would have to wait for. Nothing is torn down then.
        """
        with self._lock:
            if any(isinstance(life, _AsyncLife) and life.loop is _running_loop() for life in self._lives):
                raise RuntimeError("The run's dependencies live on this event loop: write `await run.aclose()` here.")
            self._closed = True
            lives, self._lives = self._lives, []
        raised = [life.end() for life in reversed(lives)]
        return [exception for exception in raised if exception is not None]

    async def aclose(self) -> list[BaseException]:
        """`close`, from the event loop: in a thread, so that the loop is free for the teardowns that belong to it."""
        return await asyncio.to_thread(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exception: BaseException | None, traceback: TracebackType | None
    ) -> None:
        raised = self.close()
        if not raised:
            return
        main, others = (raised[0], raised[1:]) if exception is None else (exception, raised)
        for other in others:
            add_note(main, f"While the run's dependencies were torn down: {described(other)}")
        if exception is None:
            raise main

    def _cell(self, step: Step) -> _Cell:
        with self._lock:
            self._refuse_if_closed(step.name)
            return self._cells.setdefault(step.function, _Cell())

    def _keep(self, cell: _Cell, value: object, life: _Life | _AsyncLife | None) -> object:
        with self._lock:
            self._refuse_if_closed("It")
            if life is not None:
                self._lives.append(life)
            cell.value = value
            cell.made = True  # last: it is read without the lock
        return value

    def _refuse_if_closed(self, name: str) -> None:
        if self._closed:
            raise RuntimeError(f"{name} is made once per run, and the run is over.")


class _Cell:
    """The place of one dependency."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.made = False
        self.value: object = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.turn: asyncio.Lock


class _Life:
    """A synchronous dependency that waits for its teardown."""

    def __init__(self, opened: Opened) -> None:
        self.opened = opened

    def end(self) -> BaseException | None:
        return tear_down(self.opened, None)


class _AsyncLife:
    """An async dependency with a teardown, in a task of its own.

    Task groups and cancel scopes must be left by the task that entered them, and the attempt that happens to come first
    does not live long enough.
    """

    def __init__(self, step: Step) -> None:
        self.step = step
        self.loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        self._ready: asyncio.Future[tuple[object, BaseException | None]] = self.loop.create_future()

    async def begin(self, slots: list[object]) -> object:
        self._task = asyncio.create_task(self._live(slots))
        try:
            value, exception = await asyncio.shield(self._ready)
        except asyncio.CancelledError:
            self._task.cancel()
            await asyncio.wait([self._task])
            raise
        if exception is not None:
            raise exception
        return value

    async def finish(self) -> BaseException | None:
        self._over.set()
        await asyncio.wait([self._task])
        return self._task.result() if not self._task.cancelled() else None

    def end(self) -> BaseException | None:
        if self.loop.is_closed():
            return RuntimeError(
                f"{self.step.name}() could not be torn down: the event loop it was made on is closed. "
                "Close the run before its event loop."
            )
        if not self.loop.is_running():
            return self.loop.run_until_complete(self.finish())
        try:
            return asyncio.run_coroutine_threadsafe(self.finish(), self.loop).result()
        except CancelledError as cancelled:  # the loop was stopped meanwhile
            return cancelled

    async def _live(self, slots: list[object]) -> BaseException | None:
        opened: list[Opened] = []
        try:
            value = await set_up_async(self.step, slots, opened)
        except BaseException as exception:  # noqa: BLE001  (raised again where it was asked for)
            self._ready.set_result((None, exception))
            return None
        self._ready.set_result((value, None))
        end: BaseException | None = None
        try:
            await self._over.wait()
        except asyncio.CancelledError as cancelled:  # the loop ends before the run does
            end = cancelled
        for one in opened:
            raised = await tear_down_async(one, end)
            if raised is not None and end is not None:
                add_teardown_note(end, one, raised)
            elif raised is not None:
                return raised
        if end is not None:
            raise end
        return None


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
