"""Prefetch of files: downloaded while agents run, in order, and within bounds of number and size."""

from __future__ import annotations

from bisect import insort
from collections import deque
from functools import partial

from encord_agents.core.legible import on_a_line
from encord_agents.core.logs import get_logger
from encord_agents.exceptions import CertificateError, NoRoomError, OutageError
from encord_agents.tasks.engine.context import Context
from encord_agents.tasks.engine.gate import SetUpError
from encord_agents.tasks.engine.outcome import Fault, Phase
from encord_agents.tasks.engine.slots import Slots
from encord_agents.tasks.engine.thread_pool import PoolClosedError, ThreadPool
from encord_agents.tasks.engine.verdict import is_lost_file
from encord_agents.tasks.engine.window import Window

__all__ = ["FilesAhead"]

logger = get_logger(__name__)


class FilesAhead:
    """The files of tasks in the window, from the time when tasks are loaded until they are attempted.

    Attributes:
        fetching: Tasks whose downloads have not been started, in order.
        fetches: Tasks whose downloads are queued or in flight, by number. The caller's thread, which must take no lock,
            iterates over a copy to cancel them at a stop.
        passed: The numbers of the tasks among them that others have overtaken.
        most_files: The maximum number of prefetched files.
    """

    def __init__(self, window: Window) -> None:
        self.run = window.run
        self._window = window
        self._limits = window.run.gate.limits
        self.fetching: deque[tuple[int, Context]] = deque()
        self.fetches: dict[int, Context] = {}
        self.passed: set[int] = set()
        self.most_files = self._limits.files_ahead
        self._files = 0
        self._bytes = 0
        self._decoders = Slots(self._limits.decoders)
        self.downloads = ThreadPool(self._limits.downloads, "encord-agents-fetch")

    def add(self, number: int, context: Context) -> None:
        """Add a task that was loaded, with its number."""
        # Several threads load, and one may finish before another that has taken earlier tasks.
        insort(self.fetching, (number, context), key=lambda entry: entry[0])

    def pump(self) -> None:
        """Start downloads, in order, as far ahead as is allowed; the next task in order always gets its file."""
        while self.fetching:
            number, context = self.fetching[0]
            ahead = self._files < self.most_files and self._bytes < self._limits.bytes_ahead
            if not (ahead or number <= self._window.first):
                return
            self.fetching.popleft()
            if not ahead and self.most_files < self._limits.files_ahead:
                # There is no room for another file. The attempt downloads it, and may have unused ones removed.
                self._is_there(number, context)
                continue
            promised = self._promised(context)
            self._files += 1
            self._window.alone = None
            # Counted before it is here: otherwise sixteen downloads that begin together would all find room.
            self._bytes += promised
            self.fetches[number] = context
            try:
                self.downloads.submit(partial(self._window.guarded, self._fetch, number, context, promised))
            except RuntimeError as error:  # the system has no more threads; or the run is over
                self.fetching.appendleft((number, context))
                del self.fetches[number]
                if not isinstance(error, PoolClosedError):
                    self._window.fail(error)
                return

    def _promised(self, context: Context) -> int:
        """Return the approximate number of bytes that a file, and its first frame, will take."""
        item = context.item
        if item is None:
            return 0
        frame = 3 * (item.width or 0) * (item.height or 0) if self.run.agent.wants_first_frame else 0
        return (item.file_size or 0) + frame

    def _fetch(self, number: int, context: Context, promised: int) -> None:
        assert context.asset is not None
        # Once the window is closing, the task will not be attempted, and its file is not needed.
        has_room = self._window.closing or self._download(context)
        held = context.asset.nbytes if has_room else 0

        def release() -> None:  # called when the task's file is removed, which makes room for another download
            with self._window.lock:
                self._files -= 1
                self._bytes -= held
                self.pump()

        with self._window.lock:
            self._bytes += held - promised
            if has_room:
                context.release.append(release)
                self._is_there(number, context)
            else:
                self._put_off(number, context)

    def _download(self, context: Context) -> bool:
        """Download a task's file and, if the agent wants its first frame, decode that too.

        Returns:
            False if this machine has no room for it now. That is not a fault: the attempt downloads it.

        Raises:
            OutageError: The storage host no longer answers.
            SetUpError: Its certificate is not trusted here.
            Leaving: There is no time left.
        """
        assert context.asset is not None
        try:
            context.asset.fetch()
        except OutageError:
            raise
        except NoRoomError:
            return False
        except CertificateError as error:
            raise SetUpError(error) from error
        except Exception as error:  # noqa: BLE001 - the first attempt's fault, whatever it is
            context.trouble = Fault(Phase.LOAD, error, 1, platform=is_lost_file(error))
            return True
        if self.run.agent.wants_first_frame:
            try:
                with self.run.gate.slot(self._decoders):
                    context.asset.prepare(first_frame=True)
            except Exception:  # noqa: BLE001 - the dependency will raise it where it belongs: in the attempt
                logger.debug("The first frame of %s could not be decoded ahead.", on_a_line(context.task.data_title))
        return True

    def _is_there(self, number: int, context: Context) -> None:
        """Make a task available for its attempt: its file is here, or will not be prefetched."""
        self.fetches.pop(number, None)
        if number in self.passed:
            self.passed.discard(number)
            self._window.returned.append(context)
        else:
            self._window.ready[number] = context
        if number <= self._window.first:  # otherwise others come first
            self._window.runnable.notify()

    def _put_off(self, number: int, context: Context) -> None:
        """Put off a file for which there was no room. From now on, no more files are prefetched than are here now."""
        self._files -= 1
        self.most_files = min(self.most_files, self._files)
        self.fetches.pop(number, None)
        if number in self.passed:
            self._is_there(number, context)
        else:
            self.add(number, context)
        self.pump()

    @property
    def left(self) -> list[Context]:
        """The tasks whose files will not be downloaded any more."""
        return [context for _, context in self.fetching]
