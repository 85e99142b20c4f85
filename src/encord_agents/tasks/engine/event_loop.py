"""The event loop for async agents: one per run, in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any

from encord_agents.core.queues import Empty, SimpleQueue
from encord_agents.core.tracebacks import described
from encord_agents.tasks.engine.timing import Timing

__all__ = ["EventLoop", "Going", "LoopEndedError", "current_place"]


def current_place() -> object:
    """Return the asyncio task that is running in this thread, or the thread's id if there is none."""
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no loop is running
        task = None
    return task or threading.get_ident()


class LoopEndedError(RuntimeError):
    """The event loop ended while coroutines ran on it: something stopped it, or asked the process to exit."""


class Going(Future[Any]):
    """The future of a coroutine on the loop. Even if cancelled, it is done only after the coroutine's teardown."""

    def __init__(self, owner: EventLoop, work: Coroutine[Any, Any, Any]) -> None:
        super().__init__()
        self._owner = owner
        self._work = work
        self._task: asyncio.Task[Any] | None = None
        self._asked_to_end = False

    def cancel(self) -> bool:
        """Ask the coroutine to end. If the loop has ended, it is done already, or about to be."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._owner.loop.call_soon_threadsafe(self._cancel)
        return True

    def start(self) -> None:
        """Start the coroutine. Called on the loop."""
        if self.done():  # it was abandoned, because its submission was interrupted
            return
        if self._owner.over:  # the coroutines on it are being cancelled, and this one would be missed
            self.abandon(self._owner.error)
            return
        self._task = self._owner.loop.create_task(self._work)
        self._task.add_done_callback(self._end)

    def abandon(self, error: BaseException | None) -> None:
        """Fail or cancel this future if it is not done. Called when nothing runs on the loop any more."""
        if self.done():
            return
        if self._task is None:
            self._work.close()  # it was never started
        if error is None:
            super().cancel()
        else:
            self.set_exception(error)

    def _cancel(self) -> None:
        if self._task is None:
            self.abandon(None)
        elif not self._asked_to_end:  # only once: a second cancellation would cut off its clean-up
            self._asked_to_end = True
            self._task.cancel()

    def _end(self, task: asyncio.Task[Any]) -> None:
        if task.cancelled():
            self.abandon(self._owner.error)
        elif (error := task.exception()) is not None:
            self.set_exception(error)
        else:
            self.set_result(task.result())


class EventLoop:
    """An event loop in a thread of its own, so that async agents also run where a loop is running, as in notebooks.

    The first submission starts the thread. In a run, it comes from one of the engine's threads, which no interrupt
    reaches.

    Attributes:
        over: True if the loop takes no more work, because it was closed or something ended it.
        error: The exception that ended the loop, if it was not ended by `close`.
    """

    loop: asyncio.AbstractEventLoop

    def __init__(self, timing: Timing | None = None) -> None:
        self._tick = (timing or Timing()).tick
        self._lock = threading.Lock()
        self._closed = False
        self._begin_anew()

    def _begin_anew(self) -> None:
        # Not a `threading.Event`, in which an interrupt can leave a lock held that blocks all waiting threads.
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._is_ready = False
        self._thread: threading.Thread | None = None
        self._claims: list[bool] = []  # the first entry decides: True, the thread serves; False, it was closed before
        self._going: set[Going] = set()
        self.over = False
        # The thread announces its own end: if `is_alive()` is interrupted by a signal, it returns False from then on.
        self._has_ended = False
        self.error: BaseException | None = None

    def revive(self) -> None:
        """Make the next submission start a new loop, if the previous one was ended while it had work.

        An ended loop fails its work before its thread is gone. This waits for that thread, since a caller that has
        just received the failure may call at once.
        """
        self._await(lambda: not self.over or self._closed or self._claims[:1] != [True] or self._has_ended)
        with self._lock:
            if self._has_ended and not self._closed:
                self._begin_anew()

    def _serve(self) -> None:
        self._claims.append(True)
        try:
            if self._claims[0]:
                self._serve_until_end()
        except BaseException as error:  # noqa: BLE001 - raised in the threads that submit or wait
            self._give_up(error)
        finally:
            with self._lock:
                self.over = True
                left = tuple(self._going)
            for one in left:
                one.abandon(self.error)
            bell, self._is_ready = self._bell, True
            self._has_ended = True  # last, since the loop may be revived from then on
            bell.put(None)

    def _serve_until_end(self) -> None:
        with asyncio.Runner() as runner:
            self.loop = runner.get_loop()
            self._end = asyncio.Event()
            self.loop.call_soon(self._say_ready)
            try:
                runner.run(self._end.wait())
            except BaseException as error:  # noqa: BLE001 - recorded before the runner cancels the coroutines
                self._give_up(error)
            finally:
                with self._lock:
                    self.over = True

    def _say_ready(self) -> None:
        self._is_ready = True
        self._bell.put(None)

    def _await(self, is_so: Callable[[], bool]) -> None:
        """Wait until a condition holds. Of several waiting threads, only one is woken, so all check at each tick."""
        while not is_so():
            with contextlib.suppress(Empty):
                self._bell.get(timeout=self._tick)

    def _give_up(self, error: BaseException) -> None:
        if self.error is not None:
            return
        if not self._is_ready or isinstance(error, KeyboardInterrupt):
            self.error = error  # the loop could not be started, or an agent interrupted the run
            return
        self.error = LoopEndedError(f"The event loop of the async agents has ended: {described(error)}")
        self.error.__cause__ = error

    def submit(self, work: Coroutine[Any, Any, Any]) -> Going:
        """Run a coroutine on the loop.

        Raises:
            Exception: The loop cannot be started, for lack of a thread or a file descriptor.
            LoopEndedError: The loop has ended.
        """
        going = Going(self, work)
        going.add_done_callback(self._going.discard)
        handed_over = False
        try:
            self._start()
            with self._lock:
                if self.over or self._closed:
                    raise self.error or LoopEndedError("The event loop of the async agents is closed.")
                self._going.add(going)
                handed_over = True  # from here on it may run, even if an interrupt comes
                self.loop.call_soon_threadsafe(going.start)
        except BaseException:
            if not handed_over:
                work.close()
                raise
            going.cancel()
            self._await(going.done)  # the caller gets no handle to it, so this waits for its clean-up
            raise
        return going

    def _start(self) -> None:
        with self._lock:
            if self._thread is None and not self.over and not self._closed:
                self._thread = thread = threading.Thread(target=self._serve, name="encord-agents-loop", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # the system has no more threads
                    self._thread = None
                    raise
                except BaseException:  # interrupted: the thread may run or not
                    self.over = True
                    raise
        if self._thread is not None:
            self._await(lambda: self._is_ready)

    def close(self) -> None:
        """End the loop, and cancel the coroutines on it. The first interrupt waits for their end; a second does not.

        Raises:
            BaseException: An interrupt came meanwhile.
        """
        self._closed = True
        interrupt: BaseException | None = None
        while self._thread is not None and not self._has_ended:
            try:
                self._claims.append(False)
                if not self._claims[0]:  # the thread has not begun, and now will not serve
                    break
                self._await(lambda: self._is_ready)
                with contextlib.suppress(RuntimeError, AttributeError):  # the loop is closed already, or was never made
                    self.loop.call_soon_threadsafe(self._end.set)
                self._await(lambda: self._has_ended)
            except BaseException as error:
                if interrupt is not None:
                    raise
                interrupt = error
        if interrupt is not None:
            raise interrupt
