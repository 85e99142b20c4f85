"""Prefetch of files: downloaded while agents run, in order, and within bounds of number and size."""

from __future__ import annotations

from bisect import insort
from collections import deque
from functools import partial

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
    """The files of tasks in the window, from when their tasks are loaded until they are attempted.

    Attributes:
        fetching: Tasks whose files have not been asked for, in order.
        fetches: Tasks whose files are on their way, or about to be, by their numbers. The caller's thread, which must
            take no lock, goes through a copy to cancel what still downloads at a stop.
        passed: The numbers of those of them that have let others pass.
        most_files: The number of files that may be here before their agents run.
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
        # Several threads load, and one may be done before another that has taken earlier tasks.
        insort(self.fetching, (number, context), key=lambda entry: entry[0])

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
            self._window.alone = None
            # Counted before it is there: sixteen downloads that began together would else all find room.
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
        """Return about how many bytes a file, and its first frame, will take."""
        item = context.item
        if item is None:
            return 0
        frame = 3 * (item.width or 0) * (item.height or 0) if self.run.agent.wants_first_frame else 0
        return (item.file_size or 0) + frame

    def _fetch(self, number: int, context: Context, promised: int) -> None:
        assert context.asset is not None
        # Once the window closes, nobody will attempt the task any more.
        has_room = self._window.closing or self._download(context)
        held = context.asset.nbytes if has_room else 0

        def release() -> None:
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
        """Download a task's file and, where the agent wants its first frame, decode that too.

        Returns:
            False if this machine has no room for it now. It is no fault: the attempt downloads it.

        Raises:
            OutageError: The storage host does not answer any more.
            SetUpError: Its certificate is not trusted here.
            Leaving: There is no time for that.
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
                logger.debug("The first frame of %s could not be decoded ahead.", context.task.data_title)
        return True

    def _is_there(self, number: int, context: Context) -> None:
        """Take a task for which all is there that is fetched ahead."""
        self.fetches.pop(number, None)
        if number in self.passed:
            self.passed.discard(number)
            self._window.returned.append(context)
        else:
            self._window.ready[number] = context
        if number <= self._window.turn:
            self._window.runnable.notify()

    def _put_off(self, number: int, context: Context) -> None:
        """Take a task for whose file there was no room: from now on, no more are downloaded ahead than are there."""
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
        """The tasks whose files nobody will ask for any more."""
        return [context for _, context in self.fetching]
