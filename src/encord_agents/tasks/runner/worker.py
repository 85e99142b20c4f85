"""A batch in a worker of an executor: the stage's driver runs over it, and its process is left tidily."""

from __future__ import annotations

import contextlib
import contextvars
import os
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.util import Finalize
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from encord_agents.tasks.engine.stop import Leaving, Stop
from encord_agents.tasks.runner import messages
from encord_agents.tasks.runner.driven import Feed
from encord_agents.tasks.runner.queue_function import QueueFunction
from encord_agents.tasks.runner.run_options import DrainOptions

if TYPE_CHECKING:
    from encord_agents.tasks.runner.queue_runner import QueueRunner

__all__ = ["Place", "Slip", "here", "serve", "shared"]

Place = tuple[str, int]
"""A process: its host and its id."""


@dataclass(frozen=True, slots=True)
class Slip:
    """The note that goes with a batch.

    Attributes:
        home: Where the run is. Anywhere else, what lives as long as the process is torn down when it ends.
        run: The run's name.
        options: Those of the run.
        number: The batch's. No two batches are the same call, for there are engines that remember answers.
    """

    home: Place
    run: str
    options: DrainOptions
    number: int


def here() -> Place:
    """Return the process that this runs in."""
    return socket.gethostname(), os.getpid()


@contextlib.contextmanager
def shared(run: str, stop: Stop) -> Iterator[None]:
    """While inside, batches of a run that are served in this process stop with it, and see the caller's context
    variables."""
    _shared[run] = stop, contextvars.copy_context()
    try:
        yield
    finally:
        del _shared[run]


def serve(function: QueueFunction, tasks: Sequence[messages.OnItsWay], slip: Slip) -> list[Any] | None:
    """Run a stage's agent over a batch, in whatever thread or process an executor runs this.

    Returns:
        Messages like those of a worker process, in order; `Ended` is the last. ``None``: the run is ending. Without
        tasks: only whether this process can connect.
    """
    # In another process there is neither: no request to stop reaches it, and context variables do not pickle.
    stop, context = _shared.get(slip.run) or (Stop(), contextvars.Context())
    if stop.requested:
        return None
    if here() != slip.home:
        _close_at_exit(function.runner)
    said: list[Any] = []
    feed: Feed = SimpleQueue()
    feed.put(messages.Tasks(tasks))
    feed.put(None)
    ended = messages.Ended()
    try:
        if tasks:
            ended = context.copy().run(function.drive, feed, slip.options, stop=stop, say=said.append)
        else:
            function.connect(stop)
    except Leaving:  # while it connected: nothing was begun
        pass
    except Exception as error:  # noqa: BLE001 - an answer like any other: the run ends with it
        ended = messages.Ended(error=messages.Carried(error))
    return [*said, ended]


def _close_at_exit(runner: QueueRunner) -> None:
    # Not atexit: processes of multiprocessing do not run that.
    if not _runners:
        Finalize(None, _close, exitpriority=100)
    if runner not in _runners:
        _runners.append(runner)


def _close() -> None:
    while _runners:
        _runners.pop().close()


_runners: list[QueueRunner] = []
"""Runners to close when this process ends."""
_shared: dict[str, tuple[Stop, contextvars.Context]] = {}
"""Of the runs of this process, by name: their stop, and their caller's context variables."""
