"""Run-scoped dependencies: made once, by the first attempt that needs them, and torn down after the last write.

Each dependency is set up and torn down in the same thread, and in a context of its own.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, wait
from typing import Any, NamedTuple

from encord_agents.core.dependencies.awaiting import (
    Changes,
    Hidden,
    Loop,
    apply,
    changes_since,
    own_copy,
    task_of,
    wait_for,
)
from encord_agents.core.dependencies.lifetime import (
    Opened,
    add_teardown_note,
    set_up,
    set_up_async,
    tear_down,
    tear_down_async,
)
from encord_agents.core.dependencies.plan import Step, hashable
from encord_agents.core.dependencies.threads import TICK, Pending, WorkerThread
from encord_agents.core.interrupts import interrupt_in
from encord_agents.core.tracebacks import is_a

__all__ = ["BadTeardown", "RunScope"]


class BadTeardown(NamedTuple):
    """A teardown that raised."""

    name: str
    exception: BaseException


class RunScope:
    """The run-scoped dependencies of a run, for any number of plans and threads.

    A synchronous dependency is made and torn down in ``thread`` if that thread asks for it first, and otherwise in a
    single thread that the run owns, which lives until everything is torn down. If attempts come one at a time, the
    synchronous parts of async attempts run on that thread too, and may use objects bound to it.

    Args:
        values: The values that run-scoped dependencies may ask for, by type.
        loop: The event loop for awaitables that come up in a synchronous attempt.
        thread: The id of the caller's thread. Default: the current one.
        one_at_a_time: True if no attempt begins before the previous one is over.

    Attributes:
        errors: The teardowns that raised.
    """

    def __init__(
        self,
        values: Mapping[type, object] | None = None,
        loop: Loop | None = None,
        *,
        thread: int | None = None,
        one_at_a_time: bool = False,
    ) -> None:
        self.values: Mapping[type, object] = dict(values or {})
        self.loop = loop
        self.errors: list[BadTeardown] = []
        self._thread = threading.get_ident() if thread is None else thread
        self._one_at_a_time = one_at_a_time
        self._own_thread = WorkerThread("encord-agents-run")
        self._context = contextvars.copy_context()
        self._lock = threading.Lock()
        self._cells: dict[Callable[..., Any], _Cell] = {}
        self._lives: list[_Life | _AsyncLife] = []
        self._closed = False

    def succeeded(self, function: Callable[..., Any]) -> bool:
        """Return True if the dependency ``function`` was ever made in this run."""
        with self._lock:
            cell = self._cells.get(hashable(function))
            return cell is not None and cell.made

    def get(self, step: Step, slots: list[object]) -> object:
        """Return the value of a synchronous step. The first caller makes it while others wait; a failure is not kept.

        The context variables that it has set are set in the current context, too.

        Args:
            slots: The slots that hold the step's arguments.
        """
        cell = self._cell(step)
        if not cell.made:
            with cell.lock:
                if cell.made:
                    pass
                elif threading.get_ident() == self._thread:
                    self._make(cell, step, slots, None)
                elif self._own_thread.is_current:
                    self._make(cell, step, slots, self._own_thread)
                else:
                    self._own_thread.wait(lambda: self._make(cell, step, slots, self._own_thread))
        apply(cell.changes)
        return cell.value

    def _make(self, cell: _Cell, step: Step, slots: list[object], thread: WorkerThread | None) -> None:
        before, own = self._fork()
        opened: list[Opened] = []
        try:
            value = own.run(self._set_up, step, slots, opened)
            life = _Life(opened[0], own, thread) if opened else None
            self._keep(cell, value, life, changes_since(before, own))
        except BaseException as exception:
            for one in opened:
                own.run(tear_down, one, exception)
            raise

    def _set_up(self, step: Step, slots: list[object], opened: list[Opened]) -> object:
        value = set_up(step, slots, opened)
        return wait_for(step, value.awaitable, self.loop) if type(value) is Hidden else value

    async def get_async(self, step: Step, slots: list[object]) -> object:
        """Do the same as `get` for coroutine functions and async generators, which belong to the event loop they were
        made on.

        A dependency that ended early, because a task in its task group failed, is made again.

        Raises:
            RuntimeError: The dependency was made on another event loop.
        """
        cell = self._cell(step)
        loop = asyncio.get_running_loop()
        with self._lock:
            if cell.loop is None or (cell.loop.is_closed() and not cell.made):
                cell.loop, cell.async_lock = loop, asyncio.Lock()
            elif cell.loop is not loop:
                raise RuntimeError(
                    f"{step.name}() is made once per run, and was made on another event loop. "
                    "Use one event loop for the whole run."
                )
        async with cell.async_lock:
            if not cell.made or (cell.life is not None and cell.life.has_ended):
                if cell.life is not None:
                    await cell.life.finish()  # so that its resources are free again
                before, own = self._fork()
                life = _AsyncLife(step, own)
                value = await life.begin(slots)
                try:
                    self._keep(cell, value, life if life.opened else None, changes_since(before, own))
                except RuntimeError:
                    await life.finish()
                    raise
                cell.life = life if life.opened else None
        apply(cell.changes)
        return cell.value

    def thread_for_attempt(self) -> WorkerThread:
        """Return a thread for the synchronous parts of an async attempt. Return it with `give_back`."""
        return self._own_thread if self._one_at_a_time else WorkerThread("encord-agents-attempt")

    def give_back(self, thread: WorkerThread) -> None:
        """Return a thread when its attempt is over."""
        if thread is not self._own_thread:
            thread.stop()

    def close(self) -> list[BadTeardown]:
        """Tear everything down, in reverse order. Nothing can be made afterwards; a second call does nothing.

        Dependencies made on an event loop, or in the run's own thread, are torn down there; callers on that loop use
        `aclose`. An interrupt ends only the current teardown: it is raised in a teardown that runs in this thread, and
        cancels an async one. The other teardowns still run, and then the interrupt is raised.

        Returns:
            The teardowns that raised. One bad teardown does not stop the rest.

        Raises:
            RuntimeError: It was called on the event loop that it would have to wait for. Nothing is torn down then.
            BaseException: An interrupt.
        """
        with self._lock:
            if any(isinstance(life, _AsyncLife) and life.loop is _running_loop() for life in self._lives):
                raise RuntimeError("The run's dependencies live on this event loop: write `await run.aclose()` here.")
            self._closed = True
        interrupt: BaseException | None = None
        while self._lives:
            life = self._lives[-1]  # removed only afterwards: an interrupt may come between any two steps
            try:
                raised = life.end()
            except BaseException as exception:  # noqa: BLE001  (raised at the end)
                interrupt = exception
                if not life.give_up():
                    continue
            else:
                if interrupt_in(raised) is not None:
                    interrupt = raised
                elif raised is not None and not (interrupt and is_a(raised, asyncio.CancelledError)):
                    self.errors.append(BadTeardown(life.name, raised))
            if self._lives and self._lives[-1] is life:
                self._lives.pop()
        self._own_thread.stop()
        if interrupt is not None:
            raise interrupt
        return self.errors

    async def aclose(self) -> list[BadTeardown]:
        """Call `close` in a thread, so that this event loop is free for the teardowns that belong to it."""
        return await asyncio.to_thread(self.close)

    def _cell(self, step: Step) -> _Cell:
        with self._lock:
            self._refuse_if_closed(step.name)
            return self._cells.setdefault(step.function, _Cell())

    def _fork(self) -> tuple[contextvars.Context, contextvars.Context]:
        """Return a context for one dependency, with all variables set by earlier ones, and a copy for comparison."""
        with self._lock:
            return own_copy(self._context), own_copy(self._context)

    def _keep(self, cell: _Cell, value: object, life: _Life | _AsyncLife | None, changes: Changes) -> None:
        with self._lock:
            self._refuse_if_closed("It")
            if life is not None:
                self._lives.append(life)
            self._context.run(apply, changes)
            cell.value, cell.changes = value, changes
            cell.made = True  # last, since it is read without the lock

    def _refuse_if_closed(self, name: str) -> None:
        if self._closed:
            raise RuntimeError(f"{name} is made once per run, and the run is over.")


class _Cell:
    """The state of one dependency: the locks under which it is made, and its value."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.made = False
        self.value: object = None
        self.changes: Changes = []
        self.life: _AsyncLife | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.async_lock: asyncio.Lock


class _Life:
    """A synchronous dependency with a teardown, which runs in the thread of the set-up, if that still exists."""

    def __init__(self, opened: Opened, context: contextvars.Context, thread: WorkerThread | None) -> None:
        self.name = opened[0].name
        self._opened = opened
        self._context = context
        self._thread = thread
        self._ending: Pending | None = None
        self._interrupts = 0

    def end(self) -> BaseException | None:
        """Tear the dependency down. May be called again after an interrupt."""
        if self._thread is None or self._thread.is_current:
            return self._end()
        if self._ending is None:
            self._ending = self._thread.begin(self._end)
        raised, _ = self._ending.result()
        return raised  # type: ignore[no-any-return]

    def _end(self) -> BaseException | None:
        return self._context.run(tear_down, self._opened, None)

    def give_up(self) -> bool:
        """Return True if the teardown is abandoned after this interrupt. Nothing can interrupt another thread, so the
        caller goes on waiting after the first interrupt, and abandons the teardown at the second."""
        self._interrupts += 1
        return self._interrupts > 1


class _AsyncLife:
    """An async dependency, in a task of its own.

    Task groups and cancel scopes must be exited by the task that entered them, and the task of the first attempt does
    not live long enough.
    """

    def __init__(self, step: Step, context: contextvars.Context) -> None:
        self.step = step
        self.name = step.name
        self.loop = asyncio.get_running_loop()
        self.opened: list[Opened] = []
        self._context = context
        self._over = asyncio.Event()
        self._ready: asyncio.Future[tuple[object, BaseException | None]] = self.loop.create_future()
        self._tears_down = False
        self._interrupts = 0

    async def begin(self, slots: list[object]) -> object:
        self._task = task_of(self._live(slots), self.loop, self._context)
        try:
            value, exception = await asyncio.shield(self._ready)
        except asyncio.CancelledError:
            self._task.cancel()
            await asyncio.wait([self._task])
            raise
        if exception is not None:
            raise exception
        return value

    @property
    def has_ended(self) -> bool:
        """True if its task has begun its teardown, or ended, before the end of the run."""
        return self._tears_down

    async def finish(self) -> BaseException | None:
        self._over.set()
        await asyncio.wait([self._task])
        return self._task.result() if not self._task.cancelled() else None

    def end(self) -> BaseException | None:
        if self.loop.is_closed():
            return self._too_late()
        if not self.loop.is_running():
            return self.loop.run_until_complete(self.finish())
        finish = self.finish()
        finishing = asyncio.run_coroutine_threadsafe(finish, self.loop)
        while not wait([finishing], TICK).done:
            if self.loop.is_closed():  # it was stopped before the teardown could begin
                finish.close()
                return self._too_late()
        try:
            return finishing.result()
        except CancelledError as cancelled:  # the loop was stopped meanwhile
            return cancelled

    def _too_late(self) -> RuntimeError:
        return RuntimeError(
            f"{self.step.name}() could not be torn down: the event loop it was made on is closed. "
            "Close the run before its event loop."
        )

    def give_up(self) -> bool:
        """Return True if the teardown is abandoned after this interrupt. The first interrupt cancels it."""
        self._interrupts += 1
        if self._interrupts == 1 and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._cancel_teardown)
        return self._interrupts > 1

    def _cancel_teardown(self) -> None:
        if self._tears_down:  # a cancellation before that would be raised at the yield, and could skip the teardown
            self._task.cancel()

    async def _live(self, slots: list[object]) -> BaseException | None:
        try:
            value = await set_up_async(self.step, slots, self.opened)
        except BaseException as exception:  # noqa: BLE001  (raised again where it was asked for)
            self._ready.set_result((None, exception))
            return None
        self._ready.set_result((value, None))
        if not self.opened:
            return None
        end: BaseException | None = None
        try:
            await self._over.wait()
        except asyncio.CancelledError as cancelled:  # the loop ends before the run does, or a task in its group failed
            end = cancelled
        self._tears_down = True
        for one in self.opened:
            raised = await tear_down_async(one, end)
            if raised is not None and end is not None and self._task.cancelling():
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
