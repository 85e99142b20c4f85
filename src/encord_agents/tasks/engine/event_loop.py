"""The event loop that async agents run on: one for a run, in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any

__all__ = ["EventLoop", "Going"]


class Going(Future[Any]):
    """A coroutine on the loop. It is done when the coroutine is, also when it was cancelled: its teardown counts."""

    def __init__(self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any]) -> None:
        super().__init__()
        self._loop = loop
        self._work = work
        self._task: asyncio.Task[Any] | None = None
        loop.call_soon_threadsafe(self._start)

    def cancel(self) -> bool:
        """Ask the coroutine to end."""
        self._loop.call_soon_threadsafe(self._cancel)
        return True

    def _start(self) -> None:
        self._task = self._loop.create_task(self._work)
        self._task.add_done_callback(self._end)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _end(self, task: asyncio.Task[Any]) -> None:
        if task.cancelled():
            super().cancel()
        elif (error := task.exception()) is not None:
            self.set_exception(error)
        else:
            self.set_result(task.result())


class EventLoop:
    """One event loop in a thread of its own, so that async agents run under notebooks' loops too.

    The thread is started by the first who submits something. In a run, that is one of the engine's threads, which no
    interrupt reaches.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ready = threading.Event()
        self._thread: threading.Thread | None = None
        # Not `Thread.is_alive()`: to be interrupted in there has it say no ever after.
        self._has_ended = False
        self._ended: SimpleQueue[None] = SimpleQueue()

    def _serve(self) -> None:
        try:
            self._serve_until_end()
        finally:
            self._has_ended = True
            self._ended.put(None)

    def _serve_until_end(self) -> None:
        with asyncio.Runner() as runner:
            self._loop = runner.get_loop()
            self._end = asyncio.Event()
            self._loop.call_soon(self._ready.set)
            runner.run(self._end.wait())

    def submit(self, work: Coroutine[Any, Any, Any]) -> Going:
        """Have a coroutine awaited."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="encord-agents-loop", daemon=True)
                self._thread.start()
                self._ready.wait()
        return Going(self._loop, work)

    def close(self) -> None:
        """End the loop. What is still going is cancelled. An interrupt waits until that is done; a second one does not.

        Raises:
            KeyboardInterrupt: It was interrupted meanwhile.
        """
        interrupted = False
        while self._thread is not None and not self._has_ended:
            try:
                with contextlib.suppress(RuntimeError):  # it is closed already
                    self._loop.call_soon_threadsafe(self._end.set)
                self._ended.get()
            except KeyboardInterrupt:
                if interrupted:
                    raise
                interrupted = True
        if interrupted:
            raise KeyboardInterrupt
