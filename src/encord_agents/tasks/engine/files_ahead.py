"""Files of the next tasks, downloaded while agents run: in order, and within bounds of number and size."""

from __future__ import annotations

from collections import deque
from functools import partial

from encord_agents.tasks.engine.context import Context
from encord_agents.tasks.engine.prefetch import fetch
from encord_agents.tasks.engine.slots import Slots
from encord_agents.tasks.engine.thread_pool import PoolClosedError, ThreadPool
from encord_agents.tasks.engine.window import Window

__all__ = ["FilesAhead"]


class FilesAhead:
    """The files of tasks in the window, from when their tasks are loaded until they are attempted.

    Attributes:
        fetching: Tasks whose files have not been asked for, in order.
        fetches: The numbers of tasks whose files are on their way.
        passed: Of these, those that have let others pass.
        arriving: How many files are on their way, or about to be.
        most_files: How many may be here before their agents run.
        fetched_now: The tasks whose files are just being downloaded.
    """

    def __init__(self, window: Window) -> None:
        self.run = window.run
        self._window = window
        self._limits = window.run.gate.limits
        self.fetching: deque[tuple[int, Context]] = deque()
        self.fetches: set[int] = set()
        self.passed: set[int] = set()
        self.arriving = 0
        self.most_files = self._limits.files_ahead
        self.fetched_now: list[Context] = []
        self._files = 0
        self._bytes = 0
        self._decoders = Slots(self._limits.decoders)
        self.downloads = ThreadPool(self._limits.downloads, "encord-agents-fetch")

    def add(self, number: int, context: Context) -> None:
        """Add a task that was loaded, with its number."""
        self.fetching = deque(sorted([*self.fetching, (number, context)], key=lambda entry: entry[0]))

    def pump(self) -> None:
        """Start downloads, in order, as far ahead as is allowed; the task whose turn it is always gets its file."""
        while self.fetching:
            number, context = self.fetching[0]
            ahead = self._files < self.most_files and self._bytes < self._limits.bytes_ahead
            if not (ahead or number <= self._window.turn):
                return
            self.fetching.popleft()
            if not ahead and self.most_files < self._limits.files_ahead:
                # There is no room for another. Its attempt downloads it, and may have those removed that are not used.
                self._is_there(number, context)
                continue
            promised = self._promised(context)
            self._files += 1
            self.arriving += 1
            self._window.alone = None
            self._bytes += promised
            self.fetches.add(number)
            try:
                self.downloads.submit(partial(self._window.guarded, self._fetch, number, context, promised))
            except RuntimeError as error:  # the system has no more threads; or the run is over
                self.fetching.appendleft((number, context))
                self.fetches.discard(number)
                self.arriving -= 1
                if not isinstance(error, PoolClosedError):
                    self._window.fail(error)
                return

    def _promised(self, context: Context) -> int:
        """About how many bytes a file, and its first frame, will take: they are counted before they are there."""
        item = context.item
        if item is None:
            return 0
        frame = 3 * (item.width or 0) * (item.height or 0) if self.run.agent.wants_first_frame else 0
        return (item.file_size or 0) + frame

    def _fetch(self, number: int, context: Context, promised: int) -> None:
        """Download a file ahead and, where the agent wants its first frame, decode that too."""
        assert context.asset is not None
        has_room = True
        if not self._window.closing:
            self.fetched_now.append(context)
            try:
                slot = self.run.gate.slot(self._decoders)
                has_room = fetch(context, first_frame=self.run.agent.wants_first_frame, decoding=slot)
            finally:
                self.fetched_now.remove(context)
        if not has_room:
            self._put_off(number, context, promised)
            return
        held = context.asset.nbytes

        def release() -> None:
            with self._window.lock:
                self._files -= 1
                self._bytes -= held
                self.pump()

        with self._window.lock:
            self.arriving -= 1
            self._bytes += held - promised
            context.release.append(release)
            self._is_there(number, context)

    def _is_there(self, number: int, context: Context) -> None:
        """All is there that is fetched ahead for a task."""
        self.fetches.discard(number)
        if number in self.passed:
            self.passed.discard(number)
            self._window.returned.append(context)
        else:
            self._window.ready[number] = context
        if number <= self._window.turn:
            self._window.runnable.notify()

    def _put_off(self, number: int, context: Context, promised: int) -> None:
        """There was no room for a file: from now on, no more are downloaded ahead than are there or on their way."""
        with self._window.lock:
            self._files -= 1
            self.arriving -= 1
            self._bytes -= promised
            self.most_files = min(self.most_files, self._files)
            self.fetches.discard(number)
            if number in self.passed:
                self._is_there(number, context)
            else:
                self.fetching = deque(sorted([*self.fetching, (number, context)], key=lambda entry: entry[0]))
            self.pump()

    @property
    def left(self) -> list[Context]:
        """The tasks whose files nobody will ask for any more."""
        return [context for _, context in self.fetching]

    def clear(self) -> None:
        """Forget them."""
        self.fetching.clear()
